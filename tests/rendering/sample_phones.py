"""The vendors as they are shipped, and phones to render for."""

from pathlib import Path

from provisioning.domain.catalogue import Catalogue, Document, Model, catalogue
from provisioning.domain.contact import Contact
from provisioning.domain.held import Held
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.domain.settings import DEFAULTS
from provisioning.domain.vendor_file import parse_vendor
from provisioning.rendering import compose
from provisioning.rendering.compose import Site
from provisioning.rendering.encoders import SYNTAXES
from provisioning.rendering.renderer import Renderer
from provisioning.rendering.values import FirmwareValues, Values
from provisioning.simulator import dialects
from provisioning.simulator.dialects.base import Dialect
from provisioning.vendors import zones

FOLDER = Path(__file__).parents[2] / "templates" / "phones"
SECRET = "5ecre70f7h15ph0ne5ecre70f7h15ph0"
ZONES = zones()


def shipped_catalogue() -> Catalogue:
    return catalogue(
        parse_vendor(path.parent.name, path.read_text("utf-8")) for path in sorted(FOLDER.glob("*/vendor.toml"))
    )


def shipped_sources() -> dict[str, str]:
    return {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in sorted(FOLDER.glob("*/*.j2"))}


CATALOGUE = shipped_catalogue()
SOURCES = shipped_sources()
RENDERER = Renderer(CATALOGUE, SOURCES)
FAMILIES = [f"{vendor.folder}/{family.name}" for vendor in CATALOGUE.vendors for family in vendor.families]


def of_family(family: str) -> list[Model]:
    vendor, _, name = family.partition("/")
    return [model for model in CATALOGUE.models.values() if (model.vendor, model.family.name) == (vendor, name)]


def representative(family: str) -> Model:
    """The first that is listed with more than one slot, and few enough to read."""
    models = of_family(family)
    return next((model for model in models if 2 <= model.slots <= 16), min(models, key=lambda model: model.slots))


def dialect(model: Model) -> Dialect:
    return dialects.of(model.vendor, model.family.name)


def mac_of(model: Model) -> Mac:
    prefixes = CATALOGUE.vendor(model.vendor).prefixes
    return Mac(f"{next(iter(prefixes), '020000')}a1b2c3")


def line(number: int = 1, **changed) -> Line:
    """Line 2 stands behind a proxy, line 3 uses TLS, line 4 has no display name."""
    fields = {
        "name": f"line{number}",
        "account": "ab12-ovh",
        "number": f"+3397210{1200 + number:04d}",
        "username": f"003397210{1200 + number:04d}",
        "password": f"pass{number}-*'&<>_/+",
        "domain": "sip.example.net",
        "display_name": "" if number == 4 else f"Zoé d'Arc <{number}> & co",
        "outbound_proxy": "proxy.example.net:5070" if number == 2 else "",
        "transport": "tls" if number == 3 else "udp",
    }
    return Line(**{**fields, **changed})


def site(model: Model, *, firmware: bool = False) -> Site:
    image = FirmwareValues("86.0.15", f"https://phones.example.net/firmware/{model.name}.rom")
    return Site("https://phones.example.net", {}, ZONES, {model.id: image} if firmware else {})


def values(
    model: Model, lines: dict[int, Line], *, firmware: bool = False, keys=(), parameters=(), contacts=(), **chosen
) -> Values:
    """Stage 1: all slots, those of `lines` filled; `chosen` are settings."""
    held = Held(
        list(lines.items()),
        {**DEFAULTS, "ntp_server": "ntp.example.net", **chosen},
        {},
        keys,
        parameters,
        contacts,
    )
    return compose.stage1(site(model, firmware=firmware), model, mac_of(model), SECRET, held)


def stage0(model: Model) -> Values:
    return compose.stage0(site(model), model)


def own(model: Model) -> Document:
    """The document that holds the phone's lines."""
    return next(document for document in model.documents.values() if document.lines)


# Phones of these know one server for each line: they are given the proxy where there is one.
ONE_SERVER = frozenset(("lg/sip",))
# What a phone's guide says a name may have of characters.
LONGEST_NAME = {"lg/sip": 50}


def as_read(model: Model, its: Line) -> tuple[str, str, str]:
    """Domain, proxy and transport of a line, as far as such a phone can have them."""
    if f"{model.vendor}/{model.family.name}" in ONE_SERVER:
        return its.outbound_proxy or its.domain, "", its.transport
    return its.domain, its.outbound_proxy, its.transport


def as_shown(model: Model, name: str) -> str:
    """A name as such a phone can have it: in its character set, and not too long."""
    syntax = SYNTAXES[own(model).syntax]
    carried = name.encode(syntax.charset, "replace").decode(syntax.charset) if syntax.errors == "strict" else name
    most = LONGEST_NAME.get(f"{model.vendor}/{model.family.name}", len(name))
    return carried if len(carried) <= most else carried[:most].rstrip()


def filled(model: Model, count: int) -> dict[int, Line]:
    return {number: line(number) for number in range(1, count + 1)}


CONTACTS = (
    Contact("Friends", "Zoé", "d'Arc <&>", work="+33972101234", mobile="+33612345678"),
    Contact("", "", "Reception", home="42"),
)
