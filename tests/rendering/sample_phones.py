"""The vendors as they are shipped, and phones to render for."""

from pathlib import Path

from provisioning.domain.catalogue import Catalogue, Document, Model, catalogue, parse_vendor
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.rendering.renderer import Renderer
from provisioning.rendering.values import FirmwareValues, OperatorValues, PhoneValues, SlotValues, Values

FOLDER = Path(__file__).parents[2] / "templates" / "phones"
MACS = {"yealink": Mac("001565a1b2c3"), "snom": Mac("000413a1b2c3"), "linphone": Mac("02000000a1b2")}
SECRET = "s3cretOfThisPhone"


def shipped_catalogue() -> Catalogue:
    return catalogue(
        parse_vendor(path.parent.name, path.read_text("utf-8")) for path in sorted(FOLDER.glob("*/vendor.toml"))
    )


def shipped_sources() -> dict[str, str]:
    return {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in sorted(FOLDER.glob("*/*.j2"))}


CATALOGUE = shipped_catalogue()
SOURCES = shipped_sources()
RENDERER = Renderer(CATALOGUE, SOURCES)


def line(number: int = 1, **changed) -> Line:
    """Line 2 stands behind a proxy, line 3 uses TLS, line 4 has no display name."""
    fields = {
        "name": f"line{number}",
        "account": "ab12-ovh",
        "number": f"+339721012{number:02d}",
        "username": f"00339721012{number:02d}",
        "password": f'pässword <{number}> & "more"; # it\'s = all',
        "domain": "sip.example.net",
        "display_name": "" if number == 4 else f"Zoé d'Arc <{number}> & co",
        "outbound_proxy": "proxy.example.net:5070" if number == 2 else "",
        "transport": "tls" if number == 3 else "udp",
    }
    return Line(**{**fields, **changed})


def values(model: Model, lines: dict[int, Line], *, firmware: bool = False) -> Values:
    """Stage 1: all slots, those of `lines` filled."""
    mac = MACS[model.vendor]
    return Values(
        phone=PhoneValues(
            mac=mac,
            slots=model.slots,
            provisioning_url=f"https://phones.example.net/{SECRET}/{model.provisioning_path.replace('{mac}', mac)}",
            admin_password="123456789012",
            poll_minutes=1440,
            poll_time="03:17",
        ),
        model=dict(model.traits),
        slots=tuple(SlotValues(number, lines.get(number)) for number in range(1, model.slots + 1)),
        firmware=FirmwareValues("86.0.15", f"https://phones.example.net/firmware/{model.name}.rom")
        if firmware
        else None,
        operator=OperatorValues("ntp.example.net"),
    )


def stage0(model: Model) -> Values:
    mac = MACS[model.vendor]
    return Values(
        phone=PhoneValues(
            mac=mac,
            slots=0,
            provisioning_url=f"https://phones.example.net/{model.provisioning_path.replace('{mac}', mac)}",
            admin_password="",
            poll_minutes=5,
            poll_time="03:00",
        ),
        model=dict(model.traits),
        slots=(),
        firmware=None,
        operator=OperatorValues("ntp.example.net"),
    )


def own(model: Model) -> Document:
    """The document that holds the phone's lines."""
    return next(document for document in model.documents.values() if document.lines)


def filled(model: Model, count: int) -> dict[int, Line]:
    return {number: line(number) for number in range(1, count + 1)}
