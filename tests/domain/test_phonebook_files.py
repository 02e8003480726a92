import csv
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain.contact import Contact, check
from provisioning.domain.errors import Refused
from provisioning.domain.phonebook_files import FORMATS, RowError, Unreadable, read, write

ZOE = Contact("Friends", "Zoé", "d'Arc", "+33972101234", "+33612345678", "42")
HEADER = "name,surname,work"


def errors(kind: str, text: str) -> list[RowError]:
    with pytest.raises(Unreadable) as caught:
        read(kind, text)
    return list(caught.value.errors)


def rows(kind: str, text: str) -> list[tuple[int, str]]:
    return [(error.row, error.field) for error in errors(kind, text)]


# CSV


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_separator_and_line_ends_are_found(separator: str, end: str, bom: str):
    lines = [
        separator.join(["group", "name", "surname", "work", "mobile", "home"]),
        separator.join(["Friends", "Zoé", "d'Arc", "0033972101234", "+33 6 12 34 56 78", "42"]),
        separator.join(["", "", "Reception", "7", "", ""]),
    ]
    assert read("csv", bom + end.join(lines) + end) == [ZOE, Contact("", "", "Reception", "7")]
    assert read("csv", bom + end.join(lines)) == [ZOE, Contact("", "", "Reception", "7")]


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        # The operator's own export.
        (
            "group,name,surname,workPhone,workMobile,homePhone,homeMobile",
            "Friends,Zoé,d'Arc,0033972101234,0033612345678,42,",
        ),
        (
            "group,name,surname,homeMobile,workMobile,homePhone,workPhone",
            "Friends,Zoé,d'Arc,0033612345678,,42,0033972101234",
        ),
        ("Group;First Name;Last_Name;Phone;MOBILE;Home phone", "Friends;Zoé;d'Arc;0033972101234;0033612345678;42"),
        ("id,notes,home,mobile,work,surname,name,group", "9,=x,42,0033612345678,0033972101234,d'Arc,Zoé,Friends"),
        (
            '"group","name","surname","work","mobile","home"',
            '"Friends","Zoé","d\'Arc","0033972101234","0033612345678","42"',
        ),
    ],
)
def test_columns_have_the_names_that_people_give_them(header: str, cells: str):
    assert read("csv", f"{header}\n{cells}\n") == [ZOE]


def test_of_two_columns_for_one_number_the_first_that_is_filled_holds():
    header = "name,workMobile,homeMobile"
    assert read("csv", f"{header}\nZoé,41,42\nZoé,,42\nZoé,41,\n") == [
        Contact("", "Zoé", "", "", mobile) for mobile in ("41", "42", "41")
    ]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ('"Arc, Zoé"', "Arc, Zoé"),
        ('"Zoé ""la Pucelle"""', 'Zoé "la Pucelle"'),
        ('"a;b"', "a;b"),
        ("  Zoé ", "Zoé"),
        ('Zoé "la Pucelle"', 'Zoé "la Pucelle"'),
        ("<Zoé> & 'fils' 日本 🎉", "<Zoé> & 'fils' 日本 🎉"),
    ],
)
def test_a_cell_is_read_as_it_is_quoted(cell: str, name: str):
    assert read("csv", f"name,work\n{cell},7\n") == [Contact("", name, "", "7")]


def test_rows_may_be_short_and_lines_empty():
    assert read("csv", "name,work,home\nZoé,7\n\n,,\n  ,\nBob,,8\n") == [
        Contact("", "Zoé", "", "7"),
        Contact("", "Bob", "", "", "", "8"),
    ]


def test_a_header_alone_holds_nobody():
    assert read("csv", "name,work") == []


@pytest.mark.parametrize("text", ["", "\ufeff", "\n", "work,mobile\n1,2\n", "Zoé,7\n", "\n\nname,work\n"])
def test_without_a_column_for_the_name_it_is_no_phonebook(text: str):
    (error,) = errors("csv", text)
    assert (error.row, error.field) == (1, "name")
    assert "no column is called name or surname; known are group, name, surname" in error.detail


