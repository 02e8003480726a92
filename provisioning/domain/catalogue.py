"""What phones exist: vendors' dialects, the documents they ask for, and models with their slots.

A vendor is data: `templates/phones/<vendor>/vendor.toml` (domain/vendor_file.py, docs/adding-a-vendor.md).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from provisioning.domain.errors import Fault, Refused
from provisioning.domain.mac import Mac, prefix

SYNTAXES = ("key-value", "colon", "quoted", "ini", "ini-latin1", "xml", "xml-ascii", "xml-latin1")
"How a document carries values: rendering/encoders.py."
CIPHERS = ("yealink-aes", "openssl-md5", "openssl-md5-gzip", "panasonic-aes")
"How a whole document can be encrypted, as a file: rendering/encryption.py."
CONTENT_CODINGS = ("aes128gcm",)
"The same as an HTTP answer, which names it in Content-Encoding (RFC 8188)."
HOLDS = ("nothing", "directory", "lines", "contacts")
CONFIDENCES = ("guide", "peer", "conflict")
CERTIFICATE_FIELDS = ("CN", "S")
TLS_FLOORS = ("", "1.0", "1.1", "1.2", "1.3")
KEY_TYPES = (
    *("line", "speed-dial", "blf", "voicemail", "transfer", "hold", "park", "pickup", "url", "dnd", "forward"),
    *("redial", "conference", "directory", "menu", "intercom", "none"),
)
# A DECT multicell system is the largest thing a slot count was ever stated for.
MOST_SLOTS = 1000
PASSWORD_DIGITS = 12
MOST_UPLOAD = 4 * 1024 * 1024

Trait = str | int | bool


@dataclass(frozen=True, slots=True)
class Document:
    """One file that phones of a model ask for."""

    name: str
    "As the phone spells it, with {mac} or {MAC} where its MAC stands."
    template: str
    "Path below templates/phones."
    content_type: str
    holds: str
    """Of HOLDS: the phone's lines or its phonebook, so it is served only on a proof (stage 1); or neither.

    directory: nothing of the phone, but the URL of the directory in which it is asked for, where its own
    files stand too. For phones that are told that URL by a file whose name has no MAC."""
    syntax: str
    encryption: str | None = None
    "It is encrypted so, with the phone's own key, where that is chosen for the phone and the phone has the key."
    content_encryption: str | None = None
    "Or so, where that is chosen: of CONTENT_CODINGS."
    always_encrypted: bool = False
    "Only a phone that was told the key asks for this name."
    proof_only: bool = False
    "Without a proof there is none: a phone that takes each file for its whole configuration would lose its lines."

    @property
    def shape(self) -> str:
        """The name without the phone: lower case, `{mac}` for the MAC."""
        return self.name.lower()

    @property
    def lines(self) -> bool:
        return self.holds == "lines"

    @property
    def stage(self) -> int:
        return 0 if self.holds in ("nothing", "directory") else 1

    def name_for(self, mac: Mac) -> str:
        return fill_mac(self.name, mac)


@dataclass(frozen=True, slots=True)
class Upload:
    """One file that phones of a family PUT."""

    name: str
    most_bytes: int
    readable: bool
    "The phone may fetch it again, as it fetches what its user changed on it."

    @property
    def shape(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Resync:
    """The NOTIFY that makes a phone fetch, and the one that makes it restart (None: it cannot)."""

    event: str | None
    reboot_event: str | None
    content_type: str = ""
    body: str = ""
    reboot_body: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Models of one vendor that speak one dialect."""

    vendor: str
    name: str
    syntax: str
    provisioning_path: str
    "What follows the secret in the URL that such a phone is given."
    provisioning_macro: str
    "The same, where the phone is to put its own MAC in."
    resync: Resync
    keys: Mapping[str, str]
    "What the vendor calls each type of key that its phones can have."
    parameter: str | None
    "What the vendor's own parameters look like; None: an admin can set none by name."
    uploads: Mapping[str, Upload]
    "By shape."
    transports: tuple[str, ...]
    "Of SIP, that its phones speak."
    one_transport: bool
    "All lines of a phone go by that of its first line."
    password_digits: int
    "Of the passwords of its phones' own menus and web page, as far as these can hold them."
    password_prefix: str
    "In front of them, where phones want other kinds of characters too."


