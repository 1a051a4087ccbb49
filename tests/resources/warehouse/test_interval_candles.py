"""Candles of other intervals on their way: asked for in pages, told from late ones, stored."""

import hashlib
import io
import threading
import zipfile
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import psycopg
import pytest
from interval_support import assert_fits, frame_of
from support import STAMPS, candles

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import parse, raw_kline
from autonama_dagster.errors import SchemaError
from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import ReplayServer
from resources.exchange.archive.archive import ArchiveExchange
from resources.exchange.base import Klines, KlinesRequest, to_ms
from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.feed import fetch_candles
from resources.exchange.memo import MemoExchange
from resources.warehouse.candle_queries import any_source
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

HOURS = [10.0 + n for n in range(48)]
TWO_DAYS = Scope(("AAA",), date(2024, 1, 1), date(2024, 1, 2))
HOUR = timedelta(hours=1)


def klines(server):
    return [r for r in server.requests if r.path.endswith("/klines")]


@pytest.fixture(scope="module")
def replay(market_data):
    market = RecordedMarket(market_data / "klines")
    with ReplayServer(market, now="2023-12-30T00:05:00Z") as server:
        yield server


@pytest.fixture
def exchange(replay):
    replay.clear_requests()
    with closing(MemoExchange(BinanceExchange(replay.url))) as opened:
        yield opened


def made(*of):
    """Candles as they are made from others: without strings."""
    return frame_of(*of).drop(columns="raw")


def test_a_range_of_hours_is_one_series_of_full_pages(exchange, replay):
    fetched = fetch_candles(exchange, ["BTCUSDT"], "1h", date(2023, 9, 1), date(2023, 12, 29))
    assert len(klines(replay)) == 3  # 2,880 hours
    assert_fits("ohlcv_1h", fetched.frame)
    opened = fetched.frame["open_time"]
    assert len(opened) == 120 * 24
    assert opened.diff().dropna().eq(HOUR).all()
    assert opened.iloc[-1] == pd.Timestamp("2023-12-29 23:00", tz="UTC")
    (log,) = fetched.log.to_dict("records")
    assert (log["interval"], log["outcome"], log["candles"]) == ("1h", "ok", 2880)
    again = fetch_candles(exchange, ["BTCUSDT"], "1h", date(2023, 12, 1), date(2023, 12, 2))
    assert len(klines(replay)) == 3  # from memory
    part = fetched.frame[fetched.frame["date"].between("2023-12-01", "2023-12-02")]
    pd.testing.assert_frame_equal(
        again.frame.drop(columns="fetched_at"),
        part.drop(columns="fetched_at").reset_index(drop=True),
    )


def test_an_outage_across_pages_loses_nothing(exchange):
    fetched = fetch_candles(exchange, ["BTCUSDT"], "1h", date(2018, 1, 1), date(2018, 7, 31))
    present = fetched.frame.groupby("date").size()
    assert present["2018-02-08"] + present["2018-02-09"] == 48 - 33
    assert present["2018-06-26"] == 24 - 10
    assert fetched.frame["open_time"].is_monotonic_increasing
    assert fetched.log["candles"].tolist() == [len(fetched.frame)]


def test_quarters_of_an_hour_come_from_memory_only_if_all_had_closed(market_data):
    market = RecordedMarket(market_data / "klines")
    with (
        ReplayServer(market, now="2022-07-01T12:07:00Z") as server,
        closing(MemoExchange(BinanceExchange(server.url))) as exchange,
    ):
        start, end = datetime(2022, 7, 1, tzinfo=UTC), datetime(2022, 7, 2, tzinfo=UTC)
        requests = [KlinesRequest("SOLUSDT", "15m", start, end)]
        first = exchange.klines_many(requests)["SOLUSDT"]
        assert len(first.rows) == 12 * 4
        assert first.rows[-1].open_time == to_ms(datetime(2022, 7, 1, 11, 45, tzinfo=UTC))
        server.clock.set("2022-07-01T12:15:00Z")
        assert len(exchange.klines_many(requests)["SOLUSDT"].rows) == 12 * 4 + 1