def test_all_that_is_wrong_is_named_with_its_line():
    text = f"{HEADER}\nZoé,,7\n,,8\n\nBob,,\nEve,,0972101234\nOk,,9\n{'x' * 65},,1\n"
    assert rows("csv", text) == [(3, "name"), (5, "work"), (6, "work"), (8, "name")]
    assert "0972101234" in errors("csv", text)[2].detail


def test_a_row_over_several_lines_has_the_number_of_its_first():
    text = f'{HEADER}\nZoé,"a\nb\nc",7\nBob,,\n"Eve\n",,1\n,,9\n'
    assert rows("csv", text) == [(2, "surname"), (5, "work"), (8, "name")]


@pytest.mark.parametrize("strange", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_what_only_python_takes_for_a_line_end_ends_no_line(strange: str):
    assert rows("csv", f'{HEADER}\n"a{strange}b",,7\nZoé{strange}x,,7\nBob,,\n') == [
        (2, "name"),
        (3, "name"),
        (4, "work"),
    ]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (f'{HEADER}\nZoé,"a"b,7\n', 2),
        (f'{HEADER}\nZoé,,7\nBob,"a,8\nEve,,9\n', 3),
        (f"{HEADER}\nZoé,,7\n{'x' * 140_000},,8\n", 3),
    ],
)
def test_what_is_no_csv_is_refused_with_its_line(text: str, row: int):
    (error,) = errors("csv", text)
    assert (error.row, error.field) == (row, "")
    assert error.detail.startswith("is no CSV: ")


def test_what_was_wrong_before_is_named_beside_what_is_no_csv():
    assert rows("csv", f'{HEADER}\nBob,,\nZoé,"a"b,7\n') == [(2, "work"), (3, "")]


FORMULAS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-x", "=", "-2+3+cmd|' /C calc'!A0", "+1+cmd|' /C calc'!A0"]


