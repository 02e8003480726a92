import pytest

from provisioning.config import ROOT
from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.simulator.dialects import of
from provisioning.simulator.dialects.base import Answer, Handset, read

VENDOR = parse_vendor("technicolor", (ROOT / "templates/phones/technicolor/vendor.toml").read_text("utf-8"))
DIALECT = of("technicolor")
MAC = Mac("00147fe147b3")
URL = "https://phones.example.net/s3cr3t/"
INF = f"[config]\nconfig={URL}\n".encode()
OWN = b"""[sip]
sw_notify_autoprovision=1
TEL01Use=1
TEL1Number=100
regpwd1=a = b # c
DisplayName1=Zo\xe9
ServiceDomainMP1=sip.example.net
RegisterServerMP1=proxy.example.net
sip_reg_srv_portMP1=5070
TransportFlgMP1=1
TEL02Use=0
TEL2Number=200
TEL03Use=1
TEL3Number=

[sys]
; a comment
config_sn=000000000007
FeatureKeyExt11=S/<sip:+33972101234>
[autoprovision]
AutoprovisionTimeDays=1
"""


def handset(common=("ST2030S.inf",), held=None, url=URL):
    return Handset(MAC, "ST2030", url, common, held)


def test_it_reads_lines_that_are_used():
    (line,) = read(DIALECT, OWN).lines
    assert (line.slot, line.username, line.password, line.display_name) == (1, "100", "a = b # c", "Zoé")
    assert (line.domain, line.outbound_proxy, line.transport) == ("sip.example.net", "proxy.example.net:5070", "tcp")
    assert read(DIALECT, OWN).poll_minutes == 1440


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"TEL01Use=1\n", "line 1 stands before any section"),
        (b"[phone]\nTEL01Use=1\n", "line 1 begins no section"),
        (b"[sip\nTEL01Use=1\n", "line 1 begins no section"),
        (b"[sip]\nTEL01Use\n", "line 2 is no parameter=value"),
        (b"[sip]\nTEL01 Use=1\n", "line 2 is no parameter=value"),
        (b"[sip]\n=1\n", "line 2 is no parameter=value"),
        (b"[sip]\nregid1=1\n[sys]\nregid1=2\n", "regid1 is set twice"),
        (b"[sys]\nFeatureKeyExt01=B/<sip:1>\n", "is no L/<sip:> or S/<sip:>"),
        (b"[sys]\nFeatureKeyExt01=L/sip:1\n", "is no L/<sip:> or S/<sip:>"),
        (OWN.replace(b"TransportFlgMP1=1", b"TransportFlgMP1=9"), "TransportFlgMP1 is '9'"),
        (OWN.replace(b"TimeDays=1", b"TimeDays=x"), "no number"),
    ],
)
def test_it_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(DIALECT, body)


@pytest.mark.parametrize(
    ("common", "own"),
    [
        ("ST2022S.inf", "ST2022S_00147FE147B3.txt"),
        ("ST2030S.inf", "ST2030S_00147FE147B3.txt"),
        ("TB30S.inf", "TB30S_00147FE147B3.txt"),
    ],
)
@pytest.mark.parametrize("url", [URL, URL.rstrip("/")])
def test_it_asks_for_the_inf_and_where_that_says_for_its_own(common, own, url):
    boot = DIALECT.boot(handset((common,), url=url))
    ask = next(boot)
    assert (ask.url, ask.own, ask.method) == (f"{URL}{common}", False, "GET")
    ask = boot.send(Answer(200, INF.replace(b"s3cr3t", b"elsewhere")))
    assert (ask.url, ask.own, ask.method) == (f"{URL.replace('s3cr3t', 'elsewhere')}{own}", True, "GET")
    with pytest.raises(StopIteration) as done:
        boot.send(Answer(200, OWN))
    assert [line.username for line in done.value.value.lines] == ["100"]


def boots(held, serial):
    boot = DIALECT.boot(handset(held=held))
    next(boot)
    boot.send(Answer(200, INF))
    with pytest.raises(StopIteration) as done:
        boot.send(Answer(200, OWN.replace(b"000000000007", serial)))
    return done.value.value


def test_it_takes_a_file_only_if_its_number_differs():
    held = boots(None, b"000000000007")
    assert boots(held, b"000000000007") is held
    assert boots(held, b"000000000008") is not held
    with pytest.raises(ValueError, match="config_sn is not 12 digits"):
        boots(held, b"8")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [(Answer(404), "does not say where"), (Answer(200, b"[config]\n"), "names no directory")],
)
def test_without_a_directory_it_cannot_go_on(answer, sentence):
    boot = DIALECT.boot(handset())
    next(boot)
    with pytest.raises(ValueError, match=sentence):
        boot.send(answer)


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("check-sync", "fetch"),
        ("check-sync;reboot=false", "fetch"),
        ("check-sync;reboot=true", "reboot"),
        ("resync", None),
    ],
)
def test_what_a_notify_does(event, act):
    assert DIALECT.told(event, "", {"sw_notify_autoprovision": "1"}) == act
    assert DIALECT.told(event, "", {}) in (None, "nothing")


def test_it_reads_one_number_for_each_entry():
    body = (
        b"<ThomsonPhoneBook><DirectoryEntry><Name>A</Name><Telephone>1</Telephone></DirectoryEntry>"
        b"<DirectoryEntry><Name>A</Name><Telephone>2</Telephone></DirectoryEntry></ThomsonPhoneBook>"
    )
    assert [(one.name, one.numbers) for one in DIALECT.contacts(body)] == [("A", ("1", "2"))]
    with pytest.raises(ValueError, match="not <ThomsonPhoneBook>"):
        DIALECT.contacts(b"<PhoneBook/>")


@pytest.mark.parametrize(
    ("agent", "model", "firmware", "mac"),
    [
        ("THOMSON ST2022 hw2 fw3.54 00-18-F6-B5-00-00", "ST2022", "3.54", "00-18-F6-B5-00-00"),
        ("THOMSON ST2022 hw2 fw4.68 00-14-7F-E1-FC-6D", "ST2022", "4.68", "00-14-7F-E1-FC-6D"),
        ("THOMSON ST2030 hw5 fw2.72 00-14-7F-E1-47-B3", "ST2030", "2.72", "00-14-7F-E1-47-B3"),
        ("THOMSON ST2030 hw5 fw2.74 00-14-7F-E1-47-B3", "ST2030", "2.74", "00-14-7F-E1-47-B3"),
        ("Thomson TB30 hw1 fw1.72.0 00-1F-9F-84-F1-80", "TB30", "1.72.0", "00-1F-9F-84-F1-80"),
        ("Thomson TB30 hw1 fw1.74.0 00-1F-9F-84-F1-80", "TB30", "1.74.0", "00-1F-9F-84-F1-80"),
    ],
)
def test_the_agents_of_real_phones(agent, model, firmware, mac):
    (found,) = [match for pattern in VENDOR.agents if (match := pattern.search(agent))]
    assert (found["model"], found["firmware"], found["mac"]) == (model, firmware, mac)


def test_the_simulated_agent_is_one_of_them():
    assert DIALECT.http_agent(handset()) == "THOMSON ST2030 hw5 fw2.74 00-14-7F-E1-47-B3"
