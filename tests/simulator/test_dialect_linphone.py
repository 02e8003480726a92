import pytest

from provisioning.domain.mac import Mac
from provisioning.simulator.dialects import of
from provisioning.simulator.dialects.base import Answer, Handset, read

DIALECT = of("linphone")
URL = "https://phones.example.net/s3cr3t/020000a1b2c3.xml"
HEAD = b'<config xmlns="http://www.linphone.org/xsds/lpconfig.xsd">'
ACCOUNT = (
    b'<section name="auth_info_0"><entry name="passwd" overwrite="true">secret</entry></section>'
    b'<section name="proxy_0"><entry name="reg_proxy" overwrite="true">&lt;sip:sip.example.net;transport=tls&gt;</entry>'
    b'<entry name="reg_identity" overwrite="true">"Zo\xc3\xa9 \\"Z\\"" &lt;sip:100@sip.example.net&gt;</entry>'
    b'<entry name="reg_sendregister" overwrite="true">1</entry></section>'
)


def test_it_reads_an_account():
    (line,) = read(DIALECT, HEAD + ACCOUNT + b"</config>").lines
    assert (line.slot, line.username, line.password, line.display_name) == (1, "100", "secret", 'Zoé "Z"')
    assert (line.domain, line.outbound_proxy, line.transport) == ("sip.example.net", "", "tls")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "well-formed"),
        (b"<config/>", "not <config> of lpconfig"),
        (b"<!DOCTYPE x>" + HEAD + b"</config>", "document type"),
        (HEAD + b"<section/></config>", "named sections"),
        (HEAD + b'<section name="a"><entry>1</entry></section></config>', "named entries"),
        (
            HEAD + b'<section name="a"><entry name="b">1</entry><entry name="b">1</entry></section></config>',
            "a/b is set twice",
        ),
        (HEAD + ACCOUNT.replace(b"&lt;sip:sip", b"sip:sip") + b"</config>", "names no SIP address"),
        (HEAD + ACCOUNT.replace(b"100@", b"") + b"</config>", "names no SIP address"),
    ],
)
def test_it_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(DIALECT, body)


def test_it_asks_for_its_url_as_it_is_and_for_nothing_else():
    boot = DIALECT.boot(Handset(Mac("020000a1b2c3"), "Desktop", URL))
    ask = next(boot)
    assert (ask.url, ask.own) == (URL, True)
    with pytest.raises(StopIteration) as done:
        boot.send(Answer(200, HEAD + ACCOUNT + b"</config>"))
    assert len(done.value.value.lines) == 1


@pytest.mark.parametrize("event", ["check-sync", "check-sync;reboot=true", "resync"])
def test_no_notify_moves_it(event):
    assert DIALECT.told(event, "", {}) == "nothing"
