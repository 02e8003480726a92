import re
import tomllib
from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.simulator.dialects.base import Answer, Ask, Handset
from provisioning.simulator.dialects.fanvil import DIALECTS, contacts, new_settings, old_settings

MAC = Mac("0c383ea1b2c3")
URL = "https://phones.example.net/secret/"
VENDOR = Path(__file__).parents[2] / "templates" / "phones" / "fanvil" / "vendor.toml"

NEW = """<?xml version="1.0" encoding="UTF-8"?>
<sysConf><Version>2.0000000000</Version>
<sip><line index="1"><PhoneNumber>100</PhoneNumber><RegisterUser>100</RegisterUser><RegisterPswd>a&amp;b</RegisterPswd>
<RegisterAddr>sip.example.net</RegisterAddr><RegisterPort>5061</RegisterPort><Transport>3</Transport>
<ProxyAddr>proxy.example.net</ProxyAddr><ProxyPort>5070</ProxyPort><DisplayName></DisplayName><EnableReg>1</EnableReg></line>
<line index="2"><PhoneNumber>200</PhoneNumber><EnableReg>0</EnableReg></line>
<line index="3"><PhoneNumber></PhoneNumber><EnableReg>1</EnableReg></line></sip>
<ap><FlashServerIP>https://phones.example.net/secret</FlashServerIP><FlashProtocol>5</FlashProtocol>
<FlashMode>2</FlashMode><FlashInterval>24</FlashInterval><DownloadCommonConf>0</DownloadCommonConf></ap></sysConf>"""

OLD = """<VOIP_CONFIG_FILE><version>2.0002</version>
<SIP_CONFIG_MODULE><SIP_Line_List>
<SIP_Line_List_Entry><ID>SIP1</ID><Phone_Number>100</Phone_Number><Register_Pswd>pw</Register_Pswd>
<Register_Addr>sip.example.net</Register_Addr><Enable_Reg>1</Enable_Reg></SIP_Line_List_Entry>
<SIP_Line_List_Entry><ID>SIP2</ID><Phone_Number>200</Phone_Number><Enable_Reg>0</Enable_Reg></SIP_Line_List_Entry>
</SIP_Line_List></SIP_CONFIG_MODULE>
<AUTOUPDATE_CONFIG_MODULE><Download_Mode>1</Download_Mode><Download_Interval>1</Download_Interval>
</AUTOUPDATE_CONFIG_MODULE></VOIP_CONFIG_FILE>"""


def asked(family, held=None, common=("F0V0V6500000.cfg",), status=404, body=NEW):
    """What it asks for, in order; the common file is answered with `status`."""
    boot = DIALECTS[family].boot(Handset(MAC, "V65", URL, common, held))
    found = []
    ask = next(boot)
    while True:
        found.append(ask)
        try:
            ask = boot.send(Answer(200, body.encode()) if ask.own else Answer(status))
        except StopIteration as end:
            return found, end.value


def read(family, text):
    dialect = DIALECTS[family]
    return dialect.configuration(dialect.settings(text.encode()))


def test_it_asks_for_the_common_file_and_its_own():
    found, taken = asked("desk")
    assert found == [Ask(f"{URL}F0V0V6500000.cfg"), Ask(f"{URL}0c383ea1b2c3.cfg", own=True)]
    assert [line.username for line in taken.lines] == ["100"]


def test_it_asks_for_its_own_alone_where_it_was_told_so():
    _, taken = asked("desk")
    assert [ask.url for ask in asked("desk", held=taken)[0]] == [f"{URL}0c383ea1b2c3.cfg"]


def test_the_older_ask_for_the_same():
    found, taken = asked("classic", common=("f0X4hw1.100.cfg",), body=OLD)
    assert [ask.url for ask in found] == [f"{URL}f0X4hw1.100.cfg", f"{URL}0c383ea1b2c3.cfg"]
    assert [line.password for line in taken.lines] == ["pw"]


def test_the_common_file_comes_before_its_own_and_loses():
    boot = DIALECTS["desk"].boot(Handset(MAC, "V65", URL, ("F0V0V6500000.cfg",)))
    next(boot)
    boot.send(Answer(200, NEW.replace("<PhoneNumber>100<", "<PhoneNumber>999<").encode()))
    with pytest.raises(StopIteration) as end:
        boot.send(Answer(200, NEW.encode()))
    assert end.value.value.settings["sip/line[1]/PhoneNumber"] == "100"


def test_what_the_newer_take():
    found = read("desk", NEW)
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.domain) == (1, "100", "a&b", "sip.example.net")
    assert (line.transport, line.outbound_proxy, line.display_name) == ("tls", "proxy.example.net:5070", "")
    assert (found.provisioning_url, found.poll_minutes) == (URL, 24 * 60)