def test_a_day_that_has_not_closed_gives_no_hour(market_data):
    market = RecordedMarket(market_data / "klines")
    with (
        ReplayServer(market, now="2023-06-02T17:30:00Z") as server,
        closing(BinanceExchange(server.url)) as exchange,
    ):
        fetched = fetch_candles(exchange, ["BTCUSDT"], "1h", date(2023, 6, 1), date(2023, 6, 2))
    assert fetched.frame["date"].unique().tolist() == [pd.Timestamp("2023-06-01")]
    assert fetched.log["to_date"].tolist() == [pd.Timestamp("2023-06-01")]


def test_the_archive_gives_the_hours_of_several_months(tmp_path, market_data):
    raw = market_data / "archive_raw" / "spot_1h_no_header_us_since_2025"
    folder = tmp_path / "data" / "spot" / "monthly" / "klines" / "BTCUSDT" / "1h"
    folder.mkdir(parents=True)
    for month in ("2024-11", "2024-12", "2025-01", "2025-02"):
        name = f"BTCUSDT-1h-{month}"
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"{name}.csv", (raw / f"{name}.csv").read_bytes())
        (folder / f"{name}.zip").write_bytes(packed.getvalue())
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        (folder / f"{name}.zip.CHECKSUM").write_text(f"{digest}  {name}.zip\n")
    now = datetime(2025, 4, 1, tzinfo=UTC)
    with ArchiveExchange(tmp_path, clock=lambda: now) as exchange:
        fetched = fetch_candles(exchange, ["BTCUSDT"], "1h", date(2024, 11, 1), date(2025, 2, 28))
    assert len(fetched.frame) == 120 * 24
    assert fetched.frame["open_time"].diff().dropna().eq(HOUR).all()
    assert fetched.rejected.empty


def test_a_candle_off_the_grid_is_bad():
    hours = INTERVALS["1h"]
    frame, bad = parse((), "AAA", hours)
    assert list(frame.columns)[:3] == ["symbol", "date", "open_time"]
    assert bad.empty
    row = ["1", "2", "0.5", "1.5", "3"]
    opened = 1_704_067_200_000 + 60_000
    line = raw_kline([opened, *row, opened + 3_599_999, "4", 1, "1", "1", "0"])
    good, bad = parse([line], "AAA", hours)
    assert good.empty
    assert bad["reason"].tolist() == [f"open time {opened} is not on the 1h grid"]


def test_hours_survive_a_round_trip_and_are_read_by_day(warehouse):
    frame = frame_of("AAA", "1h", "2024-01-01", HOURS)
    written = warehouse.write("ohlcv_1h", Batch(frame), TWO_DAYS, STAMPS)
    assert (written.rows, written.first, written.last) == (48, TWO_DAYS.first, TWO_DAYS.last)
    day = Scope(("AAA",), date(2024, 1, 2), date(2024, 1, 2))
    found = warehouse.read("ohlcv_1h", day)
    expected = frame[24:].reset_index(drop=True)
    found = found.drop(columns="run_id")
    pd.testing.assert_frame_equal(found, expected[found.columns])
    hours = Candles.by_symbol(found, INTERVALS["1h"])["AAA"]
    assert hours.day[0] == (date(2024, 1, 2) - date(1970, 1, 1)).days * 24
    assert hours.interval.name == "1h"


def test_a_week_is_read_by_its_sunday(warehouse):
    week = made("AAA", "1d", "2024-01-07", [10.0]).assign(
        open_time=pd.Series([pd.Timestamp("2024-01-01", tz="UTC").as_unit("us")])
    )
    sunday = Scope(("AAA",), date(2024, 1, 7), date(2024, 1, 7))
    warehouse.write("ohlcv_1w", Batch(week), sunday, STAMPS)
    assert len(warehouse.read("ohlcv_1w", sunday)) == 1
    for day in (6, 8):
        other = Scope(("AAA",), date(2024, 1, day), date(2024, 1, day))
        assert warehouse.read("ohlcv_1w", other).empty


def test_an_hour_the_exchange_forgot_stays_and_one_that_differs_is_replaced(warehouse):
    frame = frame_of("AAA", "1h", "2024-01-01", HOURS)
    warehouse.write("ohlcv_1h", Batch(frame), TWO_DAYS, STAMPS)
    changed = frame.iloc[[5]].assign(close=5.5, row_hash="f" * 64)
    later = STAMPS | {"run_id": "run-2"}
    warehouse.write("ohlcv_1h", Batch(pd.concat([changed, frame.iloc[7:9]])), TWO_DAYS, later)
    found = warehouse.read("ohlcv_1h")
    assert len(found) == 48
    assert found["close"][5] == 5.5
    assert found["run_id"].eq("run-2").tolist() == [n == 5 for n in range(48)]


