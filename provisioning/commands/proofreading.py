"""Every model's documents, rendered with hostile values and read back by the simulator's readers.

A reader shares nothing with what wrote the document: what it makes of the document is what the phone
would. It is the second opinion that `provisioning check` asks.
"""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioning.domain.catalogue import Document, Model, Vendor
from provisioning.domain.errors import Fault
from provisioning.domain.held import Held
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.rendering import compose
from provisioning.rendering.compose import Site
from provisioning.rendering.encoders import Unencodable, cut, latin1
from provisioning.rendering.renderer import Renderer, samples, written_alike
from provisioning.rendering.values import Values

if TYPE_CHECKING:
    from provisioning.simulator.dialects.base import Dialect, ReadConfiguration, ReadLine

_HOSTILE = (
    *('"', "'", "`", "&", "<", ">", ";", "=", "#", "$", "{", "}", "%", "\\", ":", ",", "|", "é", "日", "😀"),
    *("&amp;", "&#10;", "]]>", "<!--", "-->", "${mac}", "$MA", "{{ 7 }}", "{mac}", "%00", "%NULL%", "\\n", "//", "/*"),
)
"Each allowed inside a password and a display name; a document carries it exactly, or is not made."
# RFC 3261 allows no others in a username (domain/line.py).
_FRAGMENTS = {"username": tuple("-_.!~*'()&=+$,;?/"), "password": _HOSTILE, "display_name": _HOSTILE}
_MAC_TAIL = "a1b2c3"
_SECRET = "0" * 32
_MOST_SLOTS = 16
_MOST_PLACES = 4
_MOST_MODELS = 3
"Named with one fault; it counts the others."


@dataclass(frozen=True, slots=True)
class Names:
    """The lists of parameters that phones are known to have, params-<vendor>.txt."""

    folder: Path

    def of(self, vendor: Vendor) -> frozenset[str]:
        file = self.folder / f"params-{vendor.folder}.txt"
        listed = file.read_text("utf-8").splitlines() if file.exists() else ()
        return frozenset((*listed, *vendor.cited))


@dataclass(slots=True)
class Proof:
    """What came of one family's documents."""

    family: str
    read: bool
    "False: nobody has described how such phones behave, so the documents were rendered only."
    documents: int = 0
    faults: dict[str, list[str]] = field(default_factory=dict)
    "By sentence: the models."

    def fault(self, sentence: str, model: Model) -> None:
        models = self.faults.setdefault(sentence, [])
        if model.id not in models:
            models.append(model.id)

    def sentences(self) -> list[str]:
        return [f"{sentence} ({_some(models)})" for sentence, models in self.faults.items()]


def _some(models: Sequence[str]) -> str:
    rest = len(models) - _MOST_MODELS
    return ", ".join(models[:_MOST_MODELS]) + (f" and {rest} more" if rest > 0 else "")


def prove(vendor: Vendor, family: str, site: Site, renderer: Renderer, sources: Path, names: Names | None) -> Proof:
    """All models of the family; `sources`: where the templates are."""
    models = [model for model in vendor.models if model.family.name == family]
    dialect = _dialect(models[0])
    proof = Proof(family, read=dialect is not None)
    known = None if names is None else names.of(vendor)
    _Reading(vendor, models, dialect, site, renderer, sources, known, proof).all()
    return proof


def _dialect(model: Model) -> "Dialect | None":
    # A server that starts does without the phones' memory and time.
    from provisioning.simulator import dialects  # noqa: PLC0415

    try:
        return dialects.of(model.vendor, model.family.name)
    except KeyError:
        return None


