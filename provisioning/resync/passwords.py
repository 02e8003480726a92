"""Hands new SIP passwords to the operator's registrar after a detach.

The line keeps its old password until the registrar has taken the new one, so the two never disagree
for longer than one answer; a phone that holds the line by then is told.
"""

import asyncio
import logging
import time

import aiohttp
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from provisioning.store import lines, operations, phones
from provisioning.store.database import Database
from provisioning.store.lines import NewPassword
from provisioning.store.secrets import KeyRing

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 10.0
LEASE = 30.0
AT_ONCE = 10
RETRIES = (1.0, 5.0, 30.0, 120.0, 600.0)
"Seconds between tries; the last for ever, for an old password that stays good is a hole."


class PasswordHook:
    def __init__(self, database: Database, keys: KeyRing, url: str, token: str, deadline: float) -> None:
        self._database = database
        self._keys = keys
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._deadline = deadline
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="passwords")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    await self._look(session)
                except SQLAlchemyError as error:
                    log.warning("new passwords cannot be read or noted, trying again: %s", type(error).__name__)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        now = time.time()
        if not await self._database.read(lines.new_passwords_due, now):
            return
        taken = await self._database.write(lines.take_new_passwords, self._keys, now, LEASE, AT_ONCE)
        await asyncio.gather(*(self._hand_over(session, new) for new in taken))

    async def _hand_over(self, session: aiohttp.ClientSession, new: NewPassword) -> None:
        body = {"line": new.line, "username": new.username, "domain": new.domain, "password": new.password}
        try:
            async with session.post(self._url, json=body, allow_redirects=False) as response:
                told = f"HTTP {response.status}"
                taken = 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError) as error:
            told, taken = type(error).__name__, False
        if taken:
            await self._database.write(self._adopt, new)
            log.info("the registrar has a new password for %s", new.line)
            return
        pause = RETRIES[min(new.attempts, len(RETRIES) - 1)]
        log.warning("the registrar does not take a new password for %s (%s), again in %.0f s", new.line, told, pause)
        await self._database.write(lines.put_off_new_password, new.line_id, time.time() + pause)

    def _adopt(self, connection: Connection, new: NewPassword) -> None:
        line = lines.adopt_new_password(connection, self._keys, new)
        if line is None or line.phone_id is None:
            return
        phone = phones.get(connection, line.phone_id)
        if phone is not None:
            now = time.time()
            operations.add(
                connection,
                kind="update",
                phone=phone,
                revision=phones.raise_revision(connection, phone.id),
                now=now,
                deadline=self._deadline,
                line=line.line,
                slot=line.slot,
            )
            phones.tell(connection, phone.id, now, "update", line=line.line, slot=line.slot)
