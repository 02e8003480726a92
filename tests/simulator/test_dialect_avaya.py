import pytest

from provisioning.config import ROOT
from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.simulator.dialects import of
from provisioning.simulator.dialects.base import Answer, Handset, read

VENDOR = parse_vendor("avaya", (ROOT / "templates/phones/avaya/vendor.toml").read_text("utf-8"))
DIALECT = of("avaya")
MAC = Mac("c81fea83e85a")
URL = "https://phones.example.net/s3cr3t/"
OWN = """## a comment
SET SIP_CONTROLLER_LIST "proxy.example.net:5070;transport=tcp"
SET SIPDOMAIN sip.example.net
SET FORCE_SIP_USERNAME "100"
SET FORCE_SIP_PASSWORD "a = b # c"
SET DISPLAY_NAME "Zoé d'Arc"
""".encode()


def handset(url=URL):
    return Handset(MAC, "J179", url, ("J100Supgrade.txt",))


def test_it_reads_its_one_line():
    (line,) = read(DIALECT, OWN).lines
    assert (line.slot, line.username, line.password, line.display_name) == (1, "100", "a = b # c", "Zoé d'Arc")
    assert (line.domain, line.outbound_proxy, line.transport) == ("sip.example.net", "proxy.example.net:5070", "tcp")


def test_without_a_server_or_a_user_it_has_no_line():
    assert read(DIALECT, OWN.replace(b'"100"', b'""')).lines == ()
    assert read(DIALECT, OWN.replace(b'"proxy.example.net:5070;transport=tcp"', b'""')).lines == ()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"SIPDOMAIN x\n", "neither SET"),
        (b"SET SIPDOMAIN\n", "neither SET"),
        (b"set SIPDOMAIN x\n", "neither SET"),
        (b'SET SIPDOMAIN "a"b"\n', "neither SET"),
        (b"SET SIPDOMAIN a b\n", "neither SET"),
        (b'SET SIPDOMAIN "a"\nSET SIPDOMAIN "a"\n', "SIPDOMAIN is set twice"),
        (b'SET SIPDOMAIN "\xff"\n', "utf-8"),
        (OWN.replace(b"transport=tcp", b"transport=sctp"), "no host:port;transport="),
        (OWN.replace(b":5070", b""), "no host:port;transport="),
        (b'SET FORCE_WEB_ADMIN_PASSWORD "390650878334"\n', "none that the phone takes"),
        (b'SET FORCE_WEB_ADMIN_PASSWORD "39-065087-83a"\n', "none that the phone takes"),
        (b'SET FORCE_WEB_ADMIN_PASSWORD "39-666-78-34a"\n', "none that the phone takes"),
        (b'SET FORCE_WEB_ADMIN_PASSWORD "39-06-50-87-83"\n', "none that the phone takes"),
        (b'SET PROCPSWD "39065087"\n', "4 to 7 digits"),
        (b'SET REGISTERWAIT "20"\n', "from 30 to 86400"),
    ],
)
def test_it_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(DIALECT, body)


@pytest.mark.parametrize("url", [URL, URL.rstrip("/")])
def test_it_asks_for_the_script_and_for_the_file_that_it_gets(url):
    boot = DIALECT.boot(handset(url))
    ask = next(boot)
    assert (ask.url, ask.own) == (f"{URL}J100Supgrade.txt", False)
    ask = boot.send(Answer(200, b"# GETSET\nGET $MACADDR.cfg\n"))
    assert (ask.url, ask.own) == (f"{URL}c81fea83e85a.cfg", True)
    with pytest.raises(StopIteration) as done:
        boot.send(Answer(200, OWN))
    assert len(done.value.value.lines) == 1


@pytest.mark.parametrize(
    ("answer", "sentence"), [(Answer(404), "does not name"), (Answer(200, b"# nothing\n"), "gets no file")]
)
def test_without_the_script_it_cannot_go_on(answer, sentence):
    boot = DIALECT.boot(handset())
    next(boot)
    with pytest.raises(ValueError, match=sentence):
        boot.send(answer)


@pytest.mark.parametrize(
    ("event", "act"), [("check-sync;reboot=false", "fetch"), ("check-sync;reboot=true", "reboot"), ("resync", None)]
)
def test_what_a_notify_does(event, act):
    assert DIALECT.told(event, "", {"ENABLE_OOD_RESET_NOTIFY": "1"}) == act
    assert DIALECT.told(event, "", {}) in (None, "nothing")


def test_the_agent_of_a_real_phone():
    (found,) = [
        match
        for pattern in VENDOR.agents
        if (match := pattern.search("Mozilla/4.0 (compatible; MSIE 6.0) AVAYA/J179-4.1.3.0.6 (MAC:c81fea83e85a)"))
    ]
    assert (found["model"], found["firmware"], found["mac"]) == ("J179", "4.1.3.0.6", "c81fea83e85a")
    # Those of the 12x0 have no MAC, and are not this family's.
    assert not any(pattern.search("AVAYA/SIP12x0\x14/04.00.04.00") for pattern in VENDOR.agents)


def test_the_simulated_agent_is_like_it():
    assert any(pattern.search(DIALECT.http_agent(handset())) for pattern in VENDOR.agents)
