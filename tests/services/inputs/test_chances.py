"""Expected counts of stored days: the cache changes no number, and saves the computing."""

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from projects import project
from servers import synthetic_market

import autonama_dagster.services.inputs.chances
from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.analytics.scan.chance import N_SURROGATES
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.reports.charts.heatmap import correlation_heatmap
from autonama_dagster.schemas.partitions import RANGE_END_TAG, RANGE_START_TAG
from autonama_dagster.services.inputs.chances import computed_chances
from autonama_dagster.services.inputs.parameters import recipes
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.scan.results import stored_result
from resources.warehouse.chance_cache import keep_chances, known_chances

LAST = date(2024, 3, 10)
DAYS = [LAST - timedelta(days=1), LAST]


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    with (
        ReplayServer(synthetic_market(7), now="2024-03-11T00:05:00Z") as server,
        project(
            *(tmp_path_factory.mktemp("chance"), postgres, server.url),
            start_date=str(DAYS[0]),
            universe_size="5",
        ) as found,
    ):
        for day in DAYS:
            found.scanner().scan(day)
        yield found


@pytest.fixture
def computed(monkeypatch):
    """How many windows each computation was asked for."""
    asked = []
    original = autonama_dagster.services.inputs.chances.signal_chances

    def counted(candles, windows, hashes, params):
        asked.append(sum(len(w) for w in windows))
        return original(candles, windows, hashes, params)

    monkeypatch.setattr(autonama_dagster.services.inputs.chances, "signal_chances", counted)
    return asked


class Given(WarehouseReader):
    """What is stored, but for the signals."""

    def __init__(self, warehouse, signals):
        super().__init__(warehouse)
        self.signals = signals

    def rows(self, table, scope, columns=None):
        if table != "signals":
            return super().rows(table, scope, columns)
        return self.signals[[*(columns or self.signals.columns)]]


def expected(opened, members=None, **changes):
    rows = members_of(opened) if members is None else members
    settings = opened.settings.model_copy(update=changes)
    reader = Given(opened.warehouse, rows)
    made = recipes(settings)["analysis_summary"].rows(reader, DayScope(None, DAYS[0], LAST))
    columns = [c for c in made if c.startswith("expected_")]
    values = made[columns].astype(object).where(made[columns].notna(), None)
    values = values.assign(chance_analysis=made["chance_analysis"].map(json.loads))
    return dict(zip(made["date"], values.to_dict("records"), strict=True))


def members_of(opened):
    signals = opened.warehouse.read("signals")
    return signals[signals["is_member"].fillna(value=False)].reset_index(drop=True)


def forget(opened, condition="true"):
    with opened.warehouse.transaction() as cursor:
        cursor.execute(f"DELETE FROM trading.signal_chance WHERE {condition}")


def test_chances_are_the_same_whichever_way_the_candles_came(opened):
    members = members_of(opened)[["symbol", "date"]]
    params = recipes(opened.settings)["signals"].params.channel
    chances = ["symbol", "date", "p_buy", "p_sell"]

    def found():
        return computed_chances(WarehouseReader(opened.warehouse), members, params)

    before = found()
    with opened.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.ohlcv_1d SET source = 'archive'")
    after = found()
    with opened.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.ohlcv_1d SET source = 'synthetic'")
    assert not set(before["window_hash"]) & set(after["window_hash"])
    pd.testing.assert_frame_equal(before[chances], after[chances])


def test_a_scan_leaves_the_chance_of_each_member(opened):
    members = members_of(opened)
    bands = opened.warehouse.read("regression_bands").merge(members[["symbol", "date"]])
    cached = opened.warehouse.read("signal_chance")
    assert set(cached["window_hash"]) == set(bands.loc[bands["status"] == "OK", "input_hash"])
    assert len(cached) == 10
    assert set(cached["n_surrogates"]) == {N_SURROGATES}
    summary = stored_result(opened.warehouse, opened.settings, LAST).summary
    assert summary["expected_buy_signals"] == pytest.approx(5 * 0.07, abs=0.2)
    assert summary["chance_analysis"]["n_members"] == 5


