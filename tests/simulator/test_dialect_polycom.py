"""How Poly phones ask, what they refuse, and what they do when told."""

from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.simulator import dialects
from provisioning.simulator.dialects.base import Answer, Handset, read

VENDOR = parse_vendor(
    "polycom", (Path(__file__).parents[2] / "templates" / "phones" / "polycom" / "vendor.toml").read_text("utf-8")
)
UCS = dialects.of("polycom", "ucs")
MAC = Mac("0004f2a1b2c3")
BASE = "https://phones.example.net/5ecre7/"
MASTER = b'<APPLICATION APP_FILE_PATH="" CONFIG_FILES="[PHONE_MAC_ADDRESS]-settings.cfg" />'
SETTINGS = b"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<polycomConfig>
  <a reg.1.address="100" reg.1.auth.userId="100" reg.1.auth.password="p&quot;&amp; " reg.1.displayName="Zo\xc3\xa9"
     reg.1.server.1.address="sip.example.net" reg.1.server.1.port="5061" reg.1.server.1.transport="TLS"/>
  <b reg.2.address="" reg.2.server.1.transport=""/>
  <c reg.3.address="300@other.example" reg.3.outboundProxy.address="proxy.example" reg.3.outboundProxy.port="5070"/>
  <d prov.polling.enabled="1" prov.polling.period="3660"/>
  <e device.set="1" device.prov.serverName="https://phones.example.net/x/" device.prov.serverName.set="1"/>
