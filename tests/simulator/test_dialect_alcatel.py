import re
import tomllib
from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.simulator.dialects.alcatel import DIALECTS
from provisioning.simulator.dialects.base import Answer, Ask, Handset

MAC = Mac("3c28a620089e")
URL = "https://phones.example.net/secret/"
VENDOR = Path(__file__).parents[2] / "templates" / "phones" / "alcatel" / "vendor.toml"

MYRIAD = """<?xml version="1.0" encoding="UTF-8"?>
<settings>
<setting id="DeviceProvisionServerUrl" value="https://phones.example.net/secret/"/>
<setting id="Account1Enable" value="true"/><setting id="Account1UserName" value="100"/>
<setting id="Account1Password" value="a&amp;b"/><setting id="Account1Server1Address" value="sip.example.net"/>
<setting id="Account1Server1Port" value="5061" override="true"/><setting id="Account1Server1Transport" value="tls"/>
<setting id="Account1OutboundProxy1Address" value="proxy.example.net"/>
<setting id="Account1OutboundProxy1Port" value="5070"/>
<setting id="Account2Enable" value="false"/><setting id="Account2UserName" value="200"/>
</settings>"""

NOE = """<settings>
<setting id="LocalEnetcfgDmUrl" value="https://phones.example.net/secret/" override="true"/>
<setting id="SIPGroup1DeviceUri" value="100"/><setting id="SIPGroup1DomainName" value="sip.example.net:5090"/>
<setting id="SIPGroup1AuthenticationPassword" value="pw"/>
<setting id="SIPGroup1OutBoundProxyAddress" value="sip.example.net"/>
<setting id="SIPGroup1OutBoundProxyPort" value="5090"/>
<setting id="SIPGroup2DeviceUri" value=""/>
</settings>"""

IPTOUCH = """# one phone
[sip]
domain_name=sip.example.net
registrar_addr=sip.example.net
registrar_port=
sip_transport_mode=2
user_name=100
authentication_password=a=b#c
[sntp]
timezone=UT::60:000000:000000
[appl]
admin_password=123456
"""
BODIES = {"myriad": MYRIAD, "noe": NOE, "iptouch": IPTOUCH}


def read(family, text):
    dialect = DIALECTS[family]
    return dialect.configuration(dialect.settings(text.encode()))


@pytest.mark.parametrize(
    ("family", "model", "names"),
    [
        # M3-M5-M7-M8 administrator guide 3.6.2.
        ("myriad", "M3", ["config.xml", "config.M3.xml", "config.3c28a620089e.xml"]),
        ("noe", "8028s-GE", ["config.8028s-GE.xml", "config.3c28a620089e.xml"]),
        ("iptouch", "4028", ["sipconfig.txt", "sipconfig-3c28a620089e.txt"]),
    ],
)
def test_what_it_asks_for(family, model, names):
    boot = DIALECTS[family].boot(Handset(MAC, model, URL))
    asked = [next(boot)]
    while not asked[-1].own:
        asked.append(boot.send(Answer(404)))
    with pytest.raises(StopIteration) as end:
        boot.send(Answer(200, BODIES[family].encode()))
    assert asked == [Ask(URL + name, own=name == names[-1]) for name in names]
    assert [line.slot for line in end.value.value.lines] == [1]


def test_a_later_file_wins():
    boot = DIALECTS["myriad"].boot(Handset(MAC, "M3", URL))
    next(boot)
    boot.send(Answer(404))
    boot.send(Answer(200, b'<settings><setting id="Account1UserName" value="999"/></settings>'))
    with pytest.raises(StopIteration) as end:
        boot.send(Answer(200, MYRIAD.encode()))
    assert end.value.value.settings["Account1UserName"] == "100"


def test_what_a_myriad_takes():
    found = read("myriad", MYRIAD)
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.domain) == (1, "100", "a&b", "sip.example.net")
    assert (line.transport, line.outbound_proxy, found.provisioning_url) == ("tls", "proxy.example.net:5070", URL)


