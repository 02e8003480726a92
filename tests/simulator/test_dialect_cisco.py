"""Cisco's phones as simulated: what they refuse, what they ask for, in which order, and what they do when told."""

import re
import subprocess
from pathlib import Path

import pytest

from provisioning.domain.catalogue import catalogue
from provisioning.domain.mac import Mac
from provisioning.domain.settings import DEFAULTS
from provisioning.domain.vendor_file import parse_vendor
from provisioning.rendering.encryption import encrypt
from provisioning.simulator.dialects import cisco
from provisioning.simulator.dialects.base import Answer, Ask, Handset

ROOT = Path(__file__).parents[2]
MAC = Mac("0002fdff2103")
OWN = b'<flat-profile><Line_Enable_1_ ua="na">Yes</Line_Enable_1_><User_ID_1_>42</User_ID_1_></flat-profile>'
DEVICE = b"<device><deviceProtocol>SIP</deviceProtocol></device>"
MODELS = catalogue(
    [parse_vendor("cisco", (ROOT / "templates" / "phones" / "cisco" / "vendor.toml").read_text("utf-8"))]
)
VENDOR = MODELS.vendors[0]


def handset(model="SPA504G", url="https://phones.example.net/", held=None):
    return Handset(MAC, model, url, held=held)


def drive(boot, *answers):
    """The requests of a boot that is answered so, and what the phone then has."""
    asked = [next(boot)]
    try:
        for answer in answers:
            ask = boot.send(answer)
            asked.append(ask)
    except StopIteration as end:
        return asked, end.value
    return asked, None


NOT_FOUND = Answer(404)


def found(body):
    return Answer(200, body)


class TestWhatAFlatProfileIs:
    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (b"", "well-formed"),
            (b"<flat-profile>", "well-formed"),
            (b"<html></html>", "not <flat-profile>"),
            (b"<Flat-Profile></Flat-Profile>", "not <flat-profile>"),
            (b"<!DOCTYPE flat-profile [<!ENTITY a 'b'>]><flat-profile></flat-profile>", "document type"),
            ("<flat-profile><A>Zoé</A></flat-profile>".encode(), "ASCII"),
            (b"<flat-profile><User_ID_1_/></flat-profile>", "keeps what the user has set"),
            (b'<flat-profile><User_ID_1_ ua="rw" /></flat-profile>', "keeps what the user has set"),
            (b"<flat-profile><A><B>1</B></A></flat-profile>", "holds an element"),
            (b'<flat-profile><A ua="no">1</A></flat-profile>', "access right"),
            (b'<flat-profile><A user="na">1</A></flat-profile>', "access right"),
            (b"<flat-profile><router-configuration></router-configuration><A>1</A></flat-profile>", "last of all"),
        ],
    )
    def test_what_it_refuses(self, body, why):
        with pytest.raises(ValueError, match=why):
            cisco.settings(body)

    def test_values_lose_their_blanks_and_line_ends(self):
        body = b"<flat-profile><A>\n  x\ny  </A><B></B><C>&#233;&amp;&lt;</C></flat-profile>"
        assert cisco.settings(body) == {"A": "x y", "B": "", "C": "é&<"}

    def test_of_a_name_that_is_there_twice_the_last_counts(self):
        assert cisco.settings(b"<flat-profile><A>1</A><A>2</A></flat-profile>") == {"A": "2"}

    def test_the_router_s_own_block(self):
        body = (
            b"<flat-profile><A>1</A><router-configuration><Time_Setup><Time_Zone>+01 2 2</Time_Zone></Time_Setup>"
            b"</router-configuration></flat-profile>"
        )
        key = "router-configuration/Time_Setup/Time_Zone"
        assert cisco.settings(body) == {"A": "1", key: "+01 2 2"}
        assert cisco.oracle_name(key) == "Time_Zone"

    @pytest.mark.parametrize(
        ("name", "value", "why"),
        [
            ("Line_Enable_1_", "yes", "Yes and No"),
            ("Use_Outbound_Proxy_1_", "1", "Yes and No"),
            ("SIP_Transport_1_", "udp", "UDP, TCP, TLS"),
            ("Proxy_1_", "sip.example.net:sip", "no host with a port"),
            ("Resync_Periodic", "1h", "no number"),
            ("Profile_Rule", "(1 eq 1)? https://a | https://b", "alternatives or conditions"),
            ("Profile_Rule", "[--key] https://a", "pairs of --name and value"),
        ],
    )
    def test_what_it_makes_nothing_of(self, name, value, why):
        settings = {"Line_Enable_1_": "Yes", "User_ID_1_": "42", name: value}
        with pytest.raises(ValueError, match=why):
            cisco.configuration(settings)

    def test_an_outbound_proxy_that_is_switched_off_is_none(self):
        settings = {
            "Line_Enable_1_": "Yes",
            "User_ID_1_": "42",
            "Proxy_1_": "a.example",
            "Outbound_Proxy_1_": "b.example:5061",
            "SIP_Transport_1_": "TLS",
        }
        assert cisco.configuration(settings).lines[0].outbound_proxy == "b.example"
        assert cisco.configuration({**settings, "Use_Outbound_Proxy_1_": "No"}).lines[0].outbound_proxy == ""


