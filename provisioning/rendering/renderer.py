"""Values and a template make a document's bytes. No I/O: the templates' text is given.

Everything that can be wrong with a template shows when the renderer is made, before the server
listens.
"""

import hashlib
import itertools
import re
from collections.abc import Hashable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import fields, replace
from types import CodeType
from typing import NamedTuple, NoReturn

from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError, nodes

from provisioning.domain import settings
from provisioning.domain.catalogue import Catalogue, Document, Model
from provisioning.domain.contact import Contact
from provisioning.domain.errors import Fault
from provisioning.domain.held import Held
from provisioning.domain.keys import NEEDS, Key
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.domain.settings import Value
from provisioning.domain.timezone import parse as parse_zone
from provisioning.rendering.compiler import TemplateEnvironment
from provisioning.rendering.compose import Site, stage0, stage1
from provisioning.rendering.encoders import FILTERS, SYNTAXES, Syntax, Unencodable
from provisioning.rendering.values import FirmwareValues, Values

VARIABLES = tuple(field.name for field in fields(Values))
"What a template sees, and nothing else."
# What every syntax carries as it is: nearly every line is so, and an attach must not wait for a rendering.
_ORDINARY = re.compile(r"(?:[A-Za-z0-9._+*-](?:[A-Za-z0-9 ._+*-]*[A-Za-z0-9._+*-])?)?", re.ASCII)
# What Jinja itself gives: in a loop, where it stands.
_GIVEN = frozenset((*VARIABLES, "loop"))
_NAMES = (nodes.Getattr, nodes.Name)
# Settings that templates see under another name.
_ELSEWHERE = {"zone": "time_zone", "poll_minutes": "poll_minutes", "encryption_key": "encrypt_configuration"}


class Compiled(NamedTuple):
    """A template that was found good."""

    code: CodeType
    settings: frozenset[str]
    "Those that it uses."


class Renderer:
    def __init__(
        self,
        catalogue: Catalogue,
        sources: Mapping[str, str],
        compiled: MutableMapping[str, Compiled] | None = None,
        *,
        trials: bool = True,
    ) -> None:
        """`sources`: text by path below templates/phones. Fault: `<template>:<line>: what is wrong`.

        `compiled`: what was compiled of the same text earlier, by syntax, name and text; what is missing is added.
        `trials`: False where all of it was tried already, with the same catalogue.
        """
        compiled = {} if compiled is None else compiled
        environments = {name: _environment(syntax) for name, syntax in SYNTAXES.items()}
        self._templates: dict[str, Template] = {}
        self._uses: dict[str, frozenset[str]] = {}
        syntaxes: dict[str, str] = {}
        for model, document in _documents(catalogue):
            if syntaxes.setdefault(document.template, document.syntax) != document.syntax:
                raise Fault(
                    f"{model.vendor}/vendor.toml: {document.name}: {document.template} has another syntax elsewhere"
                )
            if document.template not in self._templates:
                self._templates[document.template], self._uses[document.template] = _compile(
                    environments[document.syntax], document, sources, model.vendor, compiled
                )
        tried: set[Hashable] = set()
        for model in catalogue.models.values() if trials else ():
            family, alike = (model.vendor, model.family.name), written_alike(model)
            if alike not in tried:
                for values in samples(model, thorough=family not in tried):
                    for document in model.documents.values():
                        try:
                            self.trial(document, model, values)
                        except Fault as fault:
                            raise Fault(f"{fault} (tried with {model.id})") from None
            tried |= {family, alike}

    def render(self, document: Document, model: Model, values: Values) -> bytes:  # noqa: ARG002  the call says whose
        """The same values give the same bytes. Unencodable: `<template>:<line>: what`, without the value."""
        syntax = SYNTAXES[document.syntax]
        try:
            return (
                self._templates[document.template]
                .render(
                    phone=values.phone,
                    model=values.model,
                    slots=values.slots,
                    keys=values.keys,
                    settings=values.settings,
                    zone=values.zone,
                    firmware=values.firmware,
                    parameters=values.parameters,
                    contacts=values.contacts,
                )
                .encode(syntax.charset, syntax.errors)
            )
        except Unencodable as error:
            raise Unencodable(f"{document.template}:{_line(error, document.template)}: {error}") from None

    def settings_of(self, model: Model) -> frozenset[str]:
        """The settings that this model's documents can carry, as its templates and ways of encryption show."""
        documents = model.documents.values()
        coded = any(document.content_encryption for document in documents)
        return frozenset({"http_content_encryption"} if coded else ()).union(
            *(self._uses[document.template] for document in documents)
        )

    def cannot_carry(self, model: Model, line: Line) -> str | None:
        """Why the model's documents cannot hold the line, without the value; None: they can."""
        spoken = model.family.transports
        if line.transport not in spoken:
            return f"it speaks SIP over {' and '.join(spoken)} only, and the line wants {line.transport}"
        if all(_ORDINARY.fullmatch(value) for value in (line.display_name, line.password)):
            return None
        values = stage1(_SAMPLE_SITE, model, _SAMPLE_MAC, "sample", Held([(1, line)]))
        for document in model.documents.values():
            if document.lines:
                try:
                    self.render(document, model, values)
                except Unencodable as error:
                    return str(error).partition(": ")[2]
        return None

    def writes(self, model: Model, parameter: str) -> bool:
        """Whether the model's documents say something of the parameter themselves."""
        wanted = re.compile(rf"(?<![\w.-]){re.escape(parameter)}(?![\w.-])")
        return any(
            wanted.search(self.render(document, model, values).decode(SYNTAXES[document.syntax].charset))
            for values in samples(model, thorough=False)
            for document in model.documents.values()
            if document.holds != "contacts"
        )

    def trial(self, document: Document, model: Model, values: Values) -> bytes:
        """As `render`; whatever a template can do wrong is a Fault: `<template>:<line>: what`."""
        try:
            return self.render(document, model, values)
        except Unencodable as error:
            raise Fault(str(error)) from None
        except Exception as error:  # noqa: BLE001  it is the operator's to read
            told = f"{error} is not in the table" if isinstance(error, KeyError) else error
            raise Fault(f"{document.template}:{_line(error, document.template)}: {told}") from None


