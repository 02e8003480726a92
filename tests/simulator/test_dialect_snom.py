"""Snom: what its phones refuse, ask for and do when told."""

from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.simulator.dialects.base import Answer, Handset, read
from provisioning.simulator.dialects.snom import DIALECTS

MAC = Mac("000413a1b2c3")
FOLDER = Path(__file__).parents[2] / "templates" / "phones" / "snom"
VENDOR = parse_vendor("snom", (FOLDER / "vendor.toml").read_text("utf-8"))


def phone_settings(*elements, more=""):
    return f"<settings><phone-settings>{''.join(elements)}</phone-settings>{more}</settings>".encode()


def base(*elements, servers="", extensions=""):
    return (
        f"<settings><global>{''.join(elements)}</global><server>{servers}</server>"
        f"<extension>{extensions}</extension></settings>"
    ).encode()


EXTENSION = (
    '<user_active idx="2">on</user_active><user_name idx="2">201</user_name><user_pass idx="2">x</user_pass>'
    '<subscr_sip_ua_data_server_id idx="2">3</subscr_sip_ua_data_server_id>'
)
SERVER = '<user_host idx="3">sip.example.net</user_host><srv_sip_transport idx="3">tls</srv_sip_transport>'


def test_a_desk_phone_s_lines_are_read():
    body = phone_settings(
        '<user_active idx="1">off</user_active><user_name idx="1">200</user_name>',
        '<user_active idx="3">on</user_active><user_name idx="3">203</user_name><user_pass idx="3">x</user_pass>',
        '<user_host idx="3">sip.example.net</user_host>',
        '<user_outbound idx="3">proxy.example.net:5070;transport=tls</user_outbound>',
        "<settings_refresh_timer>3600</settings_refresh_timer>",
        more='<setting-files><file url="http://127.0.0.1/book.xml"/></setting-files>',
    )
    found = read(DIALECTS["desk"], body)
    (line,) = found.lines
    assert (line.slot, line.username, line.domain) == (3, "203", "sip.example.net")
    assert (line.outbound_proxy, line.transport) == ("proxy.example.net:5070", "tls")
    assert (found.poll_minutes, found.phonebook_url) == (60, "http://127.0.0.1/book.xml")


def test_a_base_s_extensions_have_their_server_s_transport():
    (line,) = read(DIALECTS["dect"], base(servers=SERVER, extensions=EXTENSION)).lines
    assert (line.slot, line.username, line.domain, line.transport) == (2, "201", "sip.example.net", "tls")


