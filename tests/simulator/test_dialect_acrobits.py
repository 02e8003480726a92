"""How Acrobits softphones ask and what they refuse."""

from pathlib import Path

import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor
from provisioning.simulator import dialects
from provisioning.simulator.dialects.base import Answer, Handset, read

VENDOR = parse_vendor(
    "acrobits", (Path(__file__).parents[2] / "templates" / "phones" / "acrobits" / "vendor.toml").read_text("utf-8")
)
APP = dialects.of("acrobits")
URL = "https://phones.example.net/5ecre7/020000000042.xml"
ACCOUNT = (
    b"<account><title>A</title><username>100</username><password>p</password><host>sip.example.net:5090</host>"
    b"<transport>tls+sip:</transport><extProvUrl>https://phones.example.net/x</extProvUrl>"
    b"<extProvInterval>3600</extProvInterval></account>"
)


def fetched(body, held=None):
    boot = APP.boot(Handset(Mac("020000000042"), "Groundwire", URL, (), held))
    ask = next(boot)
    assert (ask.method, ask.url, ask.own) == ("GET", URL, True)
    with pytest.raises(StopIteration) as end:
        boot.send(Answer(200, body))
    return end.value.value


def test_one_request_and_what_is_made_of_it():
    found = fetched(ACCOUNT)
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.domain, line.transport) == (
        1,
        "100",
        "p",
        "sip.example.net:5090",
        "tls",
    )
    assert (found.provisioning_url, found.poll_minutes) == ("https://phones.example.net/x", 60)


def test_a_node_that_is_left_out_keeps_its_value_and_one_that_is_empty_does_not():
    held = fetched(ACCOUNT)
    assert fetched(b"<account><title>B</title></account>", held).lines == held.lines
    assert fetched(b"<account><title>B</title><username></username></account>", held).lines == ()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "well-formed"),
        (b"<accounts/>", "not <account>"),
        (b"<account><title></title></account>", "without a title"),
        (b"<account><title>A</title><title>B</title></account>", "title is set twice"),
        (b"<account><host><a/></host></account>", "a node where a value belongs"),
        (b"<account><username>1</username><host>a b</host></account>", "<host> is no host"),
        (b"<account><username>1</username><host>a</host><transport>sctp</transport></account>", "transport"),
        (b"<account><extProvInterval>1h</extProvInterval></account>", "no number"),
        (b"<!DOCTYPE account><account/>", "document type"),
    ],
)
def test_it_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(APP, body)


def test_a_notify_does_nothing():
    assert APP.told("check-sync", "", {}) == "nothing"


def test_its_user_agent_is_understood():
    (pattern,) = VENDOR.agents
    match = pattern.search("CloudSoftphone/1.5.6")
    assert (match["model"], match["firmware"]) == ("CloudSoftphone", "1.5.6")
    assert {model.name for model in VENDOR.models} == {"CloudSoftphone", "Groundwire"}