def test_the_heatmap_has_the_expected_count_of_the_summary(opened, monkeypatch):
    given = {}

    def drawing(of_day, **options):
        given.update(options)
        return correlation_heatmap(of_day, **options)

    monkeypatch.setattr("autonama_dagster.reports.charts.heatmap.correlation_heatmap", drawing)
    day = {RANGE_START_TAG: str(DAYS[0]), RANGE_END_TAG: str(LAST)}
    job = opened.scanner()._defs.resolve_job_def("summary_job")
    assert job.execute_in_process(instance=opened.instance, tags=day).success
    summary = stored_result(opened.warehouse, opened.settings, LAST).summary
    assert given["date"] == LAST
    assert given["expected_high"] == summary["expected_high_correlations"]


def test_what_is_known_is_not_computed_again_and_is_the_same(opened, computed):
    known = expected(opened)
    assert computed == []
    forget(opened)
    assert expected(opened) == known
    assert computed == [10]
    assert expected(opened) == known
    assert computed == [10]


def test_only_what_is_missing_is_computed(opened, computed):
    known = expected(opened)
    one = opened.warehouse.read("signal_chance")["window_hash"].min()
    forget(opened, f"window_hash = '{one}'")
    assert expected(opened) == known
    assert computed == [1]


def test_other_parameters_have_rows_of_their_own(opened, computed):
    known = expected(opened)
    narrow = expected(opened, kstd=1.0)
    day = pd.Timestamp(LAST)
    assert narrow[day]["expected_buy_signals"] > known[day]["expected_buy_signals"]
    assert expected(opened) == known
    assert computed == [10]
    assert opened.warehouse.read("signal_chance")["params_hash"].nunique() == 2


def test_what_other_code_has_computed_is_computed_again(opened, computed):
    known = expected(opened)
    with opened.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.signal_chance SET code_version = 'old', p_buy = 1")
    assert expected(opened) == known
    assert computed == [10]
    names = ("window_hash", "params_hash", "code_version")
    rows = opened.warehouse.read("signal_chance", columns=names)
    assert (rows["code_version"] != "old").sum() == 10


def test_members_without_a_channel_do_not_count(opened):
    members = members_of(opened)
    at_last = np.flatnonzero(members["date"] == pd.Timestamp(LAST))
    members.loc[at_last[:2], "status"] = ["INSUFFICIENT_DATA", "NO_DATA"]
    found = expected(opened, members)
    counted = {day: row["chance_analysis"]["n_members"] for day, row in found.items()}
    assert counted == {pd.Timestamp(DAYS[0]): 5, pd.Timestamp(LAST): 3}
    members["status"] = "NO_DATA"
    assert expected(opened, members)[pd.Timestamp(LAST)]["expected_buy_signals"] is None


def test_days_without_members_expect_nothing(opened):
    found = expected(opened, members_of(opened).iloc[:0])
    for row in found.values():
        assert {v for k, v in row.items() if k != "chance_analysis"} == {None}


def test_the_chance_of_candles_that_were_changed_is_not_kept_for_the_old_ones(opened):
    known = expected(opened)
    forget(opened)
    with opened.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.ohlcv_1d SET close = close * 2, high = high * 2")
    found = expected(opened)
    with opened.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.ohlcv_1d SET close = close / 2, high = high / 2")
    forget(opened)
    assert found[pd.Timestamp(LAST)]["chance_analysis"]["n_members"] == 0
    assert known[pd.Timestamp(LAST)]["chance_analysis"]["n_members"] == 5


def test_rows_are_found_by_window_and_parameters(warehouse):
    rows = pd.DataFrame({"window_hash": ["a" * 64, "b" * 64], "p_buy": 0.25, "p_sell": [0.5, 0.0]})
    made, other = Versions("c" * 64, "1"), Versions("d" * 64, "1")
    keep_chances(warehouse, rows, made, 64)
    keep_chances(warehouse, rows.assign(p_buy=0.75), other, 64)
    keep_chances(warehouse, rows.iloc[:0], other, 64)
    found = known_chances(warehouse, ["b" * 64, "e" * 64], made)
    assert found.to_dict("records") == [{"window_hash": "b" * 64, "p_buy": 0.25, "p_sell": 0.0}]
    assert known_chances(warehouse, [], made).empty
