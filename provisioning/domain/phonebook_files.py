"""Phonebooks as files that people have: CSV and vCard, read and written. Pure.

CSV has a header; the separator is found by it. The operator's own exports have `workPhone`,
`workMobile`, `homePhone` and `homeMobile`. vCard: RFC 6350, and what phones write of 2.1 and 3.0.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

from provisioning.domain.contact import FIELDS, Contact, check
from provisioning.domain.errors import Refused

FORMATS = ("csv", "vcard")
CONTENT_TYPES: Mapping[str, str] = {"csv": "text/csv; charset=utf-8", "vcard": "text/vcard; charset=utf-8"}
_COLUMNS: Mapping[str, str] = {
    **{name: name for name in FIELDS},
    "workphone": "work",
    "phone": "work",
    "workmobile": "mobile",
    "homemobile": "mobile",
    "homephone": "home",
    "firstname": "name",
    "lastname": "surname",
}
"By the column's name in lower case; others are left out."
# What a spreadsheet would take for a formula (OWASP, "CSV injection"); a plus before digits is a number.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![0-9])")


@dataclass(frozen=True, slots=True)
class RowError:
    row: int
    "In CSV the line's number, the header being 1; in vCard the card's, from 1."
    field: str
    detail: str


class Unreadable(Exception):  # noqa: N818  says what the file is
    """Nothing of it was taken; each error names its row."""

    def __init__(self, errors: Sequence[RowError]) -> None:
        super().__init__(f"{len(errors)} rows cannot be read")
        self.errors = tuple(errors)


def read(kind: str, text: str) -> list[Contact]:
    """Unreadable: with all that is wrong, not only the first."""
    found: list[Contact] = []
    errors: list[RowError] = []
    for row, raw in _csv(text) if kind == "csv" else _vcards(text):
        try:
            found.append(check(raw))
        except Refused as refused:
            errors.append(RowError(row, str(refused.members.get("field", "")), refused.detail))
    if errors:
        raise Unreadable(errors)
    return found


def write(kind: str, contacts: Sequence[Contact]) -> str:
    return _as_csv(contacts) if kind == "csv" else _as_vcards(contacts)


def _csv(text: str) -> Iterator[tuple[int, Contact]]:
    lines = text.removeprefix("\ufeff")
    header = lines.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    rows = csv.reader(lines.splitlines(keepends=True), delimiter=separator, strict=True)
    try:
        columns = [_COLUMNS.get(re.sub(r"[^a-z]", "", name.lower()), "") for name in next(rows, [])]
        if not {"name", "surname"} & set(columns):
            raise Unreadable(
                [RowError(1, "name", f"no column is called name or surname; known are {', '.join(FIELDS)}")]
            )
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            values: dict[str, str] = {}
            for column, cell in zip(columns, row, strict=False):
                # Of two columns for one number (workMobile, homeMobile) the first that is filled.
                if column and not values.get(column):
                    values[column] = _bare(cell.strip())
            yield rows.line_num, Contact(**values)
    except csv.Error as error:
        raise Unreadable([RowError(rows.line_num, "", f"is no CSV: {error}")]) from None


def _bare(cell: str) -> str:
    """As it was before it was written for a spreadsheet."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


class _Written(list[str]):
    """What the csv module takes for a file."""

    write = list.append


def _as_csv(contacts: Sequence[Contact]) -> str:
    file = _Written()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(FIELDS)
    for contact in contacts:
        writer.writerow([f"'{cell}" if _FORMULA.match(cell) else cell for cell in astuple(contact)])
    return "".join(file)


def _vcards(text: str) -> Iterator[tuple[int, Contact]]:
    # A folded line goes on with a blank (RFC 6350 section 3.2).
    unfolded = re.sub(r"\r?\n[ \t]", "", text.removeprefix("\ufeff"))
    cards = 0
    card: dict[str, str] | None = None
    for line in unfolded.splitlines():
        head, colon, value = line.partition(":")
        name, *parameters = head.upper().split(";")
        # A group may stand before the name: item1.TEL.
        name = name.rpartition(".")[2]
        if name == "BEGIN":
            cards, card = cards + 1, {}
        elif name == "END" and card is not None:
            yield cards, Contact(**card)
            card = None
        elif card is not None and colon:
            _take(card, name, parameters, value)
    if not cards:
        raise Unreadable([RowError(1, "", "is no vCard: nothing begins with BEGIN:VCARD")])
    if card is not None:
        raise Unreadable([RowError(cards, "", "the last card has no END:VCARD")])


def _take(card: dict[str, str], name: str, parameters: list[str], value: str) -> None:
    if name == "N":
        surname, given, *_ = [*_parts(value, ";"), "", ""]
        card["surname"], card["name"] = surname.strip(), given.strip()
    elif name == "FN" and not (card.get("name") or card.get("surname")):
        card["name"] = _plain(value).strip()
    elif name == "CATEGORIES":
        card["group"] = _parts(value, ",")[0].strip()
    elif name == "TEL":
        types = ",".join(parameters)
        kind = "mobile" if "CELL" in types else "home" if "HOME" in types else "work"
        if "FAX" not in types and not card.get(kind):
            card[kind] = _plain(value).removeprefix("tel:").strip()


def _parts(value: str, separator: str) -> list[str]:
    return [_plain(part) for part in re.split(rf"(?<!\\){separator}", value)]


def _plain(value: str) -> str:
    """RFC 6350 section 3.4."""
    return re.sub(r"\\(.)", lambda match: " " if match[1] in "nN" else match[1], value)


def _escaped(value: str) -> str:
    return re.sub(r"([\\,;])", r"\\\1", value)


def _as_vcards(contacts: Sequence[Contact]) -> str:
    lines: list[str] = []
    for contact in contacts:
        lines += ["BEGIN:VCARD", "VERSION:4.0", f"FN:{_escaped(contact.display_name)}"]
        lines.append(f"N:{_escaped(contact.surname)};{_escaped(contact.name)};;;")
        if contact.group:
            lines.append(f"CATEGORIES:{_escaped(contact.group)}")
        types = {"work": "work", "mobile": "cell", "home": "home"}
        lines += [f"TEL;TYPE={types[kind]}:{number}" for kind, number in contact.numbers]
        lines.append("END:VCARD")
    return "".join(f"{line}\r\n" for line in lines)
