"""What phones exist: vendors' dialects, the documents they ask for, and models with their slots.

A vendor is data: `templates/phones/<vendor>/vendor.toml`, described in docs/adding-a-vendor.md.
Everything is checked here, before the server listens; a fault names file, line and field.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from provisioning.domain.errors import Fault, Refused
from provisioning.domain.mac import Mac, prefix

SYNTAXES = ("key-value", "xml")
CONFIDENCES = ("guide", "peer")
CERTIFICATE_FIELDS = ("CN", "S")
# A DECT multicell system is the largest thing a slot count was ever stated for.
MOST_SLOTS = 1000

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Document:
    """One file that phones of a model ask for."""

    name: str
    "As the phone spells it, with {mac} or {MAC} where its MAC stands."
    template: str
    "Path below templates/phones."
    content_type: str
    lines: bool
    "Holds the phone's lines, so it is served only on a proof (stage 1)."

    @property
    def shape(self) -> str:
        """The name without the phone: lower case, `{mac}` for the MAC."""
        return self.name.lower()

    @property
    def stage(self) -> int:
        return 1 if self.lines else 0

    def name_for(self, mac: Mac) -> str:
        return fill_mac(self.name, mac)


@dataclass(frozen=True, slots=True)
class Model:
    id: str
    "`<vendor>-<name>` in lower case: what the API calls the model."
    vendor: str
    "The vendor's folder."
    vendor_name: str
    name: str
    slots: int
    keys: int
    expansion_modules: int
    confidence: str
    source: str
    event: str | None
    "SIP Event that makes the phone fetch its configuration; None: it cannot be told."
    reboot_event: str | None
    documents: Mapping[str, Document]
    "By shape."
    traits: Mapping[str, str]
    "The further fields that the vendor declares, for its templates."
    syntax: str
    provisioning_path: str
    "What follows the secret in the URL that such a phone is given."

    @property
    def capabilities(self) -> tuple[str, ...]:
        told = (("resync", self.event), ("reboot", self.reboot_event))
        return tuple(name for name, event in told if event is not None)


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """How this vendor's factory certificates say which phone they are of (domain/certificate.py)."""

    mac: str
    "The attribute of the subject that holds the MAC."
    generic: tuple[str, ...]
    "Its values in certificates that many phones share, in any case: they are nobody's."


@dataclass(frozen=True, slots=True)
class Vendor:
    folder: str
    name: str
    prefixes: tuple[str, ...]
    models: tuple[Model, ...]
    certificate: CertificateRule | None = None
    "None: its phones have none that says which phone it is."


@dataclass(frozen=True, slots=True)
class Catalogue:
    vendors: tuple[Vendor, ...]
    models: Mapping[str, Model]
    common: Mapping[str, tuple[Model, Document]]
    "Documents without a MAC in their name, by shape."
    by_prefix: Mapping[str, Vendor]

    def model(self, name: str) -> Model:
        """By its id, in any case. Refused: `model-unknown`."""
        found = self.models.get(name.lower())
        if found is None:
            raise Refused("model-unknown", f"No model is called {name!r}; GET /v1/models lists them.")
        return found

    def of_prefix(self, mac: Mac) -> Vendor | None:
        return self.by_prefix.get(prefix(mac))


def fill_mac(name: str, mac: Mac) -> str:
    return name.replace("{mac}", mac).replace("{MAC}", mac.upper())


def catalogue(vendors: Iterable[Vendor]) -> Catalogue:
    """Puts vendors together; a name or prefix that two of them claim is a Fault."""
    vendors = tuple(sorted(vendors, key=lambda vendor: vendor.folder))
    models: dict[str, Model] = {}
    common: dict[str, tuple[Model, Document]] = {}
    by_prefix: dict[str, Vendor] = {}
    for vendor in vendors:
        for oui in vendor.prefixes:
            if other := by_prefix.setdefault(oui, vendor):
                _same(vendor, other, f"prefixes: {oui}")
        for model in vendor.models:
            if models.setdefault(model.id, model) is not model:
                raise Fault(f"{vendor.folder}/vendor.toml: models.{model.name}: is there twice, but for upper case")
            for shape, document in model.documents.items():
                if "{mac}" in shape:
                    continue
                first, _ = common.setdefault(shape, (model, document))
                if first.vendor != model.vendor:
                    raise Fault(
                        f"{vendor.folder}/vendor.toml: documents: {shape!r} is also a common file of "
                        f"{first.vendor}; two vendors cannot share one, for the path alone chooses it"
                    )
    return Catalogue(vendors, models, common, by_prefix)


