"""A phone that takes each file for its whole configuration gets none without a proof: it keeps what it has."""

from running import Api, Server
from wire import bound, get


async def test_an_enterprise_phone_that_shows_no_proof_is_not_emptied(server: Server, api: Api) -> None:
    # The prefix is one of the vendor's, so that a stranger's phone is known for its own.
    phone = await bound(api, "0018f8010001", "cisco-cp-7961g")
    own = get(server, phone.path("SEP{MAC}.cnf.xml"))
    assert own.status == 200
    assert phone.password.encode() in own.body
    assert get(server, "/SEP0018F8010001.cnf.xml").status == 404
    assert get(server, "/SEP0018F8010099.cnf.xml").status == 404


async def test_a_phone_of_the_same_vendor_that_keeps_its_lines_is_told_to_come_back(server: Server, api: Api) -> None:
    phone = await bound(api, "0018f8010002", "cisco-spa504g")
    assert phone.password.encode() in get(server, phone.path("{mac}.xml")).body
    bare = get(server, "/0018f8010002.xml")
    assert bare.status == 200
    assert b"/$MA.xml</Profile_Rule>" in bare.body
    assert b"Line_Enable" not in bare.body
