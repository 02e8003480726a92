import pytest
from sample_phones import CATALOGUE, RENDERER, dialect, filled, line, own, stage0, values

from provisioning.domain.keys import Key

ST2030 = CATALOGUE.models["technicolor-st2030"]
TB30 = CATALOGUE.models["technicolor-tb30"]


def rendered(model, lines=None, **more):
    lines = filled(model, 1) if lines is None else lines
    return dialect(model).settings(RENDERER.render(own(model), model, values(model, lines, **more)))


@pytest.mark.parametrize("model", ["technicolor-tb30", "technicolor-st2030"])
def test_the_operators_models_are_there(model):
    # One account of theirs can be active at a time.
    assert CATALOGUE.model(model).slots == 1


@pytest.mark.parametrize(("model", "profiles"), [("technicolor-tb30", "1234"), ("technicolor-st2022", "12")])
def test_profiles_that_cannot_be_in_use_are_emptied(model, profiles):
    found = rendered(CATALOGUE.models[model])
    assert "".join(n for n in "12345" if f"regpwd{n}" in found) == profiles
    assert found["TEL01Use"] == "1"
    assert {found[f"TEL0{n}Use"] + found[f"regpwd{n}"] for n in profiles[1:]} == {"0"}


def test_names_are_in_the_phone_s_character_set():
    body = RENDERER.render(own(ST2030), ST2030, values(ST2030, {1: line(1, display_name="Zoé 日本")}))
    assert b"DisplayName1=Zo\xe9 ??\n" in body


def test_keys_count_through_the_modules():
    keys = [Key(0, 10, "blf", "11"), Key(1, 1, "blf", "22"), Key(1, 28, "speed-dial", "33"), Key(2, 28, "none")]
    found = rendered(TB30, keys=keys)
    assert {key: value for key, value in found.items() if key.startswith("FeatureKeyExt")} == {
        "FeatureKeyExt10": "S/<sip:11>",
        "FeatureKeyExt11": "S/<sip:22>",
        "FeatureKeyExt38": "L/<sip:33>",
        "FeatureKeyExt66": "L/<sip:>",
    }


def test_codecs_are_ranked():
    assert rendered(TB30, codecs=("g722", "opus", "pcma"))["CodecPriority"] == (
        "g722(1)g711a(2)g711mu(3)g729(4)g723(5)gsmwbamr(6)l16(7)ilbc(8)ilbc133(9)"
    )
    found = rendered(ST2030, codecs=("g722", "g729", "pcmu"))
    assert [found[f"CodecPriority_{name}"] for name in ("G729", "G711mu", "G711a", "G723")] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("zone", "number", "summer"),
    [
        ("Europe/Paris", "22", "1"),
        ("Europe/London", "21", "1"),
        ("Atlantic/Reykjavik", "20", "0"),
        ("Africa/Lagos", "22", "0"),
        ("America/New_York", "11", "1"),
        ("America/Guadeloupe", "14", "0"),
        ("Indian/Reunion", "36", "0"),
        ("Asia/Kathmandu", "42", "0"),
        ("Pacific/Chatham", None, "1"),
    ],
)
def test_a_zone_is_one_of_the_phone_s_own_list(zone, number, summer):
    found = rendered(ST2030, time_zone=zone)
    assert (found.get("NtpZoneNum"), found["NtpDaylight"]) == (number, summer)


def test_tls_has_a_port_of_its_own_on_a_tb30():
    found = rendered(TB30, {1: line(3)})
    assert (found["TransportFlgMP1"], found["sip_reg_srv_portMP1"], found["sip_pxy_tls_srv_portMP1"]) == (
        "2",
        "5061",
        "5061",
    )
    assert "sip_pxy_tls_srv_portMP1" not in rendered(ST2030, {1: line(3)})


def test_what_a_phonebook_s_name_is_cut_to():
    assert rendered(ST2030, phonebook_name="Annuaire de l'entreprise")["Phonebook1_name"] == "Annuaire de l'entr"


@pytest.mark.parametrize(("country", "code"), [("FR", "FR"), ("IT", "IT"), ("PL", None), ("CA", None)])
def test_a_country_that_is_not_known_is_left_out(country, code):
    assert rendered(ST2030, tone_country=country).get("CountryCode") == code


def test_the_file_is_numbered_by_its_revision():
    assert rendered(ST2030)["config_sn"] == "000000000000"
    assert dialect(ST2030).settings(RENDERER.render(own(ST2030), ST2030, stage0(ST2030)))["config_sn"] == "0" * 12