</polycomConfig>
"""


def visited(answers, held=None):
    """The requests of one boot, each answered from `answers` by file name, else 404; and what came of them."""
    boot = UCS.boot(Handset(MAC, "VVX450", BASE.removesuffix("/"), ("000000000000.cfg",), held))
    asked, ask = [], next(boot)
    while True:
        assert ask.url.startswith(BASE)
        name = ask.url.removeprefix(BASE)
        asked.append((ask.method, name, ask.own))
        body = answers.get(name) if ask.method == "GET" else None
        try:
            ask = boot.send(Answer(404) if body is None else Answer(200, body))
        except StopIteration as end:
            return asked, end.value


def test_the_files_of_a_boot_in_their_order():
    asked, found = visited({f"{MAC}.cfg": MASTER, f"{MAC}-settings.cfg": SETTINGS})
    assert asked == [
        ("PUT", f"{MAC}-boot.log", False),
        ("GET", f"{MAC}.cfg", False),
        ("GET", f"{MAC}-settings.cfg", True),
        ("GET", f"{MAC}-phone.cfg", False),
        ("GET", f"{MAC}-web.cfg", False),
        ("GET", "000000000000-license.cfg", False),
        ("GET", f"{MAC}-license.cfg", False),
        ("GET", f"{MAC}-calls.xml", False),
        ("GET", f"{MAC}-directory.xml", False),
        ("GET", "000000000000-directory.xml", False),
        ("HEAD", f"{MAC}-app.log", False),
        ("PUT", f"{MAC}-app.log", False),
    ]
    assert [line.slot for line in found.lines] == [1, 3]


def test_without_a_master_file_of_its_own_it_takes_the_one_of_all():
    asked, found = visited({"000000000000.cfg": MASTER, f"{MAC}-settings.cfg": SETTINGS})
    assert [name for _, name, _ in asked[1:4]] == [f"{MAC}.cfg", "000000000000.cfg", f"{MAC}-settings.cfg"]
    assert found.lines


def test_a_directory_is_read_and_the_one_of_all_is_not_asked_for():
    directory = b"<directory><item_list><item><fn>A</fn><ct>1</ct></item></item_list></directory>"
    asked, _ = visited({f"{MAC}.cfg": MASTER, f"{MAC}-directory.xml": directory})
    assert "000000000000-directory.xml" not in [name for _, name, _ in asked]


def test_the_first_file_wins_and_the_overrides_over_all():
    asked, found = visited(
        {
            f"{MAC}.cfg": b'<APPLICATION CONFIG_FILES="one.cfg, two-[PHONE_MODEL].cfg" />',
            "one.cfg": b'<x a.b="1"/>',
            "two-VVX450.cfg": b'<x a.b="2" a.c="2" a.d="2"/>',
            f"{MAC}-web.cfg": b'<x a.d="3"/>',
        }
    )
    assert [name for _, name, _ in asked[2:4]] == ["one.cfg", "two-VVX450.cfg"]
    assert found.settings == {"a.b": "1", "a.c": "2", "a.d": "3"}


def test_what_is_set_by_name_comes_first():
    master = b'<APPLICATION CONFIG_FILES="[PHONE_MAC_ADDRESS]-parameters.cfg, [PHONE_MAC_ADDRESS]-settings.cfg"/>'
    asked, found = visited(
        {
            f"{MAC}.cfg": master,
            f"{MAC}-parameters.cfg": b'<x prov.polling.period="7200"/>',
            f"{MAC}-settings.cfg": SETTINGS,
        }
    )
    assert asked[2:4] == [("GET", f"{MAC}-parameters.cfg", False), ("GET", f"{MAC}-settings.cfg", True)]
    assert found.poll_minutes == 120
    assert found.lines


def test_what_it_makes_of_its_settings():
    found = read(UCS, SETTINGS)
    first, third = found.lines
    assert (first.username, first.password, first.domain, first.transport, first.display_name) == (
        "100",
        'p"& ',
        "sip.example.net",
        "tls",
        "Zoé",
    )
    assert (third.username, third.domain, third.outbound_proxy) == ("300", "other.example", "proxy.example:5070")
    assert (found.provisioning_url, found.poll_minutes) == ("https://phones.example.net/x/", 61)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "well-formed"),
        (b'<x a.b="1" a.b="2"/>', "well-formed"),
        (b'<x a.b="1 & 2"/>', "well-formed"),
        (b'<x 1a.b="1"/>', "well-formed"),
        (b'<!DOCTYPE x [<!ENTITY e "1">]><x a.b="&e;"/>', "document type"),
        (b'<x><a a.b="1"/><b a.b="2"/></x>', "a.b is set twice"),
        (b'<x><a a.b="1"/>text</x>', "holds text"),
        (b'<x label="1"/>', "'label' is no parameter"),
        (b'<x device.syslog.serverName="192.0.2.5" device.syslog.serverName.set="1"/>', "is not taken"),
        (b'<x device.set="1" device.syslog.serverName="192.0.2.5"/>', "is not taken"),
        (b'<x lineKey.1.category="Ligne"/>', "lineKey.1.category"),
        (b'<x reg.1.address="1" reg.1.server.1.transport="udp"/>', "transport"),
        (b'<x prov.polling.period="3600"/>', "more than 3600"),
        (b'<x prov.polling.period="1h"/>', "no number"),
        ('<x a.b="é"/>'.encode("latin-1"), "well-formed"),
    ],
)
def test_it_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(UCS, body)


@pytest.mark.parametrize(
    "body",
    [
        b"<contacts/>",
        b"<directory/>",
        b"<directory><item_list><item><fn>A</fn></item></item_list></directory>",
    ],
)
def test_it_accepts_no_other_directory(body):
    with pytest.raises(ValueError, match=r"directory|no <ct>"):
        UCS.contacts(body)


def test_too_many_files_are_not_read():
    with pytest.raises(ValueError, match="longer than a phone reads"):
        visited({f"{MAC}.cfg": b'<APPLICATION CONFIG_FILES="%s.cfg"/>' % (b"x" * 300)})


@pytest.mark.parametrize(
    ("event", "settings", "act"),
    [
        ("check-sync", {}, "fetch"),
        ("check-sync;reboot=true", {}, "fetch"),
        ("Check-Sync", {"voIpProt.SIP.specialEvent.checkSync.alwaysReboot": "0"}, "fetch"),
        ("check-sync", {"voIpProt.SIP.specialEvent.checkSync.alwaysReboot": "1"}, "reboot"),
        ("resync", {}, None),
        ("message-summary", {}, None),
    ],
)
def test_what_a_notify_does(event, settings, act):
    assert UCS.told(event, "", settings) == act


def test_it_challenges_a_notify_only_where_that_is_configured():
    assert not UCS.challenges({})
    assert UCS.challenges({"voIpProt.SIP.requestValidation.1.method": "digest"})


@pytest.mark.parametrize(
    ("agent", "model", "firmware", "mac"),
    [
        ("FileTransport PolycomSoundPointIP-SPIP_335-UA/3.2.1.0078", "SPIP_335", "3.2.1.0078", None),
        ("FileTransport PolycomSoundPointIP-SPIP_550-UA/3.2.3.1734", "SPIP_550", "3.2.3.1734", None),
        (
            "FileTransport PolycomSoundStationIP-SSIP_6000-UA/4.0.4.2906 Type/Application",
            "SSIP_6000",
            "4.0.4.2906",
            None,
        ),
        ("FileTransport PolycomVVX-VVX_101-UA/5.4.3.1014 Type/Application", "VVX_101", "5.4.3.1014", None),
        ("FileTransport PolycomVVX-VVX_400-UA/4.1.4.7430 Type/Application", "VVX_400", "4.1.4.7430", None),
        ("FileTransport PolycomVVX-VVX_500-UA/5.9.7.47435 Type/Updater", "VVX_500", "5.9.7.47435", None),
        ("FileTransport PolycomVVX-VVX_501-UA/6.4.6.0123", "VVX_501", "6.4.6.0123", None),
        ("FileTransport PolyEdge-Edge_E400-UA/9.0.1.1234 Type/Application", "Edge_E400", "9.0.1.1234", None),
        ("FileTransport PolyEdge-Edge_E450-UA/8.0.0.15602 Type/Application", "Edge_E450", "8.0.0.15602", None),
        (
            "FileTransport PolyCCX-CCX_500-UA/7.0.0.1234 (SN:64167FAABBCC) Type/Application",
            "CCX_500",
            "7.0.0.1234",
            "64167FAABBCC",
        ),
    ],
)
def test_real_user_agents_are_understood(agent, model, firmware, mac):
    (pattern,) = VENDOR.agents
    match = pattern.search(agent)
    assert (match["model"], match["firmware"], match["mac"]) == (model, firmware, mac)
    assert any(model in (known.name, *known.aka) for known in VENDOR.models)


@pytest.mark.parametrize("model", VENDOR.models, ids=lambda model: model.name)
def test_each_model_spells_itself_so_that_it_is_known(model):
    (pattern,) = VENDOR.agents
    held = read(UCS, b'<x device.set="1" device.prov.tagSerialNo="1" device.prov.tagSerialNo.set="1"/>')
    match = pattern.search(UCS.http_agent(Handset(MAC, model.name, BASE, (), held)))
    assert match["model"] in model.aka
    assert match["mac"] == MAC
