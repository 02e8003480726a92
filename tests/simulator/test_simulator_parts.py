import pytest

from provisioning.domain.mac import parse as mac
from provisioning.simulator import dialects, misbehaviour
from provisioning.simulator.dialects.base import Answer, Ask, Handset
from provisioning.simulator.misbehaviour import Misbehaviour

MAC = mac("000413A1B2C3")


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
    boot = dialects.of(vendor).boot(Handset(MAC, "X", url, ("y000000000066.cfg", "snomD785.htm")))
    ask = next(boot)
    while not ask.own:
        ask = boot.send(Answer(404))
    assert ask == Ask(last, own=True)


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
    handset = Handset(MAC, dialects.model_name(vendor, model), "http://x/", common)
    assert dialects.of(vendor).http_agent(handset) == http
    assert dialects.of(vendor).sip_agent(handset) == sip


def test_what_nobody_has_described_cannot_be_simulated():
    with pytest.raises(KeyError):
        dialects.of("acme")
    with pytest.raises(KeyError):
        dialects.of("yealink", "toaster")
