"""How phones of each vendor ask for their configuration: which files, in which order, as whom.

Only vendors that are described here can be simulated; a server's vendors are data, a phone's
behaviour is not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from provisioning.domain import mac as macs
from provisioning.domain.mac import Mac

VENDORS = ("yealink", "snom", "linphone")


@dataclass(frozen=True, slots=True)
class Ask:
    """One GET of a fetch."""

    url: str
    own: bool = False
    "The file that holds this phone's lines. Of the others a 404 is an answer, and the phone goes on."
    ignored: bool = False
    "Asked for, as real phones do, but nothing is taken from it here."


@dataclass(frozen=True, slots=True)
class Dialect:
    conditional: bool
    "Sends If-None-Match with the last ETag."
    follows_redirects: bool
    keeps_polling: bool
    "Fetches again by itself while it runs."
    acts_on_check_sync: bool


DIALECTS = {
    # Compares the MD5 of what it has read with what it had: always reads again.
    "yealink": Dialect(conditional=False, follows_redirects=True, keeps_polling=True, acts_on_check_sync=True),
    "snom": Dialect(conditional=True, follows_redirects=True, keeps_polling=True, acts_on_check_sync=True),
    # Measured with 5.1.65: fetches at start only, follows no redirect, answers 200 to any event.
    "linphone": Dialect(conditional=False, follows_redirects=False, keeps_polling=False, acts_on_check_sync=False),
}


def asks(vendor: str, url: str, mac: Mac, common: Sequence[str] = ()) -> tuple[Ask, ...]:
    """The files of one fetch, in order, from the provisioning URL that the phone holds."""
    if vendor == "yealink":
        base = url if url.endswith("/") else f"{url}/"
        return (
            # Firmware V80 and later: a 404 to both .boot files leads to the .cfg files.
            Ask(f"{base}{mac}.boot", ignored=True),
            Ask(f"{base}y000000000000.boot", ignored=True),
            *(Ask(f"{base}{name}") for name in common if name.endswith(".cfg")),
            Ask(f"{base}{mac}.cfg", own=True),
        )
    if vendor == "snom":
        return (Ask(url.replace("{mac}", mac.upper()), own=True),)
    return (Ask(url, own=True),)


def asks_of_another(vendor: str, url: str, mac: Mac, other: Mac) -> Ask | None:
    """What a phone would ask for that wants another phone's lines; None: no MAC is in its URL."""
    own = asks(vendor, url, mac)[-1].url
    foreign = own.replace(mac, other).replace(mac.upper(), other.upper())
    return None if foreign == own else Ask(foreign, own=True)


def model_name(vendor: str, model: str) -> str:
    """`yealink-t46s`, or `T46S`, as the phone spells itself."""
    name = model.removeprefix(f"{vendor}-")
    return name if name != name.lower() else name.upper()


def http_user_agent(vendor: str, model: str, mac: Mac, common: Sequence[str], *, has_account: bool) -> str:
    name = model_name(vendor, model)
    if vendor == "yealink":
        return f"{_yealink(name, common)} {macs.spelled(mac).lower()}"
    if vendor == "snom":
        return f"Mozilla/4.0 (compatible; snom{name}-SIP 10.1.33.33 2010.12-00004-g9ba52f5 {mac.upper()} SXM:0 UXM:0)"
    return "Linphonec/5.1.65" if has_account else "Unknown"


def sip_user_agent(vendor: str, model: str, common: Sequence[str]) -> str:
    name = model_name(vendor, model)
    if vendor == "yealink":
        return _yealink(name, common)
    if vendor == "snom":
        return f"snom{name}/10.1.33.33"
    return "Linphonec/5.1.65 (belle-sip/5.1.65)"


def _yealink(name: str, common: Sequence[str]) -> str:
    # The firmware's first number is, on most models, the product id in the common file's name.
    ids = [int(match[1]) for file in common if (match := re.fullmatch(r"y0*(\d+)\.cfg", file))]
    return f"Yealink {'SIP-' if name.startswith('T') else ''}{name} {ids[0] if ids else 66}.86.0.15"
