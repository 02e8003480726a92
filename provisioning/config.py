"""config.toml and PROVISIONING__<SECTION>__<KEY> → frozen values, checked before anything listens."""

import functools
import ipaddress
import json
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from provisioning.domain.address import Network
from provisioning.domain.catalogue import MOST_SLOTS
from provisioning.domain.errors import Fault
from provisioning.domain.guard import LARGEST_LIMIT
from provisioning.domain.proof import PROOFS, Proof, narrowed
from provisioning.domain.settings import Value

ENVIRONMENT = "PROVISIONING__"
ROOT = Path(__file__).resolve().parent.parent
_SIP_URI = re.compile(r"sips?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]+@[A-Za-z0-9.\-:\[\]]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listen:
    phones_http: Endpoint | None = Endpoint("0.0.0.0", 8080)  # noqa: S104  phones are anywhere
    phones_https: Endpoint | None = Endpoint("0.0.0.0", 8443)  # noqa: S104
    phones_mtls: Endpoint | None = None
    phones_legacy: Endpoint | None = None
    management: Endpoint | None = Endpoint("127.0.0.1", 8081)


@dataclass(frozen=True, slots=True)
class Server:
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Data:
    dir: Path = Path("var")


@dataclass(frozen=True, slots=True)
class DatabaseSection:
    url: str = ""


@dataclass(frozen=True, slots=True)
class Paths:
    templates: Path = ROOT / "templates" / "phones"
    firmware: Path = ROOT / "firmware"


@dataclass(frozen=True, slots=True)
class Tls:
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Devices:
    ca_dir: Path | None = None
    expired: str = "refuse"
    proxy_header: str = ""


@dataclass(frozen=True, slots=True)
class Legacy:
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkSection:
    private_addresses: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    freshness: float = 3600.0


@dataclass(frozen=True, slots=True)
class Phones:
    url: str = ""
    ntp_server: str = "pool.ntp.org"
    poll_minutes: int = 1440
    lines_over_http: str = "private"
    door: float = 1800.0

    @property
    def chosen(self) -> dict[str, Value]:
        """Settings of phones that stand here, below all that is chosen in the database."""
        return {"ntp_server": self.ntp_server, "poll_minutes": self.poll_minutes}


class ModelProofs(NamedTuple):
    model: str
    accept: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Proofs:
    accept: tuple[Proof, ...] = PROOFS
    models: tuple[ModelProofs, ...] = ()
    reopen: bool = True
    bootstrap_days: float = 30.0
    code: float = 1800.0

    def accepted(self, model: str, account: str | None) -> frozenset[Proof]:
        """`account`: its own choice, separated by blanks."""
        return _accepted(self, model, account)


@functools.lru_cache(maxsize=4096)
def _accepted(its: Proofs, model: str, account: str | None) -> frozenset[Proof]:
    chosen = next((its.accept for its in its.models if its.model == model), None)
    return narrowed(its.accept, chosen, None if account is None else account.split())


class ModelSlots(NamedTuple):
    model: str
    slots: int


@dataclass(frozen=True, slots=True)
class Models:
    slots: tuple[ModelSlots, ...] = ()

    @property
    def by_model(self) -> dict[str, int]:
        return dict(self.slots)


@dataclass(frozen=True, slots=True)
class Limits:
    connections: int = 10_000
    connections_per_address: int = 4_000
    answers: int = 2_000
    handshake: float = 10.0
    request: float = 10.0
    cache_bytes: int = 256_000_000
    failures_per_address: int = 20
    failures_per_network: int = 300
    failures_per_mac: int = 10
    failures_per_prefix: int = 600
    failure_minutes: float = 10.0


@dataclass(frozen=True, slots=True)
class ResyncSection:
    proxy: str = ""
    sender: str = "sip:provisioning@localhost"
    username: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None
    t1: float = 0.5
    concurrency: int = 200
    deadline: float = 300.0


@dataclass(frozen=True, slots=True)
class RegistrarSection:
    locator: str = ""
    password_hook: str = ""
    password_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ManagementSection:
    failures: int = 30
    session_hours: float = 12.0


@dataclass(frozen=True, slots=True)
class Log:
    level: str = "info"
    access: str = "-"


@dataclass(frozen=True, slots=True)
class Config:
    listen: Listen = Listen()
    server: Server = Server()
    data: Data = Data()
    database: DatabaseSection = DatabaseSection()
    paths: Paths = Paths()
    tls: Tls = Tls()
    devices: Devices = Devices()
    legacy: Legacy = Legacy()
    network: NetworkSection = NetworkSection()
    phones: Phones = Phones()
    proofs: Proofs = Proofs()
    models: Models = Models()
    limits: Limits = Limits()
    resync: ResyncSection = ResyncSection()
    registrar: RegistrarSection = RegistrarSection()
    management: ManagementSection = ManagementSection()
    log: Log = Log()

    @property
    def database_path(self) -> Path:
        if not self.database.url:
            return self.data.dir / "provisioning.db"
        return Path(self.database.url.removeprefix("sqlite:///"))

    @property
    def key_file(self) -> Path:
        return self.data.dir / "secret-key"

    @property
    def token_file(self) -> Path:
        return self.data.dir / "admin-token"

    @property
    def ready_file(self) -> Path:
        return self.data.dir / "ready.json"

    @property
    def demo_file(self) -> Path:
        """What is printed on the demo's phones: their provisioning URLs, which nobody else is shown."""
        return self.data.dir / "demo-phones.json"

    @property
    def ca_file(self) -> Path:
        """What a client trusts to reach the HTTPS listener, where the certificate is our own."""
        return self.data.dir / "ca.pem"

    @property
    def legacy_ca_file(self) -> Path:
        """The same for the legacy listener: an RSA one, for old phones know no other."""
        return self.data.dir / "legacy-ca.pem"


DEMO = Config(
    listen=Listen(phones_http=Endpoint("127.0.0.1", 8080), phones_https=Endpoint("127.0.0.1", 8443)),
    network=NetworkSection(private_addresses=True),
    resync=ResyncSection(proxy="udp:127.0.0.1:5062"),
    registrar=RegistrarSection(locator="kamailio:http://127.0.0.1:5063/RPC"),
)
"The defaults of `serve --demo`: everything on this machine, the simulator as the operator's SIP proxy."


def load(path: Path | None, environment: Mapping[str, str] | None = None, defaults: Config | None = None) -> Config:
    """Fault: names the file, section and key, and what it should be."""
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise Fault(f"{path}: cannot be read ({error})") from None
        except tomllib.TOMLDecodeError as error:
            raise Fault(f"{path}: {error}") from None
    sections: dict[str, dict[str, tuple[Any, str]]] = {}
    for name, section in data.items():
        if not isinstance(section, dict):
            raise Fault(f"{path}: {name}: is no section; settings stand in sections such as [listen]")
        sections[name] = {key: (value, f"{path}: [{name}] {key}") for key, value in section.items()}
    for variable, value in (os.environ if environment is None else environment).items():
        if variable.startswith(ENVIRONMENT):
            section_name, _, key = variable.removeprefix(ENVIRONMENT).lower().partition("__")
            sections.setdefault(section_name, {})[key] = (value, variable)
    return _check(_build(sections, defaults or Config()))


def _build(sections: dict[str, dict[str, tuple[Any, str]]], defaults: Config) -> Config:
    built: dict[str, Any] = {}
    known = {item.name: typing.cast("type", item.type) for item in fields(Config)}
    for name, values in sections.items():
        if name not in known:
            where = next((place for _, place in values.values()), name)
            raise Fault(f"{where}: there is no section [{name}]; known are {', '.join(known)}")
        hints = typing.get_type_hints(known[name])
        arguments = {}
        for key, (value, where) in values.items():
            if key not in hints:
                raise Fault(f"{where}: there is no such setting; [{name}] has {', '.join(hints)}")
            try:
                arguments[key] = _convert(hints[key], value)
            except ValueError as error:
                raise Fault(f"{where}: {error}") from None
        built[name] = replace(getattr(defaults, name), **arguments)
    return replace(defaults, **built)


def _convert(kind: Any, value: Any) -> Any:
    """From TOML's types, or from the text of an environment variable. ValueError: what it should be."""
    if isinstance(kind, types.UnionType):
        if value in ("", None):
            return None
        (kind,) = [option for option in typing.get_args(kind) if option is not types.NoneType]
    if typing.get_origin(kind) is tuple:
        return _LISTS[typing.get_args(kind)[0]](value)
    return _CONVERT[kind](value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(f"is {value!r}; it is true or false")


def _integer(value: Any) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"is {value!r}; it is a whole number") from None


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"is {value!r}; it is a number") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text; put it in quotes")
    return value


