"""The product's promise, end to end: a line is attached by public IP, and is seen done because the
phone fetched and registered it. Real server process, real SIP and HTTP on loopback, simulated phones.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from running import Api, Server

from provisioning.simulator.misbehaviour import NONE, Misbehaviour
from provisioning.simulator.phone import Pace, Phone, Sheet
from provisioning.simulator.registrar import Registrar

ACCOUNT = "acme"
YEALINK, SNOM = "001565aa0001", "000413aa0002"


class World:
    """A server, the operator's registrar, and phones of one account."""

    def __init__(self, registrar: Registrar, new_server: Callable[..., Server], **settings: str) -> None:
        self.registrar = registrar
        host, port = registrar.address
        self.proxy = f"{host}:{port}"
        route = {"RESYNC__PROXY": f"udp:{self.proxy}", "REGISTRAR__LOCATOR": f"kamailio:{registrar.rpc_url}"}
        self.server = new_server(**(route | {"RESYNC__T1": "0.05"} | settings))
        self.api = Api(self.server)
        self.phones: list[Phone] = []

    async def line(self, name: str) -> None:
        await self.api.line(name, outbound_proxy=self.proxy)
        self.registrar.passwords[name] = f"pw-{name}"

    async def phone(
        self, mac: str, model: str, main_line: str, expires: int = 600, misbehaviour: Misbehaviour = NONE
    ) -> Phone:
        made = await self.api.phone(mac, model, main_line=main_line)
        known = (await self.api.get(f"/v1/models/{model}")).body
        sheet = Sheet(mac, known["vendor"], known["name"], made["provisioning_url"], tuple(known["common"]))
        pace = Pace(retry_first=0.2, expires=expires)
        phone = Phone(sheet, tls=self.server.trust(), pace=pace, misbehaviour=misbehaviour)
        self.phones.append(phone)
        await phone.start()
        await phone.wait_for(lambda its: its.provisioned, 5)
        return phone

    async def close(self) -> None:
        for phone in self.phones:
            await phone.close()
        await self.api.close()


@pytest.fixture
async def registrar() -> AsyncIterator[Registrar]:
    its = Registrar(rpc=True, relay_timeout=0.4)
    await its.start()
    yield its
    await its.close()


@pytest.fixture
async def world(registrar: Registrar, new_server: Callable[..., Server]) -> AsyncIterator[World]:
    its = World(registrar, new_server, RESYNC__DEADLINE="2")
    await its.api.account(ACCOUNT)
    for name in ("main", "second", "third"):
        await its.line(name)
    yield its
    await its.close()


@pytest.mark.parametrize(("mac", "model"), [(YEALINK, "yealink-t54w"), (SNOM, "snom-d785")])
async def test_an_attached_line_is_done_because_the_phone_fetched_and_registered_it(
    world: World, mac: str, model: str
) -> None:
    phone = await world.phone(mac, model, "main")
    began = time.monotonic()

    attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
    assert attached.status == 202, attached
    done = await world.api.operation(attached.body["id"], "done")
    took = time.monotonic() - began

    assert done["facts"]["sip_status"] == 200
    assert done["facts"]["notified_at"] <= done["facts"]["fetched_at"]
    assert [line.username for line in phone.lines] == ["main", "second"]
    await phone.wait_for(lambda its: len(its.registered_lines) == 2, 3)
    for _ in range(100):
        if (
            registered := (await world.api.get(f"/v1/operations/{done['id']}")).body["facts"]["registered_at"]
        ) is not None:
            break
        await asyncio.sleep(0.05)
    assert registered is not None
    print(f"attached to done: {took * 1000:.0f} ms")


async def test_a_detached_line_leaves_the_phone_and_the_registrar(world: World) -> None:
    phone = await world.phone(YEALINK, "yealink-t54w", "main")
    attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
    await world.api.operation(attached.body["id"], "done")
    detached = await world.api.post("/v1/lines/second/detach", {"public_ip": "127.0.0.1"})
    await world.api.operation(detached.body["id"], "done")
    await phone.wait_for(lambda its: [line.username for line in its.registered_lines] == ["main"], 3)


async def test_a_phone_that_is_offline_makes_an_error_with_its_reason_and_done_once_it_returns(world: World) -> None:
    phone = await world.phone(YEALINK, "yealink-t54w", "main")
    phone.go_offline()
    attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
    failed = await world.api.operation(attached.body["id"], "error", within=6)
    assert failed["error"]["code"] == "phone-unreachable", failed
    assert "last seen at" in failed["error"]["detail"]
    phone.come_back()
    done = await world.api.operation(attached.body["id"], "done", within=10)
    assert done["error"] is None


async def test_a_phone_that_refuses_check_sync_says_so(world: World) -> None:
    await world.phone(YEALINK, "yealink-t54w", "main", misbehaviour=Misbehaviour(refuse=1.0))
    attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
    failed = await world.api.operation(attached.body["id"], "error", within=6)
    assert failed["error"]["code"] == "resync-not-supported"
    assert failed["facts"]["sip_status"] == 489