@dataclass(frozen=True, slots=True)
class Model:
    id: str
    "`<vendor>-<name>` in lower case: what the API calls the model."
    vendor: str
    "The vendor's folder."
    vendor_name: str
    family: Family
    name: str
    aka: tuple[str, ...]
    "How its phones call themselves, beside the name."
    slots: int
    keys: int
    expansion_modules: int
    module_keys: int
    line_keys: int
    "How many of the first keys are the slots' own where nothing else is chosen."
    confidence: str
    source: str
    certificate: bool
    "It has a factory certificate."
    tls: str
    "The newest TLS that all its firmware is known to speak; empty: unknown."
    documents: Mapping[str, Document]
    "By shape."
    traits: Mapping[str, Trait]
    "`model`, its name, and the further fields that its family declares, for templates and document names."

    @property
    def title(self) -> str:
        """As people are told: `Yealink T54W`."""
        return f"{self.vendor_name} {self.name}"

    @property
    def event(self) -> str | None:
        return self.family.resync.event

    @property
    def reboot_event(self) -> str | None:
        return self.family.resync.reboot_event

    @property
    def contacts(self) -> Document | None:
        """The document that holds its phonebook."""
        return next((document for document in self.documents.values() if document.holds == "contacts"), None)

    @property
    def capabilities(self) -> tuple[str, ...]:
        documents = self.documents.values()
        able = {
            "resync": self.event is not None,
            "reboot": self.reboot_event is not None,
            "keys": bool(self.keys and self.family.keys),
            "phonebook": self.contacts is not None,
            "parameters": self.family.parameter is not None,
            "encryption": any(document.encryption for document in documents),
            "certificate": self.certificate,
            "uploads": bool(self.family.uploads),
        }
        return tuple(name for name, can in able.items() if can)


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
    agents: tuple[re.Pattern[str], ...] = ()
    "What its phones' User-Agents look like: groups `model`, `firmware`, `mac`."
    cited: Mapping[str, str] = field(default_factory=dict)
    "Parameters that the list of known ones lacks, with the guide that has them."

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple({model.family.name: model.family for model in self.models}.values())


@dataclass(frozen=True, slots=True)
class Catalogue:
    vendors: tuple[Vendor, ...]
    models: Mapping[str, Model]
    common: Mapping[str, tuple[Model, Document]]
    "Documents without a MAC in their name, by shape."
    by_prefix: Mapping[str, Vendor]
    aliases: Mapping[str, Model]
    "By a further spelling of a model's name, where no model has that for its own."

    def model(self, name: str) -> Model:
        """By its id, or by another spelling of it, in any case. Refused: `model-unknown`."""
        found = self.models.get(name.lower()) or self.aliases.get(name.lower())
        if found is None:
            raise Refused("model-unknown", f"No model is called {name!r}; GET /v1/models lists them.")
        return found

    def of_prefix(self, mac: Mac) -> Vendor | None:
        return self.by_prefix.get(prefix(mac))

    def vendor(self, folder: str) -> Vendor:
        return next(vendor for vendor in self.vendors if vendor.folder == folder)


def fill_mac(name: str, mac: Mac) -> str:
    return name.replace("{mac}", mac).replace("{MAC}", mac.upper())


def catalogue(vendors: Iterable[Vendor], slots: Mapping[str, int] | None = None) -> Catalogue:
    """Puts vendors together; a name or prefix that two of them claim is a Fault.

    `slots`: by model id, the operator's own figures.
    """
    own = {name.lower(): count for name, count in (slots or {}).items()}
    vendors = tuple(
        replace(vendor, models=tuple(_with_slots(model, own) for model in vendor.models))
        for vendor in sorted(vendors, key=lambda vendor: vendor.folder)
    )
    models: dict[str, Model] = {}
    common: dict[str, tuple[Model, Document]] = {}
    by_prefix: dict[str, Vendor] = {}
    for vendor in vendors:
        for oui in vendor.prefixes:
            if (other := by_prefix.setdefault(oui, vendor)) is not vendor:
                raise Fault(f"{vendor.folder}/vendor.toml: prefixes: {oui} is also claimed by {other.folder}")
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
    if unknown := sorted(own.keys() - models.keys()):
        raise Fault(f"[models] slots: no model is called {unknown[0]!r}")
    aliases = {
        f"{model.vendor}-{spelling}".lower(): model
        for model in reversed(models.values())
        for spelling in model.aka
    }
    return Catalogue(vendors, models, common, by_prefix, aliases)


def _with_slots(model: Model, own: Mapping[str, int]) -> Model:
    slots = own.get(model.id)
    if slots is None:
        return model
    return replace(model, slots=slots, confidence="operator", source="the operator's config.toml")