def _endpoint(value: Any) -> Endpoint:
    host, _, port = _text(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"is {value!r}; it is host:port, such as 127.0.0.1:8081 or [::1]:8081")
    return Endpoint(host, int(port))


def _list(value: Any, of: str) -> list[Any]:
    if isinstance(value, str):
        value = [part.strip() for part in value.strip("[]").replace('"', "").split(",") if part.strip()]
    if not isinstance(value, list):
        raise ValueError(f"is {value!r}; it is a list of {of}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value, "texts"))


def _networks(value: Any) -> tuple[Network, ...]:
    value = _list(value, "networks")
    try:
        return tuple(ipaddress.ip_network(_text(item)) for item in value)
    except ValueError as error:
        raise ValueError(f"holds no network: {error}; it looks like 10.0.0.0/8 or 2001:db8::/32") from None


def _proofs(value: Any) -> tuple[Proof, ...]:
    given = _list(value, "proofs")
    for item in given:
        if item not in PROOFS:
            raise ValueError(f"holds {item!r}; proofs are {', '.join(PROOFS)}")
    return tuple(given)


def _model_proofs(value: Any) -> tuple[ModelProofs, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except json.JSONDecodeError:
            value = None
    if not isinstance(value, dict):
        raise ValueError('is no table such as { "yealink-t54w" = ["certificate", "secret"] }')
    return tuple(ModelProofs(model.lower(), _proofs(accept)) for model, accept in value.items())


def _model_slots(value: Any) -> tuple[ModelSlots, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except json.JSONDecodeError:
            value = None
    if not isinstance(value, dict):
        raise ValueError('is no table such as { "yealink-t54w" = 10 }')
    found = []
    for model, slots in value.items():
        if not isinstance(slots, int) or isinstance(slots, bool) or not 1 <= slots <= MOST_SLOTS:
            raise ValueError(f"gives {model} {slots!r} slots; a phone has 1 to {MOST_SLOTS}")
        found.append(ModelSlots(model.lower(), slots))
    return tuple(found)


_LISTS: dict[Any, Callable[[Any], Any]] = {
    str: _texts,
    Network: _networks,
    Proof: _proofs,
    ModelProofs: _model_proofs,
    ModelSlots: _model_slots,
}
_CONVERT: dict[Any, Callable[[Any], Any]] = {
    bool: _flag,
    int: _integer,
    float: _number,
    str: _text,
    Path: lambda value: Path(_text(value)),
    Endpoint: _endpoint,
}


def _check(config: Config) -> Config:
    """What no single value's type says."""

    def need(good: object, key: str, sentence: str) -> None:
        if not good:
            raise Fault(f"[{key.partition('.')[0]}] {key.partition('.')[2]}: {sentence}")

    for section in fields(Config):
        values = getattr(config, section.name)
        for item in fields(values):
            value = getattr(values, item.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                need(0 < value < math.inf, f"{section.name}.{item.name}", f"is {value}; it is above 0")
    need(config.server.workers <= 64, "server.workers", "is above 64")
    for name in ("address", "network", "mac", "prefix"):
        key = f"failures_per_{name}"
        most = getattr(config.limits, key)
        need(most <= LARGEST_LIMIT, f"limits.{key}", f"is {most}; it is at most {LARGEST_LIMIT}")
    url = config.database.url
    need(
        not url or re.fullmatch(r"sqlite:///.+", url),
        "database.url",
        f"is {url!r}; it is sqlite:///<path>, or empty for the data directory's own",
    )
    need(
        (config.tls.certificate is None) == (config.tls.key is None),
        "tls.certificate",
        "needs [tls] key beside it, and the other way round",
    )
    for path in (config.tls.certificate, config.tls.key):
        need(path is None or path.is_file(), "tls.certificate", f"{path} is no file")
    if config.phones.url:
        parts = urlsplit(config.phones.url)
        need(
            parts.scheme in ("http", "https")
            and parts.hostname
            and not parts.query
            and not parts.fragment
            and re.fullmatch(r"[!-~]{1,200}", config.phones.url),
            "phones.url",
            f"is {config.phones.url!r}; it is what phones reach, such as https://phones.example.net",
        )
    need(
        re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", config.phones.ntp_server, re.ASCII),
        "phones.ntp_server",
        "is a host name or an address, such as pool.ntp.org",
    )
    listen, devices = config.listen, config.devices
    need(
        listen.phones_http or listen.phones_https or listen.phones_mtls or listen.phones_legacy,
        "listen.phones_https",
        "and the phones' other listeners are all empty, so no phone could be served",
    )
    need(
        listen.phones_http or listen.phones_https or config.phones.url,
        "phones.url",
        "is what phones are told to come back to; it is needed without phones_http and phones_https",
    )
    need(
        devices.ca_dir or not listen.phones_mtls,
        "devices.ca_dir",
        "is needed for [listen] phones_mtls: the folder of the vendors' CA certificates",
    )
    need(devices.ca_dir is None or devices.ca_dir.is_dir(), "devices.ca_dir", f"{devices.ca_dir} is no folder")
    need(devices.expired in ("accept", "refuse"), "devices.expired", f"is {devices.expired!r}; it is accept or refuse")
    need(
        re.fullmatch(r"[A-Za-z0-9-]{0,64}", devices.proxy_header, re.ASCII),
        "devices.proxy_header",
        f"is {devices.proxy_header!r}; it is the name of a header, such as Client-Cert",
    )
    need(
        not devices.proxy_header or (devices.ca_dir and config.network.trusted_proxies),
        "devices.proxy_header",
        "needs [devices] ca_dir, and [network] trusted_proxies: from anybody else it is not believed",
    )
    need(
        _SIP_URI.fullmatch(config.resync.sender),
        "resync.sender",
        f"is {config.resync.sender!r}; it is a SIP address, such as sip:provisioning@example.net",
    )
    need(
        re.fullmatch(r"|kamailio:https?://\S+", config.registrar.locator),
        "registrar.locator",
        "is kamailio:<URL of its JSON-RPC>, or empty",
    )
    need(
        re.fullmatch(r"|https?://\S+", config.registrar.password_hook),
        "registrar.password_hook",
        "is an http:// or https:// URL, or empty",
    )
    need(config.management.session_hours <= 8760, "management.session_hours", "is above 8760, a year")
    need(config.log.level in ("debug", "info", "warning", "error"), "log.level", "is debug, info, warning or error")
    return config


def settings() -> dict[str, dict[str, Any]]:
    """Every section with its keys and defaults."""
    return {
        section.name: {
            item.name: None if item.default is MISSING else item.default
            for item in fields(typing.cast("Any", section.type))
        }
        for section in fields(Config)
    }
