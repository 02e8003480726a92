import re
import subprocess
from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.rendering.encryption import encrypt
from provisioning.simulator import dialects
from provisioning.simulator.dialects import panasonic
from provisioning.simulator.dialects.base import Answer, Handset, ReadConfiguration

VENDOR = parse_vendor(
    "panasonic", (Path(__file__).parents[2] / "templates/phones/panasonic/vendor.toml").read_text("utf-8")
)
MAC = Mac("bcc342a1b2c3")
HEADER = "# Panasonic SIP Phone Standard Format File # DO NOT CHANGE THIS LINE!"
BASE = "https://phones.example.net/secret"
OWN = {
    "CFG_STANDARD_FILE_PATH": f"{BASE}/ConfigBCC342A1B2C3.cfg",
    "CFG_CYCLIC": "Y",
    "CFG_CYCLIC_INTVL": "60",
    "CFG_RESYNC_FROM_SIP": "check-sync",
    "LINE_ENABLE_1": "Enabled",
    "PHONE_NUMBER_1": "100",
    "SIP_AUTHID_1": "100",
    "SIP_PASS_1": "a b",
    "DISPLAY_NAME_1": "Zoé",
    "SIP_RGSTR_ADDR_1": "sip.example.net",
    "SIP_RGSTR_PORT_1": "5061",
    "SIP_OUTPROXY_ADDR_1": "proxy.example.net",
    "SIP_OUTPROXY_PORT_1": "5070",
    "SIP_TRANSPORT_1": "2",
    "LINE_ENABLE_2": "Disabled",
    "PHONE_NUMBER_2": "200",
    "SIP_RGSTR_ADDR_2": "sip.example.net",
    "LINE_ENABLE_3": "Enabled",
    "PHONE_NUMBER_3": "",
}
UTG = """<?xml version="1.0"?><PANASIPPhoneConfig><Device><System><Prov>
<CFG_CYCLIC>Y</CFG_CYCLIC><CFG_CYCLIC_INTVL>60</CFG_CYCLIC_INTVL>
<USR_PROV_SVR_URL perm="!R">https://phones.example.net/x.cfg</USR_PROV_SVR_URL></Prov></System>
<Lines><Line idx="1"><Sip><LINE_ENABLE>Yes</LINE_ENABLE><PHONE_NUMBER>100</PHONE_NUMBER><SIP_AUTHID>100</SIP_AUTHID>
<SIP_PASS>&lt;&amp;</SIP_PASS><SIP_RGSTR_ADDR>sip.example.net</SIP_RGSTR_ADDR></Sip></Line>
<Line idx="2"><Sip><LINE_ENABLE>No</LINE_ENABLE><PHONE_NUMBER>200</PHONE_NUMBER></Sip></Line></Lines></Device>
</PANASIPPhoneConfig>"""


def text(found, header=HEADER):
    return "\r\n".join([header, "", *(f'{name}="{value}"' for name, value in found.items()), "", ""]).encode()


def settings(body):
    return dialects.of("panasonic", "hdv").settings(body)


def run(boot, answers):
    """Every request of a fetch, and what the phone then has."""
    asked, ask = [], next(boot)
    while True:
        asked.append(ask)
        try:
            ask = boot.send(answers.get(ask.url, Answer(404)))
        except StopIteration as done:
            return asked, done.value


def test_an_enabled_line_with_a_number_registers():
    found = panasonic.configuration(settings(text(OWN)))
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.display_name) == (1, "100", "a b", "Zoé")
    assert (line.domain, line.outbound_proxy, line.transport) == ("sip.example.net", "proxy.example.net:5070", "tls")
    assert (found.provisioning_url, found.poll_minutes) == (OWN["CFG_STANDARD_FILE_PATH"], 60)


