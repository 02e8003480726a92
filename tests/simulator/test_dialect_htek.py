"""Htek: what its phones refuse, ask for and do when told."""

import re
from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.simulator.dialects.base import Answer, Handset, read
from provisioning.simulator.dialects.htek import DIALECTS, settings

MAC = Mac("001fc1a1b2c3")
FOLDER = Path(__file__).parents[2] / "templates" / "phones" / "htek"
VENDOR = parse_vendor("htek", (FOLDER / "vendor.toml").read_text("utf-8"))
PHONE = DIALECTS["uc"]

FILE = b"""<?xml version="1.0" encoding="UTF-8"?>
<hl_provision version="1">
  <config version="1">
    <P212 para="FirmwareUpGrade.UrgrateMode">3</P212>
    <P237 para="FirmwareUpGrade.ConfigServerPath">https://phones.example.net/secret</P237>
    <P194>1</P194>
    <P193>120</P193>
    <P501 para="Account3.Active">1</P501>
    <P24084 para="Account3_Profile">2</P24084>
    <P502 para="Account3.Sipserver">sip.example.net:5090</P502>
    <P503 para="Account3.OutboundProxy"/>
    <P504 para="Account3.SipUserId">201</P504>
    <P506 para="Account3.AuthenticatePassword">pa&amp;ss</P506>
    <P930 para="Account3.SipTransport">2</P930>
  </config>
</hl_provision>
"""


def file(*elements):
    return f'<hl_provision version="1"><config version="1">{"".join(elements)}</config></hl_provision>'.encode()


def test_a_file_is_read():
    found = read(PHONE, FILE)
    assert [(one.slot, one.username, one.password, one.domain, one.transport) for one in found.lines] == [
        (3, "201", "pa&ss", "sip.example.net:5090", "tls")
    ]
    assert (found.provisioning_url, found.poll_minutes) == ("https://phones.example.net/secret/", 120)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<hl_provision", "not well-formed"),
        (b'<gs_provision version="1"/>', "not <hl_provision"),
        (b'<hl_provision version="1"/>', "other than one"),
        (b'<hl_provision version="1"><config version="2"/></hl_provision>', "other than one"),
        (file("<P47>a</P47>", "<P47>b</P47>"), "P47 is set twice"),
        (file("<Account1_Active>1</Account1_Active>"), "is no P-value"),
        (file('<P47 name="a">b</P47>'), "is no P-value"),
        (file("<P47><P48/></P47>"), "holds an element"),
        (file("<P47>\0</P47>"), "not well-formed"),
    ],
)
def test_what_a_phone_refuses(body, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        settings(body)


@pytest.mark.parametrize(
    ("elements", "what"),
    [
        ("<P271>1</P271><P35>a</P35><P47>b</P47><P130>3</P130>", "P130 is '3'"),
        ("<P271>1</P271><P35>a</P35><P47>b</P47><P130>0</P130><P24082>1</P24082>", "another account's server"),
        ("<P212>3</P212><P237>http://phones.example.net</P237>", "not by https"),
        ("<P194>1</P194><P193>often</P193>", "no number"),
    ],
)
def test_values_that_a_phone_refuses(elements, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        read(PHONE, file(elements))


def drive(answers):
    boot = PHONE.boot(Handset(MAC, "UC924", "https://phones.example.net/secret/"))
    asked, answer = [], None
    try:
        while True:
            ask = boot.send(answer)
            asked.append((ask.method, ask.url.removeprefix("https://phones.example.net/secret/"), ask.own))
            answer = answers.pop(0)
    except StopIteration as stop:
        return asked, stop.value


def test_three_files_are_asked_for():
    asked, found = drive([Answer(404), Answer(404), Answer(200, FILE)])
    assert asked == [
        ("GET", "cfg0012.xml", False),
        ("GET", "cfg001fc1a1b2c3", False),
        ("GET", "cfg001fc1a1b2c3.xml", True),
    ]
    assert found.lines


def test_a_common_file_would_keep_a_phone_from_its_own():
    asked, found = drive([Answer(200, file("<P30>ntp.example.net</P30>"))])
    assert len(asked) == 1
    assert not found.lines
    assert not [name for model in VENDOR.models for name in model.documents if "{mac}" not in name]


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("resync", "fetch"),
        ("check-sync;reboot=true", "reboot"),
        ("check-sync", "fetch"),
        ("message-summary", None),
    ],
)
def test_what_a_notify_does(event, act):
    assert PHONE.told(event, "", {"P24012": "1"}) == act
    assert PHONE.told(event, "", {"P24012": "0"}) == "nothing"


def test_a_notify_is_challenged_where_that_is_chosen():
    assert PHONE.challenges({"P20983": "1"})
    assert not PHONE.challenges({"P20983": "0"})


def test_contacts_are_read():
    book = b"<PhoneDirectory><DirectoryEntry><Name>A</Name><Telephone>42</Telephone></DirectoryEntry></PhoneDirectory>"
    (one,) = PHONE.contacts(book)
    assert (one.name, one.numbers) == ("A", ("42",))
    with pytest.raises(ValueError, match="not <PhoneDirectory>"):
        PHONE.contacts(b"<AddressBook/>")


@pytest.mark.parametrize(
    ("agent", "model", "firmware", "mac"),
    [
        ("Htek UC903 2.0.4.2 00:1f:c1:1c:22:a9", "UC903", "2.0.4.2", "00:1f:c1:1c:22:a9"),
        ("Htek UC926 2.0.4.2 00:1f:c1:00:00:00", "UC926", "2.0.4.2", "00:1f:c1:00:00:00"),
    ],
)
def test_its_user_agents_are_known(agent, model, firmware, mac):
    match = VENDOR.agents[0].search(agent)
    assert (match["model"], match["firmware"], match["mac"]) == (model, firmware, mac)
    assert model in {one.name for one in VENDOR.models}


def test_a_simulated_phone_s_user_agent_is_known():
    for model in VENDOR.models:
        match = VENDOR.agents[0].search(PHONE.http_agent(Handset(MAC, model.name, "")))
        assert (match["model"], match["mac"]) == (model.name, "00:1f:c1:a1:b2:c3")
