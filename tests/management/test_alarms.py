"""Alarms, as operators read them."""

import asyncio
import json
import sqlite3
import time

from running import Api, Server


async def test_alarms_are_shown_by_the_api_and_the_command(server: Server, api: Api) -> None:
    assert (await api.get("/v1/alarms")).body == {"items": [], "next": None}
    connection = sqlite3.connect(server.data / "provisioning.db", timeout=5)
    with connection:
        for number in range(3):
            connection.execute(
                "INSERT INTO alarms (at, kind, mac, detail) VALUES (?, 'burnt-token', '001565a40001', ?)",
                (time.time(), json.dumps({"n": number})),
            )
    connection.close()
    first = (await api.get("/v1/alarms?limit=2")).body
    rest = (await api.get(f"/v1/alarms?limit=2&after={first['next']}")).body
    assert [its["detail"]["n"] for its in (*first["items"], *rest["items"])] == [2, 1, 0]
    assert (first["items"][0]["kind"], first["items"][0]["mac"], rest["next"]) == ("burnt-token", "001565a40001", None)
    assert (await api.get("/v1/alarms?after=-1")).code == "invalid-value"
    listed = await asyncio.to_thread(server.command, "alarms", "--json")
    assert json.loads(listed.stdout)["items"] == first["items"] + rest["items"]
    assert b"provisioning_alarms_raised_total" in (await api.get("/metrics")).body