def written_alike(model: Model) -> Hashable:
    """Models that differ in their name only are written alike."""
    its = {name: value for name, value in model.traits.items() if name != "model"}
    counts = (model.slots, model.keys, model.expansion_modules, model.module_keys, model.line_keys)
    templates = tuple(document.template for document in model.documents.values())
    return model.vendor, model.family.name, counts, templates, tuple(its.values())


def _documents(catalogue: Catalogue) -> Iterator[tuple[Model, Document]]:
    for model in catalogue.models.values():
        for document in model.documents.values():
            yield model, document


def _environment(syntax: Syntax) -> Environment:
    # Autoescape is what makes XML safe; in lines there is nothing to escape with.
    environment = TemplateEnvironment(
        undefined=StrictUndefined,
        autoescape=syntax.autoescape,
        finalize=syntax.encode,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence=syntax.newline,
    )
    environment.filters = dict(FILTERS)
    environment.globals = {}
    return environment


def _compile(
    environment: Environment,
    document: Document,
    sources: Mapping[str, str],
    vendor: str,
    compiled: MutableMapping[str, Compiled],
) -> tuple[Template, frozenset[str]]:
    name = document.template
    if name not in sources:
        raise Fault(f"{name}: is named by {vendor}/vendor.toml, but there is no such file")
    key = f"{document.syntax} {name} {hashlib.sha256(sources[name].encode()).hexdigest()}"
    if (known := compiled.get(key)) is None:
        try:
            tree = environment.parse(sources[name], name, name)
            # Walked once, and compiled as it was checked: parsing it again would double what it takes.
            walked = list(tree.find_all(nodes.Node))
            _check(walked, name)
            known = compiled[key] = Compiled(environment.compile(tree, name, name), _settings_used(walked))
        except TemplateSyntaxError as error:
            raise Fault(f"{name}:{error.lineno}: {error.message}") from None
    return Template.from_code(environment, known.code, {}), known.settings


def _settings_used(tree: Sequence[nodes.Node]) -> frozenset[str]:
    named = {node.attr if isinstance(node, nodes.Getattr) else node.name for node in tree if isinstance(node, _NAMES)}
    return frozenset(name for name in settings.BY_NAME if name in named) | frozenset(
        setting for name, setting in _ELSEWHERE.items() if name in named
    )


def _check(tree: Sequence[nodes.Node], name: str) -> None:
    names = [node for node in tree if isinstance(node, nodes.Name)]
    # A name that is set in one branch only may be used in another; whether it is, the trial renderings tell.
    own = {node.name for node in names if node.ctx != "load"} | {n.name for n in tree if isinstance(n, nodes.Macro)}
    for node in names:
        if node.name not in own and node.name not in _GIVEN:
            _refuse(name, node, f"{node.name!r} is not given to templates; there are {', '.join(VARIABLES)}")
    for other in tree:
        if isinstance(other, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends):
            _refuse(name, other, "a document is one template; it takes nothing from another file")
        # Escaping that is turned off, and a filtered block, would pass by the encoder.
        if isinstance(other, nodes.EvalContextModifier | nodes.FilterBlock):
            _refuse(name, other, "a template may neither switch escaping nor filter a whole block")


