"""The scan of 2023-12-29 on recorded candles, as its day would have seen it."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from projects import project

from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.schemas.partitions import RANGE_END_TAG, RANGE_START_TAG
from resources.warehouse.candle_queries import source_label
from resources.warehouse.statements import Scope

pytestmark = pytest.mark.long

DAY = date(2023, 12, 29)
WINDOW_START = DAY - timedelta(days=719)
MS_PER_DAY = 86_400_000


@pytest.fixture(scope="module")
def exchange(market_data):
    with ReplayServer(RecordedMarket(market_data / "klines"), now="2023-12-30T00:05:00Z") as server:
        yield server


@pytest.fixture(scope="module")
def scanned(exchange, postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    with project(folder, postgres, exchange.url, start_date="2023-01-01") as opened:
        exchange.clear_requests()
        opened.reports = opened.scanner().scan(DAY)
        opened.requests = [r for r in exchange.requests if r.path.endswith("/klines")]
        yield opened


def of_day(scanned, name, **scope):
    return scanned.warehouse.read(name, Scope(first=DAY, last=DAY, **scope))


def test_100_members_are_stored_with_a_row_in_every_table(scanned):
    universe = of_day(scanned, "universe")
    members = set(universe.loc[universe["is_member"], "symbol"])
    assert len(members) == 100
    for name in ("ohlcv_1d", "data_quality", "signals", "regression_bands", "alerts"):
        assert set(of_day(scanned, name)["symbol"]) == members, name
    assert len(of_day(scanned, "correlation_matrix")) == 100 * 99 // 2
    summary = of_day(scanned, "analysis_summary").iloc[0]
    counted = ["buy_signals", "sell_signals", "hold_signals", "insufficient_data", "no_data"]
    assert summary[[*counted, "quarantined"]].sum() == 100


def test_the_forming_candle_is_nowhere(scanned):
    for name in ("ohlcv_1d", "universe", "signals", "indicators"):
        assert scanned.warehouse.read(name, Scope(first=DAY + timedelta(days=1))).empty, name


def test_fiat_stable_and_leveraged_pairs_are_out_and_coins_with_such_names_are_in(scanned):
    universe = of_day(scanned, "universe").set_index("symbol")
    reasons = universe["exclusion_reason"].dropna()
    for symbol in ("EURUSDT", "GBPUSDT"):
        assert reasons[symbol] == "fiat"
    for symbol in ("USDCUSDT", "TUSDUSDT"):
        assert reasons[symbol] == "stable"
    members = universe.index[universe["is_member"]]
    assert not members.str.match(r"^[A-Z0-9]+(UP|DOWN|BULL|BEAR)USDT$").any()
    assert not universe.loc[universe["is_member"], "exclusion_reason"].notna().any()
    assert bool(universe.loc["AUDIOUSDT", "is_eligible"])
    for symbol in {"JUPUSDT", "SYRUPUSDT"} & set(universe.index):
        assert bool(universe.loc[symbol, "is_eligible"])


def test_only_candles_that_a_window_needs_were_asked_for(scanned):
    spans = [
        (int(r.params["startTime"]), int(r.params["endTime"]), r.params["symbol"])
        for r in scanned.requests
    ]
    first_ms = int(datetime(2022, 1, 9, tzinfo=UTC).timestamp() * 1000)
    end_ms = int(datetime(2023, 12, 30, tzinfo=UTC).timestamp() * 1000)
    assert min(s for s, _, _ in spans) == first_ms
    assert max(e for _, e, _ in spans) <= end_ms
    stored = scanned.warehouse.read("ohlcv_1d", columns=("symbol", "date"))
    assert stored["date"].min() == pd.Timestamp(WINDOW_START)
    registered = set(scanned.instance.get_dynamic_partitions("symbol"))
    assert set(stored["symbol"]) == registered


def test_one_ranking_call_a_candidate_and_one_history_call_a_member(scanned):
    columns = ("symbol", "date", "is_member", "quote_volume")
    candidates = scanned.warehouse.read("universe", columns=columns)
    calls = Counter(r.params["symbol"] for r in scanned.requests)
    members = set(candidates.loc[candidates["is_member"], "symbol"])
    # Where candles end before the day, a second call says that they do.
    ended = set(candidates.loc[candidates["quote_volume"].isna(), "symbol"])
    assert all(calls[s] == 2 for s in members)
    assert all(n == (2 if s in ended else 1) for s, n in calls.items() if s not in members)


def test_a_window_starts_after_the_break_and_young_symbols_have_no_channel(scanned):
    bands = of_day(scanned, "regression_bands").set_index("symbol")
    young = bands[bands["status"] == "INSUFFICIENT_DATA"]
    assert len(young) > 0
    assert (young["n_obs"] < 120).all()
    assert young[["fitted_price", "upper_band", "lower_band", "z_score"]].isna().all(axis=None)
    assert (bands.loc[bands["status"] == "OK", "n_obs"] >= 120).all()
    signals = of_day(scanned, "signals").set_index("symbol").loc[young.index]
    assert (signals["signal"] == "HOLD").all()
    assert (signals["signal_strength"] == 0).all()
    assert signals["potential_return_pct"].isna().all()


def test_lunas_window_starts_after_its_break(scanned):
    run(scanned, "symbols_job", "LUNAUSDT", ("ohlcv_1d", "regression_bands"))
    luna = of_day(scanned, "regression_bands", symbols=("LUNAUSDT",)).iloc[0]
    assert luna["window_start"] == pd.Timestamp("2022-05-31")


def test_a_candle_with_close_above_high_is_quarantined_when_it_is_fetched(
    exchange, postgres, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("aud")
    with project(folder, postgres, exchange.url, start_date="2020-11-01") as opened:
        run(opened, "symbols_job", "AUDUSDT", ("ohlcv_1d",), date(2020, 11, 10), date(2020, 11, 16))
        kept = opened.warehouse.read("quarantine").iloc[0]
        days = opened.warehouse.read("ohlcv_1d")["date"].dt.day.tolist()
    assert kept["date"] == pd.Timestamp("2020-11-13")
    assert "0.72216" in kept["reason"]
    assert days == [10, 11, 12, 14, 15, 16]


def test_bands_equal_numpys_polyfit_on_the_stored_candles(scanned):
    bands = of_day(scanned, "regression_bands").set_index("symbol")
    full = bands[bands["n_obs"] == 720].index[:20]
    for symbol in full:
        closes = scanned.warehouse.read("ohlcv_1d", Scope((symbol,), WINDOW_START, DAY), ("close",))
        y, x = np.log(closes["close"].to_numpy()), np.arange(720)
        fit = np.polynomial.Polynomial.fit(x, y, 4)
        residuals = y - fit(x)
        std = np.sqrt((residuals**2).sum() / (720 - 5))
        row = bands.loc[symbol]
        assert abs(np.log(row["fitted_price"]) - fit(719)) < 1e-9 * std
        assert abs(np.log(row["upper_band"]) - (fit(719) + 2 * std)) < 1e-9 * std
        assert row["z_score"] == pytest.approx((y[-1] - fit(719)) / std, abs=1e-9)


def test_every_hash_can_be_followed_to_the_candles(scanned):
    signals = of_day(scanned, "signals")
    for column in ("input_hash", "params_hash"):
        assert signals[column].str.fullmatch("[0-9a-f]{64}").all()
    assert signals["input_hash"].is_unique
    bands = of_day(scanned, "regression_bands").set_index("symbol")["input_hash"]
    indicators = of_day(scanned, "indicators").set_index("symbol")["input_hash"]
    pd.testing.assert_series_equal(bands.loc[indicators.index], indicators)


def test_candles_say_whether_their_volume_was_recorded(scanned):
    sources = set(scanned.warehouse.read("ohlcv_1d", columns=("source",))["source"])
    assert sources <= {"replay-recorded", "replay-estimated"}
    assert source_label(scanned.warehouse, DAY) == "replay-estimated"


def test_the_summary_tables_hold_json_of_the_day(scanned):
    alerts = of_day(scanned, "alerts").set_index("symbol")
    indicators = of_day(scanned, "indicators").set_index("symbol")
    document = json.loads(alerts.loc["BTCUSDT", "technical_indicators"])
    assert document["rsi_14"] == indicators.loc["BTCUSDT", "rsi_14"]
    assert alerts.loc["BTCUSDT", "analysis_date"] == pd.Timestamp("2023-12-30", tz="UTC")


def test_a_second_scan_asks_and_computes_nothing(scanned, exchange):
    exchange.clear_requests()
    assert scanned.scanner().scan(DAY) == []
    assert [r for r in exchange.requests if r.path.endswith("/klines")] == []


def test_the_signals_own_values_stand_on_their_partitions(scanned):
    event = scanned.instance.get_latest_data_version_record(
        dg.AssetKey("signals"), partition_key="2023-12-29|BTCUSDT"
    )
    metadata = event.asset_materialization.metadata
    row = of_day(scanned, "signals", symbols=("BTCUSDT",)).iloc[0]
    assert metadata["signal"].value == row["signal"]
    assert metadata["input_hash"].value == row["input_hash"]
    assert metadata["close"].value == float(f"{row['close']:.6g}")
    assert metadata["rows"].value == 100


def test_a_receipt_stands_on_the_signals_partition(scanned):
    event = scanned.instance.get_latest_data_version_record(
        dg.AssetKey("signals"), partition_key="2023-12-29|BTCUSDT"
    )
    metadata = event.asset_materialization.metadata
    receipt = metadata["receipt"].value
    bands = of_day(scanned, "regression_bands", symbols=("BTCUSDT",)).iloc[0]
    assert receipt["window"]["candles"] == bands["n_obs"] == 720
    assert receipt["window"]["first"] == f"{bands['window_start']:%Y-%m-%d}"
    assert (receipt["window"]["gaps"], receipt["window"]["breaks"]) == ([], [])
    assert receipt["parameters"]["degree"] == 4
    assert receipt["code_version"] == bands["code_version"]
    for name in ("regression_bands", "indicators", "data_quality", "universe"):
        stored = of_day(scanned, name, symbols=("BTCUSDT",)).iloc[0]
        expected = {"input_hash": stored["input_hash"], "run_id": stored["run_id"]}
        assert receipt["made_from"][name] == expected, name
    assert "autonama explain BTCUSDT 2023-12-29" in metadata["check_it"].value
    picture = "http://127.0.0.1:9464/explain/BTCUSDT/2023-12-29.png"
    assert metadata["picture"] == dg.MetadataValue.url(picture)


@pytest.mark.parametrize(
    ("asset", "name"), [("analysis_summary", "scan"), ("correlation_matrix", "heatmap")]
)
def test_pictures_stand_on_the_days_materialisation(scanned, asset, name):
    event = scanned.instance.get_latest_materialization_event(dg.AssetKey(asset))
    text = event.asset_materialization.metadata[name].value
    assert text.startswith("![picture](data:image/png;base64,iVBOR")
    assert len(text) < 140_000


def test_the_summarys_figures_are_numbers_that_plot(scanned):
    event = scanned.instance.get_latest_materialization_event(dg.AssetKey("analysis_summary"))
    metadata = event.asset_materialization.metadata
    row = of_day(scanned, "analysis_summary").iloc[0]
    pairs = json.loads(row["correlation_analysis"])
    assert isinstance(metadata["mean_pearson"], dg.FloatMetadataValue)
    assert metadata["mean_pearson"].value == round(pairs["mean_pearson"], 3)
    assert metadata["n_high"].value == pairs["n_high"]
    assert isinstance(metadata["expected_buy_signals"], dg.FloatMetadataValue)


def test_checks_pass_on_the_days_tables(scanned):
    checks = scanned.instance.event_log_storage.get_asset_check_summary_records(
        [
            dg.AssetCheckKey(dg.AssetKey("signals"), "schema"),
            dg.AssetCheckKey(dg.AssetKey("ohlcv_1d"), "fresh"),
            dg.AssetCheckKey(dg.AssetKey("ohlcv_1d"), "continuous"),
            dg.AssetCheckKey(dg.AssetKey("ohlcv_1d"), "partition_budget"),
        ]
    )
    assert len(checks) == 4
    for key, record in checks.items():
        evaluation = record.last_check_execution_record.event.asset_check_evaluation
        assert evaluation.passed, (key, evaluation.metadata)


def run(opened, job, symbol, assets, first=DAY, last=DAY):
    """Register a symbol and run assets of a job over its days."""
    opened.instance.add_dynamic_partitions("symbol", [symbol])
    scanner = opened.scanner()
    if symbol == "LUNAUSDT":
        history = {"ops": {"ohlcv_1d_history": {"config": {"first_date": str(WINDOW_START)}}}}
        execute(scanner, opened, "history_job", None, history, symbol, symbol)
        start = opened.settings.start_date
        execute(scanner, opened, job, ("ohlcv_1d",), {}, f"{start}|{symbol}", f"{last}|{symbol}")
        assets = tuple(a for a in assets if a != "ohlcv_1d")
    execute(scanner, opened, job, assets, {}, f"{first}|{symbol}", f"{last}|{symbol}")


def execute(scanner, opened, job, assets, config, start, end):
    result = scanner._defs.resolve_job_def(job).execute_in_process(
        instance=opened.instance,
        run_config=config,
        tags={RANGE_START_TAG: start, RANGE_END_TAG: end},
        asset_selection=[dg.AssetKey(a) for a in assets] if assets else None,
    )
    assert result.success
