"""However a day is computed, twice, alone or in a range, its rows are the same."""

from datetime import date, timedelta

import pandas as pd
import pytest
from projects import project
from servers import synthetic_market

from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.schemas.partitions import RANGE_END_TAG, RANGE_START_TAG

pytestmark = pytest.mark.long

FIRST, DAYS = date(2024, 3, 7), 4
LAST = FIRST + timedelta(days=DAYS - 1)
SETTINGS = {"start_date": str(FIRST), "universe_size": "12"}
ANALYTIC = (
    "universe", "indicators", "regression_bands", "signals", "correlation_matrix",
    "asset_analytics", "alerts", "analysis_summary", "ohlcv_1d",
)  # fmt: skip


@pytest.fixture(scope="module")
def exchange():
    with ReplayServer(synthetic_market(5), now="2024-03-11T00:05:00Z") as server:
        yield server


def execute(opened, job, start, end, config=None):
    result = (
        opened.scanner()
        ._defs.resolve_job_def(job)
        .execute_in_process(
            instance=opened.instance,
            run_config=config or {},
            tags={RANGE_START_TAG: start, RANGE_END_TAG: end},
        )
    )
    assert result.success


def compute(opened, spans):
    """All tables for FIRST..LAST, in runs over the given spans of days."""
    for first, last in spans:
        execute(opened, "universe_job", str(first), str(last))
    universe = opened.warehouse.read("universe")
    members = sorted(universe.loc[universe["is_member"], "symbol"].unique())
    registered = opened.instance.get_dynamic_partitions("symbol")
    assert set(registered) == set(members), "the days' members are registered"
    members = registered
    execute(opened, "history_job", members[0], members[-1])
    for first, last in spans:
        execute(opened, "symbols_job", f"{first}|{members[0]}", f"{last}|{members[-1]}")
        execute(opened, "summary_job", str(first), str(last))
    tables = opened.tables()
    tables["ohlcv_1d"] = tables["ohlcv_1d"].drop(columns="fetched_at")
    return {name: tables[name] for name in ANALYTIC}


@pytest.fixture(scope="module")
def ranged(exchange, postgres, tmp_path_factory):
    """A project that has made all days in one range."""
    with project(tmp_path_factory.mktemp("range"), postgres, exchange.url, **SETTINGS) as opened:
        opened.made = compute(opened, [(FIRST, LAST)])
        yield opened


@pytest.fixture
def in_one_range(ranged):
    return ranged.made


def test_the_range_holds_every_day_and_signals_of_each_kind(in_one_range):
    signals = in_one_range["signals"]
    assert signals["date"].nunique() == DAYS
    assert len(set(signals["signal"])) > 1
    assert len(in_one_range["analysis_summary"]) == DAYS
    assert in_one_range["ohlcv_1d"]["source"].eq("synthetic").all()


def test_single_days_equal_one_range(exchange, postgres, tmp_path_factory, in_one_range):
    days = [FIRST + timedelta(days=n) for n in range(DAYS)]
    with project(tmp_path_factory.mktemp("days"), postgres, exchange.url, **SETTINGS) as opened:
        alone = compute(opened, [(d, d) for d in days])
    for name in ANALYTIC:
        pd.testing.assert_frame_equal(alone[name], in_one_range[name], check_exact=True, obj=name)


def test_the_pipeline_twice_gives_identical_tables(ranged, in_one_range, monkeypatch):
    ranged.enter(monkeypatch)
    twice = compute(ranged, [(FIRST, LAST)])
    for name in ANALYTIC:
        pd.testing.assert_frame_equal(twice[name], in_one_range[name], check_exact=True, obj=name)