def _refuse(name: str, node: nodes.Node, what: str) -> NoReturn:
    raise Fault(f"{name}:{node.lineno}: {what}")


def _line(error: BaseException, name: str) -> int:
    """Where in the template it happened: Jinja puts the template's own lines into the traceback."""
    line = 0
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == name:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


_SAMPLE_LINES = tuple(
    Line(
        name=f"sample{number}",
        account="sample",
        number=f"+3397210{number:04d}",
        username=f"003397210{number:04d}",
        password="sample",  # noqa: S106
        domain="sip.example.net",
        display_name=display_name,
        outbound_proxy=outbound_proxy,
        transport=transport,
    )
    for number, (display_name, outbound_proxy, transport) in enumerate(
        itertools.product(
            ("", "A 'sample' & <name>"),
            ("", "proxy.example.net", "proxy.example.net:5070", "[2001:db8::1]:5070"),
            ("udp", "tcp", "tls"),
        )
    )
)
_SAMPLE_MAC = Mac("001122334455")
_SAMPLE_CONTACTS = (
    Contact("Friends", "A", "& <B>", "+33972101234", "", ""),
    Contact("", "", "Cé", "", "+33612345678", "42"),
)
_SAMPLE_VALUES = {
    "nothing": "",
    "slot": "1",
    "number": "+33972101234",
    "maybe-number": "",
    "url": "http://a.example/?a=1&b",
}
_SAMPLE_OTHERS = (("UTC", "", ""), ("Europe/Paris", "192.0.2.5", "888"), ("America/St_Johns", "2001:db8::5", ""))


def _sample_choices(number: int) -> dict[str, Value]:
    """The settings' n-th choices; past their end the last ones."""
    zone, syslog, voicemail = _SAMPLE_OTHERS[number % len(_SAMPLE_OTHERS)]
    chosen: dict[str, Value] = {
        **settings.DEFAULTS,
        "time_zone": zone,
        "syslog_server": syslog,
        "voicemail_number": voicemail,
        "keep_alive": 30 * (number % 2),
        "voice_vlan": 10 * (number % 2),
    }
    for setting in settings.ALL:
        if setting.kind == "enumeration":
            chosen[setting.name] = setting.among[min(number, len(setting.among) - 1)]
        elif setting.kind == "choices":
            chosen[setting.name] = setting.among[: number + 1]
        elif setting.kind == "boolean":
            chosen[setting.name] = number % 2 == 1
    return chosen


_MOST_CHOICES = max(len(setting.among) for setting in settings.ALL)
_SAMPLE_SITE = Site(
    url="https://sample.example",
    settings={},
    zones={
        name: parse_zone(name, posix)
        for name, posix in (
            ("UTC", "UTC0"),
            ("Europe/Paris", "CET-1CEST,M3.5.0,M10.5.0/3"),
            ("America/St_Johns", "NST3:30NDT,M3.2.0,M11.1.0"),
        )
    },
    firmware={},
)
_SAMPLE_FIRMWARE = FirmwareValues("1.0", "https://sample.example/firmware/image")


def samples(model: Model, *, thorough: bool) -> Iterator[Values]:
    """A phone with its first and its last slot filled, and all keys; `thorough`, for one model of a family: also one
    of which nothing is known, one without a line, one with a line in every slot, and one with each choice that a
    setting offers. `provisioning check` tries all of it with every model.
    """
    site = replace(_SAMPLE_SITE, firmware={model.id: _SAMPLE_FIRMWARE})
    lines = [(number, _SAMPLE_LINES[number % len(_SAMPLE_LINES)]) for number in range(1, model.slots + 1)]
    held = Held(lines, _sample_choices(1), {}, _sample_keys(model), (), _SAMPLE_CONTACTS)
    yield stage1(site, model, _SAMPLE_MAC, "sample", replace(held, lines=[lines[0], lines[-1]]))
    if thorough:
        yield stage0(_SAMPLE_SITE, model)
        yield stage1(_SAMPLE_SITE, model, _SAMPLE_MAC, None, Held())
        yield stage1(site, model, _SAMPLE_MAC, "sample", held)
        for number in range(_MOST_CHOICES):
            yield stage1(
                site, model, _SAMPLE_MAC, "sample", replace(held, lines=lines[:1], chosen=_sample_choices(number))
            )


def _sample_keys(model: Model) -> list[Key]:
    types = list(model.family.keys)
    found = [
        Key(0, number, type_, _SAMPLE_VALUES[NEEDS[type_]], "A & <b>")
        for number, type_ in zip(range(1, model.keys + 1), types, strict=False)
    ]
    if model.expansion_modules and model.module_keys and types:
        last = types[-1]
        found.append(Key(model.expansion_modules, model.module_keys, last, _SAMPLE_VALUES[NEEDS[last]]))
    return found