def test_what_an_80x8s_takes():
    (line,) = read("noe", NOE).lines
    assert (line.username, line.password, line.domain, line.outbound_proxy) == ("100", "pw", "sip.example.net:5090", "")
    assert read("noe", NOE.replace('Address" value="sip.', 'Address" value="proxy.')).lines[0].outbound_proxy == (
        "proxy.example.net:5090"
    )


def test_what_an_ip_touch_takes():
    (line,) = read("iptouch", IPTOUCH).lines
    assert (line.slot, line.username, line.password, line.domain) == (1, "100", "a=b#c", "sip.example.net")
    assert line.transport == "tcp"


@pytest.mark.parametrize("family", ["myriad", "noe"])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("settings>", "config>"), "the root is <config>"),
        (("<settings>", "<settings><group/>"), "no empty <setting>"),
        (("<settings>", '<settings><setting id="a" value="1">x</setting>'), "no empty <setting>"),
        (("<settings>", '<settings><setting id="a" value="1"/><setting id="a" value="1"/>'), "a is set twice"),
        (("<settings>", '<settings><setting id="a"/>'), "has id, value"),
        (("<settings>", '<settings><setting id="a" value="1" perm="R"/>'), "has id, value"),
        (("<settings>", '<settings><setting id="a b" value="1"/>'), "no setting's name"),
        (("<settings>", '<settings><setting id="a" value="1" override="maybe"/>'), "override"),
        (("<settings>", "<settings"), "well-formed"),
    ],
)
def test_what_xml_it_refuses(family, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(family, BODIES[family].replace(*change))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('Enable" value="true"', 'Enable" value="1"'), "Account1Enable is '1'"),
        (('value="tls"', 'value="sctp"'), "Transport is 'sctp'"),
    ],
)
def test_what_values_a_myriad_refuses(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        read("myriad", MYRIAD.replace(*change))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("[sip]\n", ""), "line 2 is no name=value in a section"),
        (("[sip]", "[phone]"), "no section"),
        (("user_name=100", "user_name"), "no name=value"),
        (("user_name=100", "user name=100"), "no name=value"),
        (("user_name=100", "user_name=100\nuser_name=200"), "set twice"),
        (("mode=2", "mode=3"), "sip_transport_mode is '3'"),
        (("UT::60", "Europe/Paris"), "timezone is"),
        (("=123456", "=secret"), "something else than digits"),
    ],
)
def test_what_an_ip_touch_refuses(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        read("iptouch", IPTOUCH.replace(*change))


@pytest.mark.parametrize(
    ("family", "event", "act"),
    [
        ("myriad", "check-sync", "fetch"),
        ("noe", "check-sync", "fetch"),
        ("noe", "resync", None),
        ("iptouch", "check-sync", None),
    ],
)
def test_what_it_does_when_told(family, event, act):
    assert DIALECTS[family].told(event, "", {}) == act


@pytest.mark.parametrize(
    ("agent", "found"),
    [
        ("ALE 8028s-GE 1.51.52.2204 487a55023075", ("8028s-GE", "1.51.52.2204", "487a55023075")),
        ("ALE M3-CE 2.11.01.1604 3c28a620089e", ("M3-CE", "2.11.01.1604", "3c28a620089e")),
        ("Alcatel IP Touch 4028/2.01.20", ("4028", "2.01.20", None)),
        ("Alcatel IP Touch 4018/2.01.10", ("4018", "2.01.10", None)),
    ],
)
def test_agents(agent, found):
    vendor = tomllib.loads(VENDOR.read_text("utf-8"))
    (match,) = filter(None, (re.search(pattern, agent, re.ASCII) for pattern in vendor["agents"]))
    groups = match.groupdict()
    assert (groups["model"], groups["firmware"], groups.get("mac")) == found
    assert any(found[0] in (name, *table.get("aka", ())) for name, table in vendor["models"].items())


@pytest.mark.parametrize(("family", "model"), [("myriad", "M7"), ("noe", "8028s-GE"), ("iptouch", "4068")])
def test_their_own_agents_are_among_them(family, model):
    patterns = tomllib.loads(VENDOR.read_text("utf-8"))["agents"]
    agent = DIALECTS[family].http_agent(Handset(MAC, model, URL))
    assert any(re.search(pattern, agent, re.ASCII) for pattern in patterns)
