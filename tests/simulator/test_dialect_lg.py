import pytest

from provisioning.domain.mac import Mac
from provisioning.simulator.dialects import of
from provisioning.simulator.dialects.base import Answer, Handset, read

DIALECT = of("lg")
MAC = Mac("b061c7a1b2c3")
URL = "https://phones.example.net/s3cr3t/"
OWN = b"""[VOIP]
;VoIP configurations
line1_proxy_address sip.example.net ;the server
line1_proxy_port 5070 ;1024 ~ 32000
line1_displayname Zo\xc3\xa9 d'Arc
line1_name 100
line1_password a=b#c
line1_type private ;private/shared/dss/service
line1_extension ;
line1_registration enable
line2_name 200
line2_type private
line2_registration disable
line3_type dss
line3_extension 300
preferred_codec pcma pcmu g729 ;which first
timer_register_expires 3600
[SYSTEM]
function remote_phonebook enable
"""


def test_it_reads_lines_that_register():
    found = read(DIALECT, OWN)
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.display_name) == (1, "100", "a=b#c", "Zoé d'Arc")
    assert (line.domain, line.outbound_proxy, line.transport) == ("sip.example.net:5070", "", "udp")
    assert found.settings["function remote_phonebook"] == "enable"
    assert found.settings["preferred_codec"] == "pcma pcmu g729"
    assert found.settings["line1_extension"] == ""


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"line1_name 100\n", "line 1 stands before any section"),
        (b"[VOIP\nline1_name 100\n", "line 1 begins no section"),
        (b"[VOIP] x\nline1_name 100\n", "line 1 begins no section"),
        (b"[VOIP]\n#line1_name 100\n", "line 2 is no name and value"),
        (b"[VOIP]\nline1_name 1\nline1_name 2\n", "line1_name is set twice"),
        (b"[VOIP]\nline1_name \xff\n", "utf-8"),
        (OWN.replace(b"type private", b"type strange"), "line1_type is 'strange'"),
        (OWN.replace(b"registration enable", b"registration yes"), "line1_registration is 'yes'"),
        (OWN.replace(b"5070", b"x"), "no number"),
        (OWN.replace(b"expires 3600", b"expires x"), "no number"),
        (OWN.replace(b"d'Arc", b"x" * 50), "more than 50 characters"),
    ],
)
def test_it_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(DIALECT, body)


@pytest.mark.parametrize(
    ("digits", "software"),
    [
        ("8820", ["IP_8820_VER_SIP2"]),
        ("8840", ["IP_8840_VER_SIP2"]),
        ("8002", [f"{MAC}/IP_8002_VER_SIP2", "IP_8002_VER_SIP2"]),
    ],
)
def test_it_asks_for_the_common_file_its_own_and_the_software(digits, software):
    boot = DIALECT.boot(Handset(MAC, f"IP{digits}", URL, (f"sysconf_{digits}_sip.cfg",)))
    asked = [next(boot), boot.send(Answer(404)), boot.send(Answer(200, OWN))]
    asked += [boot.send(Answer(404)) for _ in software[1:]]
    with pytest.raises(StopIteration) as done:
        boot.send(Answer(404))
    assert [ask.url.removeprefix(URL) for ask in asked] == [f"sysconf_{digits}_sip.cfg", MAC, *software]
    assert [ask.own for ask in asked] == [False, True, *[False] * len(software)]
    assert len(done.value.value.lines) == 1


def test_what_its_own_file_says_wins():
    boot = DIALECT.boot(Handset(MAC, "IP8820", URL, ("sysconf_8820_sip.cfg",)))
    next(boot)
    boot.send(Answer(200, b"[VOIP]\nline1_name 999\nrtp_port 23000\n"))
    boot.send(Answer(200, OWN))
    with pytest.raises(StopIteration) as done:
        boot.send(Answer(404))
    assert done.value.value.settings["line1_name"] == "100"
    assert done.value.value.settings["rtp_port"] == "23000"


@pytest.mark.parametrize(
    ("event", "act"),
    [("check-sync", "reboot"), ("check-sync;reboot=true", "reboot"), ("resync", None)],
)
def test_a_notify_makes_it_restart(event, act):
    assert DIALECT.told(event, "", {}) == act
