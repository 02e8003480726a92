import re
from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.simulator import dialects
from provisioning.simulator.dialects import mitel
from provisioning.simulator.dialects.base import Answer, Handset

VENDOR = parse_vendor("mitel", (Path(__file__).parents[2] / "templates/phones/mitel/vendor.toml").read_text("utf-8"))
MAC = Mac("00085d2374a9")
URL = "https://phones.example.net/secret/"
OWN = b"""\
# a comment
^download protocol: HTTPS
^https server: phones.example.net
^https port: 8443
^https path: "secret"
auto resync mode: 1
auto resync time: 02:15
auto resync days: 0
directory 1: 00085d2374a9-directory.csv
!sip transport protocol: 4
!sip line1 user name: "100"
!sip line1 auth name: "100"
!sip line1 password: "a#b"
!sip line1 display name: "Zo\xc3\xa9"
!sip line1 registrar ip: sip.example.net
!sip line1 registrar port: 5061
!sip line1 outbound proxy: proxy.example.net
!sip line1 outbound proxy port: 5070
!sip line2 user name: ""
!sip line2 registrar ip: 0.0.0.0
!sip line3 user name: "300"
!sip line3 registrar ip: 0.0.0.0
"""


def read(body=OWN):
    return mitel.configuration(mitel.settings(body))


def run(boot, answers):
    """Every request of a fetch, and what the phone then has."""
    asked, ask = [], next(boot)
    while True:
        asked.append(ask)
        try:
            ask = boot.send(answers.get(ask.url.rpartition("/")[2], Answer(404)))
        except StopIteration as done:
            return asked, done.value


def test_a_line_with_a_user_and_a_registrar_registers():
    (line,) = read().lines
    assert (line.slot, line.username, line.password, line.display_name) == (1, "100", "a#b", "Zoé")
    assert (line.domain, line.outbound_proxy, line.transport) == ("sip.example.net", "proxy.example.net:5070", "tls")


def test_what_it_comes_back_to():
    found = read()
    assert found.provisioning_url == "https://phones.example.net:8443/secret/"
    assert found.phonebook_url == "https://phones.example.net:8443/secret/00085d2374a9-directory.csv"
    assert found.poll_minutes == 1440
    assert read(OWN.replace(b"days: 0", b"days: 3")).poll_minutes == 3 * 1440
    assert read(OWN.replace(b"mode: 1", b"mode: 0")).poll_minutes is None


def test_a_hash_ends_a_value_that_is_not_quoted():
    assert mitel.settings(b'sip dial plan: x+#\nadmin password: "x+#" \n') == {
        "sip dial plan": "x+",
        "admin password": "x+#",
    }


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"hello\n", "line 1 is no parameter"),
        (b"\n: x\n", "line 2 is no parameter"),
        (b"sip line1 User Name: x\n", "line 1 is no parameter"),
        (b"!!admin password: 1\n", "line 1 is no parameter"),
        (b"language: 1\nlanguage: 1\n", "language is set twice"),
        (b"!language: 1\nlanguage: 2\n", "language is set twice"),
        (b'tone set: "France\n', "not quoted as a whole"),
        (b'tone set: "Fr"an"ce"\n', "not quoted as a whole"),
        (b'tone set: Fr"ance\n', "quote in the middle"),
        (b"tone set: \xff\n", "utf-8"),
    ],
)
def test_it_reads_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        mitel.settings(body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (OWN.replace(b"protocol: 4", b"protocol: 3"), "sip transport protocol is '3'"),
        (OWN.replace(b"protocol: HTTPS", b"protocol: SPDY"), "download protocol is 'SPDY'"),
        (OWN.replace(b"^https server: phones.example.net\n", b""), "no https server"),
        (OWN.replace(b"mode: 1", b"mode: 7"), "auto resync mode is '7'"),
        (OWN.replace(b"02:15", b"02h15"), "auto resync time is '02h15'"),
        (OWN + b"language 1: lang_fr.txt\n", "auto resync time is '02:15'"),
        (OWN.replace(b"days: 0", b"days: x"), "no number"),
        (OWN + b"!admin password: 4294967296\n", "admin password is more than 4294967295"),
        (OWN + b"user password: secret\n", "user password"),
    ],
)
def test_it_does_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(body)


