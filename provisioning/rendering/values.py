"""What templates see: plain values with attributes, nothing else. The same values give the same bytes."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

from provisioning.domain.contact import Contact
from provisioning.domain.line import Line
from provisioning.domain.timezone import Zone


@dataclass(frozen=True, slots=True)
class PhoneValues:
    mac: str
    slots: int
    provisioning_url: str
    "With the phone's own secret in stage 1; without any in stage 0."
    directory_url: str
    "The same without a file name, with a slash at its end: what the phone's other files stand below."
    phonebook_url: str
    "Of the document that holds its contacts; empty: it has none, or is not known yet (stage 0)."
    admin_password: str = field(repr=False)
    "Of the phone's own menus and web page, never the vendor's default; empty: leave it as it is."
    user_password: str = field(repr=False)
    "The same of its user, where the phone has one beside the administrator."
    encryption_key: str = field(repr=False)
    "With which its configuration is encrypted; empty: it is not."
    revision: int
    "Of what is stored of it: greater after each change, for phones that take a file only if its number differs."
    poll_minutes: int
    "How often the phone asks again by itself; soon, in stage 0."
    poll_time: str
    "HH:MM at which a phone that polls once a day does so; spread over the night by MAC."


class SlotValues(NamedTuple):
    number: int
    line: Line | None
    settings: SimpleNamespace
    "Those that each line has its own of; there for an empty slot too."


class KeyValues(NamedTuple):
    """A function key that the configuration sets; the user's other keys are not written at all."""

    module: int
    "0: the phone itself; otherwise its expansion module, from 1."
    number: int
    "From 1, on the phone or on the module."
    type: str
    "Of domain.catalogue.KEY_TYPES."
    code: str
    "What the family calls the type: its [keys] in vendor.toml."
    value: str
    label: str
    slot: int
    "Of a line key: which; otherwise the main line's, 1."
    line: Line | None
    "Of a line key: what is in that slot; otherwise the main line."


@dataclass(frozen=True, slots=True)
class FirmwareValues:
    version: str
    url: str


@dataclass(frozen=True, slots=True)
class Values:
    """One document's input. Stage 0 has no slots at all, so that it erases no line."""

    phone: PhoneValues
    model: SimpleNamespace
    "`model`, its name; `keys`, `module_keys`, `expansion_modules`, `line_keys`; and the family's traits."
    slots: tuple[SlotValues, ...]
    keys: tuple[KeyValues, ...]
    settings: SimpleNamespace
    "By name (domain/settings.py)."
    zone: Zone
    "Of settings.time_zone."
    firmware: FirmwareValues | None
    parameters: tuple[tuple[str, str], ...]
    "The vendor's own that an admin has set, (name, value) by name."
    contacts: tuple[Contact, ...]
    "For a phonebook's template; empty in every other document."
