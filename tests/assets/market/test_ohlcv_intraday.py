"""The stages of other intervals as Dagster runs them, on recorded candles around an outage."""

from contextlib import closing
from datetime import UTC, date, datetime

import dagster as dg
import pandas as pd
import pytest

from assets.market.ohlcv import ohlcv_1d
from assets.market.ohlcv_intraday import ohlcv_1h, ohlcv_1w, ohlcv_4h, ohlcv_15m
from assets.partitions import build_partitions, register
from autonama_dagster.orchestration.jobs import JOBS, range_tags
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.services.lineage.staleness import stale_after
from autonama_dagster.settings import Settings
from resources.exchange.binance.spot import BinanceExchange
from resources.io_manager import WarehouseIOManager
from resources.warehouse.ledger import latest_day
from resources.warehouse.revisions import Change
from resources.warehouse.statements import Scope

STAGES = (ohlcv_1d, ohlcv_15m, ohlcv_1h, ohlcv_4h, ohlcv_1w)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "LTCUSDT", "SOLUSDT")
SETTINGS = Settings(start_date=date(2018, 6, 1), intraday_symbols=("BTCUSDT", "LTCUSDT"))
OUTAGE = date(2018, 6, 26)


@pytest.fixture(scope="module")
def server(market_data):
    with ReplayServer(RecordedMarket(market_data / "klines"), now="2018-07-03T12:00Z") as found:
        yield found


@pytest.fixture
def fill(server, warehouse):
    """Materialise assets for days and symbols in one run of a range."""
    assets = [s.build(build_partitions(SETTINGS.start_date)) for s in STAGES]

    with dg.instance_for_test() as instance, closing(BinanceExchange(server.url)) as exchange:
        register(instance, SYMBOLS)

        def run(first, last, *names, settings=SETTINGS):
            server.clear_requests()
            defs = dg.Definitions(
                assets=assets,
                jobs=[dg.define_asset_job("all", executor_def=dg.in_process_executor)],
                resources={
                    "settings": settings,
                    "warehouse": warehouse,
                    "binance": exchange,
                    "io_manager": WarehouseIOManager(warehouse),
                },
            )
            result = defs.resolve_job_def("all").execute_in_process(
                instance=instance,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags=range_tags(Step("intraday_job", first, last, SYMBOLS)),
                asset_selection=[dg.AssetKey(name) for name in names],
            )
            assert result.success

        yield run


def asked(server):
    found = (r.params for r in server.requests if r.path.endswith("/klines"))
    return sorted((p["symbol"], p["interval"]) for p in found)


def test_the_job_holds_them_all_and_those_that_ask_wait_for_each_other():
    assert JOBS["intraday_job"][1] == ("ohlcv_15m", "ohlcv_1h", "ohlcv_4h", "ohlcv_1w")
    pools = {s.name: s.exchange for s in STAGES}
    assert pools == dict.fromkeys(("ohlcv_1d", "ohlcv_15m", "ohlcv_1h"), "binance") | {
        "ohlcv_4h": None, "ohlcv_1w": None,
    }  # fmt: skip


def test_chosen_symbols_have_hours_and_others_neither_rows_nor_calls(fill, server, warehouse):
    fill(date(2018, 6, 25), OUTAGE, "ohlcv_1h", "ohlcv_4h")
    assert asked(server) == [("BTCUSDT", "1h"), ("LTCUSDT", "1h")]
    hours = warehouse.read("ohlcv_1h")
    counts = hours.groupby(["symbol", "date"]).size()
    assert counts.tolist() == [24, 14, 24, 14]
    log = warehouse.read("fetch_log")
    assert set(log["symbol"]) == {"BTCUSDT", "LTCUSDT"}
    assert log[["interval", "outcome"]].drop_duplicates().to_numpy().tolist() == [["1h", "ok"]]
    fours = warehouse.read("ohlcv_4h", Scope(("BTCUSDT",), OUTAGE, OUTAGE))
    day = hours[(hours["symbol"] == "BTCUSDT") & (hours["date"] == pd.Timestamp(OUTAGE))]
    assert fours["open"].iloc[0] == day["open"].iloc[0]
    assert fours["close"].iloc[-1] == day["close"].iloc[-1]
    assert fours["volume"].sum() == pytest.approx(day["volume"].sum(), rel=1e-12)
    assert set(fours["open_time"]) == set(day["open_time"].dt.floor("4h"))


def test_nothing_that_forms_is_stored_and_what_closes_later_is_added(fill, server, warehouse):
    server.clock.set("2018-06-26T17:30:00Z")
    fill(date(2018, 6, 25), OUTAGE, "ohlcv_1h", "ohlcv_4h")
    for name in ("ohlcv_1h", "ohlcv_4h"):
        assert latest_day(warehouse, name) == date(2018, 6, 25)
    server.clock.set("2018-07-03T12:00:00Z")
    fill(date(2018, 6, 25), OUTAGE, "ohlcv_1h", "ohlcv_4h")
    for name in ("ohlcv_1h", "ohlcv_4h"):
        assert latest_day(warehouse, name) == OUTAGE


