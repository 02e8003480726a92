"""Grandstream: what its devices refuse, ask for and do when told."""

import re
import subprocess
from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.rendering.encryption import encrypt
from provisioning.simulator.dialects.base import Answer, Handset, ReadConfiguration, read
from provisioning.simulator.dialects.grandstream import DIALECTS, decrypted, named, p_values

MAC = Mac("000b82a1b2c3")
FOLDER = Path(__file__).parents[2] / "templates" / "phones" / "grandstream"
VENDOR = parse_vendor("grandstream", (FOLDER / "vendor.toml").read_text("utf-8"))

P_FILE = b"""<?xml version="1.0" encoding="UTF-8"?>
<gs_provision version="1">
  <mac>000b82a1b2c3</mac>
  <config version="1">
    <P212>2</P212>
    <P237>phones.example.net/secret</P237>
    <P194>3</P194>
    <P193>120</P193>
    <P271>1</P271>
    <P47>sip.example.net</P47>
    <P35>0033972101201</P35>
    <P34>pa&amp;ss</P34>
    <P130>0</P130>
  </config>
</gs_provision>
"""
NAMED_FILE = b"""<gs_provision version="1"><config version="2">
<item name="provisioning.config.protocol">HTTP</item>
<item name="provisioning.config.serverPath">127.0.0.1:8080/secret</item>
<item name="account.2.enable">Yes</item>
<item name="account.2.sip.userid">201</item>
<item name="account.2.sip.server.1.address">sip.example.net</item>
<item name="account.2.sip.transport">TlsOrTcp</item>
</config></gs_provision>"""


def p_file(*elements):
    return f'<gs_provision version="1"><config version="1">{"".join(elements)}</config></gs_provision>'.encode()


def test_p_values_are_read():
    found = read(DIALECTS["ata"], P_FILE)
    assert [(one.slot, one.username, one.password, one.transport) for one in found.lines] == [
        (1, "0033972101201", "pa&ss", "udp")
    ]
    assert (found.provisioning_url, found.poll_minutes) == ("https://phones.example.net/secret/", 120)