async def test_a_phone_that_the_registrar_does_not_know_is_offline(world: World) -> None:
    await world.phone(YEALINK, "yealink-t54w", "main")
    world.registrar.forget("main")
    attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
    failed = await world.api.operation(attached.body["id"], "error", within=6)
    assert failed["error"]["code"] == "phone-offline"
    assert failed["facts"]["sip_status"] == 404


async def test_a_200_is_not_done(world: World) -> None:
    """The SIP side lies: it answers 200 and tells the phone nothing."""
    await world.phone(YEALINK, "yealink-t54w", "main")
    world.registrar.faults.answer_instead = 200
    attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
    failed = await world.api.operation(attached.body["id"], "error", within=6)
    assert failed["error"]["code"] == "not-fetched"
    assert failed["facts"]["sip_status"] == 200


async def test_a_phone_that_was_never_told_of_a_line_is_told_at_its_next_poll(world: World) -> None:
    """No line fetched, so no address of record to send a NOTIFY to; the operation says so."""
    await world.api.phone(YEALINK, "yealink-t54w")
    attached = await world.api.post("/v1/lines/main/attach", {"mac": YEALINK})
    assert attached.status == 202, attached
    failed = await world.api.operation(attached.body["id"], "error", within=6)
    assert failed["error"]["code"] == "told-at-next-poll"
    assert "registered nowhere" in failed["error"]["detail"]


async def test_several_changes_at_once_are_one_resync(world: World) -> None:
    phone = await world.phone(YEALINK, "yealink-t54w", "main")
    answers = await asyncio.gather(
        *(world.api.post(f"/v1/lines/{line}/attach", {"public_ip": "127.0.0.1"}) for line in ("second", "third")),
        world.api.post(f"/v1/phones/{YEALINK}/resync"),
        world.api.post(f"/v1/phones/{YEALINK}/resync"),
    )
    for answer in answers:
        await world.api.operation(answer.body["id"], "done")
    assert {line.username for line in phone.lines} == {"main", "second", "third"}
    assert phone.notify_count < len(answers)


async def test_the_main_line_may_be_handed_over(world: World) -> None:
    phone = await world.phone(YEALINK, "yealink-t54w", "main")
    attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
    await world.api.operation(attached.body["id"], "done")
    promoted = await world.api.post(f"/v1/phones/{YEALINK}/promote", {"line": "second"})
    await world.api.operation(promoted.body["id"], "done")
    assert [line.username for line in phone.lines] == ["second", "main"]


async def test_a_reset_phone_comes_back_through_its_door(world: World) -> None:
    phone = await world.phone(YEALINK, "yealink-t54w", "main")
    reset = await world.api.post(f"/v1/phones/{YEALINK}/reset", {"public_ip": "127.0.0.1"})
    await world.api.operation(reset.body["id"], "done")
    assert phone.provisioning_url == reset.body["provisioning_url"]


async def test_a_kill_between_commit_and_notify_loses_nothing(
    registrar: Registrar, new_server: Callable[..., Server]
) -> None:
    world = World(registrar, new_server)
    try:
        await world.api.account(ACCOUNT)
        for name in ("main", "second"):
            await world.line(name)
        await world.phone(YEALINK, "yealink-t54w", "main")
        registrar.faults.drop = 1.0
        attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
        world.server.kill()
        registrar.faults.drop = 0.0
        # The same addresses again: the phone holds them in its configuration.
        for name in ("PHONES_HTTP", "PHONES_HTTPS", "MANAGEMENT"):
            world.server.environment[f"PROVISIONING__LISTEN__{name}"] = world.server.ready[name.lower()]
        world.server.start()
        # Its lease runs out, or it was never claimed; the next worker tells the phone.
        await world.api.operation(attached.body["id"], "done", within=60)
    finally:
        await world.close()


@pytest.mark.parametrize("asked", [True, False])
async def test_the_registrar_makes_a_phones_address_current(
    registrar: Registrar, new_server: Callable[..., Server], asked: bool
) -> None:
    """It fetches once a day and registers every hour: its last fetch alone is soon too old."""
    settings = {} if asked else {"REGISTRAR__LOCATOR": ""}
    world = World(registrar, new_server, NETWORK__FRESHNESS="2", **settings)
    try:
        await world.api.account(ACCOUNT)
        for name in ("main", "second"):
            await world.line(name)
        await world.phone(YEALINK, "yealink-t54w", "main", expires=2)
        await asyncio.sleep(2.2)
        attached = await world.api.post("/v1/lines/second/attach", {"public_ip": "127.0.0.1"})
        if asked:
            assert attached.status == 202, attached
            await world.api.operation(attached.body["id"], "done")
        else:
            assert attached.code == "public-ip-not-yours"
            assert attached.body["phones"][0]["last_seen"] is not None
    finally:
        await world.close()