def test_a_time_of_day_switches_the_interval_off():
    assert panasonic.configuration(settings(text(OWN | {"CFG_RESYNC_TIME": "02:00"}))).poll_minutes is None
    assert panasonic.configuration(settings(text(OWN | {"CFG_CYCLIC": "N"}))).poll_minutes is None


def test_firmware_is_taken_where_that_is_on():
    image = {"FIRM_FILE_PATH": "https://phones.example.net/firmware/x.fw"}
    assert panasonic.configuration(settings(text(OWN | image))).firmware_url is None
    found = panasonic.configuration(settings(text(OWN | image | {"FIRM_UPGRADE_ENABLE": "Y"})))
    assert found.firmware_url == image["FIRM_FILE_PATH"]


GOOD = text({"NTP_ADDR": "a"})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "does not begin"),
        (b"\xef\xbb\xbf" + GOOD, "does not begin"),
        (b"\r\n" + GOOD, "does not begin"),
        (GOOD.replace(b"Panasonic SIP Phone", b"PCC"), "does not begin"),
        (GOOD[:-2], "does not end with an empty line"),
        (GOOD.replace(b"\r\n", b"\n"), "does not end with an empty line"),
        (GOOD.replace(b'"a"\r\n', b'"a"\nTIME_ZONE="0"\r\n'), "other than CR LF"),
        (GOOD.replace(b'"a"', '"\u2028"'.encode()), "other than CR LF"),
        (GOOD.replace(b'="a"', b' = "a"'), "line 3 is no NAME"),
        (GOOD.replace(b'"a"', b"a"), "line 3 is no NAME"),
        (GOOD.replace(b'"a"', b'"a"b"'), "line 3 is no NAME"),
        (GOOD.replace(b"NTP_ADDR", b"ntp_addr"), "line 3 is no NAME"),
        (GOOD.replace(b"NTP_ADDR", b"N" * 33), "line 3 is no NAME"),
        (GOOD.replace(b'"a"\r\n', b'"a"\r\nNTP_ADDR="b"\r\n'), "NTP_ADDR is set twice"),
        (GOOD.replace(b'"a"', b'"\xff"'), "utf-8"),
    ],
)
def test_it_reads_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings(body)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"LINE_ENABLE_1": "Y"}, "LINE_ENABLE_1 is 'Y'"),
        ({"SIP_TRANSPORT_1": "3"}, "SIP_TRANSPORT_1 is '3'"),
        ({"CFG_CYCLIC_INTVL": "x"}, "no number"),
    ],
)
def test_it_does_nothing_else(changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        panasonic.configuration(settings(text(OWN | changed)))


def test_the_dect_bases_files_begin_otherwise():
    read = dialects.of("panasonic", "tgp5").settings
    assert read(text({"NTP_ADDR": "a"}, "# PCC Standard Format File # DO NOT CHANGE THIS LINE!")) == {"NTP_ADDR": "a"}
    with pytest.raises(ValueError, match="does not begin"):
        read(GOOD)


def test_it_is_sent_from_the_first_file_to_its_own():
    """From the file of its model, with macros in the URLs, and the first value holds."""
    first = {
        "CFG_STANDARD_FILE_PATH": f"{BASE}/Config{{MAC}}.cfg",
        "CFG_MASTER_FILE_PATH": f"{BASE}/{{mac}}-{{Model}}",
    }
    own = {**OWN, "CFG_PRODUCT_FILE_PATH": f"{BASE}/Config{{MODEL}}.cfg", "NTP_ADDR": "own"}
    boot = dialects.of("panasonic", "hdv").boot(Handset(MAC, "KX-HDV230", "http://192.0.2.1/{MODEL}.cfg"))
    asked, found = run(
        boot,
        {
            "http://192.0.2.1/KX-HDV230.cfg": Answer(200, text(first)),
            f"{BASE}/ConfigBCC342A1B2C3.cfg": Answer(200, text(own)),
            f"{BASE}/ConfigKX-HDV230.cfg": Answer(200, text({"NTP_ADDR": "product", "TIME_ZONE": "60"})),
        },
    )
    assert [(ask.url, ask.own) for ask in asked] == [
        ("http://192.0.2.1/KX-HDV230.cfg", False),
        (f"{BASE}/ConfigBCC342A1B2C3.cfg", True),
        (f"{BASE}/ConfigKX-HDV230.cfg", False),
        # An unknown macro is text.
        (f"{BASE}/bcc342a1b2c3-{{Model}}", False),
    ]
    assert (found.settings["NTP_ADDR"], found.settings["TIME_ZONE"]) == ("own", "60")
    assert len(found.lines) == 1


def test_its_own_file_is_asked_for_once():
    boot = dialects.of("panasonic", "ut").boot(Handset(MAC, "KX-UT136", f"{BASE}/Config{{MAC}}.cfg"))
    asked, _ = run(boot, {f"{BASE}/ConfigBCC342A1B2C3.cfg": Answer(200, text(OWN))})
    assert [(ask.url, ask.own) for ask in asked] == [(f"{BASE}/ConfigBCC342A1B2C3.cfg", True)]


def test_a_line_that_is_too_long_is_nothing_to_rely_on():
    boot = dialects.of("panasonic", "ut").boot(Handset(MAC, "KX-UT136", OWN["CFG_STANDARD_FILE_PATH"]))
    body = text(OWN | {"DISPLAY_NAME_1": "x" * 520})
    with pytest.raises(ValueError, match="longer than 537"):
        run(boot, {OWN["CFG_STANDARD_FILE_PATH"]: Answer(200, body)})


@pytest.mark.parametrize("family", ["hdv", "ut", "tgp5", "utg"])
@pytest.mark.parametrize(
    ("event", "wanted", "act"),
    [
        ("check-sync", "check-sync", "fetch"),
        ("Check-Sync", "check-sync", "fetch"),
        ("check-sync;reboot=true", "check-sync", None),
        ("resync", "check-sync", None),
        ("resync", "resync", "fetch"),
        ("check-sync", "", None),
    ],
)
def test_what_a_notify_does(family, event, wanted, act):
    assert dialects.of("panasonic", family).told(event, "", {"CFG_RESYNC_FROM_SIP": wanted}) == act


def test_the_xml_of_a_utg():
    found = panasonic.utg_configuration(panasonic.utg_settings(UTG.encode()))
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.domain) == (1, "100", "<&", "sip.example.net")
    assert (found.provisioning_url, found.poll_minutes) == ("https://phones.example.net/x.cfg", 60)
    assert panasonic.utg_oracle_name("SIP_PASS[12]") == "SIP_PASS_#"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("<a/>", "the root is <a>"),
        (UTG.replace("Device", "Devices"), "is no part"),
        (UTG.replace('perm="!R"', 'perm="X"'), "unknown perm"),
        (UTG.replace("<CFG_CYCLIC>Y</CFG_CYCLIC>", "<CFG_CYCLIC>Y</CFG_CYCLIC>" * 2), "CFG_CYCLIC is set twice"),
        (UTG.replace("&lt;&amp;", "<b/>"), "holds an element"),
        (UTG[:-1], "not well-formed"),
        (UTG.replace("?>", "?><!DOCTYPE a>"), "document type"),
    ],
)
def test_a_utg_reads_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        panasonic.utg_settings(body.encode())


