"""Outcomes of stored candles that were asked for again, as `status` and the metrics count them."""

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from autonama_dagster.analytics.candles.shares import wilson
from resources.postgres.urls import libpq_url
from resources.warehouse.check_facts import CheckFacts, read_checks

TODAY = date(2024, 3, 11)
FIRST = date(2024, 2, 11)


@pytest.fixture
def connection(database):
    with psycopg.connect(libpq_url(database)) as opened:
        yield opened


def store(connection, asked_at, outcome, symbol="AAA"):
    connection.execute(
        "INSERT INTO trading.candle_checks VALUES (%s, %s, '2024-01-01', %s, NULL, 'r')",
        (asked_at, symbol, outcome),
    )


def test_nothing_was_asked(connection):
    assert read_checks(connection, TODAY) == CheckFacts(FIRST)


def test_failed_ones_say_nothing_of_the_share(connection):
    store(connection, datetime(2024, 3, 10, 3, tzinfo=UTC), "failed")
    found = read_checks(connection, TODAY)
    assert (found.asked, found.answered, found.confirmed_share) == (1, 0, None)


def test_the_outcomes_of_thirty_days_of_utc_are_counted(connection):
    midnight = datetime(2024, 2, 11, tzinfo=UTC)
    connection.execute("SET TIME ZONE 'Asia/Tokyo'")
    store(connection, midnight - timedelta(microseconds=1), "revised")
    for number, outcome in enumerate(("confirmed", "confirmed", "revised", "missing", "failed")):
        store(connection, midnight, outcome, f"S{number}")
    found = read_checks(connection, TODAY)
    assert (found.confirmed, found.revised, found.missing, found.failed) == (2, 1, 1, 1)
    assert (found.asked, found.answered, found.confirmed_share) == (5, 4, 0.5)
    assert (found.confirmed_low, found.confirmed_high) == wilson(2, 4)
