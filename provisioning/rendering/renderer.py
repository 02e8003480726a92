"""Values and a template make a document's bytes. No I/O: the templates' text is given.

Everything that can be wrong with a template shows when the renderer is made, before the server
listens.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import NoReturn

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template, TemplateSyntaxError, meta, nodes

from provisioning.domain.catalogue import Catalogue, Document, Model, fill_mac
from provisioning.domain.errors import Fault
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.rendering.encoders import ENCODERS, FILTERS, Unencodable
from provisioning.rendering.values import FirmwareValues, OperatorValues, PhoneValues, SlotValues, Values

VARIABLES = tuple(field.name for field in fields(Values))
"What a template sees, and nothing else."


class Renderer:
    def __init__(self, catalogue: Catalogue, sources: Mapping[str, str]) -> None:
        """`sources`: text by path below templates/phones. Fault: `<template>:<line>: what is wrong`."""
        environments = {syntax: _environment(syntax, sources) for syntax in ENCODERS}
        self._templates: dict[str, Template] = {}
        for model, document in _documents(catalogue):
            if document.template not in self._templates:
                self._templates[document.template] = _compile(
                    environments[model.syntax], document.template, sources, model.vendor
                )
        for model, document in _documents(catalogue):
            for values in _samples(model):
                self._try(document, model, values)

    def render(self, document: Document, model: Model, values: Values) -> bytes:  # noqa: ARG002  the call says whose
        """The same values give the same bytes. Unencodable: `<template>:<line>: what`, without the value."""
        try:
            return (
                self._templates[document.template]
                .render(
                    phone=values.phone,
                    model=values.model,
                    slots=values.slots,
                    firmware=values.firmware,
                    operator=values.operator,
                )
                .encode()
            )
        except Unencodable as error:
            raise Unencodable(f"{document.template}:{_line(error, document.template)}: {error}") from None

    def _try(self, document: Document, model: Model, values: Values) -> None:
        try:
            self.render(document, model, values)
        except Unencodable as error:
            raise Fault(f"{error} (tried with {model.id})") from None
        except Exception as error:  # noqa: BLE001  whatever a template can do wrong is the operator's to read
            line = _line(error, document.template)
            raise Fault(f"{document.template}:{line}: {error} (tried with {model.id})") from None


def _documents(catalogue: Catalogue) -> Iterator[tuple[Model, Document]]:
    for model in catalogue.models.values():
        for document in model.documents.values():
            yield model, document


def _environment(syntax: str, sources: Mapping[str, str]) -> Environment:
    # Autoescape is what makes XML safe; in key-value lines there is nothing to escape with.
    environment = Environment(
        loader=FunctionLoader(lambda name: (sources[name], name, None)),
        undefined=StrictUndefined,
        autoescape=syntax == "xml",  # noqa: S701  as said above
        finalize=ENCODERS[syntax],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters = dict(FILTERS)
    environment.globals = {}
    return environment


def _compile(environment: Environment, name: str, sources: Mapping[str, str], vendor: str) -> Template:
    if name not in sources:
        raise Fault(f"{name}: is named by {vendor}/vendor.toml, but there is no such file")
    try:
        tree = environment.parse(sources[name], name, name)
        _check(tree, name)
        return environment.get_template(name)
    except TemplateSyntaxError as error:
        raise Fault(f"{name}:{error.lineno}: {error.message}") from None


def _check(tree: nodes.Template, name: str) -> None:
    names = list(tree.find_all(nodes.Name))
    # Jinja calls a name undeclared that is set in one branch only; whether it is then used in
    # another, the trial renderings tell.
    own = {node.name for node in names if node.ctx == "store"}
    unknown = meta.find_undeclared_variables(tree) - own - set(VARIABLES)
    for node in names:
        if node.name in unknown:
            _refuse(name, node, f"{node.name!r} is not given to templates; there are {', '.join(VARIABLES)}")
    for other in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        _refuse(name, other, "a document is one template; it takes nothing from another file")
    # Escaping that is turned off, and a filtered block, would pass by the encoder.
    for scope in tree.find_all((nodes.EvalContextModifier, nodes.FilterBlock)):
        _refuse(name, scope, "a template may neither switch escaping nor filter a whole block")


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
            ("", 'A "sample" & <name>'),
            ("", "proxy.example.net", "proxy.example.net:5070", "[2001:db8::1]:5070"),
            ("udp", "tcp", "tls"),
        )
    )
)


def _samples(model: Model) -> Iterator[Values]:
    """Three phones: of which nothing is known, without a line, with a line in every slot."""
    empty = tuple(SlotValues(number, None) for number in range(1, model.slots + 1))
    full = tuple(SlotValues(slot.number, _SAMPLE_LINES[slot.number % len(_SAMPLE_LINES)]) for slot in empty)
    firmware = FirmwareValues("1.0", "https://sample.example/firmware/image")
    for slots, given in (((), None), (empty, firmware), (full, firmware)):
        yield Values(
            phone=PhoneValues(
                mac="001122334455",
                slots=len(slots),
                provisioning_url="https://sample.example/" + fill_mac(model.provisioning_path, Mac("001122334455")),
                admin_password="" if given is None else "123456789012",
                poll_minutes=1440,
                poll_time="03:00",
            ),
            model=dict(model.traits),
            slots=slots,
            firmware=given,
            operator=OperatorValues("ntp.example.net"),
        )
