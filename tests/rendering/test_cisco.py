"""What differs between Cisco's models of one family, which the representatives do not show."""

from pathlib import Path

import pytest
from sample_phones import CATALOGUE, RENDERER, dialect, filled, own, values
from test_golden import check

from provisioning.domain.keys import Key
from provisioning.rendering.encoders import SYNTAXES, Unencodable

KNOWN = Path(__file__).parents[1] / "data" / "params-cisco.txt"
VENDOR = CATALOGUE.vendor("cisco")


def settings(model, lines=1, **chosen):
    body = RENDERER.render(own(model), model, values(model, filled(model, lines), **chosen))
    return dialect(model).settings(body)


@pytest.mark.parametrize("model", VENDOR.models, ids=lambda model: model.id)
def test_every_parameter_of_every_model_is_known(model):
    known = {*KNOWN.read_text("utf-8").splitlines(), *VENDOR.cited}
    used = settings(model, model.slots, voice_vlan=20, syslog_server="2001:db8::5", voicemail_number="888")
    assert {dialect(model).oracle_name(key) for key in used} <= known


@pytest.mark.parametrize("model_id", ["cisco-ata191", "cisco-pap2t", "cisco-cp-7832", "cisco-dp-9861", "cisco-spa525g"])
def test_a_phone_with_one_line(model_id):
    model = CATALOGUE.models[model_id]
    body = RENDERER.render(own(model), model, values(model, filled(model, 1), firmware=True))
    check(model, f"{model.name}-1-lines.xml", body)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", ("GMT", "", "No", "")),
        ("Europe/Paris", ("GMT+01:00", "", "Yes", "start=3/-1/7/2:00:00;end=10/-1/7/3:00:00;save=1:00:00")),
        ("America/St_Johns", ("GMT-03:30", "", "Yes", "start=3/8/7/2:00:00;end=11/1/7/2:00:00;save=1:00:00")),
        ("Asia/Kolkata", ("GMT+05:30", "", "No", "")),
        # No such zone is listed: ten hours west and half of one back.
        ("Pacific/Marquesas", ("GMT-10:00", "00/30", "No", "")),
        # Thursday at 26:00 is Friday at two.
        ("Asia/Jerusalem", ("GMT+02:00", "", "Yes", "start=3/23/5/2:00:00;end=10/-1/7/2:00:00;save=1:00:00")),
        ("Australia/Lord_Howe", ("GMT+10:00", "00/30", "Yes", "start=10/1/7/2:00:00;end=4/1/7/2:00:00;save=0:30:00")),
    ],
)
def test_time_zones(zone, expected):
    found = settings(CATALOGUE.models["cisco-cp-8851"], time_zone=zone)
    names = ("Time_Zone", "Time_Offset__HH_mm_", "Daylight_Saving_Time_Enable", "Daylight_Saving_Time_Rule")
    assert tuple(found[name] for name in names) == expected


@pytest.mark.parametrize(
    ("zone", "code"),
    [
        ("Europe/Paris", "+01 2 2"),
        ("Europe/London", "+00 2 2"),
        ("Africa/Tunis", "+01 1 0"),
        ("America/New_York", "-05 2 1"),
        ("UTC", "+00 1 0"),
        ("Asia/Kolkata", None),
    ],
)
def test_time_zones_of_a_router(zone, code):
    found = settings(CATALOGUE.models["cisco-spa112"], time_zone=zone)
    assert found.get("router-configuration/Time_Setup/Time_Zone") == code
    assert "Time_Zone" not in found


@pytest.mark.parametrize(
    ("model_id", "server", "told"),
    [
        ("cisco-spa112", "192.0.2.5", ("192.0.2.5", None)),
        ("cisco-ata191", "192.0.2.5", ("192.0.2.5", "")),
        ("cisco-ata191", "2001:db8::5", ("", "2001:db8::5")),
        ("cisco-spa112", "2001:db8::5", ("", None)),
        ("cisco-spa112", "", ("", None)),
    ],
)
def test_a_router_s_log_server_is_the_router_s(model_id, server, told):
    found = settings(CATALOGUE.models[model_id], syslog_server=server)
    above = "router-configuration/Log_Configuration/Syslog_Server"
    assert (found[f"{above}_IP"], found.get(f"{above}_IP6"), found[f"{above}_Port"]) == (*told, "514")
    assert "Syslog_Server" not in found