@pytest.mark.parametrize(
    ("family", "body", "sentence"),
    [
        ("desk", b"<phone-settings/>", "not <settings>"),
        ("desk", b"<settings>", "not well-formed"),
        ("desk", b"<!DOCTYPE a><settings/>", "document type"),
        ("desk", b"<settings><other/></settings>", "no section"),
        ("desk", phone_settings("<a>1</a><a>2</a>"), "a is set twice"),
        ("desk", phone_settings('<a perm="X">1</a>'), "unknown perm"),
        ("desk", phone_settings("<a><b/></a>"), "holds an element"),
        ("desk", phone_settings("<a-b>1</a-b>"), "no name of a setting"),
        ("desk", phone_settings("<settings_refresh_timer>x</settings_refresh_timer>"), "no number"),
        ("desk", phone_settings("<prov_polling_enabled>1</prov_polling_enabled>"), "neither on nor off"),
        ("dect", b"<settings><phone-settings/></settings>", "no section"),
        ("dect", base('<language idx="1">x</language>'), "has an idx"),
        ("dect", base(servers="<user_host>x</user_host>"), "has an idx"),
        ("dect", base(extensions=EXTENSION), "has no server"),
        ("dect", base(servers=SERVER, extensions=EXTENSION.replace(">3<", ">11<")), "has no server"),
        ("dect", base(servers=SERVER.replace("tls", "2"), extensions=EXTENSION), "srv_sip_transport"),
        ("conference", b"<provisioning/>", "not <settings>"),
        ("conference", b"<settings><sip_account><idx>1</idx></sip_account></settings>", "has no number"),
        ("conference", b"<settings><a><b>1</b><b>2</b></a></settings>", "a/b is set twice"),
        ("m3", b'%A%:"1"\n', "END_OF_FILE"),
        ("m3", b'END_OF_FILE\n%A%:"1"\n', "END_OF_FILE"),
        ("m3", b'%A%:"1" // what\nEND_OF_FILE\n', "line 1"),
        ("m3", b'%A%:"a"b"\nEND_OF_FILE\n', "line 1"),
        ("m3", b"A:1\nEND_OF_FILE\n", "line 1"),
        ("m3", b"%A%:1\n%A%:1\nEND_OF_FILE\n", "A is set twice"),
    ],
)
def test_what_is_refused(family, body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(DIALECTS[family], body)


DIRECTORY = b"""<IPPhoneDirectory><DirectoryEntry>
<Name>A</Name><Telephone>33</Telephone><Office/><Mobile>44</Mobile>
</DirectoryEntry></IPPhoneDirectory>"""


def test_a_base_s_phonebook_is_read():
    (contact,) = DIALECTS["dect"].contacts(DIRECTORY)
    assert (contact.name, contact.numbers) == ("A", ("44", "33"))


@pytest.mark.parametrize(
    ("family", "body", "sentence"),
    [
        ("desk", b"<tbook/>", "no <settings>"),
        ("desk", b"<settings><phone-settings/></settings>", "no <settings>"),
        ("desk", b"<settings><tbook><item><name>A</name></item></tbook></settings>", "no number"),
        ("dect", b"<settings/>", "IPPhoneDirectory"),
        (
            "dect",
            b"<IPPhoneDirectory><DirectoryEntry><Name>A</Name></DirectoryEntry></IPPhoneDirectory>",
            "one of its three numbers",
        ),
        (
            "dect",
            DIRECTORY.replace(b"33", b"+33"),
            "digits alone",
        ),
    ],
)
def test_what_is_no_phonebook(family, body, sentence):
    with pytest.raises(ValueError, match=sentence):
        DIALECTS[family].contacts(body)


def asks(steps, body):
    """All that is asked for, where the phone's own file is there and no other."""
    found, answer = [], None
    try:
        while True:
            found.append(steps.send(answer))
            answer = Answer(200, body) if found[-1].own else Answer(404)
    except StopIteration:
        return found


BOOK = "http://127.0.0.1/s/000413a1b2c3-phonebook.xml"
WITH_BOOK = phone_settings(more=f'<setting-files><file url="{BOOK}"/></setting-files>')
BASE_WITH_BOOK = base(
    "<phonebook_location>http://127.0.0.1/s/</phonebook_location>",
    "<phonebook_filename>000413a1b2c3-phonebook.xml</phonebook_filename>",
)
CLASSIC = ["snomD785.htm", "snomD785-000413A1B2C3.htm"]


@pytest.mark.parametrize(
    ("family", "model", "path", "body", "asked"),
    [
        ("desk", "D785", "000413a1b2c3.xml", phone_settings(), ["000413a1b2c3.xml"]),
        ("desk", "D785", "{mac}.xml", phone_settings(), ["000413A1B2C3.xml"]),
        ("desk", "D785", "", phone_settings(), CLASSIC),
        ("desk", "D785", "", WITH_BOOK, [*CLASSIC, "000413a1b2c3-phonebook.xml"]),
        ("dect", "M400", "000413a1b2c3.xml", base(), ["000413a1b2c3.xml"]),
        ("dect", "M400", "", BASE_WITH_BOOK, ["snomM400.htm", "snomM400.xml", "snomM400-000413A1B2C3.htm", BOOK]),
        ("conference", "C520", "{mac}.xml", b"<settings/>", ["000413a1b2c3.xml"]),
        ("m3", "M3", "000413a1b2c3.cfg", b"END_OF_FILE\n", ["000413a1b2c3.cfg"]),
    ],
)
def test_what_is_asked_for(family, model, path, body, asked):
    found = asks(DIALECTS[family].boot(Handset(MAC, model, f"http://127.0.0.1/s/{path}")), body)
    assert [ask.url.removeprefix("http://127.0.0.1/s/") for ask in found] == [
        name.removeprefix("http://127.0.0.1/s/") for name in asked
    ]
    assert [ask.own for ask in found].count(True) == 1


@pytest.mark.parametrize(
    ("agent", "model", "firmware", "mac"),
    [
        ("snom320-SIP 6.5.20; snom320 jffs2 v3.36; snom320 linux 3.38", "320", "6.5.20", None),
        ("snom320-SIP 7.3.30 1.1.3-u", "320", "7.3.30", None),
        ("snom710-SIP 8.7.3.19 1.1.5-IFX-05.01.12", "710", "8.7.3.19", None),
        ("snom710-SIP 8.7.5.35 1.1.5-IFX-05.01.12 000413741767", "710", "8.7.5.35", "000413741767"),
        ("snom820-SIP 8.4.35 1.1.4-IFX-26.11.09", "820", "8.4.35", None),
        ("snom870-SIP 8.4.35 SPEAr300 SNOM 1.4", "870", "8.4.35", None),
        (
            "snomD785-SIP 10.1.33.33 2010.12-00004-g9ba52f5 000413922D24 SXM:0 UXM:0",
            "D785",
            "10.1.33.33",
            "000413922D24",
        ),
        ("Snom M900 05.20.0001 000413b60680", "M900", "05.20.0001", "000413b60680"),
    ],
)
def test_who_a_phone_says_it_is(agent, model, firmware, mac):
    matches = [match for pattern in VENDOR.agents if (match := pattern.search(f"Mozilla/4.0 (compatible; {agent})"))]
    first = matches[0].groupdict()
    assert (first["model"], first["firmware"], first.get("mac")) == (model, firmware, mac)
    assert [one for one in VENDOR.models if model in (one.name, *one.aka)]


def test_the_oldest_say_nothing_of_themselves():
    assert not any(pattern.search("Mozilla/4.0 (compatible; snom lid 3605)") for pattern in VENDOR.agents)


@pytest.mark.parametrize(
    ("family", "settings", "event", "does"),
    [
        ("desk", {}, "check-sync;reboot=false", "fetch"),
        ("desk", {}, "check-sync;reboot=true", "reboot"),
        ("desk", {}, "resync", None),
        ("dect", {"sip_check_sync_always_reboot": "off"}, "check-sync;reboot=false", "fetch"),
        ("dect", {"sip_check_sync_always_reboot": "on"}, "check-sync;reboot=false", "reboot"),
        ("conference", {"provisioning/remote_check_sync_enable": "1"}, "check-sync", "fetch"),
        ("conference", {"provisioning/remote_check_sync_enable": "0"}, "check-sync", "nothing"),
        ("m3", {}, "check-sync", None),
    ],
)
def test_what_a_notify_does(family, settings, event, does):
    assert DIALECTS[family].told(event, "", settings) == does


def test_a_challenge_is_what_the_phone_was_told():
    assert DIALECTS["desk"].challenges({"challenge_checksync": "on"})
    assert not DIALECTS["desk"].challenges({"challenge_checksync": "off"})
