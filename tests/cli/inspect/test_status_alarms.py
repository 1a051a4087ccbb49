"""`autonama status` can be wrong: what is broken makes it say so, and each hint mends it."""

import os
import re
import shlex

import psycopg
import pytest
from scan_support import keep_tables, restore_tables

from autonama_dagster.services.monitoring import health
from autonama_dagster.services.monitoring.metrics import ProjectCollector
from resources.instance.locks import held
from resources.postgres.roles import readers
from resources.postgres.urls import dagster_sibling, libpq_url, with_database
from resources.warehouse.table_facts import BY_MEMBER

DAY = "2024-03-10"


@pytest.fixture
def morning(exchange, day):
    """The stored day, looked at when the hour of grace is over."""
    exchange.set_now("2024-03-11T08:00:00Z")
    yield day
    exchange.set_now("2024-03-11T00:05:00Z")


def execute(url, statement, values=()):
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        return connection.execute(statement, values)


def problems(ended):
    """The lines of problems, each with the command or the SQL that it ends with."""
    assert ended.code == (1 if "problem " in ended.out else 0), ended
    return [
        line.removeprefix("problem").strip()
        for line in ended.out.splitlines()
        if line.startswith("problem ")
    ]


def measured(settings):
    """Values of the metrics without labels."""
    families = ProjectCollector(settings, lambda: 100.0).collect()
    return {f.name.removeprefix("autonama_"): f.samples[0].value for f in families}


def test_a_renamed_column(run, morning):
    execute(morning.url, "ALTER TABLE trading.signals RENAME COLUMN z_score TO zz")
    (line,) = problems(run("status"))
    found = measured(morning.settings)
    execute(morning.url, re.search(r"(ALTER TABLE .*)$", line)[1])
    assert line.startswith("trading.signals was changed by hand: it has no column z_score")
    assert (found["up"], found["problems"]) == (1, 1)
    assert problems(run("status")) == []
    assert measured(morning.settings)["problems"] == 0


@pytest.mark.parametrize("table", ["signals", "analysis_summary"])
def test_a_lock_that_somebody_holds(run, morning, monkeypatch, table):
    monkeypatch.setattr(readers, "_SETTINGS", "SET lock_timeout = '200ms'")
    with psycopg.connect(libpq_url(morning.url), application_name="holder") as holder:
        holder.execute(f"LOCK TABLE trading.{table} IN ACCESS EXCLUSIVE MODE")
        pid = holder.info.backend_pid
        (line,) = problems(run("status"))
        assert measured(morning.settings)["problems"] == 1
        assert line.startswith("cannot read the tables: database postgresql://")
        assert f"{table} is locked by process {pid} (autonama, holder, idle in transaction" in line
        execute(morning.url, re.search(r"(SELECT pg_terminate_backend\(\d+\))$", line)[1])
        holder.close()
    assert problems(run("status")) == []


def test_what_status_waits_at_most():
    assert readers._SETTINGS == "SET lock_timeout = '3s'; SET statement_timeout = '10s'"


@pytest.mark.parametrize(
    ("free", "files", "says"),
    [(6 << 20, 10**6, "6 MiB are free on the disk of"), (1 << 40, 7, "7 inodes are free on the")],
)
def test_a_disk_that_is_nearly_full(run, morning, monkeypatch, free, files, says):
    real = os.statvfs(morning.environment["AUTONAMA_HOME"])
    names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree",
             "f_favail", "f_flag", "f_namemax")  # fmt: skip
    values = {n: getattr(real, n) for n in names} | {"f_favail": files}
    values |= {"f_bavail": free // values["f_frsize"]}
    monkeypatch.setattr(
        health.os, "statvfs", lambda _: os.statvfs_result(tuple(values[n] for n in names))
    )
    (line,) = problems(run("status"))
    assert line.startswith(says)
    assert measured(morning.settings)["problems"] == 1


@pytest.fixture
def changeable(morning):
    """The morning, whose tables are as they were afterwards: other tests look at them too."""
    keep_tables(morning.warehouse)
    yield morning
    restore_tables(morning.warehouse)
    execute(morning.url, "DROP SCHEMA kept CASCADE")


def test_rows_of_members_that_are_gone(run, changeable):
    morning = changeable
    query = "SELECT symbol FROM trading.signals WHERE is_member AND date = %s ORDER BY symbol"
    (one,), (other,), (third,), *_ = execute(morning.url, query, (DAY,)).fetchall()
    whose = {"universe": other, "signals": third}  # the others are judged by these two
    tables = ("universe", *BY_MEMBER)
    for name in tables:
        gone = f"DELETE FROM trading.{name} WHERE date = %s AND symbol = %s"
        assert execute(morning.url, gone, (DAY, whose.get(name, one))).rowcount == 1
    lines = problems(run("status"))
    assert measured(morning.settings)["problems"] == len(tables)
    for name, line in zip(tables, lines, strict=True):
        symbol = whose.get(name, one)
        assert line.startswith(f"1 row is missing from {name}, the latest of {symbol} on")
    (command,) = {re.search(r"run `autonama (.*)`$", line)[1] for line in lines}
    mended = run(*shlex.split(command))
    assert mended.code == 0, mended
    assert problems(run("status")) == []


@pytest.fixture
def running(morning):
    """Id of a run of Dagster's that looks as if it was under way, and its database."""
    url = libpq_url(with_database(morning.url, dagster_sibling(morning.url)))
    (run_id,) = execute(url, "SELECT run_id FROM runs ORDER BY id DESC LIMIT 1").fetchone()
    execute(url, "UPDATE runs SET status = 'STARTED' WHERE run_id = %s", (run_id,))
    older = "UPDATE event_logs SET timestamp = timestamp - interval '{}' WHERE run_id = %s"
    execute(url, older.format("10 minutes"), (run_id,))
    yield url, run_id
    execute(url, older.format("-10 minutes"), (run_id,))
    execute(url, "UPDATE runs SET status = 'SUCCESS' WHERE run_id = %s", (run_id,))


def test_a_run_without_a_process(run, running, morning):
    url, run_id = running
    (line,) = problems(run("status"))
    assert "lost its process, last seen" in line
    assert measured(morning.settings)["problems"] == 1
    with held(url, run_id):
        assert problems(run("status")) == []
    ended = run("scan", "--date", DAY)
    assert ended.code == 0, ended
    assert not any("lost its process" in line for line in problems(run("status")))


def test_a_run_that_is_silent(run, running):
    url, run_id = running
    later = "UPDATE event_logs SET timestamp = timestamp - interval '{} hours' WHERE run_id = %s"
    with held(url, run_id):
        execute(url, later.format(1), (run_id,))
        (line,) = problems(run("status"))
        execute(url, later.format(-1), (run_id,))
    assert "has shown no activity since" in line
    assert line.endswith(f"see run {run_id} in `autonama up`")


def test_a_table_of_dagsters_that_was_changed_is_no_table_of_ours(run, morning):
    url = libpq_url(with_database(morning.url, dagster_sibling(morning.url)))
    execute(url, "ALTER TABLE instigators RENAME COLUMN status TO zz")
    try:
        (line,) = problems(run("status"))
    finally:
        execute(url, "ALTER TABLE instigators RENAME COLUMN zz TO status")
    assert line.startswith("cannot read Dagster's runs: database postgresql://")
    assert 'failed: column "status" does not exist' in line
