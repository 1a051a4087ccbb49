"""What a partition shows in the UI: its own values first, as numbers, and rounded."""

import dagster as dg
import pytest
from scan_support import DAY, opened_daemon

from assets.annotations import rounded
from assets.decision.signal_metadata import ANNOTATED

FIRST = [
    "signal", "z_score", "signal_strength", "close", "lower_band", "upper_band", "confirmations",
]  # fmt: skip
OF_THE_RUN = {
    *("rows", "rows_read_back", "symbols", "quarantined_rows"),
    *("write_seconds", "compute_seconds"),
}


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    with opened_daemon(tmp_path_factory.mktemp("annotations"), postgres, scanned=[DAY]) as found:
        yield found


def shown(opened, asset, partition):
    record = opened.instance.get_latest_data_version_record(
        dg.AssetKey(asset), partition_key=partition
    )
    return record.asset_materialization.metadata


def test_the_runs_of_a_scan_say_so(opened):
    started = {run.tags["autonama/started_by"] for run in opened.instance.get_runs()}
    assert started == {"scan"}


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_a_signals_partition_shows_its_row_first_and_the_run_last(opened, symbol):
    found = shown(opened, "signals", f"{DAY}|{symbol}")
    names = list(found)
    assert tuple(names[: len(ANNOTATED)]) == ANNOTATED
    assert names[: len(FIRST)] == FIRST
    run = {n for n in names if n in OF_THE_RUN}
    assert run == OF_THE_RUN
    assert min(map(names.index, run)) > max(map(names.index, ("picture", "receipt", "check_it")))


def test_its_numbers_are_the_rows_rounded(opened):
    found = shown(opened, "signals", f"{DAY}|BTCUSDT")
    rows = opened.project.warehouse.read("signals")
    of_day = rows[(rows["symbol"] == "BTCUSDT") & (rows["date"] == str(DAY))].iloc[0]
    for name in ("close", "lower_band", "upper_band", "fitted_price"):
        value = found[name].value
        assert value == pytest.approx(of_day[name], rel=1e-5)
        assert len(f"{value:.10g}".replace(".", "").strip("0")) <= 6, name
    assert found["z_score"].value == round(of_day["z_score"], 2)
    assert found["signal_strength"].value == round(of_day["signal_strength"], 2)
    assert found["confirmations"].value == (", ".join(of_day["confirmations"]) or "none")


def test_a_summary_shows_its_figures_first_as_numbers(opened):
    found = shown(opened, "analysis_summary", str(DAY))
    row = opened.project.warehouse.read("analysis_summary").iloc[0]
    names = list(found)
    assert names[:4] == [
        "buy_signals", "expected_buy_signals", "sell_signals", "expected_sell_signals",
    ]  # fmt: skip
    for name in ("buy_signals", "sell_signals", "hold_signals", "total_assets_analyzed"):
        assert isinstance(found[name], dg.IntMetadataValue)
        assert found[name].value == row[name]
    for name in ("expected_buy_signals", "expected_sell_signals"):
        assert isinstance(found[name], dg.FloatMetadataValue)
        assert found[name].value == pytest.approx(row[name], abs=0.005)
    assert names.index("scan") < names.index("rows")


@pytest.mark.parametrize(
    ("value", "how", "expected"),
    [
        (43021.1349, {"digits": 6}, 43021.1),
        (0.0000123456789, {"digits": 6}, 0.0000123457),
        (-2.34567, {}, -2.35),
        (0.12345, {"places": 3}, 0.123),
        (float("nan"), {}, None),
        (float("inf"), {"digits": 6}, None),
    ],
)
def test_rounding(value, how, expected):
    assert rounded(value, **how) == expected
