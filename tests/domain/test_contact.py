from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain.contact import FIELDS, LONGEST, Contact, check
from provisioning.domain.errors import Refused

GOOD = Contact("Friends", "Zoé", "d'Arc", "+33972101234", "+33612345678", "42")


def refused(**changed: str) -> tuple[object, str]:
    with pytest.raises(Refused) as caught:
        check(replace(GOOD, **changed))
    assert caught.value.code == "invalid-value"
    return caught.value.members["field"], caught.value.detail


def test_a_good_contact_passes():
    assert check(GOOD) == GOOD


@pytest.mark.parametrize(
    ("given_", "number"),
    [
        ("0033972101234", "+33972101234"),
        ("+33972101234", "+33972101234"),
        ("+33 9 72 10 12 34", "+33972101234"),
        ("+33\u00a09.72-10/12 34", "+33972101234"),
        ("00 (33) 972101234", "+33972101234"),
        (" +1-202-555-0123 ", "+12025550123"),
        ("+12345", "+12345"),
        ("+123456789012345", "+123456789012345"),
        # A colleague's, an emergency's, a service's.
        ("42", "42"),
        ("112", "112"),
        ("*21#", "*21#"),
        ("001", "001"),
        ("", ""),
        (" - ", ""),
    ],
)
@pytest.mark.parametrize("field", ["work", "mobile", "home"])
def test_a_number_has_one_spelling(field: str, given_: str, number: str):
    other = "work" if field != "work" else "home"
    assert getattr(check(Contact(name="Zoé", **{field: given_, other: "7"})), field) == number


@pytest.mark.parametrize(
    "number",
    [
        "0972101234",
        "09 72 10 12 34",
        "+0972101234",
        "+1234",
        "+1234567890123456",
        "1234567",
        "++33972101234",
        "33+972101234",
        "+33972101234x5",
        "sip:alice@example.net",
        "+٣٣٩٧٢١٠١٢٣٤",
        "+33\n972101234",
        # Nobody can say of all countries whether this 0 is dialled.
        "+33 (0)9 72 10 12 34",
        "+33(0) 972101234",
    ],
)
def test_a_number_that_cannot_be_dialled_from_everywhere_is_refused(number: str):
    field, detail = refused(mobile=number)
    assert field == "mobile"
    assert detail == f"mobile is {number!r}; it is international, such as 0033972101234 or +33972101234."


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": "", "surname": ""}, "name"),
        ({"name": " ", "surname": "\u00a0"}, "name"),
        ({"work": "", "mobile": "", "home": ""}, "work"),
        ({"work": " ", "mobile": "-", "home": "()"}, "work"),
        ({"group": "x" * (LONGEST + 1)}, "group"),
        ({"name": "x" * (LONGEST + 1)}, "name"),
        ({"surname": "x" * (LONGEST + 1)}, "surname"),
        ({"surname": "a\nb"}, "surname"),
        ({"name": "a\u2028b"}, "name"),
        ({"name": "a\0"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"group": "%NULL%"}, "group"),
    ],
)
def test_what_no_phone_could_show_is_refused_with_its_field(changed: dict[str, str], field: str):
    assert refused(**changed)[0] == field


def test_blanks_around_a_value_are_no_part_of_it():
    assert check(Contact(*(f"  {value}\t" for value in astuple(GOOD)))) == GOOD


@pytest.mark.parametrize(
    ("contact", "shown"),
    [
        (Contact(name="Zoé", surname="d'Arc"), "Zoé d'Arc"),
        (Contact(name="Zoé"), "Zoé"),
        (Contact(surname="d'Arc"), "d'Arc"),
        (Contact(group="Reception"), "Reception"),
    ],
)
def test_what_a_phone_shows(contact: Contact, shown: str):
    assert contact.display_name == shown


def test_its_numbers_are_those_that_there_are():
    assert GOOD.numbers == (("work", "+33972101234"), ("mobile", "+33612345678"), ("home", "42"))
    assert replace(GOOD, mobile="").numbers == (("work", "+33972101234"), ("home", "42"))


def tried(contact: Contact) -> tuple[Contact | None, object]:
    try:
        return check(contact), None
    except Refused as refusal:
        return None, refusal.members["field"]


@given(st.builds(Contact, *[st.text(max_size=20)] * 3, *[st.text("+0123456789 .-()*#a", max_size=18)] * 3))
def test_a_contact_that_passed_passes_again_and_is_the_same(contact: Contact):
    checked, field = tried(contact)
    if checked is None:
        assert field in FIELDS
        return
    assert check(checked) == checked
    assert checked.display_name
    assert checked.numbers
    assert all(set(number) <= set("+0123456789*#") for _, number in checked.numbers)
    assert all(len(value.splitlines()) <= 1 for value in astuple(checked))