class _Reading:
    """Of one family."""

    def __init__(
        self,
        vendor: Vendor,
        models: Sequence[Model],
        dialect: "Dialect | None",
        site: Site,
        renderer: Renderer,
        sources: Path,
        known: frozenset[str] | None,
        proof: Proof,
    ) -> None:
        self.models, self.dialect, self.site, self.renderer, self.sources = models, dialect, site, renderer, sources
        self.known, self.proof = known, proof
        self.mac = Mac(f"{next(iter(vendor.prefixes), '020000')}{_MAC_TAIL}")
        self.texts: dict[str, str] = {}
        "Templates as they are written, by name."
        self.lost: dict[tuple[str, str], str] = {}
        "What is told of a value that is not read back, by (place, which)."

    def all(self) -> None:
        carried: dict[str, Mapping[str, str]] = {}
        tried: set[Hashable] = set()
        for model in self.models:
            for document in model.documents.values():
                if document.holds != "contacts":
                    self._stage0(model, document)
                if document.lines:
                    if document.template not in carried:
                        carried[document.template] = self._each_fragment(model, document)
                    for count in sorted({0, 1, model.slots}):
                        self._read(model, document, self._lines(count, carried[document.template]))
            # What else a template can be given, the settings' choices above all; read once of models written alike.
            self._samples(model, read=written_alike(model) not in tried)
            tried.add(written_alike(model))

    def _values(self, model: Model, lines: Sequence[Line]) -> Values:
        return compose.stage1(self.site, model, self.mac, _SECRET, Held(list(enumerate(lines, 1))))

    def _lines(self, count: int, carried: Mapping[str, str]) -> list[Line]:
        return [
            Line(
                name=f"line{number}",
                account="sample",
                number=f"+3397210{number:04d}",
                username=f"{number}{carried['username']}",
                password=f"{number}{carried['password']}",
                domain="sip.example.net" if number % 2 else "sip.example.net:5090",
                display_name=f"{number}{carried['display_name']}",
            )
            for number in range(1, count + 1)
        ]

    def _each_fragment(self, model: Model, document: Document) -> Mapping[str, str]:
        """All that the document carries, in one username, password and display name."""
        (tame,) = self._lines(1, dict.fromkeys(_FRAGMENTS, "tame"))
        carried: dict[str, list[str]] = {what: [] for what in _FRAGMENTS}
        for what, fragments in _FRAGMENTS.items():
            for fragment in fragments:
                its = replace(tame, **{what: f"a{fragment}b"})
                try:
                    self.renderer.render(document, model, self._values(model, [its]))
                except Unencodable:
                    continue  # It has no way to carry that, and says so.
                except Exception:  # noqa: BLE001, S112  it is told when the lines are read
                    continue
                carried[what].append(fragment)
                self._read(model, document, [its])
        return {what: "b".join(("a", *good, "a")) for what, good in carried.items()}

    def _stage0(self, model: Model, document: Document) -> None:
        read = self._configuration(model, document, compose.stage0(self.site, model))
        if read is not None and read.lines:
            self.proof.fault(f"{document.template}: {document.name}: without a proof the phone is given a line", model)

    def _read(self, model: Model, document: Document, lines: Sequence[Line]) -> None:
        read = self._configuration(model, document, self._values(model, lines))
        if read is None:
            return
        slots = [one.slot for one in read.lines]
        if slots != list(range(1, len(lines) + 1)):
            self.proof.fault(
                f"{document.template}: {document.name}: of {len(lines)} lines in the first slots the phone reads "
                f"{len(slots)}, in {_some(list(map(str, slots))) or 'none'}",
                model,
            )
            return
        for written, one in zip(lines, read.lines, strict=True):
            self._compare(model, document, written, one)

    def _compare(self, model: Model, document: Document, written: Line, read: "ReadLine") -> None:
        for what in ("username", "password", "domain"):
            wanted, found = getattr(written, what), getattr(read, what)
            if found != wanted:
                self._told_otherwise(model, document, what, wanted, found)
        # A dialect may show the number where there is no name.
        names = (written.display_name, written.label)
        if not any(read.display_name in self._fitted(document, name) for name in names):
            self._told_otherwise(model, document, "display_name", written.display_name, read.display_name)

    def _told_otherwise(self, model: Model, document: Document, what: str, wanted: str, found: str) -> None:
        also = r"|\.label\b" if what == "display_name" else ""
        place = self._place(document, rf"\.{what}\b{also}")
        # The first value that is lost tells it; the others would only repeat it.
        sentence = self.lost.setdefault((place, what), f"{place}: {what} {wanted!r} is read back as {found!r}")
        self.proof.fault(sentence, model)

    def _fitted(self, document: Document, name: str) -> set[str]:
        """A name, and nothing but a name, may be made shorter or simpler, where the template says so by a filter."""
        source = self._source(document)
        found = {name, latin1(name)} if re.search(r"\|\s*latin1\b", source) else {name}
        lengths = map(int, re.findall(r"\|\s*cut\((\d+)\)", source))
        return found | {cut(one, length) for length in lengths for one in found}

    def _samples(self, its: Model, *, read: bool) -> None:
        # What a setting does is the same for each of a multicell's thousand slots; those were all read above.
        model = replace(its, slots=min(its.slots, _MOST_SLOTS))
        for values in samples(model, thorough=True):
            for document in model.documents.values():
                if not read:
                    self._body(model, document, values)
                elif document.holds == "contacts":
                    self._contacts(model, document, values)
                else:
                    self._configuration(model, document, values)

    def _contacts(self, model: Model, document: Document, values: Values) -> None:
        body = self._body(model, document, values)
        if body is None or self.dialect is None or self.dialect.contacts is None:
            return
        try:
            found = self.dialect.contacts(body)
        except Exception as error:  # noqa: BLE001  as below
            self._refused(model, document, error)
            return
        written, read = [its.display_name for its in values.contacts], [one.name for one in found]
        if written != read:
            self.proof.fault(f"{document.template}: contacts {written} are read back as {read}", model)

    def _configuration(self, model: Model, document: Document, values: Values) -> "ReadConfiguration | None":
        body = self._body(model, document, values)
        if body is None or self.dialect is None:
            return None
        try:
            settings = self.dialect.settings(body)
            self._look_up(model, document, settings)
            return self.dialect.configuration(settings)
        except Exception as error:  # noqa: BLE001  a reader that meets what no phone was ever given
            self._refused(model, document, error)
            return None

    def _refused(self, model: Model, document: Document, error: Exception) -> None:
        told = str(error) if isinstance(error, ValueError) else repr(error)
        self.proof.fault(f"{document.template}: {document.name}: the phone cannot read it: {told}", model)

    def _body(self, model: Model, document: Document, values: Values) -> bytes | None:
        self.proof.documents += 1
        try:
            return self.renderer.trial(document, model, values)
        except Fault as fault:
            self.proof.fault(str(fault), model)
            return None

    def _look_up(self, model: Model, document: Document, settings: Iterable[str]) -> None:
        if self.known is None or self.dialect is None:
            return
        for name in {self.dialect.oracle_name(key) for key in settings}:
            if name not in self.known:
                # Without its indexes, and without the elements around it, as the template has it.
                spelled = ".*".join(map(re.escape, re.split(r"[ /@]", name)[-1].split("#")))
                place = self._place(document, spelled)
                self.proof.fault(f"{place}: {name!r} is no parameter that is known, nor [cited] in vendor.toml", model)

    def _place(self, document: Document, pattern: str) -> str:
        """The template, and its lines that look so."""
        lines = enumerate(self._source(document).splitlines(), 1)
        found = [str(number) for number, line in lines if re.search(pattern, line)]
        return f"{document.template}:{','.join(found[:_MOST_PLACES])}" if found else document.template

    def _source(self, document: Document) -> str:
        name = document.template
        if name not in self.texts:
            self.texts[name] = (self.sources / name).read_text("utf-8")
        return self.texts[name]