def test_rows_beside_the_scope_do_not_hide_those_within(warehouse):
    """A scope that holds rows is merged into, however few they are and whatever lies around it."""
    frame = frame_of("AAA", "1h", "2024-01-01", HOURS)
    warehouse.write("ohlcv_1h", Batch(frame.iloc[[47]]), TWO_DAYS, STAMPS)
    warehouse.write("ohlcv_1h", Batch(frame), TWO_DAYS, STAMPS)
    assert len(warehouse.read("ohlcv_1h")) == 48
    third = Scope(("AAA",), date(2024, 1, 3), date(2024, 1, 3))
    more = frame_of("AAA", "1h", "2024-01-03", HOURS[:24])
    warehouse.write("ohlcv_1h", Batch(more), third, STAMPS)
    assert len(warehouse.read("ohlcv_1h")) == 72


def test_two_first_writers_of_the_same_hours_end_with_one_result(warehouse):
    frame = frame_of("AAA", "1h", "2024-01-01", HOURS)
    start, failures = threading.Barrier(4), []

    def write(number):
        rows = frame.assign(row_hash=f"{number}" * 64, close=HOURS)
        try:
            start.wait()
            warehouse.write("ohlcv_1h", Batch(rows), TWO_DAYS, STAMPS)
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        finally:
            warehouse.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    found = warehouse.read("ohlcv_1h")
    assert len(found) == 48
    assert len(set(found["row_hash"])) == 1


def test_a_foreign_row_of_the_same_key_is_never_doubled(warehouse, database):
    """The direct path relies on the key, not on trust: a clash ends in an error."""
    frame = frame_of("AAA", "1h", "2024-01-01", HOURS[:2])
    warehouse.write("ohlcv_1h", Batch(frame), TWO_DAYS, STAMPS)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE trading.ohlcv_1h SET date = '2023-01-01'")
    with pytest.raises(SchemaError, match="duplicate key"):
        warehouse.write("ohlcv_1h", Batch(frame), TWO_DAYS, STAMPS)
    assert len(warehouse.read("ohlcv_1h")) == 2


def test_the_source_of_any_interval_is_known(warehouse):
    assert any_source(warehouse) is None
    frame = frame_of("AAA", "15m", "2024-01-01", HOURS).assign(source="synthetic")
    warehouse.write("ohlcv_15m", Batch(frame.astype({"source": "str"})), TWO_DAYS, STAMPS)
    assert any_source(warehouse) == "synthetic"


def test_the_view_holds_every_interval(warehouse, database):
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], ["2024-01-01"])), TWO_DAYS, STAMPS)
    for name in ("15m", "1h", "4h"):
        make = made if name == "4h" else frame_of
        frame = make("AAA", name, "2024-01-01 04:00", [10.0])
        warehouse.write(f"ohlcv_{name}", Batch(frame), TWO_DAYS, STAMPS)
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            'SELECT "interval", extract(hour FROM "timestamp" AT TIME ZONE \'UTC\') '
            "FROM trading.ohlc_data ORDER BY 1"
        ).fetchall()
    assert rows == [("15m", 4), ("1d", 0), ("1h", 4), ("4h", 4)]


@pytest.mark.parametrize(("hour", "outcomes"), [(0, ["ok", "failed"]), (2, ["ok"])])
def test_the_last_hour_of_a_day_may_be_late(hour, outcomes):
    class Late:
        name = "binance"

        def server_time(self):
            return datetime(2024, 1, 3, hour, 5, tzinfo=UTC)

        def klines_many(self, requests, on_progress=None):  # noqa: ARG002
            (request,) = requests
            first = request.start_ms
            rows = tuple(
                raw_kline([t, "1", "2", "0.5", "1.5", "3", t + 3_599_999, "4", 1, "1", "1", "0"])
                for t in range(first, request.end_ms - 3_600_000, 3_600_000)
            )
            answer = Klines(
                "AAA", "1h", request.start, request.end, rows, "binance", self.server_time()
            )
            return {"AAA": answer}

    fetched = fetch_candles(Late(), ["AAA"], "1h", date(2024, 1, 1), date(2024, 1, 2))
    assert fetched.log["outcome"].tolist() == outcomes
    assert len(fetched.frame) == 47
