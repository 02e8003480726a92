import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_phones import (
    CATALOGUE,
    CONTACTS,
    FAMILIES,
    RENDERER,
    SECRET,
    ZONES,
    filled,
    line,
    mac_of,
    representative,
    site,
)

from provisioning.domain.held import Held
from provisioning.domain.keys import Key
from provisioning.domain.mac import Mac
from provisioning.domain.settings import DEFAULTS, OF_LINES
from provisioning.rendering import compose
from provisioning.rendering.compose import MASK, Site
from provisioning.rendering.values import Values

T54W = CATALOGUE.model("yealink-T54W")
MAC = Mac("001565a1b2c3")
SITE = site(T54W)
FAMILY = T54W.family
DERIVED = (
    lambda secret: compose.admin_password(secret, FAMILY),
    lambda secret: compose.user_password(secret, FAMILY),
    compose.encryption_key,
)
REPRESENTATIVES = [representative(family) for family in FAMILIES]


def by_id(model):
    return model.id


def stage1(held: Held, secret: str | None = SECRET, model=T54W) -> Values:
    return compose.stage1(site(model), model, mac_of(model), secret, held)


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.text("0123456789abcdef", min_size=32, max_size=32))
def test_what_is_derived_differs_by_purpose_and_by_secret(one: str, other: str):
    found = [derive(secret) for derive in DERIVED for secret in sorted({one, other})]
    assert len(set(found)) == len(found)
    assert found == [derive(secret) for derive in DERIVED for secret in sorted({one, other})]
    assert re.fullmatch("[0-9]{12}", compose.admin_password(one, FAMILY))
    assert re.fullmatch("[0-9]{12}", compose.user_password(one, FAMILY))
    assert re.fullmatch("[0-9A-Za-z]{16}", compose.encryption_key(one))
    assert all(text not in secret for text in found for secret in (one, other))


def test_a_password_is_as_long_as_phones_can_have_and_of_the_kinds_that_they_want():
    short = replace(FAMILY, password_digits=9, password_prefix="Pn")
    whole = compose.admin_password(SECRET, FAMILY)
    assert compose.admin_password(SECRET, short) == f"Pn{whole[:9]}"
    assert compose.admin_password(MASK, short) == MASK


def test_what_phones_were_given_by_an_earlier_version_is_derived_today():
    # A phone keeps its password and key; another derivation would lock people out of it.
    assert [derive(SECRET) for derive in DERIVED] == ["390650878334", "154639234226", "7pryJeRDW9ccWA6W"]


def test_of_the_mask_nothing_is_derived():
    assert [derive(MASK) for derive in DERIVED] == [MASK] * 3


def test_a_phone_that_is_given_no_secret_is_given_nothing_made_of_it():
    phone = stage1(Held(chosen={**DEFAULTS, "encrypt_configuration": True}), secret=None).phone
    assert (phone.admin_password, phone.user_password, phone.encryption_key) == ("", "", "")
    assert phone.directory_url == "https://phones.example.net/"


@pytest.mark.parametrize("chosen", [False, True])
def test_the_key_is_there_where_it_is_chosen(chosen: bool):
    phone = stage1(Held(chosen={**DEFAULTS, "encrypt_configuration": chosen})).phone
    assert phone.encryption_key == (compose.encryption_key(SECRET) if chosen else "")


def test_the_values_say_no_secret_when_they_are_printed():
    given_ = stage1(Held([(1, line(1))], {**DEFAULTS, "encrypt_configuration": True}))
    shown = repr(given_.slots) + repr(given_.keys) + repr(given_.phone)
    for secret in (line(1).password, *(derive(SECRET) for derive in DERIVED)):
        assert secret not in shown


@pytest.mark.parametrize("model", REPRESENTATIVES, ids=by_id)
def test_masked_shows_a_person_everything_but_the_secrets(model):
    held = Held(
        list(filled(model, min(model.slots, 4)).items()), {**DEFAULTS, "encrypt_configuration": True}, contacts=CONTACTS
    )
    shown = compose.masked(site(model), model, mac_of(model), held)
    assert [slot.line and replace(slot.line, password="") for slot in shown.slots] == [
        slot.line and replace(slot.line, password="") for slot in stage1(held, model=model).slots
    ]
    assert {slot.line.password for slot in shown.slots if slot.line} == {MASK}
    assert {key.line.password for key in shown.keys if key.line} <= {MASK}
    assert (shown.phone.admin_password, shown.phone.user_password, shown.phone.encryption_key) == (MASK,) * 3
    assert shown.phone.directory_url == f"https://phones.example.net/{MASK}/"
    for document in model.documents.values():
        text = RENDERER.render(document, model, shown).decode("utf-8", "replace")
        # Lines 1 to 4 of the sample have passwords that begin so.
        assert not re.search(r"pass[1-4]-", text)


@pytest.mark.parametrize("model", REPRESENTATIVES, ids=by_id)
def test_stage_0_holds_nothing_of_any_phone(model):
    found = compose.stage0(site(model, firmware=True), model)
    assert (found.slots, found.keys, found.parameters, found.contacts, found.firmware) == ((), (), (), (), None)
    phone = found.phone
    assert (phone.mac, phone.slots, phone.phonebook_url) == ("", 0, "")
    assert (phone.admin_password, phone.user_password, phone.encryption_key) == ("", "", "")
    assert phone.directory_url == "https://phones.example.net/"
    assert phone.provisioning_url == f"https://phones.example.net/{model.family.provisioning_macro}"
    assert phone.poll_minutes == compose.STAGE0_POLL_MINUTES