def test_named_settings_are_read():
    found = read(DIALECTS["grp"], NAMED_FILE)
    assert [(one.slot, one.username, one.transport) for one in found.lines] == [(2, "201", "tls")]
    assert found.provisioning_url == "http://127.0.0.1:8080/secret/"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<gs_provision", "not well-formed"),
        (b"<!DOCTYPE x><gs_provision/>", "document type"),
        (b'<hl_provision version="1"/>', "not <gs_provision"),
        (b'<gs_provision version="2"><config version="1"/></gs_provision>', "not <gs_provision"),
        (b'<gs_provision version="1"/>', "holds nothing"),
        (b'<gs_provision version="1"><config version="1"/><mac>1</mac></gs_provision>', "holds config, mac"),
        (b'<gs_provision version="1"><config version="1"/><config version="1"/></gs_provision>', "config, config"),
        (NAMED_FILE, 'reads <config version="1">'),
        (p_file("<P47>a</P47>", "<P47>b</P47>"), "P47 is set twice"),
        (p_file("<p47>a</p47>"), "<p47> is no P-value"),
        (p_file("<P0>a</P0>"), "<P0> is no P-value"),
        (p_file("<P47x>a</P47x>"), "is no P-value"),
        (p_file('<P47 a="b">a</P47>'), "is no P-value"),
        (p_file("<P47><P48/></P47>"), "holds an element"),
        (p_file("<P47>\0</P47>"), "not well-formed"),
    ],
)
def test_what_a_device_with_p_values_refuses(body, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        p_values(body)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (P_FILE, 'reads <config version="2">'),
        (b'<gs_provision version="1"><config version="2"><item>x</item></config></gs_provision>', "no item"),
        (b'<gs_provision version="1"><config version="2"><P47>x</P47></config></gs_provision>', "no item"),
        (b'<gs_provision version="1"><config version="2"><item name="a b.c"/></config></gs_provision>', "no item"),
        (
            b'<gs_provision version="1"><config version="2"><item name="a.b"/><item name="a.b"/></config></gs_provision>',
            "a.b is set twice",
        ),
    ],
)
def test_what_a_phone_with_named_settings_refuses(body, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        named(body)


@pytest.mark.parametrize(
    ("element", "what"),
    [
        ("<P237>https://phones.example.net/secret</P237>", "no host and folder"),
        ("<P237>phones.example.net/</P237>", "no host and folder"),
        ("<P193>30</P193>", "60 minutes or more"),
        ("<P193>often</P193>", "no number"),
        ("<P271>1</P271><P35>a</P35><P47>b</P47><P130>7</P130>", "P130 is '7'"),
    ],
)
def test_values_that_a_device_refuses(element, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        read(DIALECTS["ata"], p_file("<P212>2</P212>", element))


def test_a_base_s_account_needs_a_profile():
    account = "<P4595>1</P4595><P4060>201</P4060>"
    with pytest.raises(ValueError, match="P4150 is no profile"):
        read(DIALECTS["dect"], p_file(account, "<P4150>4</P4150>"))
    shared = "<P401>1</P401><P747>sip.example.net</P747><P830>1</P830>"
    found = read(DIALECTS["dect"], p_file(account, "<P4150>1</P4150>", shared))
    assert [(one.slot, one.domain, one.transport) for one in found.lines] == [(1, "sip.example.net", "tcp")]


def drive(family, answers, held=None):
    """What it asks for, and what it has in the end."""
    phone = Handset(MAC, "HT802", "https://phones.example.net/secret/", held=held)
    boot = DIALECTS[family].boot(phone)
    asked, answer = [], None
    try:
        while True:
            ask = boot.send(answer)
            asked.append((ask.method, ask.url, ask.own))
            answer = answers.pop(0)
    except StopIteration as stop:
        return asked, stop.value


@pytest.mark.parametrize(
    ("family", "binary", "body"),
    [("ata", "cfg000b82a1b2c3", P_FILE), ("grp", "cfg000b82a1b2c3.bin", NAMED_FILE)],
)
def test_the_binary_file_is_asked_for_first(family, binary, body):
    asked, found = drive(family, [Answer(404), Answer(200, body)])
    base = "https://phones.example.net/secret/"
    assert asked == [("GET", f"{base}{binary}", False), ("GET", f"{base}cfg000b82a1b2c3.xml", True)]
    assert found.lines


def test_another_phone_s_file_is_refused():
    with pytest.raises(ValueError, match="the phone's is 000b82a1b2c3"):
        drive("ata", [Answer(404), Answer(200, P_FILE.replace(b"a1b2c3</mac>", b"ffffff</mac>"))])


def test_a_binary_file_is_nothing_that_we_can_write():
    with pytest.raises(ValueError, match="binary file"):
        drive("ata", [Answer(200, P_FILE)])


def held(password):
    return ReadConfiguration({"P1359": password}, (), None, None, None)


def test_an_encrypted_file_is_read_with_the_password_that_the_phone_holds():
    sealed = encrypt("openssl-md5", P_FILE, "0123456789abcdef")
    _, found = drive("ata", [Answer(404), Answer(200, sealed)], held("0123456789abcdef"))
    assert found.lines
    with pytest.raises(ValueError, match="no XML Config File Password"):
        drive("ata", [Answer(404), Answer(200, sealed)])
    with pytest.raises(ValueError, match=r"another password|not well-formed"):
        drive("ata", [Answer(404), Answer(200, sealed)], held("fedcba9876543210"))
    with pytest.raises(ValueError, match="cut off"):
        drive("ata", [Answer(404), Answer(200, sealed[:-1])], held("0123456789abcdef"))


def test_openssl_reads_and_writes_the_same_framing(tmp_path):
    """`openssl enc -aes-256-cbc -k password`, as the guide has it; its digest was MD5 in those years."""
    command = ["openssl", "enc", "-aes-256-cbc", "-md", "md5", "-k", "0123456789abcdef"]
    sealed = encrypt("openssl-md5", P_FILE, "0123456789abcdef")
    opened = subprocess.run([*command, "-d"], input=sealed, capture_output=True, check=True)
    assert opened.stdout == P_FILE
    theirs = subprocess.run(command, input=P_FILE, capture_output=True, check=True)
    assert decrypted(theirs.stdout, "0123456789abcdef") == P_FILE


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("resync", "fetch"),
        ("Resync", "fetch"),
        ("check-sync", "reboot"),
        ("check-sync;reboot=true", "reboot"),
        ("message-summary", None),
    ],
)
def test_what_a_notify_does(event, act):
    assert all(dialect.told(event, "", {}) == act for dialect in DIALECTS.values())


