"""Everything a document says of one phone, put together. Pure."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

from provisioning.domain import keys, settings
from provisioning.domain.catalogue import PASSWORD_DIGITS, Family, Model, fill_mac
from provisioning.domain.held import Held
from provisioning.domain.keys import Key
from provisioning.domain.mac import Mac
from provisioning.domain.settings import Value
from provisioning.domain.timezone import Zone
from provisioning.rendering.values import FirmwareValues, KeyValues, PhoneValues, SlotValues, Values

MASK = "********"
"What people are shown instead of a secret."
STAGE0_POLL_MINUTES = 5
"A phone that showed no proof asks again soon: its door may be open by then."
_NIGHT_MINUTES = 6 * 60
_KEY_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Site:
    """The operator's part of every document."""

    url: str
    "Where phones reach the server, without a slash at its end."
    settings: Mapping[str, Value]
    "What config.toml chooses, below all that is chosen in the database."
    zones: Mapping[str, Zone]
    "By IANA name."
    firmware: Mapping[str, FirmwareValues]
    "By model id."


def provisioning_url(site: Site, model: Model, mac: Mac, secret: str | None) -> str:
    """What such a phone is given."""
    return f"{directory_url(site, secret)}{fill_mac(model.family.provisioning_path, mac)}"


def directory_url(site: Site, secret: str | None) -> str:
    return f"{site.url}/{secret}/" if secret else f"{site.url}/"


def admin_password(secret: str, family: Family) -> str:
    """Made of the phone's own secret: it is nowhere stored, and changes with it. Digits, for a phone's keys."""
    return _password(secret, b"admin password", family)


def user_password(secret: str, family: Family) -> str:
    """The same for the phone's user, where that is somebody else to it."""
    return _password(secret, b"user password", family)


def _password(secret: str, purpose: bytes, family: Family) -> str:
    if secret == MASK:
        return MASK
    number = int.from_bytes(hmac.digest(secret.encode(), purpose, "sha256"))
    digits = f"{number % 10**PASSWORD_DIGITS:0{PASSWORD_DIGITS}d}"
    return family.password_prefix + digits[: family.password_digits]


def encryption_key(secret: str) -> str:
    """16 letters and digits, of the phone's own secret: who fetches by it knows the key too."""
    if secret == MASK:
        return MASK
    number = int.from_bytes(hmac.digest(secret.encode(), b"configuration key", "sha256"))
    letters = []
    for _ in range(16):
        number, letter = divmod(number, len(_KEY_LETTERS))
        letters.append(_KEY_LETTERS[letter])
    return "".join(letters)


def stage1(site: Site, model: Model, mac: Mac, secret: str | None, held: Held) -> Values:
    """With all of the model's slots, the empty ones too: that is how a phone forgets a line."""
    of_line = {name: held.chosen[name] for name in settings.OF_LINES}
    of_any = SimpleNamespace(**of_line)
    slots = [SlotValues(number, None, of_any) for number in range(1, model.slots + 1)]
    for number, line in held.lines:
        own = held.chosen_of_lines.get(line.name)
        slots[number - 1] = SlotValues(number, line, SimpleNamespace(**{**of_line, **own}) if own else of_any)
    directory, contacts = directory_url(site, secret), model.contacts
    return Values(
        phone=PhoneValues(
            mac=mac,
            slots=model.slots,
            provisioning_url=provisioning_url(site, model, mac, secret),
            directory_url=directory,
            phonebook_url=directory + contacts.name_for(mac) if contacts else "",
            admin_password=admin_password(secret, model.family) if secret else "",
            user_password=user_password(secret, model.family) if secret else "",
            encryption_key=encryption_key(secret) if secret and held.chosen["encrypt_configuration"] else "",
            revision=held.revision,
            poll_minutes=int(str(held.chosen["poll_minutes"])),
            poll_time=_poll_time(mac),
        ),
        model=_model(model),
        slots=_speakable(model.family, slots),
        keys=tuple(_keys(model, slots, held.keys)),
        settings=SimpleNamespace(**held.chosen),
        zone=_zone(site, held.chosen),
        firmware=site.firmware.get(model.id),
        parameters=tuple(held.parameters),
        contacts=tuple(held.contacts),
    )


def _speakable(family: Family, slots: Sequence[SlotValues]) -> tuple[SlotValues, ...]:
    """A line of a transport that the phone cannot give it is left out, and not sent in the clear instead."""
    spoken = family.transports
    if family.one_transport:
        wanted = (slot.line.transport for slot in slots if slot.line and slot.line.transport in spoken)
        if next(wanted, "tls") != "tls":
            spoken = tuple(transport for transport in spoken if transport != "tls")
    return tuple(
        slot._replace(line=None) if slot.line and slot.line.transport not in spoken else slot for slot in slots
    )


def masked(site: Site, model: Model, mac: Mac, held: Held) -> Values:
    """Stage 1 for people to read: no secret in it."""
    shown = [(slot, replace(line, password=MASK)) for slot, line in held.lines]
    return stage1(site, model, mac, MASK, replace(held, lines=shown))


def stage0(site: Site, model: Model) -> Values:
    """For a phone that showed no proof: no slot, no secret, and the same for every phone of the vendor.

    A MAC in the URL is left as the placeholder that the vendor's phones fill in themselves.
    """
    chosen = {**settings.DEFAULTS, **site.settings}
    return Values(
        phone=PhoneValues(
            mac="",
            slots=0,
            provisioning_url=f"{site.url}/{model.family.provisioning_macro}",
            directory_url=f"{site.url}/",
            phonebook_url="",
            admin_password="",
            user_password="",
            encryption_key="",
            revision=0,
            poll_minutes=STAGE0_POLL_MINUTES,
            poll_time="03:00",
        ),
        model=_model(model),
        slots=(),
        keys=(),
        settings=SimpleNamespace(**chosen),
        zone=_zone(site, chosen),
        firmware=None,
        parameters=(),
        contacts=(),
    )


def _model(model: Model) -> SimpleNamespace:
    return SimpleNamespace(
        **model.traits,
        keys=model.keys,
        line_keys=model.line_keys,
        module_keys=model.module_keys,
        expansion_modules=model.expansion_modules,
    )


def _keys(model: Model, slots: Sequence[SlotValues], stored: Sequence[Key]) -> list[KeyValues]:
    found = []
    for key in keys.layout(model, stored):
        slot = int(key.value) if key.type == "line" else 1
        line = slots[slot - 1].line
        label = key.label or (line.label if line is not None and key.type == "line" else "")
        found.append(
            KeyValues(key.module, key.number, key.type, model.family.keys[key.type], key.value, label, slot, line)
        )
    return found


def _zone(site: Site, chosen: Mapping[str, Value]) -> Zone:
    name = str(chosen["time_zone"])
    # A zone that a newer list of them has dropped must not keep a phone from its lines.
    return site.zones.get(name) or site.zones["UTC"]


def _poll_time(mac: Mac) -> str:
    """Spread over the night by MAC, so that a fleet does not come at once."""
    minute = int.from_bytes(hashlib.sha256(mac.encode()).digest()[:4]) % _NIGHT_MINUTES
    return f"{minute // 60:02d}:{minute % 60:02d}"