@pytest.mark.parametrize(
    ("family", "model", "common"),
    [
        ("desk", "6867I", ["startup.cfg", "6867i.cfg"]),
        ("aastra", "6731i", ["aastra.cfg", "6731i.cfg"]),
        ("first", "480iCT", ["aastra.cfg", "480iCT.cfg"]),
    ],
)
def test_it_asks_for_the_key_file_the_common_the_model_s_and_its_own(family, model, common):
    boot = dialects.of("mitel", family).boot(Handset(MAC, model, URL))
    asked, found = run(boot, {common[0]: Answer(200, b"tone set: US\n"), "00085D2374A9.cfg": Answer(200, OWN)})
    assert [ask.url for ask in asked] == [URL + name for name in ("security.tuz", *common, "00085D2374A9.cfg")]
    assert [ask.own for ask in asked] == [False, False, False, True]
    assert {ask.method for ask in asked} == {"GET"}
    assert found.settings["tone set"] == "US"
    assert len(found.lines) == 1


def test_its_own_file_wins():
    boot = dialects.of("mitel").boot(Handset(MAC, "6867i", URL[:-1]))
    answers = {
        "startup.cfg": Answer(200, b"tone set: US\nlanguage: 0\n"),
        "6867i.cfg": Answer(200, b"tone set: UK\n"),
        "00085D2374A9.cfg": Answer(200, b"firmware server: https://phones.example.net/firmware\ntone set: France\n"),
    }
    _, found = run(boot, answers)
    assert (found.settings["tone set"], found.settings["language"]) == ("France", "0")
    assert found.firmware_url == "https://phones.example.net/firmware/6867i.st"


def test_entries_of_one_name_are_one_contact():
    body = b'# ours\n"Doe, Jane",0033972101234,1\n"Doe, Jane","42",1\r\nReception, 0\n'
    assert [(one.name, one.numbers) for one in mitel.contacts(body)] == [
        ("Doe, Jane", ("0033972101234", "42")),
        ("Reception", ("0",)),
    ]
    with pytest.raises(ValueError, match="no name or no number"):
        mitel.contacts(b"alone\n")


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("check-sync", "fetch"),
        ("check-sync;reboot=true", "fetch"),
        ("Check-Sync;reboot=false", "fetch"),
        ("resync", None),
        ("aastra-xml", None),
    ],
)
def test_what_a_notify_does(event, act):
    assert dialects.of("mitel").told(event, "", {}) == act


@pytest.mark.parametrize(
    ("agent", "model", "mac"),
    [
        ("Aastra6731i MAC:00-08-5D-23-73-01 V:3.2.0.1011-SIP", "6731i", "00-08-5D-23-73-01"),
        ("Aastra6731i MAC:00-08-5D-23-74-29 V:3.2.0.70-SIP", "6731i", "00-08-5D-23-74-29"),
        ("Aastra6735i MAC:00-08-5D-2E-A0-94 V:3.2.2.6038-SIP", "6735i", "00-08-5D-2E-A0-94"),
        ("Aastra6737i MAC:00-08-5D-30-A6-CE V:3.2.2.6038-SIP", "6737i", "00-08-5D-30-A6-CE"),
        ("Aastra6739i MAC:00-08-5D-13-CA-05 V:3.2.1.1013-SIP", "6739i", "00-08-5D-13-CA-05"),
        ("Aastra6863i MAC:00-08-5D-40-90-5F V:4.1.0.128-SIP", "6863i", "00-08-5D-40-90-5F"),
        ("Mitel6920 MAC:14-00-E9-1F-03-EA V:6.4.0.140-SIP", "6920", "14-00-E9-1F-03-EA"),
        ("Mitel6930 MAC:14-00-E9-1E-DB-52 V:6.4.0.140-SIP", "6930", "14-00-E9-1E-DB-52"),
        ("Mitel6940 MAC:14-00-E9-29-4C-6B V:6.4.0.4006-SIP", "6940", "14-00-E9-29-4C-6B"),
        ("Aastra57i MAC:00-08-5D-11-22-33 V:2.5.0.82-SIP", "57i", "00-08-5D-11-22-33"),
    ],
)
def test_its_user_agents_are_known(agent, model, mac):
    (pattern,) = VENDOR.agents
    match = pattern.search(agent)
    assert match
    assert (match["model"], match["mac"]) == (model, mac)
    assert model in {name for one in VENDOR.models for name in (one.name, *one.aka)}


@pytest.mark.parametrize("model", VENDOR.models, ids=lambda model: model.id)
def test_it_calls_itself_by_what_the_catalogue_knows(model):
    agent = dialects.of("mitel", model.family.name).http_agent(
        Handset(MAC, dialects.model_name("mitel", model.id), URL)
    )
    (pattern,) = VENDOR.agents
    assert re.fullmatch(pattern, agent)["model"] == model.name


@pytest.mark.parametrize("model", VENDOR.models, ids=lambda model: model.id)
def test_every_key_is_of_one_kind(model):
    """Templates count through the kinds: one too many would be a key that the phone has not."""
    kinds = ("prgkeys", "topsoftkeys", "softkeys")
    assert sum(model.traits[kind] for kind in kinds) == model.keys
    assert model.line_keys == 0