def test_stage_0_has_the_operators_settings():
    own = Site("https://phones.example.net", {"language": "de", "time_zone": "Asia/Tokyo"}, ZONES, {})
    found = compose.stage0(own, T54W)
    assert vars(found.settings) == {**DEFAULTS, "language": "de", "time_zone": "Asia/Tokyo"}
    assert found.zone.offset == 540


@pytest.mark.parametrize("model", REPRESENTATIVES, ids=by_id)
def test_all_slots_are_there_and_the_empty_ones_empty(model):
    found = stage1(Held([(model.slots, line(1))]), model=model)
    assert [slot.number for slot in found.slots] == list(range(1, model.slots + 1))
    assert [slot.line for slot in found.slots] == [None] * (model.slots - 1) + [line(1)]
    assert all(tuple(vars(slot.settings)) == OF_LINES for slot in found.slots)


def test_a_lines_own_settings_go_before_its_phones():
    held = Held(
        [(1, line(1)), (3, line(3))],
        {**DEFAULTS, "srtp": "optional", "keep_alive": 7},
        {"line3": {"srtp": "mandatory", "codecs": ("opus",)}, "line9": {"srtp": "off"}},
    )
    slots = stage1(held).slots
    of_phone = {name: held.chosen[name] for name in OF_LINES}
    assert vars(slots[2].settings) == {**of_phone, "srtp": "mandatory", "codecs": ("opus",)}
    # Neither another line's slot nor an empty one has them, nor does the phone.
    assert [vars(slots[at].settings) for at in (0, 1, 15)] == [of_phone] * 3
    assert vars(stage1(held).settings) == held.chosen


def test_a_key_of_a_line_has_that_line_and_another_key_the_main_one():
    keys = (
        Key(0, 3, "line", "2"),
        Key(0, 4, "line", "16", "Mine"),
        Key(0, 5, "blf", "42", "Bob"),
        Key(1, 2, "line", "5"),
    )
    found = {
        (key.module, key.number): key
        for key in stage1(Held([(1, line(1)), (2, line(2)), (16, line(4))], keys=keys)).keys
    }
    shown = {place: (key.type, key.value, key.label, key.slot, key.line) for place, key in found.items()}
    assert shown[0, 1] == ("line", "1", line(1).label, 1, line(1))
    assert shown[0, 3] == ("line", "2", line(2).label, 2, line(2))
    # Its own label goes before the line's.
    assert shown[0, 4] == ("line", "16", "Mine", 16, line(4))
    assert shown[0, 5] == ("blf", "42", "Bob", 1, line(1))
    assert shown[1, 2] == ("line", "5", "", 5, None)
    assert {key.code for key in found.values() if key.type == "blf"} == {T54W.family.keys["blf"]}
    assert found[0, 1].code == T54W.family.keys["line"]


def test_a_key_of_a_slot_that_the_phone_has_no_more_is_left_out():
    small = replace(T54W, slots=2)
    found = compose.stage1(SITE, small, MAC, SECRET, Held(keys=[Key(0, 2, "line", "9"), Key(0, 7, "line", "9")]))
    assert [(key.number, key.slot) for key in found.keys] == [(1, 1), (2, 2)]


def test_the_urls_that_a_phone_is_given():
    phone = stage1(Held()).phone
    assert phone.directory_url == f"https://phones.example.net/{SECRET}/"
    assert phone.provisioning_url.startswith(phone.directory_url)
    assert T54W.contacts is not None
    assert phone.phonebook_url == phone.directory_url + T54W.contacts.name_for(MAC)
    assert stage1(Held(), model=CATALOGUE.model("linphone-desktop")).phone.phonebook_url == ""


def test_a_zone_that_is_no_more_is_utc():
    assert stage1(Held(chosen={**DEFAULTS, "time_zone": "Europe/Atlantis"})).zone.name == "UTC"
    assert stage1(Held(chosen={**DEFAULTS, "time_zone": "Europe/Dublin"})).zone.name == "Europe/Dublin"


def test_firmware_is_the_models_own():
    found = compose.stage1(site(T54W, firmware=True), T54W, MAC, SECRET, Held())
    assert found.firmware == site(T54W, firmware=True).firmware[T54W.id]
    other = CATALOGUE.model("yealink-T46S")
    assert compose.stage1(site(T54W, firmware=True), other, MAC, SECRET, Held()).firmware is None


@given(st.lists(st.text("0123456789abcdef", min_size=12, max_size=12), min_size=200, max_size=200, unique=True))
def test_a_fleet_polls_spread_over_the_night(macs: list[str]):
    times = [compose.stage1(SITE, T54W, Mac(mac), SECRET, Held()).phone.poll_time for mac in macs[:1]] + [
        compose._poll_time(Mac(mac)) for mac in macs
    ]
    assert all(re.fullmatch("0[0-5]:[0-5][0-9]", time) for time in times)
    assert times[0] == times[1]
    assert max(times.count(time) for time in times[1:]) < 20


def test_what_is_held_reaches_the_values():
    held = Held(parameters=(("phone_setting.x", "1"),), contacts=CONTACTS, chosen={**DEFAULTS, "poll_minutes": 60})
    found = stage1(held)
    assert (found.parameters, found.contacts, found.phone.poll_minutes) == (held.parameters, CONTACTS, 60)
