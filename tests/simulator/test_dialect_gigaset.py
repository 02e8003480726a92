"""Gigaset: what its phones refuse, ask for and do when told."""

from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.simulator.dialects.base import Answer, Handset, read
from provisioning.simulator.dialects.gigaset import DIALECTS, frame, nvm

MAC = Mac("7c2f80a1b2c3")
FOLDER = Path(__file__).parents[2] / "templates" / "phones" / "gigaset"
VENDOR = parse_vendor("gigaset", (FOLDER / "vendor.toml").read_text("utf-8"))
HEADER = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
ROOT = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="N510.xsd"'


def framed(*elements, header=HEADER, root=ROOT):
    body = f"{header}<ProviderFrame {root}><Provider>{''.join(elements)}</Provider></ProviderFrame>"
    return body.encode("iso-8859-1")


def symbol(name, value):
    return f'<SYMB_ITEM ID="{name}" class="symb_item" value=\'{value}\'/>'


def account(suffix="", **changed):
    values = {
        "Data3.aucS_SIP_LOGIN_ID": '"201"',
        "Data1.aucS_SIP_USER_ID": '"201"',
        "Data1.aucS_SIP_PASSWORD": '"pa&amp;ss"',
        "Data1.aucS_SIP_DISPLAYNAME": '"Zoé"',
        "Data1.aucS_SIP_REGISTRAR": '"sip.example.net"',
        "Data1.uiI_SIP_REGISTRAR_PORT": "0x13c4",
        "Data1.ucI_OUTBOUND_PROXY_MODE": "0x0",
        "Data1.aucS_OUTBOUND_PROXY": '"proxy.example.net"',
        "Data1.uiI_OUTBOUND_PROXY_PORT": "5070",
        **changed,
    }
    return [symbol(f"BS_IP_{name}{suffix}", value) for name, value in values.items()]


def params(*pairs, root='version="1.1" productID="e2"'):
    inner = "".join(f'<param name="{name}" value="{value}"/>' for name, value in pairs)
    return f"<provisioning {root}><firmware></firmware><nvm>{inner}</nvm></provisioning>".encode()


