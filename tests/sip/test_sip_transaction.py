import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.sip.message import Response
from provisioning.sip.transaction import (
    Deliver,
    Send,
    SetTimer,
    State,
    TimedOut,
    Timer,
    Transaction,
    TransportFailed,
)

TRYING_100 = Response(100, "Trying")
OK = Response(200, "OK")


def run(transaction, responses=(), until=100.0):
    """With a clock of our own: (when, what) of everything the transaction asked for, timers fired as set."""
    due = {}
    log = []
    waiting = sorted(responses, key=lambda item: item[0])

    def note(actions, now):
        for action in actions:
            if isinstance(action, SetTimer):
                due[action.timer] = action.at
            else:
                log.append((now, action))

    note(transaction.start(0.0), 0.0)
    while True:
        timer = min(due, key=due.get, default=None)
        timer_at = due[timer] if timer else until
        if waiting and waiting[0][0] < timer_at:
            now, response = waiting.pop(0)
            note(transaction.response(response, now), now)
        elif timer_at < until:
            del due[timer]
            note(transaction.timer(timer, timer_at), timer_at)
        else:
            return log


def sends(log):
    return [now for now, action in log if action == Send()]


def test_silence_over_udp():
    transaction = Transaction()
    log = run(transaction)
    assert sends(log) == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert log[-1] == (32.0, TimedOut())
    assert transaction.state is State.TERMINATED


def test_silence_over_tcp():
    log = run(Transaction(reliable=True))
    assert log == [(0, Send()), (32.0, TimedOut())]


def test_t1_scales_everything():
    log = run(Transaction(0.01))
    assert sends(log) == pytest.approx([t / 50 for t in sends(run(Transaction()))])
    assert log[-1] == (0.64, TimedOut())


def test_own_t2_and_t4():
    assert sends(run(Transaction(t2=1.0)))[:5] == [0, 0.5, 1.5, 2.5, 3.5]
    transaction = Transaction(t4=7.0)
    transaction.start(0.0)
    assert transaction.response(OK, 1.0) == [Deliver(OK), SetTimer(Timer.K, 8.0)]


def test_a_final_response_stops_the_sending():
    transaction = Transaction()
    assert run(transaction, [(0.7, OK)]) == [(0, Send()), (0.5, Send()), (0.7, Deliver(OK))]
    assert transaction.state is State.TERMINATED  # by timer K


def test_duplicates_and_late_responses_are_absorbed():
    late = Response(404, "Not Found")
    log = run(Transaction(), [(0.1, OK), (0.2, OK), (0.3, late), (0.4, TRYING_100), (60.0, OK)])
    assert log == [(0, Send()), (0.1, Deliver(OK))]


def test_after_a_1xx_timer_e_is_t2():
    log = run(Transaction(), [(0.1, TRYING_100)])
    # The timer that runs already is left to fire: RFC 3261 17.1.2.2 changes it only then.
    assert sends(log) == [0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert log[-1] == (32.0, TimedOut())
    assert (0.1, Deliver(TRYING_100)) in log


def test_1xx_then_final():
    log = run(Transaction(), [(0.1, TRYING_100), (0.2, Response(183)), (5.0, OK)])
    assert sends(log) == [0, 0.5, 4.5]
    assert log[-1] == (5.0, Deliver(OK))


def test_reliable_needs_no_k():
    transaction = Transaction(reliable=True)
    transaction.start(0.0)
    assert transaction.response(OK, 1.0) == [Deliver(OK), SetTimer(Timer.K, 1.0)]
    assert transaction.timer(Timer.K, 1.0) == []
    assert transaction.state is State.TERMINATED


def in_state(state):
    transaction = Transaction()
    if state is not State.NEW:
        transaction.start(0.0)
    if state is State.PROCEEDING:
        transaction.response(TRYING_100, 0.0)
    if state in (State.COMPLETED, State.TERMINATED):
        transaction.response(OK, 0.0)
    if state is State.TERMINATED:
        transaction.timer(Timer.K, 5.0)
    assert transaction.state is state
    return transaction


EVENTS = {
    "start": lambda transaction: transaction.start(10.0),
    "1xx": lambda transaction: transaction.response(TRYING_100, 10.0),
    "final": lambda transaction: transaction.response(OK, 10.0),
    "E": lambda transaction: transaction.timer(Timer.E, 10.0),
    "F": lambda transaction: transaction.timer(Timer.F, 10.0),
    "K": lambda transaction: transaction.timer(Timer.K, 10.0),
    "error": lambda transaction: transaction.transport_error(10.0),
}
CHANGES = {
    (State.NEW, "start"): (State.TRYING, [Send(), SetTimer(Timer.E, 10.5), SetTimer(Timer.F, 42.0)]),
    (State.TRYING, "E"): (State.TRYING, [Send(), SetTimer(Timer.E, 11.0)]),
    (State.TRYING, "F"): (State.TERMINATED, [TimedOut()]),
    (State.TRYING, "1xx"): (State.PROCEEDING, [Deliver(TRYING_100)]),
    (State.TRYING, "final"): (State.COMPLETED, [Deliver(OK), SetTimer(Timer.K, 15.0)]),
    (State.TRYING, "error"): (State.TERMINATED, [TransportFailed()]),
    (State.PROCEEDING, "E"): (State.PROCEEDING, [Send(), SetTimer(Timer.E, 14.0)]),
    (State.PROCEEDING, "F"): (State.TERMINATED, [TimedOut()]),
    (State.PROCEEDING, "1xx"): (State.PROCEEDING, [Deliver(TRYING_100)]),
    (State.PROCEEDING, "final"): (State.COMPLETED, [Deliver(OK), SetTimer(Timer.K, 15.0)]),
    (State.PROCEEDING, "error"): (State.TERMINATED, [TransportFailed()]),
    (State.COMPLETED, "K"): (State.TERMINATED, []),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, EVENTS)))
def test_every_event_in_every_state(state, event):
    transaction = in_state(state)
    actions = EVENTS[event](transaction)
    assert (transaction.state, actions) == CHANGES.get((state, event), (state, []))


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from([TRYING_100, OK, Response(503)]))))
def test_whatever_comes_it_ends_with_one_result_and_at_most_eleven_sends(responses):
    transaction = Transaction()
    log = run(transaction, responses)
    results = [
        action
        for _, action in log
        if action == TimedOut() or (isinstance(action, Deliver) and action.response.status >= 200)
    ]
    assert len(results) == 1
    assert len(sends(log)) <= 11
    assert transaction.state is State.TERMINATED
