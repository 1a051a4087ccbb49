"""Candles of four hours and of a week, made again from those that they consist of."""

from datetime import UTC, date, datetime

import pytest
from interval_support import frame_of
from rows import insert

from autonama_dagster.services.inputs import longer_candles
from autonama_dagster.services.inputs.longer_candles import candles_made
from autonama_dagster.services.verification.longer import verify_longer
from autonama_dagster.services.verification.verify import KINDS, as_rows, together
from resources.postgres.connections import connect
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

FIRST, LAST = date(2024, 1, 1), date(2024, 1, 21)  # three weeks
STAMPS = {"run_id": "run"}


@pytest.fixture
def stored(warehouse, database):
    """Hours and days of one symbol, and what is made from them."""
    scope = Scope(("AAAUSDT",), FIRST, LAST)
    closes = [10 + n % 7 + n % 5 / 3 for n in range(21 * 24)]
    for name, interval, few in (("ohlcv_1h", "1h", closes), ("ohlcv_1d", "1d", closes[:21])):
        frame = frame_of("AAAUSDT", interval, "2024-01-01", few)
        columns = [c for c in warehouse.read(name).columns if c != "run_id"]
        warehouse.write(name, Batch(frame[columns]), scope, STAMPS)
        with connect(database) as connection:
            insert(connection, "fetch_log", symbol="AAAUSDT", interval=interval, outcome="ok",
                   from_date=FIRST, to_date=LAST)  # fmt: skip
    for interval in ("4h", "1w"):
        made = candles_made(interval, scope.symbols, FIRST, LAST, warehouse)
        warehouse.write(f"ohlcv_{interval}", Batch(made), scope, STAMPS)
    return warehouse


def found(warehouse, in_database=None):
    parts = verify_longer(warehouse, ("AAAUSDT", "BBBUSDT"), FIRST, LAST, in_database)
    return {p.table: {k: p.rows_of(k) for k in KINDS if p.rows_of(k)} for p in parts}


def test_candles_follow_from_their_parts(stored):
    parts = verify_longer(stored, ("AAAUSDT",), FIRST, LAST, {LAST})
    assert {p.table: (p.rows, p.in_database) for p in parts} == {
        "ohlcv_4h": (21 * 6, 6), "ohlcv_1w": (3, 1)
    }  # fmt: skip
    assert found(stored) == {"ohlcv_4h": {}, "ohlcv_1w": {}}
    assert verify_longer(stored, ("BBBUSDT",), FIRST, LAST) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE trading.ohlcv_4h SET high = high * 2 WHERE open_time = '2024-01-05T08:00Z'",
         ("ohlcv_4h", {"row": 1})),
        ("UPDATE trading.ohlcv_1w SET volume = volume * (1 + 1e-13) WHERE date = '2024-01-14'",
         ("ohlcv_1w", {"platform": 1})),
        ("DELETE FROM trading.ohlcv_4h WHERE date = '2024-01-05'", ("ohlcv_4h", {"missing": 6})),
        ("DELETE FROM trading.ohlcv_1w WHERE date = '2024-01-14'", ("ohlcv_1w", {"missing": 1})),
        (("UPDATE trading.ohlcv_4h SET open_time = open_time + interval '1 hour' "
         "WHERE open_time = '2024-01-05T08:00Z'"), ("ohlcv_4h", {"missing": 1, "extra": 1})),
        (("UPDATE trading.ohlcv_1h SET row_hash = repeat('b', 64) "
         "WHERE open_time = '2024-01-05T08:00Z'"), ("ohlcv_4h", {"data": 1})),
        ("DELETE FROM trading.ohlcv_1h WHERE date = '2024-01-05'", ("ohlcv_4h", {"extra": 6})),
    ],
)  # fmt: skip
def test_what_was_changed_is_told_apart(stored, database, statement, expected):
    with connect(database) as connection:
        connection.execute(statement)
    name, kinds = expected
    assert found(stored) == {"ohlcv_4h": {}, "ohlcv_1w": {}, name: kinds}


def test_a_candle_that_knows_the_next_one_is_found(stored, monkeypatch):
    def leak(frame, of, to, sources):
        made = aggregate(frame, of, to, sources)
        ahead = made.groupby("symbol")["close"].shift(-1)
        return made.assign(close=ahead.fillna(made["close"]))

    aggregate = longer_candles.aggregate
    monkeypatch.setattr(longer_candles, "aggregate", leak)
    assert found(stored)["ohlcv_4h"]["look_ahead"] >= 19
    assert found(stored)["ohlcv_1w"]["look_ahead"] == 2


def test_what_was_found_can_be_kept(stored):
    parts = verify_longer(stored, ("AAAUSDT",), FIRST, LAST)
    rows = as_rows([together([p, p]) for p in parts], FIRST, LAST, symbols=1, now=datetime.now(UTC))
    stored.keep("verifications", rows)
    assert stored.read("verifications")["table_name"].tolist() == ["ohlcv_1w", "ohlcv_4h"]
