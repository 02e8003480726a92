"""As test_seen_as_done.py, for phones whose fetch is unlike Yealink's: each is told, fetches and registers."""

from collections.abc import AsyncIterator, Callable

import pytest
from running import Server
from test_seen_as_done import ACCOUNT, World

from provisioning.simulator.registrar import Registrar

# Thomson's have one slot of themselves: what they do with two is another server's word (docs/vendors/technicolor.md).
TWO_SLOTS = '{"technicolor-st2030": 2, "technicolor-tb30": 2}'
# LG's phones know no domain beside their server, so what they register is not the line's address.
PHONES = [
    ("00147faa0001", "technicolor-st2030", ["ST2030S.inf", "ST2030S_00147FAA0001.txt", "00147faa0001-phonebook.xml"]),
    ("00147faa0002", "technicolor-tb30", ["TB30S.inf", "TB30S_00147FAA0002.txt", "00147faa0002-phonebook.xml"]),
    ("b061c7aa0001", "lg-ip8820", ["sysconf_8820_sip.cfg", "b061c7aa0001", "IP_8820_VER_SIP2"]),
    ("000fd3aa0001", "digium-d65", ["000fd3aa0001.cfg"]),
]


@pytest.fixture
async def world(new_server: Callable[..., Server]) -> AsyncIterator[World]:
    registrar = Registrar(rpc=True, relay_timeout=0.4)
    await registrar.start()
    its = World(registrar, new_server, RESYNC__DEADLINE="2", MODELS__SLOTS=TWO_SLOTS)
    await its.api.account(ACCOUNT)
    for name in ("main", "second"):
        await its.line(name)
    yield its
    await its.close()
    await registrar.close()


@pytest.mark.parametrize(("mac", "model", "files"), PHONES, ids=[model for _, model, _ in PHONES])
async def test_an_attached_line_is_done_because_the_phone_fetched_it(
    world: World, mac: str, model: str, files: list[str]
) -> None:
    phone = await world.phone(mac, model, "main")
    assert [fetch.name for fetch in phone.fetches] == files
    await phone.wait_for(lambda its: len(its.registered_lines) == 1, 3)

    attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
    assert attached.status == 202, attached
    done = await world.api.operation(attached.body["id"], "done")

    assert done["facts"]["sip_status"] == 200
    assert [line.username for line in phone.lines] == ["main", "second"]
    await phone.wait_for(lambda its: len(its.registered_lines) == 2, 3)

    detached = await world.api.post("/v1/lines/second/detach", {"public_ip": "127.0.0.1"})
    assert detached.status == 202, detached
    await world.api.operation(detached.body["id"], "done")
    assert [line.username for line in phone.lines] == ["main"]