def test_a_base_s_accounts_are_read():
    active = [symbol(f"BS_IP_Data1.ucB_SIP_ACCOUNT_IS_ACTIVE_{n}", value) for n, value in ((1, "0x0"), (2, "0x1"))]
    (line,) = read(DIALECTS["base"], framed(*active, *account(), *account("_2"))).lines
    assert (line.slot, line.username, line.password, line.display_name) == (2, "201", "pa&ss", "Zoé")
    assert (line.domain, line.outbound_proxy, line.transport) == ("sip.example.net", "proxy.example.net:5070", "udp")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (framed(header=""), "first line"),
        (framed(header='<?xml version="1.0" encoding="UTF-8"?>\n'), "first line"),
        (framed(root=""), "no <ProviderFrame>"),
        (HEADER.encode() + b"<settings/>", "no <ProviderFrame>"),
        (HEADER.encode() + b"<ProviderFrame>", "not well-formed"),
        (HEADER.encode() + b"<!DOCTYPE a><ProviderFrame/>", "document type"),
        (framed(symbol("BS_A.b", "1"), symbol("BS_A.b", "2")), "BS_A.b is set twice"),
        (framed(symbol("BS_A.b", "text")), "neither a text in quotes nor numbers"),
        (framed(symbol("BS_A.b", '"text')), "quotes do not match"),
        (framed(symbol("BS_A.b", '"te"xt"')), "quotes do not match"),
        (framed(symbol("A.b", "1")), "no name"),
        (framed('<SYMB_ITEM ID="BS_A.b" value="1"/>'), "no class"),
        (framed('<S_SIP_PASSWORD_1 class="integer" value="1"/>'), "class that its name says"),
        (framed('<S_SIP_PASSWORD_1 class="string"/>'), "no empty element with a value"),
        (framed('<WHAT class="string" value="1"/>'), "class that its name says"),
    ],
)
def test_what_a_frame_is_not(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        frame(body)


def test_another_name_to_log_in_by_is_refused():
    body = framed(
        symbol("BS_IP_Data1.ucB_SIP_ACCOUNT_IS_ACTIVE_1", "0x1"), *account(**{"Data3.aucS_SIP_LOGIN_ID": '"x"'})
    )
    with pytest.raises(ValueError, match="logs in by another name"):
        read(DIALECTS["base"], body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<settings/>", "no <provisioning>"),
        (params(root='version="1.0"'), "version 1.1"),
        (params(("A.b", "1"), ("A.b", "2")), "A.b is set twice"),
        (b'<provisioning version="1.1"><x/></provisioning>', "no section"),
        (b'<provisioning version="1.1"><firmware><file url="x"/></firmware></provisioning>', "with a version"),
        (b'<provisioning version="1.1"><nvm><param name="A"/></nvm></provisioning>', "no param with a name"),
        (b'<provisioning version="1.1"><nvm><param value="A"/></nvm></provisioning>', "no param with a name"),
        (b'<provisioning version="1.1"><nvm><oper/></nvm></provisioning>', "no name"),
        (b'<provisioning version="1.1"><nvm><other name="a" value="b"/></nvm></provisioning>', "no param"),
    ],
)
def test_what_a_provisioning_file_is_not(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        nvm(body)


@pytest.mark.parametrize(("code", "transport"), [("1", "udp"), ("2", "tcp"), ("3", "tls")], ids=("udp", "tcp", "tls"))
def test_a_dect_account_has_its_provider_s_transport(code, transport):
    body = params(
        ("SipAccount.00001.UserName", ""),
        ("SipAccount.00002.UserName", "201"),
        ("SipAccount.00002.AuthPassword", "secret"),
        ("SipAccount.00002.DisplayName", "Zo"),
        ("SipAccount.00002.ProviderId", "3"),
        ("SipProvider.3.TransportProtocol", code),
        ("SipProvider.3.RegServerAddress", "sip.example.net"),
        ("SipProvider.3.RegServerPort", "5061" if transport == "tls" else "5060"),
        ("SipProvider.3.OutboundProxyMode", "2"),
    )
    (line,) = read(DIALECTS["dect"], body).lines
    assert (line.slot, line.domain, line.outbound_proxy, line.transport) == (2, "sip.example.net", "", transport)
    with pytest.raises(ValueError, match="has provider 20"):
        read(
            DIALECTS["dect"],
            body.replace(b'value="3"/><param name="SipProvider', b'value="20"/><param name="SipProvider'),
        )


def test_a_maxwell_s_transport_is_all_its_lines():
    accounts = [
        (f"SIP.Account.{n}.{name}", value)
        for n in (0, 3)
        for name, value in (("Active", "1"), ("Username", f"20{n}"), ("RegistrationServer.Address", "sip.example.net"))
    ]
    found = read(DIALECTS["maxwell"], params(("SIP.TransportProtocol", "2"), ("SIP.Security.UseSIPS", "1"), *accounts))
    assert [(one.slot, one.username, one.transport) for one in found.lines] == [(1, "200", "tls"), (4, "203", "tls")]


def asks(steps, body):
    """All that is asked for, where the phone's own file is there and no other."""
    found, answer = [], None
    try:
        while True:
            found.append(steps.send(answer))
            answer = Answer(200, body) if found[-1].own else Answer(404)
    except StopIteration:
        return found


FRAME = framed('<MAC_ADDRESS value="7C2F80A1B2C3"/>')
NVM = params()


@pytest.mark.parametrize(
    ("family", "url", "asked"),
    [
        ("base", "http://127.0.0.1/s/7C2F80A1B2C3.xml", ["http://127.0.0.1/s/7C2F80A1B2C3.xml"]),
        ("base", "http://127.0.0.1/s/%MACD.xml", ["http://127.0.0.1/s/7c2f80a1b2c3.xml"]),
        ("dect", "http://127.0.0.1/s/%MACD.xml", ["http://127.0.0.1/s/7c2f80a1b2c3.xml"]),
        ("dect", "http://127.0.0.1/s", ["http://127.0.0.1/s/provisioning.xml", "http://127.0.0.1/s/7c2f80a1b2c3.xml"]),
        ("maxwell", "http://127.0.0.1/", ["http://127.0.0.1/provisioning.xml", "http://127.0.0.1/7c2f80a1b2c3.xml"]),
        ("desk", "http://127.0.0.1/s/%MACD.xml", ["http://127.0.0.1/s/7c2f80a1b2c3.xml"]),
        ("n720", "http://127.0.0.1/s/%MACD.xml", ["http://127.0.0.1/s/7c2f80a1b2c3.xml"]),
    ],
)
def test_what_is_asked_for(family, url, asked):
    body = FRAME if family in ("base", "desk", "n720") else NVM
    found = asks(DIALECTS[family].boot(Handset(MAC, "N510", url)), body)
    assert [ask.url for ask in found] == asked
    assert [ask.own for ask in found] == [False] * (len(asked) - 1) + [True]


@pytest.mark.parametrize("family", ["base", "desk", "n720"])
def test_another_phone_s_file_is_not_taken(family):
    steps = DIALECTS[family].boot(Handset(MAC, "N510", "http://127.0.0.1/s/%MACD.xml"))
    next(steps)
    with pytest.raises(ValueError, match="another phone's"):
        steps.send(Answer(200, framed('<MAC_ADDRESS value="7C2F80A1B2C4"/>')))


@pytest.mark.parametrize(
    ("agent", "model", "firmware", "mac"),
    [
        ("N510 IP PRO/42.245.00.000.000", "N510 IP PRO", "42.245.00.000.000", None),
        ("N510 IP PRO/42.245.00.000.000;7C2F804DF9A9", "N510 IP PRO", "42.245.00.000.000", "7C2F804DF9A9"),
        ("N510 IP PRO/42.258.00.000.000;7C2F806257D7", "N510 IP PRO", "42.258.00.000.000", "7C2F806257D7"),
        ("Gigaset N720 DM PRO/70.089.00.000.000;7C2F80CA21E4", "N720 DM PRO", "70.089.00.000.000", "7C2F80CA21E4"),
        ("N720-DM-PRO/70.040.00.000.000", "N720-DM-PRO", "70.040.00.000.000", None),
        ("Gigaset N870 IP PRO/83.V2.11.0+build.a546b91;7C2F80E0D605", "N870 IP PRO", "83.V2.11.0", "7C2F80E0D605"),
    ],
)
def test_who_a_phone_says_it_is(agent, model, firmware, mac):
    (match,) = [match for pattern in VENDOR.agents if (match := pattern.search(agent))]
    assert (match["model"], match["firmware"], match["mac"]) == (model, firmware, mac)
    assert [one for one in VENDOR.models if model in (one.name, *one.aka)]


@pytest.mark.parametrize("family", sorted(DIALECTS))
def test_what_the_simulated_phone_says_it_is(family):
    model = next(one for one in VENDOR.models if one.family.name == family)
    agent = DIALECTS[family].http_agent(Handset(MAC, model.name, ""))
    (match,) = [match for pattern in VENDOR.agents if (match := pattern.search(agent))]
    assert match["mac"] == MAC.upper()
    assert match["model"] in (model.name, *model.aka)


@pytest.mark.parametrize(
    ("family", "settings", "event", "does"),
    [
        ("base", {}, "check-sync;reboot=false", "fetch"),
        ("base", {}, "check-sync;reboot=true", "fetch"),
        ("n720", {}, "check-sync;reboot=true", "fetch"),
        ("dect", {}, "check-sync;reboot=true", "fetch"),
        ("dect", {"SystemSettings.global.CheckSyncRebootEnabled": "1"}, "check-sync;reboot=true", "reboot"),
        ("dect", {"SystemSettings.global.CheckSyncRebootEnabled": "1"}, "check-sync;reboot=false", "fetch"),
        ("maxwell", {}, "check-sync", "fetch"),
        ("desk", {}, "resync", None),
    ],
)
def test_what_a_notify_does(family, settings, event, does):
    assert DIALECTS[family].told(event, "", settings) == does
