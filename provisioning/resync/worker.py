"""Tells phones to fetch: takes due operations from the database, in any process, and sends NOTIFY.

The operation row was written with the change, so nothing acknowledged is forgotten: a worker that
dies leaves a lease that runs out, and another takes over. Told is not done; the phone's fetch is.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from provisioning.domain.catalogue import Catalogue
from provisioning.domain.errors import Fault
from provisioning.domain.operation import next_attempt, target
from provisioning.metrics import Metrics
from provisioning.sip.client import Credentials, SipClient
from provisioning.store import operations
from provisioning.store.database import Database
from provisioning.store.fetch import PhoneReader
from provisioning.store.operations import Resync

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"How often to look for what other processes wrote, or left behind."

NO_PROXY = "No SIP proxy is configured ([resync] proxy), so phones cannot be told."
NO_LINE = "The phone has fetched no line yet, so it is registered nowhere and cannot be told."


class ResyncWorker:
    def __init__(
        self,
        database: Database,
        reader: PhoneReader,
        sip: SipClient | None,
        catalogue: Callable[[], Catalogue],
        metrics: Metrics,
        concurrency: int,
        t1: float,
    ) -> None:
        self._database = database
        self._reader = reader
        self._sip = sip
        self._catalogue = catalogue
        self._metrics = metrics
        self._most = concurrency
        # Two exchanges, for one may be answered with a challenge, each at most timer F = 64*T1 long.
        self._lease = 2 * 64 * t1 + 5
        self._telling: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="resync")

    def claim(self, connection: Connection) -> list[Resync]:
        """What is due, now this worker's. A change calls it in its own transaction, for one commit less."""
        room = self._most - len(self._telling)
        return operations.claim(connection, time.time(), self._lease, room) if room > 0 else []

    def tell(self, claimed: Iterable[Resync]) -> None:
        """Once the claim is committed."""
        for resync in claimed:
            task = asyncio.create_task(self._tell(resync))
            self._telling.add(task)
            task.add_done_callback(self._done)

    async def close(self) -> None:
        """What is being sent is left to its lease."""
        tasks = [*self._telling, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                while await self._database.read(operations.is_due, time.time()):
                    claimed = await self._database.write(self.claim)
                    if not claimed:
                        break
                    self.tell(claimed)
            except SQLAlchemyError as error:
                log.warning("resyncs cannot be claimed, trying again: %s", type(error).__name__)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a resync failed: %s", type(error).__name__)

    async def _tell(self, resync: Resync) -> None:
        status, untold = await self._send(resync)
        again_at = None
        if untold is NO_LINE and resync.attempts == 0:
            # It may be fetching its first just now.
            again_at = time.time() + LOOK_SECONDS
        elif untold is None or untold is NO_LINE:
            again_at = next_attempt(resync.requested_at, resync.attempts + 1, status)
        await self._database.write(
            operations.told, resync, now=time.time(), status=status, untold=untold, again_at=again_at
        )

    async def _send(self, resync: Resync) -> tuple[int | None, str | None]:
        """(final SIP status, why nothing was sent)."""
        model = self._catalogue().models.get(resync.model)
        its = None if model is None else model.family.resync
        event = None if its is None else (its.reboot_event if resync.reboot else its.event)
        if its is None or event is None:
            return None, "The phone's model cannot be told to fetch its configuration."
        if self._sip is None:
            return None, NO_PROXY
        address = target(resync.fetched_addresses, resync.attached_addresses)
        if address is None:
            return None, NO_LINE
        self._metrics.count("resyncs_sent_total")
        body = its.reboot_body if resync.reboot else its.body
        outcome = await self._sip.notify(
            address,
            event,
            credentials=self._credentials(resync.phone_id, address),
            body=body.encode(),
            content_type=its.content_type or None,
        )
        if 200 <= outcome.status < 300:
            self._metrics.count("resyncs_accepted_total")
        log.info("resync of %s: %d %s", resync.mac, outcome.status, outcome.reason)
        return outcome.status, None

    def _credentials(self, phone_id: int, address: str) -> Credentials | None:
        """The line's own, for phones that challenge a NOTIFY (Cisco SPA, Snom's challenge_checksync)."""
        try:
            for _, line in self._reader.lines(phone_id):
                if line.address_of_record == address:
                    return Credentials(line.username, line.password)
        except Fault as fault:
            log.error("%s", fault)  # noqa: TRY400  its text is made for the log
        return None
