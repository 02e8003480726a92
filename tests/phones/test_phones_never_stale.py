"""An acknowledged change is in every document that is asked for afterwards, whichever process answers."""

import asyncio
from collections.abc import Callable

from running import Api, Server
from wire import Bound, bound, get, managing

ROUNDS = 200


def names(server: Server, phone: Bound, name: str) -> list[bool]:
    return [name.encode() in get(server, phone.path()).body for _ in range(4)]


async def rename(api: Api, phone: Bound, name: str) -> None:
    answer = await api.call("PATCH", f"/v1/lines/{phone.line}", {"display_name": name})
    assert answer.status == 200, answer


async def test_no_fetch_after_a_change_was_acknowledged_holds_the_old_name(new_server: Callable[..., Server]) -> None:
    server = new_server(SERVER__WORKERS="2")
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
        for n in range(ROUNDS):
            await rename(api, phone, f"Name {n:03d}")
            assert names(server, phone, f"Name {n:03d}") == [True] * 4, n


async def test_nor_while_phones_are_fetching_all_the_time(new_server: Callable[..., Server]) -> None:
    server = new_server(SERVER__WORKERS="2")
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
        stop = asyncio.Event()

        async def fetch_on() -> None:
            while not stop.is_set():
                await asyncio.to_thread(get, server, phone.path())

        others = [asyncio.create_task(fetch_on()) for _ in range(4)]
        for n in range(ROUNDS // 8):
            await rename(api, phone, f"Name {n:03d}")
            assert await asyncio.to_thread(names, server, phone, f"Name {n:03d}") == [True] * 4, n
        stop.set()
        await asyncio.gather(*others)


async def test_nor_does_an_etag_of_before_match_after(new_server: Callable[..., Server]) -> None:
    server = new_server(SERVER__WORKERS="2")
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
        for n in range(ROUNDS // 8):
            etag = get(server, phone.path())["ETag"]
            await rename(api, phone, f"Name {n:03d}")
            for _ in range(4):
                assert get(server, phone.path(), f"If-None-Match: {etag}").status == 200
