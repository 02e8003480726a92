"""What the API takes and gives, as types: requests are checked against them, OpenAPI is made of them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Slot = Annotated[int, Meta(description="A position on a phone, from 1; the main line is in slot 1.")]
MacText = Annotated[str, Meta(description="Twelve lower-case hex digits; requests may use any case and separator.")]
PublicIp = Annotated[str, Meta(description="The address from which the phone reaches the operator, without a port.")]
ShownOnce = Annotated[
    str, Meta(description="What the phone is given, with its secret; shown when it is made, and never again.")
]
Time = Annotated[str, Meta(description="RFC 3339, UTC.")]


class Request(Struct, forbid_unknown_fields=True):
    pass


class NewAccount(Request):
    account: str | None = None
    name: str = ""


ProofNames = Annotated[
    list[str], Meta(description="Of certificate, secret, password, bootstrap, code, door; the strongest first.")
]


class AccountChange(Request):
    name: str | UnsetType = UNSET
    proofs: (
        Annotated[ProofNames | None, Meta(description="What its phones' proofs are narrowed to; null: the operator's.")]
        | UnsetType
    ) = UNSET


class Account(Struct):
    account: str
    name: str
    proofs: ProofNames | None
    created_at: Time


class NewLine(Request):
    account: str
    number: str
    username: str
    password: str
    domain: str
    line: str | None = None
    display_name: str = ""
    outbound_proxy: str = ""
    transport: str = "udp"


class LineChange(Request):
    number: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    domain: str | UnsetType = UNSET
    display_name: str | UnsetType = UNSET
    outbound_proxy: str | UnsetType = UNSET
    transport: str | UnsetType = UNSET


class Line(Struct):
    line: str
    account: str
    number: str
    username: str
    domain: str
    display_name: str
    outbound_proxy: str
    transport: str
    phone: MacText | None
    slot: Slot | None
    created_at: Time


class NewPhone(Request):
    mac: MacText
    model: str
    account: str
    serial: str | None = None
    main_line: str | None = None


class PhoneChange(Request):
    model: str | UnsetType = UNSET
    account: str | UnsetType = UNSET
    serial: str | UnsetType | None = UNSET


class HeldLine(Struct):
    slot: Slot
    line: str


class Door(Struct):
    public_ip: Annotated[str, Meta(description="From where it may be passed: an IPv4 address, or an IPv6 /64.")]
    opened_by: str
    opened_at: Time
    closes_at: Time


class Phone(Struct, omit_defaults=False):
    mac: MacText
    model: str
    account: str
    serial: str | None
    lines: list[HeldLine]
    slots: int
    slots_free: int
    public_ip: PublicIp | None
    last_seen: Time | None
    user_agent: str | None
    firmware: str | None
    state: Annotated[
        Literal["ordered", "shipped", "bound", "reset", "returned"],
        Meta(description="bound: shows its own secret; reset: asked without it, from where it lives."),
    ]
    door: Door | None
    created_at: Time
    provisioning_url: (
        Annotated[str, Meta(description="What the phone is given, with its secret. Shown at creation only.")]
        | UnsetType
    ) = UNSET


class Model(Struct):
    model: str
    vendor: str
    vendor_name: str
    family: str
    name: str
    slots: int
    keys: int
    key_types: list[str]
    expansion_modules: int
    module_keys: int
    capabilities: list[str]
    transports: Annotated[list[str], Meta(description="Of SIP: a line that wants another is refused.")]
    tls: Annotated[str, Meta(description="The newest TLS that all its firmware is known to speak; empty: unknown.")]
    confidence: str
    source: str
    common: list[str]
    prefixes: list[str]


class Setting(Struct):
    name: str
    kind: Literal["boolean", "enumeration", "choices", "number", "address", "host", "number-to-dial", "string"]
    group: str
    level: Literal["standard", "expert", "admin"]
    does: str
    of_line: Annotated[bool, Meta(description="Each line has its own; it may be chosen for one.")]
    value: bool | int | str | list[str]
    source: Annotated[str, Meta(description="default, config, operator, model, account, phone or line.")]
    default: bool | int | str | list[str]
    supported: Annotated[bool | None, Meta(description="By the phone's model; null where several are concerned.")]
    among: list[str] | None
    least: int | None
    most: int | None


class Parameter(Struct):
    name: str
    value: str
    source: str


class Settings(Struct):
    settings: list[Setting]
    parameters: Annotated[list[Parameter], Meta(description="The vendor's own, set by name.")]
    operations: (
        Annotated[list[str], Meta(description="Of the phones that were told; empty: they learn at their next poll.")]
        | UnsetType
    ) = UNSET


SettingValue = bool | int | str | list[str] | None


class SettingsChange(Request):
    settings: Annotated[dict[str, SettingValue], Meta(description="null takes a choice back.")] = {}
    parameters: Annotated[
        dict[str, str | None], Meta(description="The vendor's own, by name; null takes one back.")
    ] = {}
    auto_reboot: Annotated[bool, Meta(description="Phones restart, where they can, instead of only fetching.")] = False


class FunctionKey(Struct):
    key: Annotated[str, Meta(description="5, or 1.5 for the fifth key of the first expansion module.")]
    module: int
    number: int
    type: str
    value: str
    label: Annotated[str, Meta(description="As it was set; empty: a line key shows its line's name.")]
    line: Annotated[str | None, Meta(description="Of a line key: which line is in its slot now.")]
    set: Annotated[bool, Meta(description="false: it is the slot's own, or its user's.")]


class Keys(Struct):
    keys: Annotated[list[FunctionKey], Meta(description="Those that the configuration sets.")]
    count: Annotated[int, Meta(description="How many the phone has.")]
    expansion_modules: int
    module_keys: int
    types: list[str]
    operations: list[str] | UnsetType = UNSET


class NewKey(Request):
    number: int
    type: str
    module: int = 0
    value: str = ""
    label: str = ""


class KeysChange(Request):
    keys: list[NewKey]
    auto_reboot: bool = False


class KeyChange(Request):
    type: str
    value: str = ""
    label: str = ""
    auto_reboot: bool = False


class KeysCopy(Request):
    to: list[MacText]


class KeysCopiedTo(Struct):
    phone: MacText
    copied: bool
    operation: str | None
    reason: "Reason | None"


class KeysCopied(Struct):
    results: list[KeysCopiedTo]


class Contact(Struct):
    id: int
    group: str
    name: str
    surname: str
    work: str
    mobile: str
    home: str


class NewContact(Request):
    group: str = ""
    name: str = ""
    surname: str = ""
    work: Annotated[str, Meta(description="International, such as +33972101234.")] = ""
    mobile: str = ""
    home: str = ""


class ContactChange(Request):
    group: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    surname: str | UnsetType = UNSET
    work: str | UnsetType = UNSET
    mobile: str | UnsetType = UNSET
    home: str | UnsetType = UNSET


class PhonebookImport(Request):
    text: str
    format: str = "csv"
    replace: Annotated[bool, Meta(description="The file's contacts instead of those that there are.")] = False


class PhonebookImported(Struct):
    imported: int


class UnknownPhone(Struct):
    mac: MacText
    vendor: Annotated[str | None, Meta(description="As its request says; nobody has proved it.")]
    model: str | None
    firmware: str | None
    user_agent: str
    document: str
    public_ip: str | None
    first_seen: Time
    last_seen: Time


class Upload(Struct):
    name: str
    bytes: int
    at: Time


class Reason(Struct):
    code: str
    detail: str


class AttachablePhone(Struct):
    mac: MacText
    model: str
    eligible: bool
    reason: Reason | None
    slots: int
    slots_free: int
    lines: list[HeldLine]
    public_ip: PublicIp | None
    last_seen: Time | None


class Attach(Request):
    public_ip: PublicIp | None = None
    mac: MacText | None = None
    slot: Slot | None = None


class Detach(Request):
    public_ip: PublicIp | None = None
    mac: MacText | None = None
    force: Annotated[bool, Meta(description="The main or the last line too; operators only.")] = False


class Promote(Request):
    line: str


class Resync(Request):
    reboot: bool = False


class Reset(Request):
    public_ip: PublicIp


class OpenDoor(Request):
    public_ip: PublicIp


class ActivationCode(Struct):
    code: Annotated[str, Meta(description="Six digits, to be typed on the phone once. Shown this once.")]
    expires_at: Time


class PhonePasswords(Struct):
    admin_user: str
    admin_password: Annotated[
        str | None, Meta(description="Of the phone's own menus and web page; null: it has no secret it could come of.")
    ]
    user_password: Annotated[str | None, Meta(description="The same of its user, where the phone has one.")]


class Shipped(Struct):
    phone: Phone
    bootstrap_url: Annotated[
        str, Meta(description="Works once: what the vendor's redirect service, or staging, gives this phone.")
    ]
    expires_at: Time


class OperationFacts(Struct):
    committed_at: Time
    notified_at: Time | None
    sip_status: int | None
    fetched_at: Time | None
    registered_at: Time | None


class Operation(Struct):
    id: str
    kind: str
    state: Literal["todo", "doing", "done", "error"]
    account: str
    line: str | None
    phone: MacText
    slot: Slot | None
    requested_at: Time
    deadline_at: Time
    facts: OperationFacts
    error: Reason | None
    provisioning_url: (
        Annotated[str, Meta(description="After a reset only: what the phone is given, with its new secret.")]
        | UnsetType
    ) = UNSET


class Document(Struct):
    name: str
    path: Annotated[str, Meta(description="Relative to the provisioning URL.")]
    content_type: str
    stage: Annotated[int, Meta(description="1: holds lines, served only on a proof. 0: holds no secret.")]


class Event(Struct):
    id: int
    at: Time
    kind: str
    detail: dict[str, Any]


ScopeName = Annotated[
    Literal["read", "operate", "admin"],
    Meta(
        description="read: look; operate: also attach, detach, promote, resync and the like; "
        "admin: also make, change and remove."
    ),
]


class NewToken(Request):
    name: str
    scope: ScopeName
    account: Annotated[str | None, Meta(description="For this account only; null: an operator's, for all.")] = None
    expires_at: Annotated[str | None, Meta(description="RFC 3339, UTC; null: never.")] = None


class Token(Struct):
    id: str
    name: str
    scope: ScopeName
    account: str | None
    created_at: Time
    expires_at: Time | None
    used_at: Annotated[str | None, Meta(description="RFC 3339, UTC, to the minute or so.")]
    used_from: str | None
    token: Annotated[str, Meta(description="The token itself. Shown at creation only.")] | UnsetType = UNSET


class NewSession(Request):
    token: str

    def __repr__(self) -> str:
        return "NewSession()"


class Session(Struct):
    """What the console may do, as its token."""

    name: str
    scope: ScopeName
    account: str | None
    expires_at: Time


class AuditEntry(Struct):
    id: int
    at: Time
    who: str
    address: str
    action: str
    subject: Annotated[str, Meta(description="Its kind and its name, such as `line line-1`.")]
    before: Annotated[dict[str, Any] | None, Meta(description="What the API showed of it; null: it was not there.")]
    after: Annotated[dict[str, Any] | None, Meta(description="Secrets that were set are masked.")]
    hash: Annotated[str, Meta(description="SHA-256 over this row and the hash of the row before.")]


class Alarm(Struct):
    id: int
    at: Time
    kind: str
    mac: MacText | None
    detail: dict[str, Any]


class Problem(Struct):
    """RFC 9457; further members depend on the code."""

    type: str
    title: str
    status: int
    code: str
    detail: str


def decode(body: bytes, kind: type[Any]) -> Any:
    """msgspec.DecodeError (no JSON) or its kind ValidationError (names the field)."""
    return msgspec.json.decode(body or b"{}", type=kind)


def given(change: Request) -> dict[str, Any]:
    """The fields that a PATCH names; the others stay as they are."""
    return {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
