"""Candles against the strings that the exchange sent."""

from datetime import date

import pandas as pd
import pytest
from interval_support import frame_of
from support import NOW, STAMPS, candles

from autonama_dagster.services.verification.fetched import verify_fetched
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

DAYS = (date(2024, 1, 1), date(2024, 1, 2))
SCOPE = Scope(("AAA", "BBB"), *DAYS)


@pytest.fixture
def stored(warehouse):
    """Days of AAA, one of which has a revision, hours of it, and days of BBB without strings."""
    days = frame_of("AAA", "1d", "2024-01-01", [10.0, 11.0])
    put(warehouse, "ohlcv_1d", days)
    revised = frame_of("AAA", "1d", "2024-01-01", [10.0, 12.0])
    put(warehouse, "ohlcv_1d", revised.assign(fetched_at=NOW + pd.Timedelta(hours=1)))
    put(warehouse, "ohlcv_1d", candles(["BBB"], ["2024-01-01"]))
    put(warehouse, "ohlcv_1h", frame_of("AAA", "1h", "2024-01-02", [10.0, 11.0]))
    return warehouse


def put(warehouse, name, frame):
    typed = frame.assign(fetched_at=frame["fetched_at"].dt.as_unit("us"))
    warehouse.write(name, Batch(typed), SCOPE, STAMPS)


def execute(warehouse, sql):
    with warehouse.transaction() as cursor:
        cursor.execute(sql)


def verify(warehouse, first=DAYS[0]):
    return {part.table: part for part in verify_fetched(warehouse, SCOPE.symbols, first, DAYS[1])}


def test_what_is_as_it_was_sent_matches_and_the_rest_is_left_out(stored):
    found = verify(stored)
    rows = {name: (part.rows, part.rows_of()) for name, part in found.items()}
    assert rows == {"ohlcv_1d": (2, 0), "ohlcv_1d_revisions": (1, 0), "ohlcv_1h": (2, 0)}
    assert verify(stored, DAYS[1])["ohlcv_1d"].rows == 1
    assert verify(stored, None)["ohlcv_1d"].rows == 2


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ohlcv_1d", "close = close + 1"),
        ("ohlcv_1d", "date = date - 10"),
        ("ohlcv_1d_revisions", "trades = trades + 1"),
        ("ohlcv_1h", "row_hash = repeat('f', 64)"),
        ("ohlcv_1h", "raw = '\\x1b2b3b'"),
    ],
)
def test_a_candle_that_was_changed_is_named(stored, name, change):
    execute(stored, f"UPDATE trading.{name} SET {change} WHERE symbol = 'AAA'")
    part = verify(stored, None)[name]
    assert part.rows_of("row") == part.rows_of() == part.rows > 0
    assert set(part.mismatches["column"]) == {"raw"}
    assert part.mismatches["symbol"].tolist() == ["AAA"] * part.rows