@pytest.mark.parametrize(
    ("codecs", "preferred"),
    [
        (("g722", "pcma", "pcmu", "g729"), ("G722", "G711a", "G711u", "No")),
        (("pcma",), ("G711a", "Unspecified", "Unspecified", "Yes")),
        # With Yes the phone would not use the second at all.
        (("opus", "pcmu"), ("OPUS", "G711u", "Unspecified", "No")),
    ],
)
def test_codecs_of_a_multiplatform_phone(codecs, preferred):
    found = settings(CATALOGUE.models["cisco-cp-8851"], codecs=codecs)
    names = ("Preferred_Codec_1_", "Second_Preferred_Codec_1_", "Third_Preferred_Codec_1_", "Use_Pref_Codec_Only_1_")
    assert tuple(found[name] for name in names) == preferred
    for name, codec in (("G729a", "g729"), ("G722", "g722"), ("OPUS", "opus")):
        assert found[f"{name}_Enable_1_"] == ("Yes" if codec in codecs else "No")


def test_an_adapter_uses_all_the_codecs_that_are_chosen_and_no_other():
    found = settings(CATALOGUE.models["cisco-spa112"])
    names = ("Preferred_Codec_1_", "Second_Preferred_Codec_1_", "Third_Preferred_Codec_1_", "Use_Pref_Codec_Only_1_")
    assert tuple(found[name] for name in names) == ("G711a", "G711u", "G729a", "No")
    assert (found["G726-32_Enable_1_"], found["G723_Enable_1_"]) == ("No", "No")


@pytest.mark.parametrize(("codecs", "either"), [(("g722", "pcma"), ("Yes", "No")), (("opus", "pcmu"), ("No", "Yes"))])
def test_a_9800_can_do_without_either_g711(codecs, either):
    found = settings(CATALOGUE.models["cisco-dp-9861"], codecs=codecs)
    assert (found["G711a_Enable_1_"], found["G711u_Enable_1_"]) == either
    assert "G711a_Enable_1_" not in settings(CATALOGUE.models["cisco-cp-8851"], codecs=codecs)


def test_an_adapter_that_knows_none_of_the_codecs_has_the_one_of_every_network():
    assert settings(CATALOGUE.models["cisco-pap2t"], codecs=("opus",))["Preferred_Codec_1_"] == "G711a"


@pytest.mark.parametrize(
    ("srtp", "phone", "adapter"),
    [("off", "No Optional", "No"), ("optional", "Yes Optional", "Yes"), ("mandatory", "Yes Required", "Yes")],
)
def test_encryption_of_speech(srtp, phone, adapter):
    found = settings(CATALOGUE.models["cisco-cp-8851"], srtp=srtp)
    assert f"{found['Secure_Call_Setting']} {found['Secure_Call_Option_1_']}" == phone
    found = settings(CATALOGUE.models["cisco-spa112"], srtp=srtp)
    assert (found["Secure_Call_Setting_1_"], found["SRTP_Method"]) == (adapter, "s-descriptor")
    assert "SRTP_Method" not in settings(CATALOGUE.models["cisco-ata191"], srtp=srtp)


def test_no_label_and_no_url_can_end_a_field_of_a_key():
    model = CATALOGUE.models["cisco-cp-8851"]
    keys = [Key(0, 2, "speed-dial", "42", "a;fnc=dnd"), Key(0, 3, "url", "http://a.example/;fnc=dnd", "b")]
    found = settings(model, keys=keys)
    assert found["Extended_Function_2_"] == "fnc=sd;ext=42@$PROXY;vid=1;nme=a,fnc=dnd"
    assert found["Extended_Function_3_"] == "fnc=xml;url=http://a.example/%3Bfnc=dnd;vid=1;nme=b"