def test_a_notify_is_challenged_unless_that_is_switched_off():
    challenges = DIALECTS["gxp"].challenges
    assert challenges({"P4428": "0"})
    assert not challenges({"P4428": "1"})
    assert challenges({"sip.notify.challenge": "Yes"})
    assert not challenges({"sip.notify.challenge": "No"})


def test_contacts_are_read_and_a_number_without_an_account_refused():
    book = (
        "<AddressBook><version>1</version><Contact><FirstName>A</FirstName><LastName>B</LastName>"
        '<Phone type="Work"><phonenumber>42</phonenumber>{}</Phone></Contact></AddressBook>'
    )
    contacts = DIALECTS["gxp"].contacts
    (one,) = contacts(book.format("<accountindex>0</accountindex>").encode())
    assert (one.name, one.numbers) == ("A B", ("42",))
    with pytest.raises(ValueError, match="says no account"):
        contacts(book.format("").encode())
    with pytest.raises(ValueError, match="not <AddressBook>"):
        contacts(b"<PhoneDirectory/>")


@pytest.mark.parametrize(
    ("agent", "model", "firmware", "mac"),
    [
        ("Grandstream Model HW GRP2614 SW 1.0.5.15 DevId c074ad0b63ee", "GRP2614", "1.0.5.15", "c074ad0b63ee"),
        ("Grandstream Model HW GXP1405 SW 1.0.4.23 DevId 000b8240d55c", "GXP1405", "1.0.4.23", "000b8240d55c"),
        (
            "Grandstream GXP2000 (gxp2000e.bin:1.2.5.3/boot55e.bin:1.1.6.9) DevId 000b822726c8",
            "GXP2000",
            "1.2.5.3",
            "000b822726c8",
        ),
        ("Grandstream Model HW GXP2135 SW 1.0.7.97 DevId 000b828aa872", "GXP2135", "1.0.7.97", "000b828aa872"),
        ("Grandstream Model HW GXV3240 V1.6B SW 1.0.1.27 DevId 000b82632815", "GXV3240", "1.0.1.27", "000b82632815"),
        ("Grandstream Model HW GXV3350  V1.3A SW 1.0.1.8 DevId c074ad150b88", "GXV3350", "1.0.1.8", "c074ad150b88"),
        ("Grandstream Model HW HT802V2 V1.0A SW 1.0.5.4 DevId ec74d763e419", "HT802V2", "1.0.5.4", "ec74d763e419"),
        ("Grandstream Model HW GRP2616 SW 1.0.13.59 DevId ec74d7800474", "GRP2616", "1.0.13.59", "ec74d7800474"),
    ],
)
def test_its_user_agents_are_known(agent, model, firmware, mac):
    (match,) = [found for pattern in VENDOR.agents if (found := pattern.search(agent))]
    assert (match["model"], match["firmware"], match["mac"]) == (model, firmware, mac)
    assert model in {one.name for one in VENDOR.models}


def test_a_simulated_phone_s_user_agent_is_known():
    for model in VENDOR.models:
        dialect = DIALECTS[model.family.name]
        agent = dialect.http_agent(Handset(MAC, model.name, ""))
        assert any((found := pattern.search(agent)) and found["model"] == model.name for pattern in VENDOR.agents)
