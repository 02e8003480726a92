"""Entries of a phonebook. Pure."""

import re
from dataclasses import astuple, dataclass

from provisioning.domain.errors import Refused
from provisioning.domain.line import check_text

FIELDS = ("group", "name", "surname", "work", "mobile", "home")
NUMBERS = ("work", "mobile", "home")
MOST_CONTACTS = 1000
"Of one phonebook: what the smallest phones of all vendors still load."
LONGEST = 64
# International, as the operator's guides have it: 0033972101234, or +33972101234.
_INTERNATIONAL = re.compile(r"(?:\+|00)[1-9][0-9]{4,14}", re.ASCII)
_SHORT = re.compile(r"[0-9*#]{1,6}", re.ASCII)
_FILLING = str.maketrans("", "", " .-()/\u00a0")


@dataclass(frozen=True, slots=True, order=True)
class Contact:
    group: str = ""
    name: str = ""
    surname: str = ""
    work: str = ""
    mobile: str = ""
    home: str = ""

    @property
    def display_name(self) -> str:
        return " ".join(part for part in (self.name, self.surname) if part) or self.group

    @property
    def numbers(self) -> tuple[tuple[str, str], ...]:
        """(work, mobile or home; number), those that there are."""
        return tuple((kind, number) for kind in NUMBERS if (number := getattr(self, kind)))


def check(contact: Contact) -> Contact:
    """With its numbers in one spelling. Refused: `invalid-value` and the field's name."""
    cleaned = Contact(*(value.strip() for value in astuple(contact)))
    for field in ("group", "name", "surname"):
        check_text(field, getattr(cleaned, field), LONGEST)
    if not (cleaned.name or cleaned.surname):
        raise Refused("invalid-value", "a contact has a name or a surname.", field="name")
    numbers = {field: _number(field, getattr(cleaned, field)) for field in NUMBERS}
    if not any(numbers.values()):
        raise Refused("invalid-value", "a contact has at least one number.", field="work")
    return Contact(cleaned.group, cleaned.name, cleaned.surname, **numbers)


def _number(field: str, text: str) -> str:
    number = text.translate(_FILLING)
    if not number:
        return ""
    # The 0 of "+33 (0)9 72" is dialled in some countries and in others not: no guess of ours.
    if _INTERNATIONAL.fullmatch(number) and "(0)" not in text:
        return f"+{number.removeprefix('+').removeprefix('00')}"
    if _SHORT.fullmatch(number):
        # A colleague's extension, or a service of the operator's.
        return number
    raise Refused(
        "invalid-value",
        f"{field} is {text!r}; it is international, such as 0033972101234 or +33972101234.",
        field=field,
    )