@pytest.mark.parametrize(
    ("model_id", "name"),
    [("cisco-spa504g", "Unit_2_Key_32"), ("cisco-cp-8851", "Unit_2_Key_28_"), ("cisco-dp-9861", "Unit_3_Key_40_")],
)
def test_the_last_key_of_the_last_module(model_id, name):
    model = CATALOGUE.models[model_id]
    found = settings(model, keys=[Key(model.expansion_modules, model.module_keys, "blf", "42", "B")])
    assert found[name].startswith("fnc=sd+blf+cp;sub=42@$PROXY")
    assert found["Server_Type"] == "RFC3265_4235"


def test_an_spa_phone_asks_for_the_state_of_others_without_a_module_too():
    keys = [Key(0, 2, "blf", "42", "B")]
    found = settings(CATALOGUE.models["cisco-spa504g"], keys=keys)
    assert (found["Server_Type"], found.get("Unit_1_Enable")) == ("RFC3265_4235", None)
    assert "Server_Type" not in settings(CATALOGUE.models["cisco-spa504g"], keys=[Key(0, 2, "speed-dial", "42", "B")])
    assert "Server_Type" not in settings(CATALOGUE.models["cisco-cp-8851"], keys=keys)


def test_the_modules_with_keys_are_switched_on():
    keys = [Key(1, 1, "blf", "42", "B"), Key(1, 2, "blf", "43", "C"), Key(2, 1, "blf", "44", "D")]
    found = settings(CATALOGUE.models["cisco-spa504g"], keys=keys)
    assert (found["Unit_1_Enable"], found["Unit_2_Enable"]) == ("Yes", "Yes")
    assert settings(CATALOGUE.models["cisco-cp-8851"], keys=keys)["Number_of_Units"] == "2"


def test_a_phone_without_a_display_has_no_phonebook():
    assert CATALOGUE.models["cisco-spa301"].contacts is None
    assert "XML_Directory_Service_URL" not in settings(CATALOGUE.models["cisco-spa301"])
    assert CATALOGUE.models["cisco-spa504g"].contacts.name == "{mac}-phonebook.xml"


@pytest.mark.parametrize("value", [" x", "x ", "\u3000x", "x\u00a0"])
def test_a_blank_that_the_phone_would_lose_is_refused(value):
    with pytest.raises(Unencodable, match="blank"):
        SYNTAXES["xml-ascii"].encode(value)
    assert SYNTAXES["xml"].encode(value) == value


def test_a_parameter_set_by_name_comes_last_and_wins():
    model = CATALOGUE.models["cisco-cp-8851"]
    found = settings(model, parameters=(("Time_Format", "12hr"), ("GPP_A", "<x>")))
    assert (found["Time_Format"], found["GPP_A"]) == ("12hr", "<x>")


def test_an_adapter_s_parameters_stand_before_the_router_s_block():
    model = CATALOGUE.models["cisco-ata191"]
    found = settings(model, parameters=(("GPP_A", "x"),))
    assert found["GPP_A"] == "x"


def test_who_polls_once_a_day_does_so_at_night():
    model = CATALOGUE.models["cisco-spa504g"]
    daily, hourly = settings(model), settings(model, poll_minutes=60)
    assert daily["Resync_At__HHmm_"].isdigit()
    assert len(daily["Resync_At__HHmm_"]) == 4
    assert (hourly["Resync_At__HHmm_"], hourly["Resync_Periodic"]) == ("", "3600")


class TestEnterprise:
    MODEL = CATALOGUE.models["cisco-cp-7961g"]

    def lines(self, lines, **more):
        body = RENDERER.render(own(self.MODEL), self.MODEL, values(self.MODEL, lines, **more))
        return dialect(self.MODEL).configuration(dialect(self.MODEL).settings(body)).lines

    def test_all_lines_go_the_main_line_s_way(self):
        three = filled(self.MODEL, 3)
        found = self.lines({1: three[3], 2: three[2]})
        assert [(one.transport, one.outbound_proxy) for one in found] == [("tls", "")] * 2

    def test_a_button_whose_slot_has_a_line_shows_the_line(self):
        keys = [Key(0, 1, "blf", "42", "B"), Key(0, 5, "blf", "43", "C")]
        found = settings(self.MODEL, 2, keys=keys)
        assert found["sipProfile/sipLines/line[1]/featureID"] == "9"
        assert found["sipProfile/sipLines/line[5]/speedDialNumber"] == "43"