def test_what_the_older_take():
    found = read("classic", OLD)
    assert [(line.slot, line.username, line.domain) for line in found.lines] == [(1, "100", "sip.example.net")]
    assert found.poll_minutes is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("<sysConf>", "<settings>"), "well-formed"),
        (("sysConf", "settings"), "the root is <settings>"),
        (("<Version>2.0000000000</Version>", ""), "does not begin with its <Version>"),
        (('<line index="2">', '<line index="1">'), "there twice|set twice"),
        (("<Transport>3<", "<Transport>9<"), "Transport is '9'"),
        (("<Transport>3</Transport>", "<Transport>3</Transport><Transport>0</Transport>"), "set twice"),
        (('<line index="2">', '<line number="2">'), "no index"),
        (('<line index="2">', '<line index="x">'), "no index"),
        (("<FlashInterval>24<", "<FlashInterval>soon<"), "no number"),
        (("<FlashProtocol>5<", "<FlashProtocol>4<"), "is not the http"),
        (("<FlashProtocol>5<", "<FlashProtocol>7<"), "FlashProtocol is '7'"),
        (("<sip>", "<sip>text"), "text beside"),
        (("<?xml", "<!DOCTYPE x><?xml"), "document type"),
    ],
)
def test_the_newer_refuse(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        read("desk", NEW.replace(*change))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("VOIP_CONFIG_FILE", "sysConf"), "the root is <sysConf>"),
        (("<version>2.0002</version>", ""), "does not begin with its <version>"),
        (("<ID>SIP2</ID>", "<ID>SIP1</ID>"), "set twice"),
        (("<ID>SIP2</ID>", ""), "no ID"),
        (("SIP_Line_List_Entry>", "Entry>"), "no entry of <SIP_Line_List>"),
        (("SIP_CONFIG_MODULE", "sip"), "no module"),
        (("<Phone_Number>200<", "<Phone_Number><b/>200<"), "an element where a value belongs"),
    ],
)
def test_the_older_refuse(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        read("classic", OLD.replace(*change))


def test_each_generation_refuses_the_other_s():
    with pytest.raises(ValueError, match="the root"):
        new_settings(OLD.encode())
    with pytest.raises(ValueError, match="the root"):
        old_settings(NEW.encode())


def test_contacts():
    body = b"""<FanvilIPPhoneDirectory><Title>x</Title><DirectoryEntry><Name>A &amp; B</Name><Telephone>1</Telephone>
    <Mobile></Mobile><Other>3</Other></DirectoryEntry></FanvilIPPhoneDirectory>"""
    assert [(one.name, one.numbers) for one in contacts(body)] == [("A & B", ("1", "3"))]
    with pytest.raises(ValueError, match="not <FanvilIPPhoneDirectory>"):
        contacts(b"<YealinkIPPhoneDirectory/>")


@pytest.mark.parametrize("family", ["desk", "classic"])
@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("check-sync", "fetch"),
        ("check-sync;reboot=false", "fetch"),
        ("check-sync;reboot=true", "reboot"),
        ("resync", None),
    ],
)
def test_what_it_does_when_told(family, event, act):
    assert DIALECTS[family].told(event, "", {}) == act


@pytest.mark.parametrize(
    ("family", "switch"), [("desk", "sip/NotifyReboot"), ("classic", "SIP_CONFIG_MODULE/Notify_Reboot")]
)
def test_the_switch_decides_whether_it_restarts(family, switch):
    told = DIALECTS[family].told
    assert (told("check-sync", "", {switch: "0"}), told("check-sync", "", {switch: "1"})) == ("fetch", "reboot")


@pytest.mark.parametrize(
    ("agent", "model", "firmware", "mac"),
    [
        ("Fanvil H2U-V2 2.12.0 0c383e32342e", "H2U-V2", "2.12.0", "0c383e32342e"),
        ("Fanvil V65 2.12.2.4 0c383e38e123", "V65", "2.12.2.4", "0c383e38e123"),
        ("Fanvil W620W 2.16.10 0c383e7dd216", "W620W", "2.16.10", "0c383e7dd216"),
        ("Fanvil X4 2.10.2.6887 0c383e07e16c", "X4", "2.10.2.6887", "0c383e07e16c"),
        ("Fanvil X5U-V2 2.12.16.17 0c383e557eb1", "X5U-V2", "2.12.16.17", "0c383e557eb1"),
        ("Fanvil X6U Pro 0.0.10 0c383e2cd782", "X6U Pro", "0.0.10", "0c383e2cd782"),
        ("Fanvil i53W 2.12.9 0c383e10a440", "i53W", "2.12.9", "0c383e10a440"),
    ],
)
def test_agents(agent, model, firmware, mac):
    vendor = tomllib.loads(VENDOR.read_text("utf-8"))
    (match,) = filter(None, (re.search(pattern, agent, re.ASCII) for pattern in vendor["agents"]))
    assert match.groupdict() == {"model": model, "firmware": firmware, "mac": mac}
    assert any(model in (name, *table.get("aka", ())) for name, table in vendor["models"].items())


def test_its_own_agent_is_one_of_them():
    (pattern,) = tomllib.loads(VENDOR.read_text("utf-8"))["agents"]
    assert re.search(pattern, DIALECTS["desk"].http_agent(Handset(MAC, "V65", URL)))
