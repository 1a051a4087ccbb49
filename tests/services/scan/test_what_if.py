"""What-ifs against the tables they leave alone: members, rank, candles from both places."""

from contextlib import closing
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from autonama_dagster.errors import ExchangeError, InputError
from autonama_dagster.services.scan import what_if as module
from autonama_dagster.services.scan.results import stored_result
from autonama_dagster.services.scan.what_if import what_if
from resources.exchange.build import build_exchange
from resources.exchange.memo import MemoExchange
from resources.warehouse.statements import Scope

pytestmark = pytest.mark.usefixtures("impatient")
DAY = date(2024, 3, 10)


@pytest.fixture
def opened(stored):
    return stored


def ask(opened, symbols=None, day=DAY, **changes):
    settings = opened.settings.model_copy(update=changes)
    with closing(MemoExchange(build_exchange(settings))) as exchange:
        return what_if(settings, day, symbols, exchange=exchange, warehouse=opened.warehouse)


def members(opened):
    universe = opened.warehouse.read("universe", Scope(first=DAY, last=DAY))
    return universe[universe["is_member"]].sort_values("rank")["symbol"].tolist()


def klines(exchange):
    return [r.params["symbol"] for r in exchange.requests if r.path.endswith("/klines")]


def test_the_first_n_of_the_stored_ranking_are_scanned(opened):
    universe = opened.warehouse.read("universe")
    result = ask(opened, universe_size=8)
    assert set(result.signals["symbol"]) == set(universe.loc[universe["rank"] <= 8, "symbol"])
    assert result.signals["is_member"].all()
    assert result.summary["total_assets_analyzed"] == 8
    assert (result.stored, result.source) == (False, "synthetic")


def test_it_expects_by_chance_what_the_stored_scan_does(opened):
    names = ["expected_buy_signals", "expected_sell_signals", "chance_analysis"]
    names += ["expected_high_correlations", "expected_linked_pairs"]
    stored = stored_result(opened.warehouse, opened.settings, DAY).summary
    cached = opened.warehouse.read("signal_chance")
    found = ask(opened, members(opened)).summary
    assert {n: found[n] for n in names} == {n: stored[n] for n in names}
    assert found["expected_buy_signals"] > 0
    # With other parameters other signals are expected, and nothing of it is stored.
    narrow = ask(opened, members(opened), kstd=1.0).summary
    assert narrow["expected_buy_signals"] > found["expected_buy_signals"]
    assert narrow["expected_high_correlations"] == found["expected_high_correlations"]
    assert opened.warehouse.read("signal_chance").equals(cached)


def test_a_day_without_a_stored_ranking_is_ranked_in_memory(opened):
    result = ask(opened, day=date(2023, 6, 1), universe_size=4)
    assert sorted(result.signals["universe_rank"]) == [1, 2, 3, 4]
    assert set(opened.warehouse.read("universe")["date"]) == {pd.Timestamp(DAY)}


def test_stored_candles_are_not_asked_for_again_and_others_are(opened, exchange):
    universe = opened.warehouse.read("universe").set_index("rank")["symbol"]
    exchange.clear_requests()
    result = ask(opened, [universe[1], universe[20]])
    assert klines(exchange) == [universe[20]]
    ranks = result.signals.set_index("symbol")["universe_rank"]
    assert ranks.to_dict() == {universe[1]: 1, universe[20]: 20}


def test_a_shorter_window_and_a_narrower_channel_are_what_they_say(opened):
    symbol = members(opened)[0]
    wide, narrow = ask(opened, [symbol]).signals.iloc[0], ask(opened, [symbol], kstd=1.0)
    half = np.log(wide["upper_band"] / wide["fitted_price"])
    row = narrow.signals.iloc[0]
    assert np.log(row["upper_band"] / row["fitted_price"]) == pytest.approx(half / 2, abs=1e-12)
    assert row["z_score"] == wide["z_score"]
    assert narrow.parameters["kstd"] == 1.0
    assert ask(opened, [symbol], lookback=300).parameters["lookback_days"] == 300


def test_a_symbol_that_fails_is_named_and_has_no_data(opened, exchange):
    exchange.faults.add("garbage:symbol=LTCUSDT")
    result = ask(opened, ["LTCUSDT", "BTCUSDT"], day=date(2023, 6, 2))
    exchange.faults.replace()
    assert result.failed == ("LTCUSDT",)
    rows = result.signals.set_index("symbol")
    assert rows.loc["LTCUSDT", "status"] == "NO_DATA"
    assert rows.loc["BTCUSDT", "status"] == "OK"


def test_bad_candles_are_kept_out_and_counted(opened, exchange):
    exchange.faults.add("bad-values:symbol=BTCUSDT,value=negative,date=2023-05-01")
    result = ask(opened, ["BTCUSDT"], day=date(2023, 6, 3))
    exchange.faults.replace()
    assert result.quarantined == 1


def test_candles_of_one_pair_for_another_are_errors_though_nothing_is_stored(opened, monkeypatch):
    universe = opened.warehouse.read("universe").set_index("rank")["symbol"]
    mistaken, right, other = universe[22], universe[23], universe[24]
    fetch = module.fetch_daily

    def fetch_for_another(exchange, symbols, first, last, *rest):
        fetched = fetch(exchange, symbols, first, last, *rest)
        rows = fetched.frame
        twice = rows[rows["symbol"] == right].assign(symbol=mistaken)
        return replace(
            fetched, frame=pd.concat([rows[rows["symbol"] != mistaken], twice], ignore_index=True)
        )

    monkeypatch.setattr(module, "fetch_daily", fetch_for_another)
    found = ask(opened, [mistaken, right, other]).signals.set_index("symbol")["status"]
    assert found.to_dict() == {mistaken: "QUARANTINED", right: "QUARANTINED", other: "OK"}


def test_real_candles_are_not_mixed_with_stored_made_up_ones(opened, monkeypatch):
    universe = opened.warehouse.read("universe").set_index("rank")["symbol"]
    monkeypatch.setattr("autonama_dagster.services.scan.what_if.any_source", lambda _: "binance")
    with pytest.raises(InputError, match="synthetic and real candles must not be mixed"):
        ask(opened, [universe[1], universe[21]])


@pytest.mark.parametrize(
    ("symbols", "changes", "message"),
    [
        (["BTCUSDT", "NOPE"], {}, "NOPE: not a USDT spot pair"),
        (["BTCUSDT"], {"degree": 10, "lookback": 100}, "degree 10 needs 363 or more"),
    ],
)
def test_what_cannot_be_scanned_costs_no_candles(opened, exchange, symbols, changes, message):
    exchange.clear_requests()
    with pytest.raises(InputError, match=message):
        ask(opened, symbols, **changes)
    assert klines(exchange) == []


def test_a_pair_the_exchange_has_dropped_since_is_still_known(opened, monkeypatch):
    symbol = members(opened)[0]
    monkeypatch.setattr(MemoExchange, "symbols", lambda *_: [])
    assert ask(opened, [symbol]).signals["symbol"].tolist() == [symbol]
    with pytest.raises(ExchangeError, match="lists no USDT pair; check AUTONAMA_EXCHANGE_URL"):
        ask(opened, [symbol, "NOPEUSDT"])