def _same(vendor: Vendor, other: Vendor, what: str) -> None:
    if other is not vendor:
        raise Fault(f"{vendor.folder}/vendor.toml: {what} is also claimed by {other.folder}")


def parse_vendor(folder: str, text: str) -> Vendor:
    """One vendor.toml. Fault: `<vendor>/vendor.toml:<line>: <field>: what is wrong`."""
    return _Reader(folder, text).vendor()


class _Reader:
    def __init__(self, folder: str, text: str) -> None:
        self.folder = folder
        self.text = text
        try:
            self.data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Fault(f"{folder}/vendor.toml: {error}") from None

    def fault(self, table: str, key: str, problem: str) -> Fault:
        """`table` is a header as written, such as `models.T46S`; an empty one is the top of the file."""
        line = _line_of(self.text, table, key)
        field = ".".join(part for part in (table.partition(" ")[0], key) if part)
        return Fault(f"{self.folder}/vendor.toml:{line}: {field}: {problem}")

    def take(self, table: Mapping[str, Any], where: str, key: str, kind: type, default: Any = None) -> Any:
        value = table.get(key, default)
        if value is None:
            raise self.fault(where, key, "is missing")
        # bool is an int to Python, and is no count of slots.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fault(where, key, f"is {value!r}, which is no {kind.__name__}")
        return value

    def known(self, table: Mapping[str, Any], where: str, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        for key in table:
            if key not in keys:
                raise self.fault(where, key, f"is no field here; known are {', '.join(keys)}")

    def vendor(self) -> Vendor:
        data = self.data
        self.known(
            data,
            "",
            (
                "name",
                "syntax",
                "provisioning_path",
                "prefixes",
                "traits",
                "resync",
                "certificate",
                "documents",
                "models",
            ),
        )
        name = self.take(data, "", "name", str)
        syntax = self.take(data, "", "syntax", str)
        if syntax not in SYNTAXES:
            raise self.fault("", "syntax", f"is {syntax!r}; known are {', '.join(SYNTAXES)}")
        provisioning_path = self.take(data, "", "provisioning_path", str)
        self.name_is_safe("", "provisioning_path", provisioning_path or "unset", ("mac", "MAC"))
        prefixes = self.take(data, "", "prefixes", list)
        for oui in prefixes:
            if not isinstance(oui, str) or re.fullmatch("[0-9a-f]{6}", oui, re.ASCII) is None:
                raise self.fault("", "prefixes", f"{oui!r} is not six lower-case hex digits")
        traits = self.take(data, "", "traits", list, [])
        resync = self.take(data, "", "resync", dict, {})
        self.known(resync, "resync", ("event", "reboot_event"))
        event = self.take(resync, "resync", "event", str) if resync else None
        reboot_event = resync.get("reboot_event")
        for key, value in resync.items():
            if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9.!%*_+`'~;=-]+", value, re.ASCII) is None:
                raise self.fault("resync", key, f"{value!r} is no SIP Event (RFC 6665 section 8.4)")
        models = self.take(data, "", "models", dict)
        if not models:
            raise self.fault("", "models", "names no model")
        built = tuple(
            self.model(key, table, name, syntax, provisioning_path, event, reboot_event, traits)
            for key, table in models.items()
        )
        return Vendor(self.folder, name, tuple(prefixes), built, self.certificate())

    def certificate(self) -> CertificateRule | None:
        if "certificate" not in self.data:
            return None
        table = self.take(self.data, "", "certificate", dict)
        self.known(table, "certificate", ("mac", "generic"))
        attribute = self.take(table, "certificate", "mac", str)
        if attribute not in CERTIFICATE_FIELDS:
            raise self.fault("certificate", "mac", f"is {attribute!r}; known are {', '.join(CERTIFICATE_FIELDS)}")
        generic = self.take(table, "certificate", "generic", list, [])
        for value in generic:
            if not isinstance(value, str) or not value:
                raise self.fault("certificate", "generic", f"{value!r} is no text")
        return CertificateRule(attribute, tuple(generic))

    def model(
        self,
        name: str,
        table: Any,
        vendor_name: str,
        syntax: str,
        provisioning_path: str,
        event: str | None,
        reboot_event: str | None,
        traits: list[str],
    ) -> Model:
        where = f"models.{name}"
        if not isinstance(table, dict):
            raise self.fault("models", name, "is no table")
        if _FILE_NAME.fullmatch(name) is None:
            raise self.fault("models", name, "is no model name: letters, digits, '.', '_' and '-'")
        own = ("slots", "keys", "expansion_modules", "confidence", "source")
        self.known(table, where, (*own, *traits))
        slots = self.take(table, where, "slots", int)
        if not 1 <= slots <= MOST_SLOTS:
            raise self.fault(where, "slots", f"is {slots}; a phone has 1 to {MOST_SLOTS}")
        confidence = self.take(table, where, "confidence", str)
        if confidence not in CONFIDENCES:
            raise self.fault(where, "confidence", f"is {confidence!r}; known are {', '.join(CONFIDENCES)}")
        values = {"model": name} | {trait: self.take(table, where, trait, str) for trait in traits}
        return Model(
            id=f"{self.folder}-{name}".lower(),
            vendor=self.folder,
            vendor_name=vendor_name,
            name=name,
            slots=slots,
            keys=self.take(table, where, "keys", int),
            expansion_modules=self.take(table, where, "expansion_modules", int),
            confidence=confidence,
            source=self.take(table, where, "source", str),
            event=event,
            reboot_event=reboot_event,
            documents=self.documents(values),
            traits=values,
            syntax=syntax,
            provisioning_path=provisioning_path,
        )

    def documents(self, values: Mapping[str, str]) -> dict[str, Document]:
        found: dict[str, Document] = {}
        tables = self.take(self.data, "", "documents", list)
        for number, table in enumerate(tables):
            where = f"documents {number}" if number else "documents"
            self.known(table, where, ("name", "template", "content_type", "lines"))
            pattern = self.take(table, where, "name", str)
            self.name_is_safe(where, "name", pattern, ("mac", "MAC", *values))
            name = _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), pattern)
            template = self.take(table, where, "template", str)
            if _FILE_NAME.fullmatch(template) is None or not template.endswith(".j2"):
                raise self.fault(where, "template", f"{template!r} is no template of this folder")
            document = Document(
                name,
                f"{self.folder}/{template}",
                self.take(table, where, "content_type", str),
                self.take(table, where, "lines", bool),
            )
            if document.lines and "{mac}" not in document.shape:
                raise self.fault(where, "lines", f"{name} holds lines but no MAC says whose")
            if found.setdefault(document.shape, document) is not document:
                raise self.fault(where, "name", f"{name} is listed twice")
        if not any(document.lines for document in found.values()):
            raise self.fault("", "documents", "none of them holds the phone's lines")
        return found

    def name_is_safe(self, where: str, key: str, name: str, placeholders: Iterable[str]) -> None:
        for placeholder in _PLACEHOLDER.findall(name):
            if placeholder not in tuple(placeholders):
                raise self.fault(where, key, f"{{{placeholder}}} is unknown; known are {', '.join(placeholders)}")
        if _FILE_NAME.fullmatch(_PLACEHOLDER.sub("x", name)) is None:
            raise self.fault(where, key, f"{name!r} is no file name")


def _line_of(text: str, table: str, key: str) -> int:
    """Where `key` of `table` stands, or else the table's header: tomllib keeps no positions.

    `documents 2` is the third [[documents]].
    """
    table, _, nth = table.partition(" ")
    earlier = int(nth or 0)
    inside = not table
    header = 1
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            name = stripped.split("]")[0].strip("[").replace('"', "").strip()
            inside = name == table
            if inside and earlier:
                earlier -= 1
                inside = False
            elif inside:
                header = number
            elif name == f"{table}.{key}" or (not table and name == key):
                return number
        elif inside and re.match(rf'"?{re.escape(key)}"?\s*=', stripped):
            return number
    return header
