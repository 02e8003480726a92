"""How Zoiper asks and what it refuses."""

import pytest

from provisioning.domain.mac import Mac
from provisioning.simulator import dialects
from provisioning.simulator.dialects.base import Answer, Handset, read

APP = dialects.of("zoiper")
URL = "https://phones.example.net/5ecre7/020000000042.xml"
ACCOUNT = (
    "<account><ident>{0}</ident><protocol>sip</protocol><username>{0}</username><password>p</password>"
    "<SIP_domain>sip.example.net</SIP_domain><SIP_use_outbound_proxy>{1}</SIP_use_outbound_proxy>"
    "<SIP_outbound_proxy>proxy.example</SIP_outbound_proxy><SIP_transport_type>tcp</SIP_transport_type></account>"
)


def options(*accounts):
    return f"<options><accounts>{''.join(accounts)}</accounts></options>".encode()


def test_one_request_with_the_version_it_knows_in_the_query():
    boot = APP.boot(Handset(Mac("020000000042"), "Zoiper5", URL))
    ask = next(boot)
    assert (ask.method, ask.url, ask.own) == ("GET", f"{URL}?u=&p=&v=1.12", True)
    with pytest.raises(StopIteration) as end:
        boot.send(Answer(200, options(ACCOUNT.format("a", "true"), ACCOUNT.format("b", "false"))))
    assert [(line.slot, line.username, line.outbound_proxy, line.transport) for line in end.value.value.lines] == [
        (1, "a", "proxy.example", "tcp"),
        (2, "b", "", "tcp"),
    ]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "well-formed"),
        (b"<account/>", "not <options>"),
        (b"<options><a>1</a><a>2</a></options>", "a is set twice"),
        (b"<options><account><ident>1</ident></account></options>", "stands outside <accounts>"),
        (b"<options><accounts><codec><id>1</id></codec></accounts></options>", "other than <account>"),
        (options(ACCOUNT.format("a", "true"), ACCOUNT.format("a", "true")), "there twice"),
        (options(ACCOUNT.format("a", "yes")), "neither true nor false"),
        (options(ACCOUNT.format("a", "true").replace("tcp", "sctp")), "SIP_transport_type"),
        (options(ACCOUNT.format("a", "true").replace(">sip<", ">iax2<")), "no SIP account"),
        (b"<!DOCTYPE options><options/>", "document type"),
    ],
)
def test_it_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(APP, body)


def test_a_notify_does_nothing_and_it_never_comes_by_itself():
    assert APP.told("check-sync", "", {}) == "nothing"
    assert not APP.keeps_polling
