"""The verdict: what is a problem, what is only worth knowing, and where the databases are."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg.conninfo import conninfo_to_dict

from autonama_dagster.days import DUE
from autonama_dagster.errors import DatabaseError, InputError
from autonama_dagster.orchestration.automation.daily_universe import daily_universe
from autonama_dagster.services.monitoring.health import (
    Clock,
    dagster_facts,
    free_bytes,
    gather,
    listed,
    next_tick,
    notes,
    problems,
    ranges,
    read_clock,
)
from autonama_dagster.settings import load_settings
from resources.instance.facts import DagsterFacts, Run
from resources.postgres.roles.readers import find_databases, reading
from resources.warehouse.check_facts import CheckFacts
from resources.warehouse.table_facts import TableFacts

DAY = date(2024, 3, 10)
NOW = datetime(2024, 3, 11, 8, tzinfo=UTC)
CLOCK = Clock(NOW, "exchange")
WELL = TableFacts(first_summary=date(2024, 3, 1), latest_summary=DAY, day=DAY)


def told(tables=WELL, dagster=DagsterFacts(), clock=CLOCK):  # noqa: B008
    return list(problems(clock, tables, dagster, NOW))


def ended(job, status, hours_ago):
    return Run("r-1", job, status, "", NOW - timedelta(hours=hours_ago, seconds=5), 5.0)


def test_nothing_to_tell():
    assert told() == []
    assert list(notes(CLOCK, WELL, DagsterFacts())) == []


def test_a_day_is_expected_one_hour_after_its_end():
    early = Clock(datetime(2024, 3, 12, 0, 59, tzinfo=UTC), "exchange")
    assert (early.latest_closed, early.expected) == (date(2024, 3, 11), DAY)
    assert told(clock=early) == []
    late = Clock(datetime(2024, 3, 12, 1, 0, tzinfo=UTC), "exchange")
    (line,) = told(clock=late)
    assert line.startswith("stale: the latest complete day is 2024-03-10, 1 day behind 2024-03-11")


def test_nothing_was_ever_scanned():
    assert told(TableFacts()) == ["no day is complete yet: run `autonama scan`"]


def test_days_in_between_are_missing_the_last_ones_are_late():
    gaps = (date(2024, 3, 4), date(2024, 3, 5), date(2024, 3, 8), date(2024, 3, 11))
    (line,) = told(replace(WELL, without_summary=gaps, without_universe=(date(2024, 3, 4),)))
    assert line == (
        "3 days without a summary or universe: 2024-03-04 .. 2024-03-05, 2024-03-08; "
        "run `autonama backfill --from 2024-03-04 --to 2024-03-08`"
    )


def test_symbols_that_failed_and_symbols_that_were_forgotten():
    names = tuple("ABCDEFG")
    failed, unasked = told(replace(WELL, failed_fetches=("A", "B"), unanswered=names))
    assert failed.startswith("2 symbols could not be fetched for 2024-03-10: A, B; ")
    assert "5 registered symbols were not requested for 2024-03-10: C, D, E, F, G;" in unasked


def test_the_last_run_of_a_job_failed_today():
    runs = (ended("summary_job", "FAILURE", 2), ended("symbols_job", "SUCCESS", 1))
    (line,) = told(dagster=DagsterFacts(last_by_job=runs))
    assert line.startswith("the last summary_job failed at 2024-03-11 06:00 UTC: see run r-1")
    assert told(dagster=DagsterFacts(last_by_job=(ended("summary_job", "FAILURE", 25),))) == []


def test_candles_that_the_exchange_has_changed_are_a_note():
    checks = CheckFacts(date(2024, 2, 11), confirmed=17, revised=2, missing=1, failed=5)
    (line,) = notes(CLOCK, replace(WELL, candle_checks=checks), DagsterFacts())
    assert line.startswith(
        "of 20 stored candles requested again since 2024-02-11, 2 had been revised and 1 is missing"
    )
    assert "autonama revisions --since 2024-02-11" in line
    confirmed = replace(checks, revised=0, missing=0)
    assert list(notes(CLOCK, replace(WELL, candle_checks=confirmed), DagsterFacts())) == []


def test_what_is_worth_knowing_and_no_alarm():
    dagster = DagsterFacts(
        failed_checks=("ohlcv_1d: fresh",), n_left_out=2, left_out="'A B': not a name; 'C': why"
    )
    tables = replace(WELL, quarantined=3, quarantined_today=1)
    clock = replace(CLOCK, note="the exchange cannot be reached: why")
    assert told(tables, dagster, clock) == []
    assert list(notes(clock, tables, dagster)) == [
        "the exchange cannot be reached: why",
        "3 candles are quarantined, 1 of 2024-03-10: see table trading.quarantine",
        "2 listed pairs are ignored: 'A B': not a name; 'C': why",
        "failed checks: ohlcv_1d: fresh",
    ]


@pytest.mark.parametrize(
    ("now", "tick"),
    [
        ("2024-03-11T00:04:59", "2024-03-11T00:05:00"),
        ("2024-03-11T00:05:00", "2024-03-12T00:05:00"),
        ("2024-12-31T23:59:59", "2025-01-01T00:05:00"),
    ],
)
def test_the_next_tick(now, tick):
    found = next_tick(datetime.fromisoformat(f"{now}+00:00"))
    assert found == datetime.fromisoformat(f"{tick}+00:00")


def test_ranges_and_lists_are_short():
    days = [date(2024, 2, 28) + timedelta(days=n) for n in (0, 1, 2, 5, 7, 8)]
    assert ranges(days) == ["2024-02-28 .. 2024-03-01", "2024-03-04", "2024-03-06 .. 2024-03-07"]
    assert ranges([]) == []
    assert listed("abcde") == "a, b, c, d, e"
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"


def test_a_stopped_embedded_server_is_told_and_not_started(home):
    with pytest.raises(DatabaseError, match="not running: run `autonama db start`"):
        gather(load_settings())
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("own", "dagster"),
    [
        (None, ("u", "h", "market_dagster", "disable")),
        ("postgres://v@other/runs", ("v", "other", "runs", None)),
    ],
)
def test_where_dagsters_database_is(own, dagster):
    url = "postgres://u:p@h:1/market?sslmode=disable"
    found = find_databases(load_settings(DATABASE_URL=url, dagster_database_url=own))
    parts = [conninfo_to_dict(u) for u in (found.project, found.dagster)]
    names = ("user", "host", "dbname", "sslmode")
    assert [tuple(p.get(n) for n in names) for p in parts] == [
        ("u", "h", "market", "disable"), dagster,
    ]  # fmt: skip


def test_a_url_without_a_database():
    with pytest.raises(InputError, match=r"u:\*\*\*@h.* has no database"):
        find_databases(load_settings(DATABASE_URL="postgresql://u:p@h"))


def test_looking_cannot_write(database):
    with pytest.raises(DatabaseError, match="read-only"), reading(database) as connection:
        connection.execute("DELETE FROM trading.signals")


def test_a_database_that_is_not_there(database):
    settings = load_settings(DATABASE_URL=database)
    databases = find_databases(settings)
    found = dagster_facts(databases, NOW)
    assert "does not exist" in found.unreadable
    assert told(dagster=found)[0].startswith("cannot read Dagster's runs: database postgresql://")
    with pytest.raises(DatabaseError, match="does not exist"):
        gather(load_settings(DATABASE_URL=databases.dagster))


def test_without_the_exchange_this_machines_clock_is_used():
    clock = read_clock(load_settings(exchange_url="http://127.0.0.1:9"))
    assert clock.source == "wall clock"
    assert clock.note.startswith("cannot get the exchange's time: cannot reach 127.0.0.1:9")
    assert abs(clock.now - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_archive_is_behind_by_its_publication():
    clock = read_clock(load_settings(exchange="archive"))
    assert clock.source == "archive"
    assert clock.now < datetime.now(UTC) - timedelta(hours=1)


def test_free_space_of_a_folder_that_is_not_made_yet(home):
    assert not (home / ".autonama").exists()
    assert free_bytes(load_settings(DATABASE_URL="postgresql://h/d")) > 0


def test_the_next_tick_is_the_schedules():
    cron = daily_universe(load_settings()).cron_schedule
    assert cron == f"{DUE.minute} {DUE.hour} * * *"
