"""Programs that wait for others: they say for whom, obey signals, and outlive the dead."""

import os
import signal
import time
from contextlib import suppress

import psycopg
import pytest
from fault_support import NOW, small_market
from program_support import DAY, TIMEOUT, opened

from autonama_dagster.replay.server import ReplayServer
from resources.postgres.urls import libpq_url

pytestmark = pytest.mark.long

HOLD = "timeout:seconds=600,path=klines"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with ReplayServer(small_market(tmp_path_factory.mktemp("market")), now=NOW) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory, exchange):
    with opened(tmp_path_factory.mktemp("waits") / "home", exchange.url) as project:
        yield project


def until(condition, process=None):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert process is None or process.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def begun(home, *arguments):
    """A program, and what it says on standard error."""
    process = home.start(*arguments)
    log = home.errors[-1]
    return process, log.read_text


def end(process):
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
    process.kill()
    process.wait()


def test_a_pool_that_a_program_holds_is_waited_for_with_its_name_and_ears(home, exchange):
    exchange.faults.add(HOLD)
    holder, _ = begun(home, "scan", *DAY)
    waiters = []
    try:
        until(lambda: any(r.path.endswith("/klines") for r in exchange.requests), holder)
        os.kill(holder.pid, signal.SIGSTOP)
        exchange.faults.replace()
        waiters = [begun(home, "scan", *DAY) for _ in range(3)]
        for process, said in waiters:
            until(lambda said=said: "waiting for" in said(), process)
            (line,) = [x for x in said().splitlines() if "waiting for" in x]
            assert "waiting for the pool binance, held by run " in line
            assert f"(autonama scan, process {holder.pid} on " in line
        interrupted, terminated, heir = (process for process, _ in waiters)
        interrupted.send_signal(signal.SIGINT)
        terminated.send_signal(signal.SIGTERM)
        assert interrupted.wait(TIMEOUT) == 130
        assert terminated.wait(TIMEOUT) == 143
        assert waiters[0][1]().splitlines()[-1] == "autonama: stopped"
        assert heir.poll() is None  # the holder lives, though it does nothing
        os.kill(holder.pid, signal.SIGKILL)
        assert heir.wait(TIMEOUT) == 0
    finally:
        for process in (holder, *(process for process, _ in waiters)):
            end(process)
    with psycopg.connect(libpq_url(home.dagster_url())) as connection:
        assert connection.execute("SELECT count(*) FROM pending_steps").fetchone() == (0,)


@pytest.fixture(scope="module")
def filled(home):
    process, said = begun(home, "scan", *DAY)
    assert process.wait(TIMEOUT) == 0, said()
    return home


@pytest.mark.parametrize(
    ("database", "table", "number", "code"),
    [
        ("url", "trading.universe", signal.SIGTERM, 143),  # asked by ADBC, which hears SIGINT alone
        ("dagster_url", "runs", signal.SIGINT, 130),  # asked by psycopg2, which hears nothing
    ],
)
def test_a_lock_of_the_database_is_waited_for_with_its_name_and_ears(
    filled, database, table, number, code
):
    url = libpq_url(getattr(filled, database)())
    with psycopg.connect(url, application_name="a dashboard") as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        process, said = begun(filled, "scan", *DAY)
        try:
            until(lambda: "waiting for" in said(), process)
            pid = connection.info.backend_pid
            assert (
                f"waiting for table {table}, held by a dashboard (server process {pid}, " in said()
            )
            assert "LOCK TABLE" in said()
            process.send_signal(number)
            assert process.wait(TIMEOUT) == code
            assert said().splitlines()[-1] == "autonama: stopped"
        finally:
            end(process)