def cells(text: str) -> list[list[str]]:
    """As a spreadsheet reads it."""
    return list(csv.reader(text.split("\r\n")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_a_spreadsheet_would_run_is_written_as_text_and_read_as_it_was(formula: str):
    contact = Contact(formula, formula, formula, "7")
    text = write("csv", [contact])
    assert cells(text)[1] == [f"'{formula}"] * 3 + ["7", "", ""]
    assert read("csv", text) == [contact]


def test_a_number_is_no_formula():
    assert cells(write("csv", [ZOE]))[1] == ["Friends", "Zoé", "d'Arc", "+33972101234", "+33612345678", "42"]


@pytest.mark.parametrize("name", ["'Zoé'", "'", "''", "'=1", "''=1", "'+x", "d'Arc"])
def test_a_name_may_begin_with_a_quote(name: str):
    assert read("csv", write("csv", [Contact("", name, "", "7")])) == [Contact("", name, "", "7")]


# vCard


CARDS = {
    "2.1": """\
BEGIN:VCARD
VERSION:2.1
N:d'Arc;Zoé;;;
FN:Zoé d'Arc
TEL;WORK;VOICE:+33 9 72 10 12 34
TEL;CELL:0033612345678
TEL;HOME:42
CATEGORIES:Friends
END:VCARD
""",
    "2.1, quoted-printable": """\
BEGIN:VCARD
VERSION:2.1
N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:d'Arc;Zo=C3=
=A9;;;
TEL;WORK:+33972101234
TEL;CELL:+33612345678
TEL;HOME:42
CATEGORIES;QUOTED-PRINTABLE:=46riends
NOTE;ENCODING=QUOTED-PRINTABLE:first=
TEL;HOME:43
END:VCARD
""",
    "2.1, quoted-printable in Latin-1": """\
BEGIN:VCARD
VERSION:2.1
N;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:d'Arc;Zo=E9
TEL;WORK:+33972101234
TEL;CELL:+33612345678
TEL;HOME:42
CATEGORIES:Friends
END:VCARD
""",
    "3.0": """\
begin:vcard
version:3.0
n:d'Arc;Zoé;Marie\\, Anne;;
fn:Zoé d'Arc
item1.TEL;type=WORK;type=VOICE;type=pref:+33-972-101-234
item1.X-ABLabel:_$!<Work>!$_
TEL;TYPE=cell,voice:0033612345678
TEL;type=HOME:42
TEL;TYPE=WORK,FAX:+33972109999
CATEGORIES:Friends,Others
PHOTO;ENCODING=b;TYPE=JPEG:AAAA
 TEL:+33111111111
 AAAA
END:VCARD
""",
    "4.0": """\
BEGIN:VCARD
VERSION:4.0
UID:urn:uuid:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1
FN:Zoé d'Arc
N:d'Arc;Zoé;;;
TEL;VALUE=uri;PREF=1;TYPE="voice,work":tel:+33-972-101-234
TEL;VALUE=uri;TYPE="cell":tel:+33612345678
TEL;TYPE=home:42
CATEGORIES:Friends
END:VCARD
""",
}


@pytest.mark.parametrize("version", CARDS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_card_of_each_version(version: str, end: str, bom: str):
    text = CARDS[version].replace("\n", end)
    assert read("vcard", bom + text) == [ZOE]
    assert read("vcard", f"{bom}{text}{end}{text}") == [ZOE, ZOE]


def card(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in ("BEGIN:VCARD", "VERSION:4.0", *lines, "END:VCARD"))


@pytest.mark.parametrize(
    ("lines", "contact"),
    [
        (["N:d'Ar", " c;Zo", "\té", "TEL:7"], Contact("", "Zoé", "d'Arc", "7")),
        (["N:d'Arc", "TEL:7"], Contact("", "", "d'Arc", "7")),
        (["N:;Zoé", "TEL:7"], Contact("", "Zoé", "", "7")),
        (["FN:Zoé d'Arc", "TEL:7"], Contact("", "Zoé d'Arc", "", "7")),
        (["FN:Zoé", "N:d'Arc;Zoé;;;", "TEL:7"], Contact("", "Zoé", "d'Arc", "7")),
        # A company has no name of a person, wherever its empty N stands.
        (["N:;;;;", "FN:Acme", "TEL:7"], Contact("", "Acme", "", "7")),
        (["FN:Acme", "N:;;;;", "TEL:7"], Contact("", "Acme", "", "7")),
        ([r"N:a\;b\,c;d\\", "TEL:7"], Contact("", "d\\", "a;b,c", "7")),
        ([r"N:a\\;b", "TEL:7"], Contact("", "b", "a\\", "7")),
        ([r"FN:a\nb\Nc\:d", "TEL:7"], Contact("", "a b c:d", "", "7")),
        ([r"FN:\\n", "TEL:7"], Contact("", r"\n", "", "7")),
        (["FN:x", r"CATEGORIES:a\,b,c", "TEL:7"], Contact("a,b", "x", "", "7")),
        (["FN:x", "TEL:7", "TEL:8", "TEL;HOME:9", "TEL;HOME;CELL:10"], Contact("", "x", "", "7", "10", "9")),
        (["FN:x", "TEL:", "TEL:8"], Contact("", "x", "", "8")),
        (["FN:x", "TEL;FAX:7", "TEL:8"], Contact("", "x", "", "8")),
        (["FN:x", "a-1.TEL;HOME:8"], Contact("", "x", "", "", "", "8")),
        (['FN;X="a:b":x', 'TEL;TYPE="home";LABEL="12: a":8'], Contact("", "x", "", "", "", "8")),
        (["FN:x:y", "TEL:8"], Contact("", "x:y", "", "8")),
        (["FN:x", "no colon", "", "TEL:8"], Contact("", "x", "", "8")),
    ],
)
def test_a_cards_lines(lines: list[str], contact: Contact):
    assert read("vcard", card(*lines)) == [contact]


def test_all_that_is_wrong_is_named_with_its_card():
    text = card("FN:a", "TEL:7") + card("TEL:8") + card("FN:b") + card("FN:c", "TEL;CELL:0612345678")
    assert rows("vcard", text) == [(2, "name"), (3, "work"), (4, "mobile")]


@pytest.mark.parametrize("strange", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_what_only_python_takes_for_a_line_end_ends_no_line_of_a_card(strange: str):
    assert rows("vcard", card("FN:a", "TEL:7") + card(f"FN:b{strange}END:VCARD", "TEL:8")) == [(2, "name")]


@pytest.mark.parametrize("text", ["", "name,work\nZoé,7\n", "TEL:7\r\nEND:VCARD\r\n"])
def test_what_holds_no_card_is_no_vcard(text: str):
    assert errors("vcard", text) == [RowError(1, "", "is no vCard: nothing begins with BEGIN:VCARD")]


def test_a_card_that_does_not_end_is_not_lost():
    whole, half = card("FN:a", "TEL:7"), "BEGIN:VCARD\r\nFN:b\r\nTEL:8\r\n"
    assert rows("vcard", whole + half) == [(2, "")]
    assert rows("vcard", half + whole) == [(1, "")]
    assert rows("vcard", card("FN:c") + half) == [(1, "work"), (2, "")]


def test_cards_are_written_as_the_current_version():
    assert write("vcard", [ZOE]) == card(
        "FN:Zoé d'Arc",
        "N:d'Arc;Zoé;;;",
        "CATEGORIES:Friends",
        "TEL;TYPE=work:+33972101234",
        "TEL;TYPE=cell:+33612345678",
        "TEL;TYPE=home:42",
    )


# Both


TEXTS = st.text(max_size=64) | st.text("'=+-@\\,;:\"n1 aé", max_size=8)
NUMBERS = st.just("") | st.from_regex(r"\+[1-9][0-9]{4,14}|[0-9*#]{1,6}", fullmatch=True, alphabet=string.printable)


@st.composite
def contacts(draw: st.DrawFn) -> Contact:
    try:
        return check(Contact(*(draw(TEXTS) for _ in range(3)), *(draw(NUMBERS) for _ in range(3))))
    except Refused:
        return draw(st.sampled_from([ZOE, Contact("", "", "Reception", "7")]))


@pytest.mark.parametrize("kind", FORMATS)
@given(st.lists(contacts(), max_size=5))
def test_what_is_written_reads_back_the_same(kind: str, them: list[Contact]):
    text = write(kind, them)
    if kind == "vcard" and not them:
        assert text == ""
    else:
        assert read(kind, text) == them


@given(st.lists(contacts(), min_size=1, max_size=5))
def test_no_cell_that_is_written_is_a_formula(them: list[Contact]):
    for row in cells(write("csv", them)):
        assert not any(cell[0] in "=@\t\r+-" and not re.fullmatch(r"[+-][0-9]+", cell) for cell in row if cell)


ROUGH = st.lists(
    st.sampled_from(["BEGIN:VCARD", "END:VCARD", "FN:", "N:", "TEL", "name", "work", ":", ",", ";", '"', "\\", "'", "=", "\n", "\r\n", "\r", " ", "7", "é", "\ufeff", "ENCODING=QUOTED-PRINTABLE"]) | st.text(max_size=5),
    max_size=30,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
@given(ROUGH)
def test_whatever_the_file_holds_it_is_read_or_its_errors_are_named(kind: str, text: str):
    try:
        found = read(kind, text)
    except Unreadable:
        found_wrong = errors(kind, text)
        assert found_wrong
        assert all(error.row >= 1 and error.detail for error in found_wrong)
    else:
        assert [check(contact) for contact in found] == found
