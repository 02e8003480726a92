"""Reads a vendor.toml (docs/adding-a-vendor.md), once, before the server listens.

Whatever is wrong in it is a Fault that names file, line and field.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from provisioning.domain.catalogue import (
    CERTIFICATE_FIELDS,
    CIPHERS,
    CONFIDENCES,
    CONTENT_CODINGS,
    HOLDS,
    KEY_TYPES,
    MOST_SLOTS,
    MOST_UPLOAD,
    PASSWORD_DIGITS,
    SYNTAXES,
    TLS_FLOORS,
    CertificateRule,
    Document,
    Family,
    Model,
    Resync,
    Trait,
    Upload,
    Vendor,
)
from provisioning.domain.errors import Fault
from provisioning.domain.line import TRANSPORTS

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
# At most three folders, as in Cisco's `Cisco/$PN/$MA.cfg`; never `.` or `..`.
_FILE_NAME = re.compile(r"(?:(?!\.{1,2}/)[A-Za-z0-9._-]+/){0,3}(?!\.{1,2}$)[A-Za-z0-9._-]+", re.ASCII)
_EVENT = re.compile(r"[A-Za-z0-9.!%*_+`'~;=-]+", re.ASCII)


def parse_vendor(folder: str, text: str) -> Vendor:
    """One vendor.toml. Fault: `<vendor>/vendor.toml:<line>: <field>: what is wrong`."""
    return _Reader(folder, text).vendor()


@dataclass(frozen=True, slots=True)
class _FamilyTable:
    """A family as it stands in the file, with what its models take from it."""

    family: Family
    defaults: Mapping[str, Any]
    traits: Mapping[str, Trait]
    documents: list[Any]
    where: str


_MODEL_FIELDS = ("slots", "keys", "expansion_modules", "module_keys", "line_keys", "certificate", "tls")


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
        shown = ".".join(part for part in (table.partition(" ")[0], key) if part)
        return Fault(f"{self.folder}/vendor.toml:{line}: {shown}: {problem}")

    def take(self, table: Mapping[str, Any], where: str, key: str, kind: type, default: Any = None) -> Any:
        value = table.get(key, default)
        if value is None:
            raise self.fault(where, key, "is missing")
        # bool is an int to Python, and is no count of slots.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fault(where, key, f"is {value!r}, which is no {kind.__name__}")
        return value

    def one_of(self, table: Mapping[str, Any], where: str, key: str, among: Iterable[str], default: Any = None) -> str:
        value: str = self.take(table, where, key, str, default)
        if value not in among:
            raise self.fault(where, key, f"is {value!r}; known are {', '.join(filter(None, among))}")
        return value

    def texts(self, table: Mapping[str, Any], where: str, key: str) -> tuple[str, ...]:
        given = self.take(table, where, key, list, [])
        for value in given:
            if not isinstance(value, str) or not value:
                raise self.fault(where, key, f"{value!r} is no text")
        return tuple(given)

    def known(self, table: Mapping[str, Any], where: str, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        for key in table:
            if key not in keys:
                raise self.fault(where, key, f"is no field here; known are {', '.join(keys)}")

    def vendor(self) -> Vendor:
        data = self.data
        self.known(data, "", ("name", "prefixes", "agents", "sources", "cited", "certificate", "families", "models"))
        name = self.take(data, "", "name", str)
        prefixes = self.take(data, "", "prefixes", list)
        for oui in prefixes:
            if not isinstance(oui, str) or re.fullmatch("[0-9a-f]{6}", oui, re.ASCII) is None:
                raise self.fault("", "prefixes", f"{oui!r} is not six lower-case hex digits")
        certificate = self.certificate()
        families = {
            key: self.family(key, table, has_certificates=certificate is not None)
            for key, table in self.take(data, "", "families", dict).items()
        }
        models = self.take(data, "", "models", dict)
        if not models:
            raise self.fault("", "models", "names no model")
        built = tuple(self.model(key, table, name, families) for key, table in models.items())
        for key in families:
            if not any(model.family.name == key for model in built):
                raise self.fault("families", key, "has no model")
        cited = self.take(data, "", "cited", dict, {})
        for parameter in cited:
            self.take(cited, "cited", parameter, str)
        return Vendor(self.folder, name, tuple(prefixes), built, certificate, self.agents(), cited)

    def agents(self) -> tuple[re.Pattern[str], ...]:
        found = []
        for text in self.texts(self.data, "", "agents"):
            try:
                pattern = re.compile(text, re.ASCII)
            except re.error as error:
                raise self.fault("", "agents", f"{text!r} is no regular expression: {error}") from None
            if strange := pattern.groupindex.keys() - {"model", "firmware", "mac"}:
                raise self.fault("", "agents", f"{min(strange)!r} is no group here; there are model, firmware, mac")
            if "model" not in pattern.groupindex:
                raise self.fault("", "agents", f"{text!r} does not say which part is the model")
            found.append(pattern)
        return tuple(found)

    def certificate(self) -> CertificateRule | None:
        if "certificate" not in self.data:
            return None
        table = self.take(self.data, "", "certificate", dict)
        self.known(table, "certificate", ("mac", "generic"))
        attribute = self.one_of(table, "certificate", "mac", CERTIFICATE_FIELDS)
        return CertificateRule(attribute, self.texts(table, "certificate", "generic"))

    def family(self, name: str, table: Any, *, has_certificates: bool) -> _FamilyTable:
        where = f"families.{name}"
        if not isinstance(table, dict):
            raise self.fault("families", name, "is no table")
        if _WORD.fullmatch(name) is None:
            raise self.fault("families", name, "is no name of a family: letters, digits, '.', '_' and '-'")
        own = ("syntax", "provisioning_path", "provisioning_macro", "parameter", "module_keys", "certificate", "tls")
        more = ("transports", "one_transport", "password_digits", "password_prefix")
        self.known(table, where, (*own, *more, "resync", "keys", "uploads", "traits", "documents"))
        path = self.take(table, where, "provisioning_path", str)
        self.name_is_safe(where, "provisioning_path", path or "unset", ("mac", "MAC"))
        traits = self.take(table, where, "traits", dict, {})
        for key, value in traits.items():
            if not isinstance(value, str | int):
                raise self.fault(f"{where}.traits", key, f"is {value!r}; a trait is text, a number, true or false")
            if key in (*_MODEL_FIELDS, "family", "aka", "confidence", "source", "model"):
                raise self.fault(f"{where}.traits", key, "is a field of every model already")
        family = Family(
            vendor=self.folder,
            name=name,
            syntax=self.one_of(table, where, "syntax", SYNTAXES),
            provisioning_path=path,
            provisioning_macro=self.take(table, where, "provisioning_macro", str, path),
            resync=self.resync(table, where),
            keys=self.keys(table, where),
            parameter=self.parameter(table, where),
            uploads=self.uploads(table, where),
            transports=self.texts(table, where, "transports") or TRANSPORTS,
            one_transport=self.take(table, where, "one_transport", bool, False),
            password_digits=self.take(table, where, "password_digits", int, PASSWORD_DIGITS),
            password_prefix=self.take(table, where, "password_prefix", str, ""),
        )
        for transport in family.transports:
            if transport not in TRANSPORTS:
                raise self.fault(where, "transports", f"{transport!r} is none; known are {', '.join(TRANSPORTS)}")
        if not 1 <= family.password_digits <= PASSWORD_DIGITS:
            raise self.fault(where, "password_digits", f"is {family.password_digits}; it is 1 to {PASSWORD_DIGITS}")
        if _WORD.fullmatch(family.password_prefix or "none") is None:
            raise self.fault(where, "password_prefix", "is no letters, digits, '.', '_' and '-'")
        defaults = {
            "module_keys": self.take(table, where, "module_keys", int, 0),
            "certificate": self.take(table, where, "certificate", bool, has_certificates),
            "tls": self.one_of(table, where, "tls", TLS_FLOORS, ""),
        }
        return _FamilyTable(family, defaults, traits, self.take(table, where, "documents", list), where)

    def resync(self, family: Mapping[str, Any], above: str) -> Resync:
        where = f"{above}.resync"
        table = self.take(family, above, "resync", dict, {})
        self.known(table, where, ("event", "reboot_event", "content_type", "body", "reboot_body"))
        if table and "event" not in table and "reboot_event" not in table:
            raise self.fault(where, "event", "is missing")
        for key in ("event", "reboot_event"):
            value = table.get(key)
            if value is not None and (not isinstance(value, str) or _EVENT.fullmatch(value) is None):
                raise self.fault(where, key, f"{value!r} is no SIP Event (RFC 6665 section 8.4)")
        bodies = {key: self.take(table, where, key, str, "") for key in ("content_type", "body", "reboot_body")}
        if (bodies["body"] or bodies["reboot_body"]) and not bodies["content_type"]:
            raise self.fault(where, "content_type", "is missing, and there is a body")
        return Resync(table.get("event"), table.get("reboot_event"), **bodies)

    def keys(self, family: Mapping[str, Any], above: str) -> Mapping[str, str]:
        where = f"{above}.keys"
        table = self.take(family, above, "keys", dict, {})
        self.known(table, where, KEY_TYPES)
        return {key: self.take(table, where, key, str) for key in table}

    def parameter(self, family: Mapping[str, Any], where: str) -> str | None:
        if "parameter" not in family:
            return None
        pattern: str = self.take(family, where, "parameter", str)
        try:
            re.compile(pattern, re.ASCII)
        except re.error as error:
            raise self.fault(where, "parameter", f"is no regular expression: {error}") from None
        return pattern

    def uploads(self, family: Mapping[str, Any], above: str) -> Mapping[str, Upload]:
        found: dict[str, Upload] = {}
        for number, table in enumerate(self.take(family, above, "uploads", list, [])):
            where = f"{above}.uploads {number}" if number else f"{above}.uploads"
            self.known(table, where, ("name", "most_bytes", "readable"))
            name = self.take(table, where, "name", str)
            self.name_is_safe(where, "name", name, ("mac", "MAC"))
            most = self.take(table, where, "most_bytes", int)
            if not 1 <= most <= MOST_UPLOAD:
                raise self.fault(where, "most_bytes", f"is {most}; it is 1 to {MOST_UPLOAD}")
            upload = Upload(name, most, self.take(table, where, "readable", bool))
            if "{mac}" not in upload.shape:
                raise self.fault(where, "name", f"{name} does not say whose it is")
            if found.setdefault(upload.shape, upload) is not upload:
                raise self.fault(where, "name", f"{name} is listed twice")
        return found

    def model(self, name: str, table: Any, vendor_name: str, families: Mapping[str, _FamilyTable]) -> Model:
        where = f"models.{name}"
        if not isinstance(table, dict):
            raise self.fault("models", name, "is no table")
        if _WORD.fullmatch(name) is None:
            raise self.fault("models", name, "is no model name: letters, digits, '.', '_' and '-'")
        only = next(iter(families)) if len(families) == 1 else None
        its = families[self.one_of(table, where, "family", families, only)]
        self.known(table, where, ("family", "aka", *_MODEL_FIELDS, "confidence", "source", *its.traits))
        slots = self.take(table, where, "slots", int)
        if not 1 <= slots <= MOST_SLOTS:
            raise self.fault(where, "slots", f"is {slots}; a phone has 1 to {MOST_SLOTS}")
        keys = self.take(table, where, "keys", int, 0)
        modules = self.take(table, where, "expansion_modules", int, 0)
        module_keys = self.take(table, where, "module_keys", int, its.defaults["module_keys"])
        line_keys = self.take(table, where, "line_keys", int, min(slots, keys))
        for key, count in (("keys", keys), ("expansion_modules", modules), ("module_keys", module_keys)):
            if not 0 <= count <= MOST_SLOTS:
                raise self.fault(where, key, f"is {count}; it is 0 to {MOST_SLOTS}")
        if not 0 <= line_keys <= min(slots, keys):
            raise self.fault(where, "line_keys", f"is {line_keys}; it has {keys} keys and {slots} slots")
        traits = {"model": name} | {
            trait: self.take(table, where, trait, bool if isinstance(default, bool) else type(default), default)
            for trait, default in its.traits.items()
        }
        return Model(
            id=f"{self.folder}-{name}".lower(),
            vendor=self.folder,
            vendor_name=vendor_name,
            family=its.family,
            name=name,
            aka=self.texts(table, where, "aka"),
            slots=slots,
            keys=keys,
            expansion_modules=modules,
            module_keys=module_keys,
            line_keys=line_keys,
            confidence=self.one_of(table, where, "confidence", CONFIDENCES),
            source=self.source(table, where),
            certificate=self.take(table, where, "certificate", bool, its.defaults["certificate"]),
            tls=self.one_of(table, where, "tls", TLS_FLOORS, its.defaults["tls"]),
            documents=self.documents(its, traits),
            traits=traits,
        )

    def source(self, table: Mapping[str, Any], where: str) -> str:
        """Short names of [sources], separated by blanks."""
        sources = self.take(self.data, "", "sources", dict)
        found = []
        for short in self.take(table, where, "source", str).split():
            if not isinstance(sources.get(short), str):
                raise self.fault(where, "source", f"{short!r} is not in [sources]")
            found.append(sources[short])
        if not found:
            raise self.fault(where, "source", "is empty")
        return "; ".join(found)

    def documents(self, its: _FamilyTable, traits: Mapping[str, Trait]) -> dict[str, Document]:
        found: dict[str, Document] = {}
        for number, table in enumerate(its.documents):
            where = f"{its.where}.documents {number}" if number else f"{its.where}.documents"
            switches = ("encryption", "content_encryption", "always_encrypted", "proof_only")
            own = ("name", "template", "content_type", "holds", "syntax", *switches)
            self.known(table, where, own)
            name = self.filled(table, where, "name", traits)
            if name is None:
                continue
            template = self.take(table, where, "template", str)
            if _WORD.fullmatch(template) is None or not template.endswith(".j2"):
                raise self.fault(where, "template", f"{template!r} is no template of this folder")
            encryption = self.one_of(table, where, "encryption", CIPHERS) if "encryption" in table else None
            coding = (
                self.one_of(table, where, "content_encryption", CONTENT_CODINGS)
                if "content_encryption" in table
                else None
            )
            document = Document(
                name=name,
                template=f"{self.folder}/{template}",
                content_type=self.take(table, where, "content_type", str),
                holds=self.one_of(table, where, "holds", HOLDS),
                syntax=self.one_of(table, where, "syntax", SYNTAXES, its.family.syntax),
                encryption=encryption,
                content_encryption=coding,
                always_encrypted=self.take(table, where, "always_encrypted", bool, False),
                proof_only=self.take(table, where, "proof_only", bool, False),
            )
            if document.stage and "{mac}" not in document.shape:
                raise self.fault(where, "holds", f"{name} holds {document.holds} but no MAC says whose")
            if encryption and not document.lines:
                raise self.fault(where, "encryption", f"{name} holds no lines")
            for switch, on in (("content_encryption", coding), ("always_encrypted", document.always_encrypted)):
                if on and not encryption:
                    raise self.fault(where, switch, "needs encryption beside it")
            if found.setdefault(document.shape, document) is not document:
                raise self.fault(where, "name", f"{name} is listed twice")
        if not any(document.lines and not document.always_encrypted for document in found.values()):
            raise self.fault(its.where, "documents", "none of them holds the phone's lines")
        return found

    def filled(self, table: Mapping[str, Any], where: str, key: str, traits: Mapping[str, Trait]) -> str | None:
        """A document's name with the model's traits in it; None: the model has none for it (a trait is empty)."""
        pattern = self.take(table, where, key, str)
        self.name_is_safe(where, key, pattern, ("mac", "MAC", *traits))
        used = [name for name in _PLACEHOLDER.findall(pattern) if name in traits]
        if any(traits[name] == "" for name in used):
            return None
        name = _PLACEHOLDER.sub(lambda match: str(traits[match[1]]) if match[1] in traits else match[0], pattern)
        self.name_is_safe(where, key, name, ("mac", "MAC"))
        return name

    def name_is_safe(self, where: str, key: str, name: str, placeholders: Iterable[str]) -> None:
        for placeholder in _PLACEHOLDER.findall(name):
            if placeholder not in tuple(placeholders):
                raise self.fault(where, key, f"{{{placeholder}}} is unknown; known are {', '.join(placeholders)}")
        if _FILE_NAME.fullmatch(_PLACEHOLDER.sub("x", name)) is None:
            raise self.fault(where, key, f"{name!r} is no file name")


def _line_of(text: str, table: str, key: str) -> int:
    """Where `key` of `table` stands, or else the table's header: tomllib keeps no positions.

    `documents 2` is the third [[documents]]. A model may stand on one line of its own below [models].
    """
    table, _, nth = table.partition(" ")
    earlier = int(nth or 0)
    above, _, name = table.rpartition(".")
    current = ""
    inside = not table
    header = 1
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            current = stripped.split("]")[0].strip("[").replace('"', "").strip()
            inside = current == table
            if inside and earlier:
                earlier -= 1
                inside = False
            elif inside:
                header = number
            elif current == f"{table}.{key}" or (not table and current == key):
                return number
        elif (inside and _sets(stripped, key)) or (above and current == above and _sets(stripped, name)):
            return number
    return header


def _sets(line: str, key: str) -> bool:
    return re.match(rf'"?{re.escape(key)}"?\s*=', line) is not None