def test_a_utg_asks_for_its_own_file():
    boot = dialects.of("panasonic", "utg").boot(Handset(MAC, "KX-UTG200", f"{BASE}/Config{{MAC}}.cfg"))
    asked, found = run(boot, {f"{BASE}/ConfigBCC342A1B2C3.cfg": Answer(200, UTG.encode())})
    assert [(ask.url, ask.own) for ask in asked] == [(f"{BASE}/ConfigBCC342A1B2C3.cfg", True)]
    assert len(found.lines) == 1


KEY = "7pryJeRDW9ccWA6W"
SEALED = encrypt("panasonic-aes", UTG.encode(), KEY)


def utg_with(key: str, bits: str = "256") -> Handset:
    told = {"CFG_FILE_KEY": key, "CFG_FILE_KEY_LENGTH": bits}
    return Handset(MAC, "KX-UTG200", f"{BASE}/Config{{MAC}}.enc", held=ReadConfiguration(told, (), None, None, None))


def test_a_utg_opens_a_file_that_is_called_encrypted_and_no_other():
    boot = dialects.of("panasonic", "utg").boot
    asked, found = run(boot(utg_with(KEY * 2)), {f"{BASE}/ConfigBCC342A1B2C3.enc": Answer(200, SEALED)})
    assert [ask.url for ask in asked] == [f"{BASE}/ConfigBCC342A1B2C3.enc"]
    assert len(found.lines) == 1
    plain = Handset(MAC, "KX-UTG200", f"{BASE}/Config{{MAC}}.cfg")
    with pytest.raises(ValueError, match="not well-formed"):
        run(boot(plain), {f"{BASE}/ConfigBCC342A1B2C3.cfg": Answer(200, SEALED)})


