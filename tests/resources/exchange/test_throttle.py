import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.errors import ExchangeBannedError
from resources.exchange.calls.throttle import Throttle
from resources.http.session import RequestCancelledError

STOP = threading.Event()  # never set
MINUTE_START = 1_700_000_040.0  # a multiple of 60


def at(seconds):
    return datetime.fromtimestamp(MINUTE_START + seconds, UTC)


@pytest.fixture
def clock(fake_clock):
    return fake_clock(MINUTE_START)


def throttle(clock, budget=100):
    return Throttle(budget, clock=clock, sleep=clock.sleep)


def send(gate, weight):
    """A request that costs its weight and gets no answer."""
    gate.acquire(weight, STOP)
    gate.settle(weight)


def test_the_whole_budget_leaves_without_a_wait(clock):
    gate = throttle(clock)
    for _ in range(50):
        send(gate, 2)
    assert clock.slept == []
    send(gate, 2)
    assert clock.slept == [61.0]


def test_requests_under_way_count(clock):
    gate = throttle(clock, budget=10)
    gate.acquire(6, STOP)
    gate.settle(6, used=6, date=at(0))
    gate.acquire(4, STOP)
    assert clock.slept == []
    stop = threading.Event()
    gate._sleep = lambda *_: stop.set()
    with pytest.raises(RequestCancelledError):  # it had to wait
        gate.acquire(1, stop)


def test_other_processes_count(clock):
    gate = throttle(clock)
    clock.now += 20
    gate.acquire(1, STOP)
    gate.settle(1, used=99, date=at(20))
    gate.acquire(2, STOP)
    assert clock.slept == [pytest.approx(41.0)]


def test_the_minute_is_the_exchanges(clock):
    """The local clock is 50 s behind: the exchange's minute ends in 10 s."""
    gate = throttle(clock)
    gate.acquire(1, STOP)
    gate.settle(1, used=100, date=at(50))
    gate.acquire(1, STOP)
    assert clock.slept == [pytest.approx(11.0)]


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_wrong_local_clock_does_not_matter(clock, hours):
    gate = throttle(clock)
    gate.acquire(1, STOP)
    gate.settle(1, used=100, date=at(3600 * hours))
    gate.acquire(1, STOP)
    assert clock.slept == [pytest.approx(61.0)]
    gate.settle(1, used=1, date=datetime.fromtimestamp(clock.now + 3600 * hours, UTC))
    gate.acquire(90, STOP)
    assert len(clock.slept) == 1


def test_a_late_answer_of_the_last_minute_does_not_count_in_this_one(clock):
    gate = throttle(clock)
    gate.acquire(1, STOP)
    gate.acquire(1, STOP)
    clock.now += 60
    gate.settle(1, used=2, date=at(60))
    gate.settle(1, used=100, date=at(59))
    gate.acquire(90, STOP)
    assert clock.slept == []


def test_answers_that_overtake_each_other(clock):
    gate = throttle(clock)
    for used in (80, 60):
        gate.acquire(1, STOP)
        gate.settle(1, used=used, date=at(0))
    gate.acquire(25, STOP)
    assert clock.slept != []


def test_a_request_without_an_answer_is_taken_to_have_cost_its_weight(clock):
    gate = throttle(clock, budget=10)
    gate.acquire(10, STOP)
    gate.settle(10)
    gate.acquire(1, STOP)
    assert clock.slept != []


def test_a_request_heavier_than_the_budget_leaves_alone(clock):
    gate = throttle(clock, budget=10)
    gate.acquire(20, STOP)
    assert clock.slept == []
    gate.settle(20, used=20, date=at(0))
    gate.acquire(20, STOP)
    assert clock.slept == [61.0]


def test_a_pause_holds_everyone_back_and_is_never_shortened(clock):
    gate = throttle(clock)
    gate.pause(7)
    gate.pause(3)
    gate.acquire(1, STOP)
    assert clock.slept == [7.0]


def test_a_ban_refuses_until_it_ends(clock):
    gate = throttle(clock)
    gate.ban("banned for 90 s", at(90))
    with pytest.raises(ExchangeBannedError, match="banned for 90 s"):
        gate.acquire(1, STOP)
    clock.now += 90
    gate.acquire(1, STOP)
    assert clock.slept == []


def test_a_ban_of_unknown_length_lasts(clock):
    gate = throttle(clock)
    gate.ban("banned", None)
    clock.now += 1e9
    with pytest.raises(ExchangeBannedError):
        gate.acquire(1, STOP)


def test_a_ban_reaches_those_who_wait(clock):
    gate = throttle(clock, budget=1)
    gate.acquire(1, STOP)

    def sleep(_stop, _seconds):
        gate.ban("banned meanwhile", None)

    gate._sleep = sleep
    with pytest.raises(ExchangeBannedError, match="meanwhile"):
        gate.acquire(1, STOP)


def test_a_cancelled_request_stops_waiting():
    stop = threading.Event()
    gate = Throttle(1)
    gate.acquire(1, stop)
    outcomes = []

    def wait():
        with pytest.raises(RequestCancelledError):
            gate.acquire(1, stop)
        outcomes.append("cancelled")

    waiting = threading.Thread(target=wait)
    waiting.start()
    stop.set()
    waiting.join(30)
    assert outcomes == ["cancelled"]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 90)), max_size=60))
def test_no_minute_ever_sees_more_than_the_budget(steps):
    class Clock:
        now = MINUTE_START

        def __call__(self):
            return self.now

        def sleep(self, _stop, seconds):
            self.now += seconds

    clock = Clock()
    gate = Throttle(100, clock=clock, sleep=clock.sleep)
    spent = {}
    for weight, pause in steps:
        clock.now += pause
        gate.acquire(weight, STOP)
        minute = clock.now // 60
        spent[minute] = spent.get(minute, 0) + weight
        gate.settle(weight, used=spent[minute], date=datetime.fromtimestamp(clock.now, UTC))
    assert max(spent.values(), default=0) <= 100
