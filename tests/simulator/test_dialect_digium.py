import pytest

from provisioning.domain.mac import Mac
from provisioning.simulator.dialects import of
from provisioning.simulator.dialects.base import Answer, Handset, read

DIALECT = of("digium")
OWN = b"""<?xml version="1.0"?>
<config>
  <setting id="config_server_url" value="https://phones.example.net/s3cr3t/"/>
  <accounts>
    <account index="0" status="1" register="1" username="100" password="&lt;&#34;" caller_id="Zo&#233;" dial_plan="[2-9]xx|*xx.T3"
      outbound_proxy="proxy.example.net" outbound_port="5070">
      <host_primary server="sip.example.net" port="5061" transport="tls"/>
    </account>
    <account index="1" status="0" register="0" username="200"/>
    <account index="2" status="1" register="1" username=""/>
  </accounts>
</config>
"""


def test_it_reads_accounts_that_are_on():
    found = read(DIALECT, OWN)
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.display_name) == (1, "100", '<"', "Zoé")
    assert (line.domain, line.outbound_proxy, line.transport) == ("sip.example.net", "proxy.example.net:5070", "tls")
    assert found.provisioning_url == "https://phones.example.net/s3cr3t/"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "well-formed"),
        (b"<!DOCTYPE config><config/>", "document type"),
        (b"<settings/>", "not <config>"),
        (b"<config><network/></config>", "no element of <config>"),
        (b"<config><setting id='a'/></config>", "no id or no value"),
        (b"<config><setting value='a'/></config>", "no id or no value"),
        (b"<config><setting id='a' value='1'/><setting id='a' value='1'/></config>", "setting a is set twice"),
        (b"<config><accounts><line index='0'/></accounts></config>", "numbered accounts"),
        (b"<config><accounts><account index='x'/></accounts></config>", "numbered accounts"),
        (
            b"<config><accounts><account index='0'/><account index='0'/></accounts></config>",
            "account.0..index is set twice",
        ),
        (b"<config><accounts><account index='0'><host/></account></accounts></config>", "no host of an account"),
        (OWN.replace(b'"tls"', b'"sctp"'), "transport 'sctp'"),
        (OWN.replace(b"[2-9]xx|", b"[2-9]xx,"), "dial plan"),
    ],
)
def test_it_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(DIALECT, body)


@pytest.mark.parametrize("url", ["https://phones.example.net/s3cr3t", "https://phones.example.net/s3cr3t/"])
def test_it_asks_for_its_own_file_alone(url):
    boot = DIALECT.boot(Handset(Mac("000fd3a1b2c3"), "D65", url))
    ask = next(boot)
    assert (ask.url, ask.own) == ("https://phones.example.net/s3cr3t/000fd3a1b2c3.cfg", True)
    with pytest.raises(StopIteration) as done:
        boot.send(Answer(200, OWN))
    assert len(done.value.value.lines) == 1


@pytest.mark.parametrize(
    ("event", "act"), [("check-sync", "fetch"), ("check-sync;reboot=true", "fetch"), ("resync", None)]
)
def test_what_a_notify_does(event, act):
    assert DIALECT.told(event, "", {}) == act
