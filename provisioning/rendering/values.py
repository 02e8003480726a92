"""What templates see: plain frozen values, nothing else. The same values give the same bytes."""

from dataclasses import dataclass

from provisioning.domain.line import Line


@dataclass(frozen=True, slots=True)
class PhoneValues:
    mac: str
    slots: int
    provisioning_url: str
    "With the phone's own secret in stage 1; without any in stage 0."
    admin_password: str
    "Of the phone's own menus and web page, never the vendor's default; empty: leave it as it is."
    poll_minutes: int
    "How often the phone asks again by itself."
    poll_time: str
    "HH:MM at which a phone that polls once a day does so; spread over the night by MAC."


@dataclass(frozen=True, slots=True)
class SlotValues:
    number: int
    line: Line | None


@dataclass(frozen=True, slots=True)
class FirmwareValues:
    version: str
    url: str


@dataclass(frozen=True, slots=True)
class OperatorValues:
    ntp_server: str


@dataclass(frozen=True, slots=True)
class Values:
    """One document's input. Stage 0 has no slots at all, so that it erases no line."""

    phone: PhoneValues
    model: dict[str, str]
    "`model` itself and the vendor's traits."
    slots: tuple[SlotValues, ...]
    firmware: FirmwareValues | None
    operator: OperatorValues
