"""Waiting for what is recorded behind an answer."""

import asyncio
from typing import Any

from running import Api, Server, fetch


async def seen(api: Api, server: Server, made: dict[str, Any], within: float = 5.0) -> dict[str, Any]:
    """Fetches as this new phone does, and waits until the server knows where it is."""
    answer = await fetch(address(server, made), server)
    assert answer.status == 200
    for _ in range(int(within / 0.02)):
        phone = (await api.get(f"/v1/phones/{made['mac']}")).body
        if phone["public_ip"] is not None:
            return phone
        await asyncio.sleep(0.02)
    raise AssertionError(f"not seen within {within} s: {phone}")


def address(server: Server, made: dict[str, Any]) -> str:
    """Of a Yealink's own document, wherever the configured URL points."""
    secret = made["provisioning_url"].rstrip("/").rpartition("/")[2]
    return f"{server.http}/{secret}/{made.get('mac') or made['phone']}.cfg"