def test_hours_not_asked_for_make_no_four_hours(fill, warehouse):
    fill(date(2018, 6, 25), date(2018, 6, 27), "ohlcv_4h")
    assert warehouse.read("ohlcv_4h").empty
    fill(date(2018, 6, 25), date(2018, 6, 25), "ohlcv_1h")
    fill(date(2018, 6, 25), date(2018, 6, 27), "ohlcv_4h")
    assert set(warehouse.read("ohlcv_4h")["date"]) == {pd.Timestamp("2018-06-25")}


def test_a_week_exists_once_its_sunday_is_stored_and_all_its_days_are_known(fill, warehouse):
    fill(date(2018, 6, 13), date(2018, 6, 23), "ohlcv_1d", "ohlcv_1w")
    assert warehouse.read("ohlcv_1w").empty  # the first week lacks two days, the second its Sunday
    fill(date(2018, 6, 24), date(2018, 6, 24), "ohlcv_1d", "ohlcv_1w")
    weeks = warehouse.read("ohlcv_1w")
    assert weeks["symbol"].tolist() == ["BTCUSDT", "LTCUSDT"]
    assert set(weeks["date"]) == {pd.Timestamp("2018-06-24")}
    assert set(weeks["open_time"]) == {pd.Timestamp("2018-06-18", tz="UTC")}
    days = warehouse.read("ohlcv_1d", Scope(("BTCUSDT",), date(2018, 6, 18), date(2018, 6, 24)))
    assert weeks["high"][0] == days["high"].max()
    assert weeks["volume"][0] == pytest.approx(days["volume"].sum(), rel=1e-12)


def test_a_second_run_changes_nothing(fill, warehouse):
    names = ("ohlcv_1d", "ohlcv_1w", "ohlcv_1h", "ohlcv_4h")

    def all_of_them():
        fill(date(2018, 6, 18), date(2018, 6, 24), *names[:2])
        fill(OUTAGE, OUTAGE, *names[2:])
        return {name: warehouse.read(name) for name in names}

    before, after = all_of_them(), all_of_them()
    for name in names:
        assert len(before[name])
        pd.testing.assert_frame_equal(after[name], before[name])


def test_quarters_of_an_hour_are_those_of_the_day(fill, server, warehouse):
    server.clock.set("2022-07-01T00:10:00Z")
    solana = SETTINGS.model_copy(update={"intraday_symbols": ("SOLUSDT",)})
    fill(date(2022, 6, 29), date(2022, 6, 30), "ohlcv_15m", settings=solana)
    server.clock.set("2018-07-03T12:00:00Z")
    assert asked(server) == [("SOLUSDT", "15m")]
    quarters = warehouse.read("ohlcv_15m")
    assert quarters.groupby("date").size().tolist() == [96, 96]
    assert quarters["open_time"].iloc[-1] == pd.Timestamp("2022-06-30 23:45", tz="UTC")
    assert warehouse.read("fetch_log")["interval"].tolist() == ["15m"]


def test_without_chosen_symbols_nothing_is_asked(fill, server, warehouse):
    nobody = SETTINGS.model_copy(update={"intraday_symbols": ()})
    fill(OUTAGE, OUTAGE, "ohlcv_1h", "ohlcv_4h", "ohlcv_1w", settings=nobody)
    assert asked(server) == []
    assert warehouse.read("ohlcv_1h").empty


def test_a_changed_candle_makes_exactly_the_longer_one_that_holds_it_stale(fill, warehouse):
    fill(date(2018, 6, 11), date(2018, 7, 1), "ohlcv_1d", "ohlcv_1w")
    fill(date(2018, 6, 20), date(2018, 6, 21), "ohlcv_1h", "ohlcv_4h")

    def stale_after_change(name, day, opens=None):
        """Change the candle's hash, and say what that made stale."""
        where = f"symbol = 'BTCUSDT' AND date = '{day}'"
        where += f" AND open_time = '{opens}'" if opens else ""
        with warehouse.transaction() as cursor:
            cursor.execute(f"UPDATE trading.{name} SET row_hash = repeat('b', 64) WHERE {where}")
        change = Change(name, "BTCUSDT", day, opens, datetime.now(UTC), ("a", "b"), {})
        rows = stale_after(warehouse, SETTINGS, [change]).rows
        return {
            table: list(zip(keys["symbol"], keys["open_time"].astype(str), strict=True))
            for table, keys in rows.items()
        }

    assert stale_after_change("ohlcv_1d", date(2018, 6, 20)) == {
        "ohlcv_1w": [("BTCUSDT", "2018-06-18 00:00:00+00:00")]
    }
    assert stale_after_change(
        "ohlcv_1h", date(2018, 6, 20), datetime(2018, 6, 20, 9, tzinfo=UTC)
    ) == {"ohlcv_4h": [("BTCUSDT", "2018-06-20 08:00:00+00:00")]}