@pytest.mark.parametrize(
    ("key", "bits", "body", "why"),
    [
        ("", "256", SEALED, "no key of 32"),
        (KEY, "256", SEALED, "no key of 32"),
        (KEY * 2, "128", SEALED, "not 256"),
        (KEY * 2, "256", UTG.encode(), "no base64"),
        (KEY * 2, "256", SEALED[:-8], "cut off|no base64"),
        ("x" * 32, "256", SEALED, "another password|not well-formed"),
    ],
)
def test_an_encrypted_file_that_a_utg_cannot_open(key, bits, body, why):
    boot = dialects.of("panasonic", "utg").boot(utg_with(key, bits))
    with pytest.raises(ValueError, match=why):
        run(boot, {f"{BASE}/ConfigBCC342A1B2C3.enc": Answer(200, body)})


def test_the_openssl_command_of_the_guide_opens_it():
    """KX-UTG200/300 administrator guide p. 48, with the digest of its years and the longest of its ciphers."""
    command = ["openssl", "enc", "-d", "-aes-256-cbc", "-a", "-md", "md5", "-pass", f"pass:{KEY * 2}"]
    assert subprocess.run(command, input=SEALED, capture_output=True, check=True).stdout == UTG.encode()


@pytest.mark.parametrize(
    ("agent", "model", "mac"),
    [
        ("Panasonic_KX-UT113/01.133 (0080f0c8c381)", "KX-UT113", "0080f0c8c381"),
        ("Panasonic_KX-UT670/01.022 (0080f000000)", "KX-UT670", None),
        ("Panasonic_KX-TGP500B04/12.81 (0080f0c8c381)", "KX-TGP500", "0080f0c8c381"),
        ("Panasonic_KX-HDV230NE/06.001 (bcc342a1b2c3)", "KX-HDV230", "bcc342a1b2c3"),
        ("Panasonic_KX-UTG200B/03.210 (BCC342A1B2C3)", "KX-UTG200", "BCC342A1B2C3"),
    ],
)
def test_its_user_agents_are_known(agent, model, mac):
    (pattern,) = VENDOR.agents
    match = pattern.search(agent)
    assert match
    assert (match["model"], match["mac"]) == (model, mac)
    assert model in {one.name for one in VENDOR.models}


@pytest.mark.parametrize("model", VENDOR.models, ids=lambda model: model.id)
def test_it_calls_itself_by_what_the_catalogue_knows(model):
    name = dialects.model_name("panasonic", model.id)
    agent = dialects.of("panasonic", model.family.name).http_agent(Handset(MAC, name, BASE))
    (pattern,) = VENDOR.agents
    assert re.fullmatch(pattern, agent)["model"] == model.name
