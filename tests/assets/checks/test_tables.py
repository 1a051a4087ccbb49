from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pandas as pd
import psycopg
import pytest
from support import NOW, STAMPS, bands, candles

from assets.checks.tables import (
    PARTITION_BUDGET,
    budget_check,
    continuity_check,
    freshness_check,
    schema_check,
)
from autonama_dagster.schemas.registry import table
from autonama_dagster.settings import load_settings
from resources.postgres.urls import libpq_url
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

TODAY = datetime(2024, 1, 6, 0, 5, tzinfo=UTC)


class Clock:
    def server_time(self):
        return TODAY


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions("symbol", ["AAA", "BBB"])
        yield made


def evaluate(check, instance=None, **resources):
    context = dg.build_asset_check_context(instance=instance)
    function = check.op.compute_fn.decorated_fn
    wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
    given = {name: resources[name] for name in wanted if name != "context"}
    return function(context, **given) if "context" in wanted else function(**given)


def store(warehouse, symbols, days, **extra):
    scope = Scope(tuple(symbols), date(2023, 1, 1), date(2024, 12, 31))
    warehouse.write("ohlcv_1d", Batch(candles(symbols, days), **extra), scope, STAMPS)


def test_the_schema_check_is_red_when_a_stored_row_breaks_the_model(warehouse, database):
    scope = Scope(("AAA",), date(2024, 1, 1), date(2024, 1, 1))
    warehouse.write("regression_bands", Batch(bands(["AAA"], ["2024-01-01"])), scope, STAMPS)
    check = schema_check("regression_bands", table("regression_bands"))
    assert evaluate(check, warehouse=warehouse).passed
    with psycopg.connect(libpq_url(database)) as connection:
        connection.execute("UPDATE trading.regression_bands SET status = 'NONSENSE'")
    result = evaluate(check, warehouse=warehouse)
    assert not result.passed
    assert "status" in result.metadata["bad"].value


def test_the_freshness_check_is_red_when_a_trading_symbol_lacks_the_latest_day(warehouse, instance):
    store(warehouse, ["AAA"], ["2024-01-05"])
    store(warehouse, ["BBB"], ["2024-01-04"])
    given = {"warehouse": warehouse, "binance": Clock()}
    result = evaluate(freshness_check(), instance, **given)
    assert not result.passed
    assert result.metadata["bad"].value == "BBB"
    store(warehouse, ["BBB"], ["2024-01-05"])
    assert evaluate(freshness_check(), instance, **given).passed


def test_a_symbol_without_a_candle_for_30_days_counts_as_delisted(warehouse, instance):
    store(warehouse, ["AAA"], ["2024-01-05"])
    store(warehouse, ["BBB"], ["2023-12-01"])
    result = evaluate(freshness_check(), instance, warehouse=warehouse, binance=Clock())
    assert result.passed
    assert result.metadata["delisted"].value == 1


def test_the_continuity_check_is_red_for_a_gap_nobody_asked_for(warehouse, instance):
    store(warehouse, ["AAA"], ["2024-01-01", "2024-01-05"])
    result = evaluate(continuity_check(), instance, warehouse=warehouse)
    assert not result.passed
    assert result.metadata["bad"].value == "AAA 2024-01-02 .. 2024-01-04"
    log = pd.DataFrame(
        {
            "exchange": ["binance"] * 2,
            "symbol": ["AAA"] * 2,
            "interval": ["1d"] * 2,
            "from_date": pd.to_datetime(["2024-01-01", "2024-01-04"]).astype("datetime64[s]"),
            "to_date": pd.to_datetime(["2024-01-03", "2024-01-05"]).astype("datetime64[s]"),
            "asked_at": [NOW] * 2,
            "outcome": ["ok"] * 2,
            "candles": [1, 1],
            "message": pd.Series([None, None], dtype="str"),
            "fault": pd.Series([None, None], dtype="str"),
            "fault_date": pd.Series([pd.NaT, pd.NaT], dtype="datetime64[s]"),
            "origins": pd.Series([None, None], dtype="str"),
        }
    )
    store(warehouse, ["AAA"], ["2024-01-01", "2024-01-05"], fetches=log)
    assert evaluate(continuity_check(), instance, warehouse=warehouse).passed


def test_the_budget_check_is_red_beyond_the_budget(monkeypatch, instance):
    monkeypatch.setenv("AUTONAMA_START_DATE", str(datetime.now(UTC).date() - timedelta(days=400)))
    settings = load_settings()
    assert evaluate(budget_check(), instance, settings=settings).passed
    many = [f"S{i}" for i in range(PARTITION_BUDGET // 400)]
    instance.add_dynamic_partitions("symbol", many)
    assert not evaluate(budget_check(), instance, settings=settings).passed
