"""Records visits and refusals behind the answers, in batches.

A phone gets its configuration also when recording fails; what cannot be written is tried again
and, past a bound, counted as lost.
"""

import asyncio
import logging
import time
from dataclasses import asdict, replace

from sqlalchemy.exc import SQLAlchemyError

from provisioning.domain.guard import Alarm, Sweep
from provisioning.domain.mac import Mac
from provisioning.metrics import Metrics
from provisioning.phones.reopening import Reopening
from provisioning.phones.strangers import Strangers
from provisioning.store import alarms, unknown, visits
from provisioning.store.database import Database
from provisioning.store.visits import Refusal, Visit

log = logging.getLogger(__name__)

PAUSE = 0.5
"Seconds between batches that hold no news."
BATCH = 500
"Visits in one transaction: an attach waits for the write lock no longer than this takes."
MOST = 200_000


class Recorder:
    def __init__(self, database: Database, metrics: Metrics, reopening: Reopening, strangers: Strangers) -> None:
        self._database = database
        self._metrics = metrics
        self._reopening = reopening
        self.strangers = strangers
        self._visits: dict[int, Visit] = {}
        self._refusals: dict[Mac, Refusal] = {}
        self._alarms: list[tuple[float, Alarm]] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="recorder")

    async def close(self) -> None:
        """Lets a batch that is being written be written; cancelled, it would be lost."""
        self._closing = True
        self._news.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._flush()

    def visit(self, visit: Visit) -> None:
        earlier = self._visits.get(visit.phone_id)
        if earlier is not None:
            visit = _both(earlier, visit)
        elif len(self._visits) >= MOST:
            self._metrics.count("visits_lost_total")
            return
        self._visits[visit.phone_id] = visit
        if visit.is_news:
            # Somebody may be watching an operation, or about to type the phone's new address.
            self._news.set()

    def refusal(self, refusal: Refusal) -> None:
        earlier = self._refusals.get(refusal.mac)
        if earlier is not None:
            refusal = replace(refusal, codes=refusal.codes + earlier.codes)
        elif len(self._refusals) >= MOST:
            return
        self._refusals[refusal.mac] = refusal

    def alarm(self, alarm: Alarm) -> None:
        """Of the guard: few, for it raises each once a window."""
        log.warning("alarm: %s", alarm)
        self._alarms.append((time.time(), alarm))

    async def _run(self) -> None:
        while not self._closing:
            try:
                async with asyncio.timeout(PAUSE):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            if not await self._flush():
                await asyncio.sleep(PAUSE)

    async def _flush(self) -> bool:
        """What has come so far; whether all of it was recorded."""
        # News first: it is what somebody waits for.
        visitors = sorted(self._visits.values(), key=lambda visit: not visit.is_news)
        self._visits = {}
        refusals, self._refusals = self._refusals, {}
        raised, self._alarms = self._alarms, []
        try:
            while visitors:
                for _ in range(await self._database.write(visits.record, visitors[:BATCH])):
                    self._metrics.count("alarms_raised_total")
                for _ in visitors[:BATCH]:
                    self._metrics.count("visits_recorded_total")
                del visitors[:BATCH]
            if refusals:
                await self._record_refusals(refusals)
            while raised:
                at, alarm = raised[0]
                kind = "sweep" if isinstance(alarm, Sweep) else "many-misses"
                await self._database.write(alarms.raise_alarm, at, kind, None, **asdict(alarm))
                self._metrics.count("alarms_raised_total")
                del raised[0]
        except SQLAlchemyError as error:
            log.warning("visits cannot be recorded, trying again: %s", type(error).__name__)
            for visit in visitors:
                later = self._visits.get(visit.phone_id)
                self._visits[visit.phone_id] = visit if later is None else _both(visit, later)
            self._refusals = refusals | self._refusals
            self._alarms = raised + self._alarms
            return False
        return True

    async def _record_refusals(self, refusals: dict[Mac, Refusal]) -> None:
        macs = list(refusals)
        for start in range(0, len(macs), BATCH):
            known = await self._database.read(visits.known_macs, macs[start : start + BATCH])
            if known:
                rows = [(phone_id, refusals[mac]) for mac, phone_id in known.items()]
                for _ in range(await self._database.write(self._reopening.record, rows)):
                    self._metrics.count("doors_reopened_total")
                    self._metrics.count("alarms_raised_total")
            strangers = [refusals[mac] for mac in macs[start : start + BATCH] if mac not in known]
            if traces := self.strangers.traces(strangers):
                await self._database.write(unknown.seen, traces)


def _both(earlier: Visit, later: Visit) -> Visit:
    """Two visits of one phone in one batch: the later, with the earlier's news."""
    if not earlier.is_news:
        return later
    fetched = earlier if later.revision is None else later
    return later._replace(
        moved_from=earlier.moved_from or later.moved_from,
        revision=fetched.revision,
        addresses=fetched.addresses,
        document=fetched.document,
        proof=fetched.proof,
        keyed_by=fetched.keyed_by,
        mismatch=earlier.mismatch or later.mismatch,
        first_shown=earlier.first_shown or later.first_shown,
        found_again=earlier.found_again or later.found_again,
    )
