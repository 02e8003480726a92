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
# What a spreadsheet would take for a formula (OWASP, "CSV injection"); digits after a sign are a number, if all are.
# Quotes before it may be the name's own: one more is put before them.
_FORMULA = re.compile(r"'*(?:[=@]|[+-](?![0-9]+\Z))")
# str.splitlines knows further ones, which are characters of a cell like any other.
_LINE_END = re.compile(r"\r\n|\n|\r")
_QUOTED = "QUOTED-PRINTABLE"
# A parameter's value may be quoted, and then hold a colon (RFC 6350 section 3.3).
_HEAD = re.compile(r'((?:[^":]++|"[^"]*+")*+):(.*)', re.DOTALL)


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
    try:
        for row, raw in _csv(text) if kind == "csv" else _vcards(text):
            try:
                found.append(check(raw))
            except Refused as refused:
                errors.append(RowError(row, str(refused.members.get("field", "")), refused.detail))
    except Unreadable as unreadable:
        errors += unreadable.errors
    if errors:
        raise Unreadable(errors)
    return found


def write(kind: str, contacts: Sequence[Contact]) -> str:
    return _as_csv(contacts) if kind == "csv" else _as_vcards(contacts)


def _csv(text: str) -> Iterator[tuple[int, Contact]]:
    # Each with its end, which belongs to the cell where it is quoted.
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text.removeprefix("\ufeff"))
    separator = max(",;\t", key=lines[0].count)
    rows = csv.reader(lines, delimiter=separator, strict=True)
    row = 1
    try:
        columns = [_COLUMNS.get(re.sub(r"[^a-z]", "", name.lower()), "") for name in next(rows, [])]
        if not {"name", "surname"} & set(columns):
            raise Unreadable(
                [RowError(1, "name", f"no column is called name or surname; known are {', '.join(FIELDS)}")]
            )
        row = rows.line_num + 1
        for cells in rows:
            if any(cell.strip() for cell in cells):
                values: dict[str, str] = {}
                for column, cell in zip(columns, cells, strict=False):
                    # Of two columns for one number (workMobile, homeMobile) the first that is filled.
                    if column and not values.get(column):
                        values[column] = _bare(cell.strip())
                yield row, Contact(**values)
            row = rows.line_num + 1
    except csv.Error as error:
        raise Unreadable([RowError(row, "", f"is no CSV: {error}")]) from None


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
    cards = 0
    card: dict[str, str] | None = None
    for line in _unfolded(text.removeprefix("\ufeff")):
        if (match := _HEAD.fullmatch(line)) is None:
            continue
        name, *parameters = match[1].upper().split(";")
        # A group may stand before the name: item1.TEL.
        name = name.rpartition(".")[2]
        if name == "BEGIN":
            if card is not None:
                break
            cards, card = cards + 1, {}
        elif name == "END" and card is not None:
            yield cards, Contact(**card)
            card = None
        elif card is not None:
            _take(card, name, parameters, match[2])
    if not cards:
        raise Unreadable([RowError(1, "", "is no vCard: nothing begins with BEGIN:VCARD")])
    if card is not None:
        raise Unreadable([RowError(cards, "", "has no END:VCARD")])


def _unfolded(text: str) -> Iterator[str]:
    """A folded line goes on with a blank (RFC 6350 section 3.2), a quoted-printable one of 2.1 behind a `=`."""
    pieces, quoted = [""], False
    for line in _LINE_END.split(text):
        if quoted and pieces[-1].endswith("="):
            pieces[-1] = pieces[-1][:-1]
            pieces.append(line)
        elif line.startswith((" ", "\t")):
            pieces.append(line[1:])
        else:
            yield "".join(pieces)
            pieces, quoted = [line], _QUOTED in line.partition(":")[0].upper()
    yield "".join(pieces)


def _take(card: dict[str, str], name: str, parameters: list[str], value: str) -> None:
    if any(_QUOTED in parameter for parameter in parameters):
        value = _unquoted(value)
    if name == "N":
        surname, given, *_ = [*_parts(value, ";"), "", ""]
        # A company's is empty; its FN may have come before.
        if surname.strip() or given.strip():
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


def _unquoted(value: str) -> str:
    """RFC 2045 section 6.7. What says UTF-8 is not always, and much that is says nothing."""
    octets = re.sub(
        rb"=([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), value.encode(errors="surrogatepass")
    )
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("cp1252", errors="replace")


def _parts(value: str, separator: str) -> list[str]:
    return [_plain(part) for part in re.findall(rf"((?:\\.|[^{separator}])*)(?:{separator}|$)", value)]


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