class TestTheRule:
    @pytest.mark.parametrize(
        ("rule", "url"),
        [
            ("https://a/$MA.xml", "https://a/0002fdff2103.xml"),
            ("https://a/$MAU.xml", "https://a/0002FDFF2103.xml"),
            ("https://a/$(MA)b.xml", "https://a/0002fdff2103b.xml"),
            ("https://a/$PN/$PSN/$MAC", "https://a/SPA504G/504G/00:02:fd:ff:21:03"),
            ("https://a/$$MA$FOO", "https://a/$MA$FOO"),
            ("[--key abc] https://a/$MA.xml", "https://a/0002fdff2103.xml"),
            ("[--uid u --pwd p]https://a/x", "https://a/x"),
        ],
    )
    def test_macros_are_the_phone_s_to_fill_in(self, rule, url):
        asked, have = drive(cisco.boot(handset(url=rule)), found(OWN))
        assert asked == [Ask(url, own=True)]
        assert have.lines[0].username == "42"

    def test_where_it_is_sent_is_told_without_the_rule_s_options(self):
        have = cisco.configuration({"Profile_Rule": "[--key abc] https://a/$MA.xml"})
        assert have.provisioning_url == "https://a/$MA.xml"


RULE = b"<flat-profile><Profile_Rule>https://phones.example.net/$MA.xml</Profile_Rule></flat-profile>"
BASE = "https://phones.example.net/"


class TestFreshFromTheFactory:
    @pytest.mark.parametrize(
        ("model", "file"),
        [
            ("SPA504G", "spa504G.cfg"),
            ("SPA525G2", "spa525G2.cfg"),
            ("SPA112", "spa112.cfg"),
            ("PAP2T", "init.cfg"),
            ("ATA191", "ata191.cfg"),
        ],
    )
    def test_an_spa_takes_its_series_file_and_follows_the_rule_in_it(self, model, file):
        asked, have = drive(cisco.boot(handset(model)), found(RULE), found(OWN))
        assert asked == [Ask(BASE + file), Ask(f"{BASE}0002fdff2103.xml", own=True)]
        assert have.lines
        # What the simulated phone asks for is what is served.
        assert file in MODELS.models[f"cisco-{model}".lower()].traits["factory"]
        assert file.lower() in MODELS.common

    def test_without_that_file_it_has_nowhere_to_go(self):
        with pytest.raises(ValueError, match="names no Profile_Rule"):
            drive(cisco.boot(handset()), NOT_FOUND)

    def test_a_multiplatform_phone_goes_on_to_the_file_of_its_mac(self):
        asked, have = drive(cisco.boot(handset("CP-8841")), NOT_FOUND, found(OWN))
        assert asked == [
            Ask(f"{BASE}8841-3PCC.xml"),
            Ask(f"{BASE}Cisco/CP-8841-3PCC/0002fdff2103.cfg", own=True),
        ]
        assert have.lines
        assert "cisco/cp-8841-3pcc/{mac}.cfg" in MODELS.models["cisco-cp-8841"].documents

    def test_an_enterprise_phone_tries_the_trust_lists_first(self):
        asked, have = drive(cisco.boot_enterprise(handset("CP-7961G")), NOT_FOUND, NOT_FOUND, NOT_FOUND, found(DEVICE))
        assert asked == [
            Ask(f"{BASE}CTLSEP0002FDFF2103.tlv"),
            Ask(f"{BASE}ITLSEP0002FDFF2103.tlv"),
            Ask(f"{BASE}ITLFile.tlv"),
            Ask(f"{BASE}SEP0002FDFF2103.cnf.xml", own=True),
        ]
        assert have.lines == ()

    def test_an_enterprise_configuration_is_never_rendered_for_a_stranger(self):
        document = MODELS.models["cisco-cp-7961g"].documents["sep{mac}.cnf.xml"]
        assert document.proof_only


