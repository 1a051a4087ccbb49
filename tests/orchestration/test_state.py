"""Of a scanned day exactly what lacks is made, and all tables are then as before."""

import pandas as pd
import pytest
from scan_support import DAY, START, opened_project

from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.orchestration.completeness import AT_ONCE
from autonama_dagster.orchestration.planner import next_steps
from autonama_dagster.orchestration.state import planned_stages, read_made, read_state
from resources.warehouse import ledger

BY_SYMBOL = ("data_quality", "indicators", "regression_bands", "signals")
OF_SIGNAL = ("asset_analytics", "alerts")
SUMMARIES = ("correlation_matrix", "analysis_summary")
DAMAGED = ("universe", *BY_SYMBOL, *OF_SIGNAL, *SUMMARIES)
ETH = "symbol = 'ETHUSDT'"
OLD = "code_version = 'of before'"


@pytest.fixture(scope="module")
def scanned(postgres, tmp_path_factory):
    with opened_project(tmp_path_factory.mktemp("state"), postgres) as (project, _):
        project.scanner().scan(DAY)
        damage(project, *(f"CREATE TABLE saved_{t} AS TABLE trading.{t}" for t in DAMAGED))
        yield project


@pytest.fixture
def project(scanned, monkeypatch):
    """A scanned day, which it is again after the test."""
    scanned.enter(monkeypatch)
    yield scanned
    for name in DAMAGED:
        restore = f"INSERT INTO trading.{name} TABLE saved_{name}"
        damage(scanned, f"DELETE FROM trading.{name}", restore)


def plan(project):
    """Stages and symbols of the steps that the day needs."""
    settings = project.settings
    state = read_state(DAY, settings, project.warehouse, project.instance)
    steps = next_steps(
        DAY, state, planned_stages(settings),
        start_date=settings.start_date, lookback=settings.lookback,
    )  # fmt: skip
    return [(s.assets, s.symbols) for s in steps]


def damage(project, *statements):
    with project.warehouse.transaction() as cursor:
        for statement in statements:
            cursor.execute(statement)


def delete(name, where="true"):
    return f"DELETE FROM trading.{name} WHERE {where}"


def outdate(name, where="true"):
    return f"UPDATE trading.{name} SET {OLD} WHERE {where}"


ONE = ("ETHUSDT",)
FOLLOWING = ("signals", *OF_SIGNAL)


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        ([delete("alerts", ETH)], [(("alerts",), ONE)]),
        ([outdate("asset_analytics", ETH)], [(("asset_analytics",), ONE)]),
        ([delete("analysis_summary")], [(("analysis_summary",), ())]),
        ([delete("correlation_matrix")], [(None, ())]),
        ([outdate("correlation_matrix")], [(None, ())]),
        (
            [delete("data_quality", ETH)],
            [(("data_quality", *FOLLOWING), ONE), (None, ())],
        ),
        (
            [outdate("indicators", ETH)],
            [(("indicators", *FOLLOWING), ONE), (None, ())],
        ),
        # It vouches for what it is made from: a run may have been killed before it.
        (
            [delete("signals", ETH)],
            [((*BY_SYMBOL, *OF_SIGNAL), ONE), (None, ())],
        ),
        (
            [f"UPDATE trading.signals SET universe_rank = 77 WHERE {ETH}"],
            [(FOLLOWING, ONE), (None, ())],
        ),
        (
            [f"UPDATE trading.signals SET status = 'NO_DATA' WHERE {ETH}"],
            [((*BY_SYMBOL, *OF_SIGNAL), ONE), (None, ())],
        ),
        (
            ["UPDATE trading.signals SET computed_at = now() + interval '1 second'"],
            [(None, ())],
        ),
        (
            [delete("alerts", ETH), delete("analysis_summary")],
            [(("alerts",), ONE), (("analysis_summary",), ())],
        ),
    ],
)  # fmt: skip
def test_exactly_what_lacks_is_made(project, damaged, expected):
    assert plan(project) == []
    damage(project, *damaged)
    assert plan(project) == expected


def test_a_scan_makes_what_lacks_as_it_was(project):
    expected = project.tables()
    damage(project, delete("indicators", ETH), outdate("correlation_matrix"), delete("alerts"))
    project.scanner().scan(DAY)
    assert plan(project) == []
    tables = project.tables()
    for name in DAMAGED:
        pd.testing.assert_frame_equal(tables[name], expected[name], check_exact=True)


def test_a_row_in_quarantine_is_not_made_again(project):
    row = f"'ETHUSDT', '{DAY}', 'it does not fit', '{{}}', 'r', now()"
    columns = "table_name, symbol, date, reason, raw, run_id, quarantined_at"
    insert = f"INSERT INTO trading.quarantine ({columns}) VALUES ('indicators', {row})"
    damage(project, delete("indicators", ETH), insert)
    assert plan(project) == []
    damage(project, delete("quarantine"))
    assert plan(project) != []


def test_fewer_than_two_members_have_no_pairs(project):
    pairs = project.warehouse, "correlation_matrix", DAY, DAY, Versions("p", "c")
    damage(project, delete("correlation_matrix"))
    assert ledger.made_days(*pairs) == set()
    damage(project, "UPDATE trading.universe SET is_member = false")
    assert ledger.made_days(*pairs) == {DAY}


def test_a_stage_that_is_off_is_neither_read_nor_planned(project):
    stages = planned_stages(project.settings)
    assert all(s.is_on for s in stages)
    assert [s.name for s in stages] == ["ohlcv_1d", *BY_SYMBOL, *OF_SIGNAL, *SUMMARIES]
    made = read_made(
        [s for s in stages if s.name in SUMMARIES], START, DAY, (), project.settings,
        project.warehouse,
    )  # fmt: skip
    assert made == {name: {DAY: AT_ONCE} for name in SUMMARIES}


def test_rows_without_partitions_must_not_be_older_than_what_they_are_made_from(
    project,
):
    rows = project.warehouse.read("analysis_summary").iloc[0]
    version = Versions(rows["params_hash"], rows["code_version"])
    of = (project.warehouse, "analysis_summary", DAY, DAY)
    assert ledger.is_made(*of, version)
    assert ledger.is_made(*of, version, ["signals"])
    assert not ledger.is_made(*of, Versions("another", rows["code_version"]))
    damage(project, "UPDATE trading.signals SET computed_at = now() + interval '1 hour'")
    assert not ledger.is_made(*of, version, ["signals"])
