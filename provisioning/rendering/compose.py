"""Everything a document says of one phone, put together. Pure."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from provisioning.domain.catalogue import MOST_SLOTS, Model, fill_mac
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.rendering.values import FirmwareValues, OperatorValues, PhoneValues, SlotValues, Values

MASK = "********"
"What people are shown instead of a secret."
PASSWORD_DIGITS = 12
STAGE0_POLL_MINUTES = 5
"A phone that showed no proof asks again soon: its door may be open by then."
_NIGHT_MINUTES = 6 * 60
_EMPTY = tuple(SlotValues(number, None) for number in range(1, MOST_SLOTS + 1))


@dataclass(frozen=True, slots=True)
class Site:
    """The operator's part of every document."""

    url: str
    "Where phones reach the server, without a slash at its end."
    ntp_server: str
    poll_minutes: int
    firmware: Mapping[str, FirmwareValues]
    "By model id."


def provisioning_url(site: Site, model: Model, mac: Mac, secret: str | None) -> str:
    """What such a phone is given."""
    middle = f"/{secret}/" if secret else "/"
    return f"{site.url}{middle}{fill_mac(model.provisioning_path, mac)}"


def admin_password(secret: str) -> str:
    """Made of the phone's own secret: it is nowhere stored, and changes with it. Digits, for a phone's keys."""
    if secret == MASK:
        return MASK
    number = int.from_bytes(hmac.digest(secret.encode(), b"admin password", "sha256"))
    return f"{number % 10**PASSWORD_DIGITS:0{PASSWORD_DIGITS}d}"


def stage1(site: Site, model: Model, mac: Mac, secret: str | None, lines: Sequence[tuple[int, Line]]) -> Values:
    """With all of the model's slots, the empty ones too: that is how a phone forgets a line."""
    slots = list(_EMPTY[: model.slots])
    for number, line in lines:
        slots[number - 1] = SlotValues(number, line)
    return Values(
        phone=PhoneValues(
            mac=mac,
            slots=model.slots,
            provisioning_url=provisioning_url(site, model, mac, secret),
            admin_password=admin_password(secret) if secret else "",
            poll_minutes=site.poll_minutes,
            poll_time=_poll_time(mac),
        ),
        model=dict(model.traits),
        slots=tuple(slots),
        firmware=site.firmware.get(model.id),
        operator=OperatorValues(site.ntp_server),
    )


def masked(site: Site, model: Model, mac: Mac, lines: Sequence[tuple[int, Line]]) -> Values:
    """Stage 1 for people to read: no secret in it."""
    shown = [(slot, replace(line, password=MASK)) for slot, line in lines]
    return stage1(site, model, mac, MASK, shown)


def stage0(site: Site, model: Model) -> Values:
    """For a phone that showed no proof: no slot, no secret, and the same for every phone of the vendor.

    A MAC in the URL is left as the placeholder that the vendor's phones fill in themselves.
    """
    return Values(
        phone=PhoneValues(
            mac="",
            slots=0,
            provisioning_url=f"{site.url}/{model.provisioning_path}",
            admin_password="",
            poll_minutes=STAGE0_POLL_MINUTES,
            poll_time="03:00",
        ),
        model=dict(model.traits),
        slots=(),
        firmware=None,
        operator=OperatorValues(site.ntp_server),
    )


def _poll_time(mac: Mac) -> str:
    """Spread over the night by MAC, so that a fleet does not come at once."""
    minute = int.from_bytes(hashlib.sha256(mac.encode()).digest()[:4]) % _NIGHT_MINUTES
    return f"{minute // 60:02d}:{minute % 60:02d}"
