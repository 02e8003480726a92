"""The non-INVITE client transaction of RFC 3261 §17.1.2 as a table, without a clock or a socket.

Whoever owns these tells a `Transaction` what happened and when, and carries out, in order, the actions it
returns. Everything that decides when a request is sent again stands in this file. What the table does not
list changes nothing: a timer that fires late, the duplicate of a response.

Over UDP a request without any answer leaves 11 times in 64 * T1: at 0, 0.5, 1.5, 3.5, 7.5 and so on
every 4 s until 31.5 s, and is given up at 32 s.
"""

from dataclasses import dataclass
from enum import Enum, auto

from provisioning.sip.message import Response


class State(Enum):
    NEW = auto()
    TRYING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    TERMINATED = auto()


class Timer(Enum):
    E = "send again"
    F = "give up"
    K = "stop absorbing duplicates"


@dataclass(frozen=True, slots=True)
class Send:
    pass


@dataclass(frozen=True, slots=True)
class SetTimer:
    timer: Timer
    at: float


@dataclass(frozen=True, slots=True)
class Deliver:
    response: Response


@dataclass(frozen=True, slots=True)
class TimedOut:
    pass


@dataclass(frozen=True, slots=True)
class TransportFailed:
    pass


Action = Send | SetTimer | Deliver | TimedOut | TransportFailed


class _Event(Enum):
    START = auto()
    PROVISIONAL = auto()
    FINAL = auto()
    TRANSPORT_ERROR = auto()


class _Do(Enum):
    SEND = auto()
    SET_E = auto()
    SET_E_TO_T2 = auto()
    SET_F = auto()
    SET_K = auto()
    DELIVER = auto()
    TIMED_OUT = auto()
    TRANSPORT_FAILED = auto()


# RFC 3261 figure 6, one row an arrow.
_TABLE: dict[tuple[State, _Event | Timer], tuple[State, tuple[_Do, ...]]] = {
    (State.NEW, _Event.START): (State.TRYING, (_Do.SEND, _Do.SET_E, _Do.SET_F)),
    (State.TRYING, Timer.E): (State.TRYING, (_Do.SEND, _Do.SET_E)),
    (State.TRYING, Timer.F): (State.TERMINATED, (_Do.TIMED_OUT,)),
    (State.TRYING, _Event.PROVISIONAL): (State.PROCEEDING, (_Do.DELIVER,)),
    (State.TRYING, _Event.FINAL): (State.COMPLETED, (_Do.DELIVER, _Do.SET_K)),
    (State.TRYING, _Event.TRANSPORT_ERROR): (State.TERMINATED, (_Do.TRANSPORT_FAILED,)),
    (State.PROCEEDING, Timer.E): (State.PROCEEDING, (_Do.SEND, _Do.SET_E_TO_T2)),
    (State.PROCEEDING, Timer.F): (State.TERMINATED, (_Do.TIMED_OUT,)),
    (State.PROCEEDING, _Event.PROVISIONAL): (State.PROCEEDING, (_Do.DELIVER,)),
    (State.PROCEEDING, _Event.FINAL): (State.COMPLETED, (_Do.DELIVER, _Do.SET_K)),
    (State.PROCEEDING, _Event.TRANSPORT_ERROR): (State.TERMINATED, (_Do.TRANSPORT_FAILED,)),
    (State.COMPLETED, Timer.K): (State.TERMINATED, ()),
}


class Transaction:
    """`reliable` means TCP or TLS: nothing is sent twice, and no duplicates are waited for."""

    __slots__ = ("_interval", "_reliable", "_t1", "_t2", "_t4", "state")

    def __init__(
        self, t1: float = 0.5, *, t2: float | None = None, t4: float | None = None, reliable: bool = False
    ) -> None:
        self.state = State.NEW
        self._t1 = t1
        # 4 s and 5 s in RFC 3261 §17.1.1.1; as multiples they shrink with T1.
        self._t2 = 8 * t1 if t2 is None else t2
        self._t4 = 10 * t1 if t4 is None else t4
        self._interval = t1
        self._reliable = reliable

    def start(self, now: float) -> list[Action]:
        return self._step(_Event.START, now)

    def response(self, response: Response, now: float) -> list[Action]:
        event = _Event.FINAL if response.status >= 200 else _Event.PROVISIONAL
        return self._step(event, now, response)

    def timer(self, timer: Timer, now: float) -> list[Action]:
        return self._step(timer, now)

    def transport_error(self, now: float) -> list[Action]:
        return self._step(_Event.TRANSPORT_ERROR, now)

    def _step(self, event: _Event | Timer, now: float, response: Response | None = None) -> list[Action]:
        self.state, steps = _TABLE.get((self.state, event), (self.state, ()))
        return [action for step in steps if (action := self._action(step, now, response))]

    def _action(self, step: _Do, now: float, response: Response | None) -> Action | None:
        match step:
            case _Do.SEND:
                return Send()
            case _Do.SET_E | _Do.SET_E_TO_T2 if self._reliable:
                return None
            case _Do.SET_E:
                interval, self._interval = self._interval, min(2 * self._interval, self._t2)
                return SetTimer(Timer.E, now + interval)
            case _Do.SET_E_TO_T2:
                return SetTimer(Timer.E, now + self._t2)
            case _Do.SET_F:
                return SetTimer(Timer.F, now + 64 * self._t1)
            case _Do.SET_K:
                return SetTimer(Timer.K, now if self._reliable else now + self._t4)
            case _Do.DELIVER:
                return Deliver(response) if response else None
            case _Do.TIMED_OUT:
                return TimedOut()
            case _Do.TRANSPORT_FAILED:
                return TransportFailed()
