"""Waits look, sleep, say for whom they wait, and let signals through."""

import os
import threading
import time
from contextlib import closing

import pytest

from resources.postgres import watching
from resources.postgres.connections import connect
from resources.postgres.urls import libpq_url
from resources.waiting import EVERY, FIRST, QUIET, introduce, tell, told_to, wait_until
from resources.warehouse.warehouse import Warehouse


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by sleeping alone."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
    return slept


@pytest.fixture
def told():
    heard = []
    with told_to(heard.append):
        yield heard


def test_a_wait_sleeps_between_looks_longer_and_longer(clock):
    looks = iter([False] * 20)
    assert wait_until(lambda: next(looks, True), lambda: "somebody")
    assert len(clock) == 20  # one sleep a look
    assert clock == sorted(clock)
    assert (clock[0], clock[-1]) == (FIRST, EVERY)


@pytest.mark.usefixtures("clock")
def test_it_says_for_whom_once_and_that_it_is_over(told):
    asked = []
    looks = iter([False] * 20)
    wait_until(lambda: next(looks, True), lambda: asked.append(1) or "a run")
    assert told == ["a run", None]
    assert asked == [1]


def test_a_moment_is_not_worth_a_word(clock, told):
    looks = iter([False] * 4)
    wait_until(lambda: next(looks, True), lambda: "somebody")
    assert sum(clock) < QUIET
    assert told == []


def test_patience_ends(clock, told):
    assert not wait_until(lambda: False, lambda: "somebody", patience=5)
    assert 5 <= sum(clock) < 5 + 2 * EVERY
    assert told == ["somebody", None]


def test_what_is_so_is_not_waited_for(clock):
    assert wait_until(lambda: True, lambda: "somebody")
    assert clock == []


@pytest.mark.usefixtures("clock", "told")
def test_an_interrupt_that_dagster_holds_back_ends_a_wait():
    from dagster._utils import interrupts  # noqa: PLC0415

    with interrupts.capture_interrupts():
        interrupts._received_interrupt["received"] = True
        with pytest.raises(KeyboardInterrupt):
            wait_until(lambda: False, lambda: "somebody")


def test_the_listener_before_is_told_again_afterwards(told):
    inner = []
    with told_to(inner.append):
        tell("one")
    tell("two")
    assert (inner, told) == (["one"], ["two"])


@pytest.mark.parametrize(
    ("taken", "what"),
    [
        (
            "LOCK TABLE trading.universe IN ACCESS EXCLUSIVE MODE",
            "table trading.universe, held by ",
        ),
        ("SELECT pg_advisory_xact_lock(hashtext('trading.universe'))", "a write lock, held by "),
    ],
)
def test_a_statement_that_waits_for_a_lock_says_who_holds_it(database, taken, what):
    heard = []
    has_heard = threading.Event()

    def listen(text):
        heard.append(text)
        has_heard.set()

    introduce("tests")
    warehouse = Warehouse(lambda: libpq_url(database))
    query = (
        "SELECT pg_advisory_xact_lock(hashtext('trading.universe'))"
        if "advisory" in taken
        else "SELECT count(*) FROM trading.universe"
    )

    def ask():
        with closing(warehouse):  # the connection is this thread's
            warehouse.query(query)

    waiter = threading.Thread(target=ask)
    with told_to(listen), connect(database) as connection:
        connection.execute(taken)
        waiter.start()
        assert has_heard.wait(60)
        assert heard[0].startswith(what)
        pid = connection.info.backend_pid
        assert f"autonama tests, process {os.getpid()} on " in heard[0]
        assert f"(server process {pid}, user autonama, idle in transaction: {taken}" in heard[0]
        connection.rollback()
        waiter.join(60)
        assert heard[1:] == [None]


def test_the_end_of_a_wait_is_told_after_the_wait(database, told, monkeypatch):
    """Also where the statement ends while it is being told of."""
    entry = watching._Watch(database, 0)
    watcher = watching._Watcher()
    watcher._entries[entry] = None
    ended = threading.Thread(target=watcher.remove, args=(entry,))

    def sentence(_):
        ended.start()
        ended.join(0.2)
        return "a table"

    monkeypatch.setattr(watching, "_sentence", sentence)
    monkeypatch.setattr(watching, "_BLOCKERS", "SELECT %(pid)s")
    watcher._look(entry)
    ended.join()
    assert told == ["a table", None]