class TestEncryption:
    KEY = "7pryJeRDW9ccWA6W"

    def openssl(self, body):
        done = subprocess.run(
            ["openssl", "enc", "-d", "-aes-256-cbc", "-md", "md5", "-k", self.KEY],
            input=body,
            capture_output=True,
            check=True,
        )
        return done.stdout

    def test_openssl_and_gzip_open_what_is_served(self):
        packed = self.openssl(encrypt("openssl-md5-gzip", OWN, self.KEY))
        opened = subprocess.run(["gzip", "-d"], input=packed, capture_output=True, check=True)
        assert opened.stdout == OWN

    def test_the_phone_opens_what_openssl_made(self):
        made = subprocess.run(
            ["openssl", "enc", "-aes-256-cbc", "-md", "md5", "-k", self.KEY], input=OWN, capture_output=True, check=True
        )
        assert cisco.opened(Answer(200, made.stdout), self.KEY, "") == OWN

    def test_the_phone_opens_what_is_served_and_takes_a_plain_file_too(self):
        assert cisco.opened(Answer(200, encrypt("openssl-md5-gzip", OWN, self.KEY)), self.KEY, "") == OWN
        assert cisco.opened(Answer(200, OWN), self.KEY, "") == OWN

    @pytest.mark.parametrize(
        ("spoil", "key", "why"),
        [
            (lambda body: body, "", "has no --key"),
            (lambda body: body, "another key", "another password|gzip|well-formed"),
            (lambda body: body[:-1], KEY, "blocks of 16"),
            (lambda body: body[:16], KEY, "blocks of 16"),
            (lambda _: b"\x1f\x8b cut", "", "gzip"),
        ],
    )
    def test_what_it_cannot_open(self, spoil, key, why):
        body = spoil(encrypt("openssl-md5-gzip", OWN, self.KEY))
        with pytest.raises(ValueError, match=why):
            cisco.settings(cisco.opened(Answer(200, body), key, ""))

    @pytest.mark.parametrize("key", ["", KEY, "another key"])
    def test_content_is_opened_by_the_keying_material_whatever_the_rule_has(self, key):
        answer = Answer(200, encrypt("aes128gcm", OWN, self.KEY), "aes128gcm")
        assert cisco.opened(answer, key, self.KEY) == OWN

    @pytest.mark.parametrize(
        ("coding", "material", "why"),
        [("aes128gcm", "", "no keying material"), ("aes128gcm", "other", "another key"), ("br", KEY, "in br")],
    )
    def test_content_that_it_cannot_open(self, coding, material, why):
        with pytest.raises(ValueError, match=why):
            cisco.opened(Answer(200, encrypt("aes128gcm", OWN, self.KEY), coding), self.KEY, material)

    def test_the_key_is_the_one_of_its_last_configuration(self):
        held = cisco.configuration({"Profile_Rule": f"[--key {self.KEY}] https://a/x.xml"})
        phone = handset(url=held.provisioning_url, held=held)
        asked, have = drive(cisco.boot(phone), found(encrypt("openssl-md5-gzip", OWN, self.KEY)))
        assert asked == [Ask("https://a/x.xml", own=True)]
        assert have.lines[0].username == "42"


class TestWhenTold:
    @pytest.mark.parametrize(
        ("event", "settings", "act"),
        [
            ("resync", {}, "fetch"),
            ("Resync", {}, "fetch"),
            ("resync", {"Resync_From_SIP": "No"}, "nothing"),
            ("reboot_now", {}, "reboot"),
            ("restart_now", {}, "reboot"),
            ("report", {}, "nothing"),
            ("check-sync", {}, None),
            ("message-summary", {}, None),
        ],
    )
    def test_what_a_flat_profile_phone_does(self, event, settings, act):
        assert cisco.told(event, "", settings) == act

    def test_it_challenges_unless_each_line_says_no(self):
        lines = {"Line_Enable_1_": "Yes", "Line_Enable_2_": "No"}
        assert cisco.challenges({})
        assert cisco.challenges(lines)
        assert cisco.challenges({**lines, "Auth_Resync-Reboot_1_": "No"})
        assert not cisco.challenges({**lines, "Auth_Resync-Reboot_1_": "No", "Auth_Resync-Reboot_2_": "No"})

    @pytest.mark.parametrize("family", VENDOR.families, ids=lambda family: family.name)
    def test_it_understands_what_we_send(self, family):
        told = cisco.DIALECTS[family.name].told
        resync = family.resync
        assert told(resync.event, resync.body, {}) == "fetch"
        assert told(resync.reboot_event, resync.reboot_body, {}) == "reboot"

    def test_an_enterprise_phone_wants_a_body(self):
        assert cisco.told_enterprise("service-control", "", {}) == "nothing"
        assert cisco.told_enterprise("resync", "action=restart", {}) is None


class TestEnterprise:
    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (b"<flat-profile></flat-profile>", "not <device>"),
            (b"<device><a>1</a><a>2</a></device>", "twice"),
            (b'<device><s><line button="1"><b>1</b></line><line button="1"><b>2</b></line></s></device>', "twice"),
            (b"<device>", "well-formed"),
        ],
    )
    def test_what_it_refuses(self, body, why):
        with pytest.raises(ValueError, match=why):
            cisco.settings_enterprise(body)

    def test_a_transport_that_it_does_not_know(self):
        with pytest.raises(ValueError, match="transportLayerProtocol"):
            cisco.configuration_enterprise({"transportLayerProtocol": "9"})


