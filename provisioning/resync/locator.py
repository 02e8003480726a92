"""Asks the operator's registrar where a line is registered.

Kamailio: `ul.lookup` over its JSON-RPC (https://kamailio.org/docs/modules/stable/modules/usrloc.html).
"""

import asyncio
import json
import logging
import re
import time
from typing import Any

import aiohttp
from sqlalchemy.exc import SQLAlchemyError

from provisioning.domain import address as addresses
from provisioning.domain.sighting import Sighting
from provisioning.store import operations
from provisioning.store.database import Database

log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
LOOK_SECONDS = 0.5
LOOK_BACK = 600.0
AT_ONCE = 20
_HOST = re.compile(r"sips?:(?:[^@>]*@)?(\[[0-9A-Fa-f:.]+\]|[^:;?>]+)", re.ASCII)


class KamailioLocator:
    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None
        self._silent = False

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def locate(self, address_of_record: str) -> list[Sighting]:
        """Where the line is registered now; nothing when nobody knows or the registrar does not answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        user = address_of_record.removeprefix("sip:").partition("@")[0]
        call = {"jsonrpc": "2.0", "id": 1, "method": "ul.lookup", "params": ["location", user]}
        try:
            async with self._session.post(self._url, json=call) as response:
                # An unknown address of record is an HTTP 500 with an error inside.
                answer = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if not self._silent:
                log.warning("the registrar does not say where lines are: %s", type(error).__name__)
            self._silent = True
            return []
        self._silent = False
        return read(answer, time.time())


def read(answer: Any, now: float) -> list[Sighting]:
    """The contacts of one ul.lookup answer; what is not understood is left out."""
    found = []
    try:
        listed = answer["result"]["Contacts"]
    except (KeyError, TypeError):
        return []
    for item in listed:
        contact = item.get("Contact", {})
        received = contact.get("Received")
        uri = received if received and received != "[not set]" else contact.get("Address", "")
        match = _HOST.match(uri)
        if match is None:
            continue
        try:
            address = addresses.parse(match[1].strip("[]"))
        except ValueError:
            continue
        seen_at = contact.get("Last-Modified")
        told = seen_at if isinstance(seen_at, int | float) else now
        found.append(Sighting(address, str(contact.get("User-Agent", "")), min(float(told), now)))
    return found


class RegistrationWatch:
    """Notes when the registrar shows an attached line from its phone's place."""

    def __init__(self, database: Database, locator: KamailioLocator) -> None:
        self._database = database
        self._locator = locator
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="registrations")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except SQLAlchemyError as error:
                log.warning("registrations cannot be noted, trying again: %s", type(error).__name__)

    async def _look(self) -> None:
        now = time.time()
        awaited = await self._database.read(operations.awaiting_registration, now - LOOK_BACK, AT_ONCE)
        if not awaited:
            return
        answers = await asyncio.gather(*(self._locator.locate(address) for _, address, _ in awaited))
        shown = [
            operation_id
            for (operation_id, _, public_ip), contacts in zip(awaited, answers, strict=True)
            if any(addresses.place(c.address) == addresses.place(addresses.parse(public_ip)) for c in contacts)
        ]
        if shown:
            await self._database.write(operations.registered, shown, now)
