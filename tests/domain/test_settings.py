import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain import settings
from provisioning.domain.errors import Refused
from provisioning.domain.settings import ALL, BY_NAME, DEFAULTS, OF_LINES, SCOPES, Chosen, check_parameter, resolve

HOSTILE = ["\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", '"', "<", " "]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def refused(name: str, given: object) -> str:
    with pytest.raises(Refused) as caught:
        BY_NAME[name].parse(given)
    assert (caught.value.code, caught.value.members) == ("invalid-value", {"field": name})
    return caught.value.detail


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("call_waiting", True, True),
        ("call_waiting", False, False),
        ("language", "de", "de"),
        ("codecs", ["pcma"], ("pcma",)),
        ("codecs", ["opus", "g722", "pcma", "pcmu", "g729"], ("opus", "g722", "pcma", "pcmu", "g729")),
        ("codecs", ("pcmu", "pcma"), ("pcmu", "pcma")),
        ("register_expires", 60, 60),
        ("register_expires", 86400, 86400),
        ("keep_alive", 0, 0),
        ("syslog_server", "", ""),
        ("syslog_server", "192.0.2.7", "192.0.2.7"),
        ("syslog_server", "2001:DB8:0::7", "2001:db8::7"),
        ("ntp_server", "pool.ntp.org", "pool.ntp.org"),
        ("ntp_server", "ntp-1.example.net", "ntp-1.example.net"),
        ("ntp_server", "1.ntp.example.net", "1.ntp.example.net"),
        ("ntp_server", "localhost", "localhost"),
        ("ntp_server", "192.0.2.7", "192.0.2.7"),
        ("ntp_server", "2001:db8::7", "2001:db8::7"),
        ("ntp_server", "::1", "::1"),
        ("voicemail_number", "", ""),
        ("voicemail_number", "*98#", "*98#"),
        ("voicemail_number", "+33972101234", "+33972101234"),
        ("time_zone", "America/Argentina/ComodRivadavia", "America/Argentina/ComodRivadavia"),
        ("phonebook_name", "Zoë & <fils>", "Zoë & <fils>"),
        ("phonebook_name", "x" * 32, "x" * 32),
    ],
)
def test_each_kind_takes(name: str, given: object, value: object):
    parsed = BY_NAME[name].parse(given)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "given", "should_be"),
    [
        ("call_waiting", 1, "true or false"),
        ("call_waiting", "true", "true or false"),
        ("call_waiting", None, "true or false"),
        ("language", "FR", "one of fr, en, de"),
        ("language", "", "one of fr"),
        ("language", ["fr"], "one of fr"),
        ("codecs", [], "each once"),
        ("codecs", "pcma", "a list of some of g722"),
        ("codecs", ["pcma", "pcma"], "each once"),
        ("codecs", ["pcma", "mp3"], "a list of some of"),
        ("codecs", ["pcma", 8], "a list of some of"),
        ("codecs", [["pcma"]], "a list of some of"),
        ("codecs", {"pcma": 1}, "a list of some of"),
        ("register_expires", 59, "a whole number from 60 to 86400"),
        ("register_expires", 86401, "a whole number from 60 to 86400"),
        ("register_expires", 3600.0, "a whole number"),
        ("register_expires", "3600", "a whole number"),
        ("keep_alive", True, "a whole number from 0 to 300"),
        ("syslog_server", "syslog.example.net", "an IPv4 or IPv6 address, or empty"),
        ("syslog_server", "192.0.2.7:514", "an IPv4 or IPv6 address"),
        ("syslog_server", "192.0.2.007", "an IPv4 or IPv6 address"),
        ("syslog_server", "[2001:db8::7]", "an IPv4 or IPv6 address"),
        # An interface of whose machine?
        ("syslog_server", "fe80::1%eth0", "an IPv4 or IPv6 address"),
        ("syslog_server", 'fe80::1%a"\nb', "an IPv4 or IPv6 address"),
        ("syslog_server", 3221225991, "text"),
        ("ntp_server", "", "a host name or an address"),
        ("ntp_server", "ntp.example.net:123", "a host name or an address"),
        ("ntp_server", "http://ntp.example.net", "a host name or an address"),
        ("ntp_server", "-ntp.example.net", "a host name or an address"),
        ("ntp_server", "ntp.example.net.", "a host name or an address"),
        ("ntp_server", "ntp..example.net", "a host name or an address"),
        ("ntp_server", "ntp_1.example.net", "a host name or an address"),
        ("ntp_server", "....", "a host name or an address"),
        ("ntp_server", "fe80::1%eth0", "a host name or an address"),
        ("ntp_server", ":::::", "a host name or an address"),
        ("ntp_server", "192.0.2.256", "a host name or an address"),
        ("ntp_server", "a" * 64, "a host name or an address"),
        ("ntp_server", ".".join(["a" * 60] * 5), "a host name or an address"),
        ("ntp_server", "zoë.example.net", "a host name or an address"),
        ("ntp_server", 1, "text"),
        ("voicemail_number", "12 34", "a number to dial, or empty"),
        ("voicemail_number", "1" * 33, "a number to dial"),
        ("voicemail_number", "٣", "a number to dial"),
        ("voicemail_number", "1+2", "a number to dial"),
        ("voicemail_number", 888, "text"),
        ("time_zone", None, "text"),
        ("phonebook_name", "x" * 33, "longer than 32"),
        ("phonebook_name", " x", "a space"),
        ("phonebook_name", "%NULL%", "factory default"),
    ],
)
def test_each_kind_refuses_and_says_what_it_should_be(name: str, given: object, should_be: str):
    assert should_be in refused(name, given)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", ["language", "syslog_server", "ntp_server", "voicemail_number"])