class TestThePhonebook:
    @pytest.mark.parametrize(
        "body",
        [
            b"<Directory></Directory>",
            b"<CiscoIPPhoneDirectory><Entry></Entry></CiscoIPPhoneDirectory>",
            b"<CiscoIPPhoneDirectory><DirectoryEntry><Name>A</Name></DirectoryEntry></CiscoIPPhoneDirectory>",
        ],
    )
    def test_what_it_refuses(self, body):
        with pytest.raises(ValueError, match="<"):
            cisco.contacts(body)


AGENTS = [
    ("Cisco/ATA191-MPP-11-1-0-MSR4 (FCH2443D9R4)", "ata191", "11-1-0-MSR4", None),
    ("Linksys/SPA-942-6.1.5(a) (88019FA42805)", "spa942", "6.1.5(a)", None),
    ("Linksys/SPA-962-6.1.5(a) (4MM00F903042)", "spa962", "6.1.5(a)", None),
    ("Cisco/SPA501G-7.4.4 (8843E157DDCC)(CBT141100HR)", "spa501g", "7.4.4", "8843E157DDCC"),
    ("Cisco/SPA508G-7.4.4 (0002FDFF2103)(CBT141400UK)", "spa508g", "7.4.4", "0002FDFF2103"),
    ("Cisco/SPA508G-7.4.8a (0002FDFF2103)(CBT141400UK)", "spa508g", "7.4.8a", "0002FDFF2103"),
    ("Cisco/SPA525G-7.4.4 (CBT141900G7)", "spa525g", "7.4.4", None),
    ("Cisco/SPA525G-7.4.7 (CBT141900G7)", "spa525g", "7.4.7", None),
    ("Cisco-CP-8841-3PCC/11.0 (00562b043615)", "cp-8841", "11.0", "00562b043615"),
    ("Cisco-CP-7832-3PCC/11.0.1 (00562b043615)", "cp-7832", "11.0.1", "00562b043615"),
]


def read_agent(text):
    for pattern in VENDOR.agents:
        if match := pattern.search(text):
            return match.groupdict()
    return None


@pytest.mark.parametrize(("text", "model", "firmware", "mac"), AGENTS)
def test_real_user_agents_are_read(text, model, firmware, mac):
    read = read_agent(text)
    assert (read["firmware"], read.get("mac")) == (firmware, mac)
    its = MODELS.models[f"cisco-{model}"]
    assert read["model"] in (its.name, *its.aka)


@pytest.mark.parametrize(
    "model", [model for model in VENDOR.models if model.family.name != "enterprise"], ids=lambda model: model.id
)
def test_what_simulated_phones_say_is_read_too(model):
    # The old routers never said what they are in a way that anybody wrote down.
    name = model.name
    if name.startswith(("AG", "RTP", "WR", "WIP", "DP")):
        return
    read = read_agent(cisco.DIALECTS[model.family.name].http_agent(handset(name)))
    assert read["model"] in (name, *model.aka)


def golden(name):
    return (ROOT / "tests" / "golden" / "cisco" / name).read_bytes()


@pytest.mark.parametrize("name", ["SPA504G-everything.xml", "SPA112-everything.xml", "CP-8851-everything.xml"])
def test_our_own_documents_say_nothing_twice(name):
    """The phone would take the last; we would not know which that is."""
    above = re.split(rb"<router-configuration>", golden(name))[0]
    tags = re.findall(rb"<([A-Za-z][^ />]*) ua=", above)
    assert len(tags) == len(set(tags)) > 50


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        # The last Sundays, at two and three by the clock that holds until then.
        ("CP-8851-1-lines.xml", "start=3/-1/7/2:00:00;end=10/-1/7/3:00:00;save=1:00:00"),
        # New York: the second Sunday of March, the first of November.
        ("CP-8851-everything.xml", "start=3/8/7/2:00:00;end=11/1/7/2:00:00;save=1:00:00"),
    ],
)
def test_the_rule_of_summer_time(name, rule):
    assert cisco.settings(golden(name))["Daylight_Saving_Time_Rule"] == rule


def test_every_model_that_the_operator_hands_out_is_there():
    handed_out = {"spa112": 2, "spa504g": 4, "spa508g": 8, "spa525g": 5, "ata191": 2, "pap2t": 2} | {
        "cp-6861": 4,
        "cp-7832": 1,
        "cp-7841": 4,
        "cp-8841": 10,
        "cp-8851": 10,
        "cp-8861": 10,
    }
    assert {name: MODELS.models[f"cisco-{name}"].slots for name in handed_out} == handed_out
    assert DEFAULTS["encrypt_configuration"] is False
