import pytest

from provisioning.domain.mac import parse as mac
from provisioning.simulator import dialect, misbehaviour
from provisioning.simulator.misbehaviour import Misbehaviour

MAC = mac("000413A1B2C3")
OTHER = mac("000413A1B2C4")


def test_misbehaviour_is_parsed():
    assert misbehaviour.parse("") == Misbehaviour()
    assert misbehaviour.parse("drop=0.1, delay=2,refuse=1") == Misbehaviour(drop=0.1, delay=2.0, refuse=1.0)


@pytest.mark.parametrize("text", ["sleep=1", "drop", "drop=", "drop=x", "drop=1.1", "drop=-1", "delay=nan", "delay=9999"])
def test_no_misbehaviour(text):
    with pytest.raises(ValueError, match=r"known are|written as|between"):
        misbehaviour.parse(text)


@pytest.mark.parametrize(
    ("vendor", "url", "last"),
    [
        ("yealink", "http://x/p/s", "http://x/p/s/000413a1b2c3.cfg"),
        ("yealink", "http://x/p/s/", "http://x/p/s/000413a1b2c3.cfg"),
        ("snom", "http://x/p/s/any.htm", "http://x/p/s/any.htm"),
        ("snom", "http://x/p/s/{mac}.htm", "http://x/p/s/000413A1B2C3.htm"),
        ("linphone", "http://x/p/s/000413a1b2c3.xml?sig=1", "http://x/p/s/000413a1b2c3.xml?sig=1"),
    ],
)
def test_asks_for_its_own_file_last(vendor, url, last):
    asked = dialect.asks(vendor, url, MAC, ("y000000000066.cfg", "snomD785.htm"))
    assert asked[-1] == dialect.Ask(last, own=True)
    assert not any(ask.own for ask in asked[:-1])


def test_asks_of_another():
    def asked(vendor, url):
        ask = dialect.asks_of_another(vendor, url, MAC, OTHER)
        return ask and ask.url

    assert asked("yealink", "http://x/p/s/") == "http://x/p/s/000413a1b2c4.cfg"
    assert asked("snom", "http://x/p/s/snom-000413A1B2C3.htm") == "http://x/p/s/snom-000413A1B2C4.htm"
    assert asked("linphone", "http://x/p/s/own.xml") is None


@pytest.mark.parametrize(
    ("vendor", "model", "common", "http", "sip"),
    [
        (
            "yealink",
            "yealink-t54w",
            ("y000000000096.cfg",),
            "Yealink SIP-T54W 96.86.0.15 00:04:13:a1:b2:c3",
            "Yealink SIP-T54W 96.86.0.15",
        ),
        ("yealink", "W70B", (), "Yealink W70B 66.86.0.15 00:04:13:a1:b2:c3", "Yealink W70B 66.86.0.15"),
        (
            "snom",
            "D785",
            (),
            "Mozilla/4.0 (compatible; snomD785-SIP 10.1.33.33 2010.12-00004-g9ba52f5 000413A1B2C3 SXM:0 UXM:0)",
            "snomD785/10.1.33.33",
        ),
    ],
)
def test_user_agents(vendor, model, common, http, sip):
    assert dialect.http_user_agent(vendor, model, MAC, common, has_account=True) == http
    assert dialect.sip_user_agent(vendor, model, common) == sip