def test_no_value_breaks_out_of_its_place(name: str, hostile: str):
    for good in ("1", "fr", "::1", "192.0.2.1"):
        refused(name, f"{good}{hostile}")
        refused(name, f"{hostile}{good}")


@pytest.mark.parametrize("hostile", [hostile for hostile in HOSTILE if hostile not in '"< '])
def test_no_text_holds_a_line_break_or_a_control_character(hostile: str):
    assert "control character" in refused("phonebook_name", f"a{hostile}b")


@given(st.sampled_from(ALL), JSON)
def test_whatever_json_says_is_refused_or_stays_what_it_was_parsed_to(setting: settings.Setting, given: object):
    try:
        value = setting.parse(given)
    except Refused:
        refused(setting.name, given)
    else:
        assert setting.parse(value) == value
        assert type(value) is type(setting.default)


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.name)
def test_every_default_is_a_value_of_its_setting(setting: settings.Setting):
    assert setting.parse(setting.default) == setting.default


def test_names_are_unique():
    assert len(BY_NAME) == len(ALL)


def test_a_setting_is_found_by_its_name_in_every_scope_that_can_have_it():
    for scope in SCOPES[:-1]:
        assert settings.find("language", scope) is BY_NAME["language"]
    for name in OF_LINES:
        assert settings.find(name, "line").name == name


@pytest.mark.parametrize(
    ("name", "scope", "told"),
    [
        ("colour", "operator", "There is no setting 'colour'; there are language, time_zone,"),
        ("LANGUAGE", "phone", "There is no setting 'LANGUAGE'"),
        ("language", "line", "language is a phone's and not a line's."),
    ],
)
def test_a_setting_that_the_scope_cannot_have_is_refused(name: str, scope: settings.Scope, told: str):
    with pytest.raises(Refused) as caught:
        settings.find(name, scope)
    assert (caught.value.code, caught.value.members) == ("setting-unknown", {"field": name})
    assert caught.value.detail.startswith(told)


def test_nobodys_choice_is_the_default():
    assert resolve([]) == {name: Chosen(value, "default") for name, value in DEFAULTS.items()}


def test_the_nearest_choice_holds_and_is_named():
    found = resolve(
        [
            ("config", {"language": "en", "srtp": "optional"}),
            ("operator", {"language": "de", "keep_alive": 0}),
            ("model", {"language": "es"}),
            ("account", {"srtp": "mandatory"}),
            ("phone", {"language": "it", "call_waiting": False}),
            ("line", {}),
        ]
    )
    assert {name: tuple(chosen) for name, chosen in found.items() if chosen.source != "default"} == {
        "language": ("it", "phone"),
        "srtp": ("mandatory", "account"),
        # What is false or 0 is a choice too.
        "keep_alive": (0, "operator"),
        "call_waiting": (False, "phone"),
    }


def test_choosing_the_default_is_a_choice():
    assert resolve([("operator", {"language": "de"}), ("phone", {"language": "fr"})])["language"] == ("fr", "phone")


def test_what_an_earlier_version_could_choose_is_forgotten():
    assert resolve([("operator", {"ringtone": "loud"})]).keys() == DEFAULTS.keys()


CHOICES = st.dictionaries(st.sampled_from(tuple(DEFAULTS)), st.integers(), max_size=4)


@given(st.lists(CHOICES, max_size=6))
def test_the_last_layer_that_chooses_is_the_source(layers: list[dict[str, int]]):
    found = resolve([(str(number), layer) for number, layer in enumerate(layers)])
    for name, chosen in found.items():
        choosing = [number for number, layer in enumerate(layers) if name in layer]
        expected = (layers[choosing[-1]][name], str(choosing[-1])) if choosing else (DEFAULTS[name], "default")
        assert tuple(chosen) == expected
    assert settings.values(found) == {name: chosen.value for name, chosen in found.items()}


PATTERN = r"[a-z]+(\.[a-z0-9_]+)*"


def parameter_refused(name: str, value: object, pattern: str | None = PATTERN) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        check_parameter(name, value, pattern, "yealink-T46S")
    return caught.value.code, caught.value.detail


@pytest.mark.parametrize("value", ["", "1", "Zoë & <fils>", "x" * 512, "#;=%:{{7*7}}"])
def test_a_vendors_parameter_is_taken(value: str):
    assert check_parameter("phone_setting.lcd_1", value, r"[a-z_]+\.[a-z0-9_]+", "m") == ("phone_setting.lcd_1", value)


def test_a_dialect_without_names_takes_no_parameter():
    assert parameter_refused("features.x", "1", None) == (
        "unsupported-by-model",
        "A yealink-T46S takes no parameters by name.",
    )


@pytest.mark.parametrize("name", ["", "A", "a b", "a=b", "a\n", "a.b\nc", "a.\u00e9", "a." + "b" * 127])
def test_what_is_no_parameter_of_the_dialect_is_refused(name: str):
    code, detail = parameter_refused(name, "1")
    assert code == "invalid-value"
    assert detail == f"{name[:80]!r} is no parameter of a yealink-T46S."


def test_the_longest_parameter():
    assert check_parameter("a" * 128, "", PATTERN, "m") == ("a" * 128, "")


@pytest.mark.parametrize("value", [None, 1, True, ["x"]])
def test_a_parameter_that_is_no_text_is_refused(value: object):
    assert parameter_refused("a.b", value) == ("invalid-value", "a.b is text.")


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\u2028b", " x", "x ", "%NULL%", "x" * 513])
def test_a_parameters_value_is_one_line_of_text(value: str):
    assert parameter_refused("a.b", value)[0] == "invalid-value"
