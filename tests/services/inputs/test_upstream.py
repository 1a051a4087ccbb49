"""Assets that somebody materialises in the UI in any order: each works, or names what it needs."""

import re

import dagster as dg
import pytest
from scan_support import DAY, START, opened_daemon

from assets.partitions import register
from autonama_dagster.errors import MissingRowsError
from autonama_dagster.orchestration.execution import execute
from autonama_dagster.orchestration.jobs import JOBS, range_tags
from autonama_dagster.orchestration.planner import Step

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
CALLS = ("universe", "ohlcv_1d_history", "ohlcv_1d")  # the exchange
WINDOWS = ("data_quality", "indicators", "regression_bands")  # made from candles: there may be none
OTHERS = ("ohlcv_15m", "ohlcv_1h", "ohlcv_4h", "ohlcv_1w")
NEEDS = {
    "signals": ["regression_bands", "indicators", "data_quality"],
    "asset_analytics": ["signals", "indicators", "regression_bands"],
    "alerts": ["signals", "indicators", "regression_bands"],
    "correlation_matrix": ["universe"],
    "analysis_summary": ["correlation_matrix"],
}
DECISION = ("signals", "asset_analytics", "alerts")
JOB_OF = {asset: job for job, (_, assets) in JOBS.items() for asset in assets}


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    with opened_daemon(tmp_path_factory.mktemp("upstream"), postgres) as found:
        yield found


@pytest.fixture
def daemon(opened, monkeypatch):
    """An empty project, its symbols registered."""
    opened.project.enter(monkeypatch)
    register(opened.clear().instance, SYMBOLS)
    return opened


def materialise(daemon, *assets, first=START, last=DAY, symbols=SYMBOLS):
    """One run of the assets, as the UI asks for it."""
    job = JOB_OF[assets[0]]
    step = Step(job, first, last, symbols, assets=assets)
    execute(
        daemon.defs.resolve_job_def(job),
        daemon.instance,
        "run",
        config={},
        tags=range_tags(step),
        assets=assets,
    )


def needs(daemon, *assets, **how):
    """What the run's error says to materialise first."""
    with pytest.raises(MissingRowsError) as raised:
        materialise(daemon, *assets, **how)
    assert "\n" not in str(raised.value)
    found = re.fullmatch(
        r"run: \w+: no row of [\w ]+?(?: for \w+)? on 2023-12-\d\d[\w ,-]*; "
        r"materialise ([\w, ]+) first \(run [\w-]+\)",
        str(raised.value),
    )
    assert found, str(raised.value)
    return found[1].split(", ")


def statuses(daemon, name):
    return set(daemon.project.warehouse.read(name)["status"])


def delete(daemon, name, where):
    with daemon.project.warehouse.transaction() as cursor:
        cursor.execute(f"DELETE FROM trading.{name} WHERE {where}")


@pytest.mark.parametrize("asset", [*CALLS, *WINDOWS, *OTHERS])
def test_alone_in_an_empty_project_it_works(daemon, asset):
    materialise(daemon, asset)
    if asset == "regression_bands":
        assert statuses(daemon, asset) == {"NO_DATA"}
        event = daemon.instance.get_latest_materialization_event(dg.AssetKey(asset))
        said = event.asset_materialization.metadata["unknown_windows"]
        assert said.value == len(daemon.project.warehouse.read(asset)), "nobody fetched them"


@pytest.mark.parametrize("asset", NEEDS)
def test_alone_in_an_empty_project_it_says_what_comes_first(daemon, asset):
    assert needs(daemon, asset) == NEEDS[asset]


def test_no_asset_is_left_out():
    assert {*CALLS, *WINDOWS, *OTHERS, *NEEDS} == set(JOB_OF)


def test_the_group_of_decisions_says_what_comes_first_and_then_works(daemon):
    assert needs(daemon, *DECISION) == NEEDS["signals"]
    materialise(daemon, *WINDOWS, first=DAY)
    materialise(daemon, *DECISION, first=DAY)
    assert {frozenset(statuses(daemon, name)) for name in DECISION} == {frozenset({"NO_DATA"})}


def test_doing_as_it_says_leads_to_the_summary(daemon):
    materialise(daemon, "ohlcv_1d_history")
    materialise(daemon, "ohlcv_1d")
    wanted = ["analysis_summary"]
    while wanted:
        try:
            materialise(daemon, wanted[-1], first=DAY)
            wanted.pop()
        except MissingRowsError as error:
            first = re.search(r"materialise ([\w, ]+) first", str(error))[1].split(", ")
            assert not set(first) & set(wanted), "it does not lead in circles"
            wanted += first
    summaries = daemon.project.warehouse.read("analysis_summary")
    assert list(summaries["total_assets_analyzed"]) == [3]


def test_half_filled_it_names_a_day_that_is_missing(daemon):
    daemon.scan(DAY)
    for asset, names in NEEDS.items():
        assert set(needs(daemon, asset)) <= set(names), asset
    delete(daemon, "regression_bands", "symbol = 'ETHUSDT'")
    with pytest.raises(MissingRowsError, match=f"regression_bands for ETHUSDT on {DAY}; mater"):
        materialise(daemon, "signals", first=DAY)
    assert len(daemon.project.warehouse.read("signals")) == 3, "what was stored stays"
    materialise(daemon, "signals", first=DAY, symbols=("BTCUSDT",))
    delete(daemon, "signals", "symbol = 'ETHUSDT'")
    with pytest.raises(MissingRowsError, match=f"no row of signals for ETHUSDT on {DAY}; mater"):
        materialise(daemon, "analysis_summary", first=DAY)
    # An indicator is needed where there is a candle, and nowhere else.
    delete(daemon, "indicators", "symbol = 'SOLUSDT'")
    assert needs(daemon, "signals", first=DAY, symbols=("SOLUSDT",)) == ["indicators"]


def test_rows_in_the_quarantine_are_not_waited_for(daemon):
    materialise(daemon, *WINDOWS, first=DAY)
    assert daemon.project.warehouse.read("indicators").empty
    delete(daemon, "regression_bands", "symbol = 'ETHUSDT'")
    with daemon.project.warehouse.transaction() as cursor:
        cursor.execute(
            "INSERT INTO trading.quarantine "
            "(table_name, symbol, date, reason, raw, run_id, quarantined_at) "
            f"VALUES ('regression_bands', 'ETHUSDT', '{DAY}', 'x', '{{}}', 'r', now())"
        )
    materialise(daemon, *DECISION, first=DAY)
    assert set(daemon.project.warehouse.read("alerts")["symbol"]) == {"BTCUSDT", "SOLUSDT"}
