"""The quality ledger's rules on made-up candles, and the laws of its rows."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from candle_support import FIRST_DAY, of_closes, part, walk, without
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.windows import breaks, windows
from autonama_dagster.analytics.scan.quality.beside import (
    conflicting,
    copied,
    copies,
    forming,
    kept_out,
)
from autonama_dagster.analytics.scan.quality.quality import Evidence, judge
from autonama_dagster.analytics.scan.quality.rules import RULES, QualityLimits

LOOKBACK = 60
N = 100


def quiet(n=N, seed=1):
    """Candles that no rule minds: a calm walk, volume 1000, traded at the close."""
    candles = walk(seed, n, 0.01)
    volume = np.arange(n) + 1000.0
    return replace(candles, volume=volume, quote_volume=volume * candles.close)


def traded(source=b"binance"):
    """The same from a source that tells of trades and takers too."""
    candles = quiet()
    return replace(
        candles,
        taker_buy_volume=candles.volume / 2,
        taker_buy_quote_volume=candles.quote_volume / 2,
        trades=np.full(N, 100),
        source=np.full(N, source),
    )


def rising(factor=1.0):
    """Closes that rise by 0.1 % a day, and by `factor` on day 80."""
    closes = 10.0 * np.exp(np.arange(N) * 1e-3)
    closes[80:] *= factor
    candles = of_closes(closes)
    return replace(candles, volume=np.ones(N), quote_volume=candles.close)


def changed(candles, at, **values):
    """The candles with other numbers in one of them."""
    columns = {name: getattr(candles, name).copy() for name in values}
    for name, value in values.items():
        columns[name][at] = value
    return replace(candles, **columns)


def rows(candles, days=None, evidence=None, known=None, lookback=LOOKBACK, limits=QualityLimits()):  # noqa: B008
    days = np.arange(FIRST_DAY + lookback - 1, FIRST_DAY + N) if days is None else days
    known = np.ones(len(days), bool) if known is None else known
    spans = windows(candles, days, lookback)
    beside = {} if evidence is None else {candles.symbol: evidence}
    frame = judge([candles], [spans], [known], beside, limits, lookback)
    return frame.set_index(days - FIRST_DAY)


def found(frame):
    """Findings by position of the day, of days that have any."""
    return {day: names for day, names in frame["findings"].items() if names}


def seen(frame, at):
    return json.loads(frame.loc[at, "details"])


def test_calm_candles_have_no_finding():
    frame = rows(quiet())
    assert found(frame) == {}
    assert (frame[["severity", "window_severity"]] == "OK").all(axis=None)
    assert frame["details"].isna().all()


def test_missing_days_and_the_candle_after_them_are_a_gap():
    frame = rows(without(quiet(), 80, 81))
    assert found(frame) == {80: ["gap"], 81: ["gap"], 82: ["gap"]}
    assert seen(frame, 82)["gap"]["missing_days"] == 2
    assert frame.loc[80:82, "severity"].eq("WARNING").all()


def test_a_pair_is_not_missed_for_longer_than_30_days():
    frame = rows(part(quiet(), slice(0, 62)), days=FIRST_DAY + np.arange(59, 100))
    assert list(found(frame)) == list(range(62, 92))


def test_a_candle_kept_out_is_no_gap_and_is_named_by_what_was_wrong_with_it():
    rejected = pd.DataFrame(
        {
            "date": pd.to_datetime(FIRST_DAY + np.array([70, 80, 90]), unit="D"),
            "said": [
                "close 3 above high 2",
                "low '-1' is not finite and positive",
                "close time 1703808014838 is not 1d after the open time",
            ],
        }
    )
    frame = rows(without(quiet(), 70, 80, 90), evidence=Evidence(tuple(kept_out(rejected))))
    assert found(frame) == {70: ["ohlc_order"], 80: ["non_positive"], 90: ["gap"]}
    assert frame.loc[[70, 80, 90], "severity"].eq("WARNING").all()
    assert seen(frame, 70)["ohlc_order"]["kept_out"] == "close 3 above high 2"


def with_candle(candles, at, of):
    """The candles, with the numbers of another of them in one."""
    names = ("open", "high", "low", "close", "volume", "quote_volume")
    return changed(candles, at, **{name: getattr(candles, name)[of] for name in names})


@pytest.mark.parametrize("at", [80, 95])
def test_a_row_that_came_under_two_dates_is_a_duplicate(at):
    frame = rows(with_candle(quiet(), at, 79))
    assert "duplicate" in found(frame)[at]
    assert [day for day, names in found(frame).items() if "duplicate" in names] == [at]
    assert frame.loc[at, "severity"] == "ERROR"
    assert seen(frame, at)["duplicate"]["same_as"] == str(np.datetime64(FIRST_DAY + 79, "D"))


def test_a_duplicate_is_found_past_another_candle_of_the_same_volume():
    candles = with_candle(quiet(), 90, 79)
    candles = changed(candles, 85, volume=candles.volume[79])
    names = {day: n for day, n in found(rows(candles)).items() if "duplicate" in n}
    assert list(names) == [90]


def test_a_window_that_holds_one_of_two_equal_candles_knows_no_duplicate():
    frame = rows(with_candle(quiet(), 60, 30), lookback=31, days=FIRST_DAY + np.arange(60, 63))
    assert frame["window_severity"].tolist()[:1] == ["ERROR"]
    assert frame["window_severity"].tolist()[1:] != ["ERROR", "ERROR"]
    assert not frame.loc[61:, "findings"].map(lambda names: "duplicate" in names).any()


def test_days_without_a_trade_repeat_nothing():
    still = dict.fromkeys(("open", "high", "low", "close"), 5.0)
    candles = changed(quiet(), [70, 90], volume=0.0, quote_volume=0.0, **still)
    assert not rows(candles)["findings"].map(lambda names: "duplicate" in names).any()


def test_an_answer_with_two_candles_of_a_day_is_a_duplicate_even_where_nothing_is_known():
    evidence = Evidence(tuple(conflicting({FIRST_DAY + 80: "two different"})))
    frame = rows(quiet(), evidence=evidence, known=np.zeros(N - LOOKBACK + 1, bool))
    assert found(frame) == {80: ["duplicate"]}
    assert frame["window_severity"].isna().all()
    assert frame["severity"].isna().sum() == len(frame) - 1


def test_pairs_with_one_and_the_same_candle_are_both_wrong():
    candles = quiet()
    hashes = np.array([f"e{n:063}" for n in range(N)], dtype="S64")
    hashes[97] = candles.row_hash[97]
    other = replace(candles, symbol="ETHUSDT", row_hash=hashes)
    names = ["BTCUSDT", "ETHUSDT"]
    assert copies([other, candles]) == {name: {FIRST_DAY + 97: names} for name in names}
    frame = rows(candles, evidence=Evidence(tuple(copied({FIRST_DAY + 97: names}))))
    assert found(frame) == {97: ["copied"]}
    assert frame.loc[[97, 98, 99], "window_severity"].eq("ERROR").all()
    assert seen(frame, 97)["copied"] == {"severity": "ERROR", "pairs": 2, "first": names}
    differs = frame["input_hash"] != rows(candles)["input_hash"]
    assert differs[differs].index.tolist() == [97, 98, 99]


def test_days_without_a_trade_are_nobodys_copy():
    candles = replace(quiet(), volume=np.zeros(N))
    assert copies([candles, replace(candles, symbol="ETHUSDT")]) == {}
    assert copies([]) == {}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"high": 1e-9}, "ohlc_order"),
        ({"low": 1e9}, "ohlc_order"),
        ({"close": -1.0}, "non_positive"),
        ({"open": np.inf}, "non_positive"),
        ({"high": 0.0}, "non_positive"),
        ({"low": np.inf}, "non_positive"),
        ({"close": np.nan}, "non_positive"),
        ({"volume": -1.0}, "non_positive"),
        ({"quote_volume": np.inf}, "non_positive"),
        ({"taker_buy_volume": -1.0}, "non_positive"),
        ({"taker_buy_quote_volume": np.inf}, "non_positive"),
        ({"trades": -1}, "non_positive"),
    ],
)
def test_a_stored_candle_that_cannot_be_is_an_error(values, rule):
    frame = rows(changed(quiet(), 80, **values))
    of_candle = {"non_positive", "ohlc_order"}.intersection(frame.loc[80, "findings"])
    assert of_candle == {rule}
    assert frame.loc[80, "severity"] == "ERROR"
    json.loads(frame.loc[80, "details"])


def test_a_candle_fetched_before_its_close_is_forming():
    evidence = Evidence(tuple(forming({FIRST_DAY + 80: "1970-01-01T00:00:00Z"})))
    frame = rows(quiet(), evidence=evidence)
    assert found(frame) == {80: ["forming"]}
    assert frame["window_severity"].tolist() == ["OK"] * 21 + ["ERROR"] * 20


def test_a_day_without_a_trade():
    frame = rows(changed(quiet(), 80, volume=0.0, quote_volume=0.0))
    assert found(frame) == {80: ["zero_volume"]}


@pytest.mark.parametrize(
    ("factor", "is_jump"), [(1.9, False), (2.1, True), (0.52, False), (0.48, True)]
)
def test_a_close_beyond_twice_or_half_of_the_one_before_jumps(factor, is_jump):
    assert found(rows(rising(factor))) == ({80: ["price_jump"]} if is_jump else {})


@pytest.mark.parametrize("wick", [{"high": 30.0}, {"low": 0.01}])
def test_a_wick_beyond_twice_the_body_jumps(wick):
    assert found(rows(changed(rising(), 80, **wick))) == {80: ["price_jump"]}


def test_an_open_that_does_not_continue_the_close_before_jumps():
    candles = rising()
    far = changed(candles, 80, open=candles.open[80] * 1.15, high=candles.open[80] * 1.15)
    frame = rows(far)
    assert found(frame) == {80: ["price_jump"]}
    assert set(seen(frame, 80)["price_jump"]) == {"severity", "open_gap_pct"}
    within = seen(rows(far, limits=QualityLimits(open_gap_pct=20.0)), 80)["price_jump"]
    assert set(within) == {"severity", "open_gap_pct", "largest_of_30_days_pct"}
    after_a_gap = found(rows(without(far, 79)))
    assert after_a_gap == {79: ["gap"], 80: ["gap"]}, "nobody knows what it continues"


def opening_off(pct, usual_pct=0.05, n=N):
    """Candles whose opens are off the close before by a little, and on day 80 by `pct`."""
    candles = rising()
    off = np.where(np.arange(n) % 2, 1 + usual_pct / 100, 1.0)
    off[80] = 1 + pct / 100
    return replace(
        candles, open=candles.open * off, high=np.maximum(candles.high, candles.open * off)
    )


@pytest.mark.parametrize(
    ("pct", "usual_pct", "is_found"),
    [(0.6, 0.05, True), (0.4, 0.05, False), (0.6, 0.3, False), (1.2, 0.3, True), (3.1, 2.0, True)],
)
def test_an_open_less_continuous_than_a_month_of_opens_jumps(pct, usual_pct, is_found):
    frame = rows(opening_off(pct, usual_pct))
    assert found(frame) == ({80: ["price_jump"]} if is_found else {})


def test_continuity_is_learnt_from_31_days_in_a_row():
    candles = opening_off(0.6)
    assert found(rows(part(candles, slice(49, N)), lookback=32)) == {80: ["price_jump"]}
    assert found(rows(part(candles, slice(50, N)), lookback=32)) == {}
    assert 79 not in found(rows(without(candles, 60)))  # day 80 is the 79th candle


def test_days_shifted_by_one_are_found_on_the_first():
    true = walk(3, N + 1, 0.03)
    volume = np.arange(N + 1) + 1000.0
    true = replace(true, volume=volume, quote_volume=volume * true.close)
    names = ("open", "high", "low", "close", "volume", "quote_volume")
    early = np.where((np.arange(N) >= 80) & (np.arange(N) < 86), 1, 0) + np.arange(N)
    late = np.where((np.arange(N) >= 80) & (np.arange(N) < 86), -1, 0) + np.arange(N)
    for source, first in ((early, "price_jump"), (late, "duplicate")):
        shifted = replace(part(true, slice(0, N)), **{n: getattr(true, n)[source] for n in names})
        frame = found(rows(shifted))
        assert first in frame[80]
        assert min(frame) == 80


def foreign_at(at=80, ratio=50.0):
    candles = quiet()
    prices = {n: getattr(candles, n)[at] * ratio for n in ("open", "high", "low", "close")}
    return changed(candles, at, **prices, quote_volume=candles.quote_volume[at] * ratio)


@pytest.mark.parametrize("ratio", [50.0, 0.02, 3.5])
def test_a_break_undone_the_next_day_is_an_error_of_the_candle_between(ratio):
    frame = rows(foreign_at(ratio=ratio))
    assert found(frame) == {80: ["break"], 81: ["foreign"]}
    assert frame["severity"].tolist() == ["OK"] * 21 + ["WARNING", "ERROR"] + ["OK"] * 18
    assert frame["window_severity"].tolist() == ["OK"] * 21 + ["WARNING"] + ["ERROR"] * 19
    assert seen(frame, 81)["foreign"]["candle_of"] == str(np.datetime64(FIRST_DAY + 80, "D"))


@pytest.mark.parametrize(("ratio", "is_error"), [(1.2, True), (0.8, True), (1.07, False)])
def test_a_candle_off_by_a_tenth_between_prices_that_join_is_foreign(ratio, is_error):
    frame = rows(foreign_at(ratio=ratio))
    assert found(frame)[80] == ["price_jump"]
    assert found(frame)[81] == (["price_jump", "foreign"] if is_error else ["price_jump"])


def test_prices_that_rise_twice_are_nobody_elses():
    candles = foreign_at(ratio=1.2)
    after = np.where(np.arange(N) > 80, 1.44, 1.0)
    prices = {n: getattr(candles, n) * after for n in ("open", "high", "low", "close")}
    frame = rows(replace(candles, **prices, quote_volume=candles.quote_volume * after))
    assert found(frame) == {80: ["price_jump"], 81: ["price_jump"]}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_window_with_an_undone_break_inside_is_never_fit_for_a_signal(seed):
    rng = np.random.default_rng(seed)
    level = rng.choice([1.0, 100.0, 0.01], N, p=[0.8, 0.1, 0.1])
    candles = quiet()
    prices = {n: getattr(candles, n) * level for n in ("open", "high", "low", "close")}
    candles = replace(candles, **prices, quote_volume=candles.quote_volume * level)
    candles = without(candles, *rng.choice(N, 5, replace=False).tolist())
    days = FIRST_DAY + np.arange(LOOKBACK, N)
    frame = rows(candles, days=days)
    spans = windows(candles, days, LOOKBACK)
    broken = breaks(candles)
    for start, stop, severity in zip(
        spans.start.tolist(), spans.stop.tolist(), frame["window_severity"], strict=True
    ):
        if ((broken > start) & (broken < stop)).any():
            assert severity == "ERROR"


def test_a_break_is_named_on_its_day_and_taints_no_later_window():
    candles = quiet()
    scale = np.where(np.arange(N) < 80, 1.0, 1000.0)
    prices = {name: getattr(candles, name) * scale for name in ("high", "low", "close")}
    opens = candles.open * scale
    volume = candles.quote_volume * scale
    frame = rows(replace(candles, **prices, open=opens, quote_volume=volume))
    assert found(frame) == {80: ["break"]}
    assert seen(frame, 80)["break"]["missing_days"] == 0
    assert frame["window_severity"].tolist() == ["OK"] * 21 + ["WARNING"] + ["OK"] * 19


def test_prices_that_stand_still_for_three_days_are_stale():
    candles = quiet()
    still = {name: np.array(getattr(candles, name)) for name in ("open", "high", "low", "close")}
    for values in still.values():
        values[80:84] = candles.close[79]
    still["open"][84] = candles.close[79]
    frame = rows(replace(candles, **still, quote_volume=candles.volume * still["close"]))
    assert {d: n for d, n in found(frame).items() if "stale" in n} == {82: ["stale"], 83: ["stale"]}


@pytest.mark.parametrize(
    ("factor", "severity"), [(1.0, None), (1.005, None), (1.5, "WARNING"), (100, "ERROR")]
)
def test_the_average_price_lies_between_low_and_high(factor, severity):
    candles = quiet()
    top = candles.volume[80] * candles.high[80]
    frame = rows(changed(candles, 80, quote_volume=top * factor))
    assert found(frame) == ({80: ["quote_volume"]} if severity else {})
    assert frame.loc[80, "severity"] == (severity or "OK")


@pytest.mark.parametrize(
    ("factor", "severity"), [(1.0, None), (1.005, None), (1.5, "WARNING"), (2.5, "ERROR")]
)
def test_so_does_the_average_price_of_takers(factor, severity):
    candles = traded()
    quote = 300.0 * candles.high[80] * factor
    frame = rows(changed(candles, 80, taker_buy_volume=300.0, taker_buy_quote_volume=quote))
    assert found(frame) == ({80: ["quote_volume"]} if severity else {})
    assert frame.loc[80, "severity"] == (severity or "OK")


@pytest.mark.parametrize(
    "values",
    [
        {"taker_buy_volume": 1081.0},
        {"taker_buy_quote_volume": 1e9, "taker_buy_volume": 900.0},
        {"trades": 0},
        {"trades": 0, "taker_buy_volume": 0.0, "taker_buy_quote_volume": 0.0},
        {"volume": 0.0, "taker_buy_volume": 0.0},
        {
            "volume": 0.0,
            "quote_volume": 0.0,
            "taker_buy_volume": 0.0,
            "taker_buy_quote_volume": 0.0,
        },
        {"taker_buy_volume": 0.0},
        {"taker_buy_quote_volume": 0.0},
    ],
)
def test_volumes_and_trades_that_contradict_each_other_are_an_error(values):
    frame = rows(changed(traded(), 80, **values))
    assert "amounts" in found(frame)[80]
    assert seen(frame, 80)["amounts"]["severity"] == "ERROR"
    assert set(found(frame)) == {80}


def test_a_recorded_candle_may_lack_trades_and_takers_but_not_trades_alone():
    none = {"trades": 0, "taker_buy_volume": 0.0, "taker_buy_quote_volume": 0.0}
    for source in (b"replay-recorded", b"replay-estimated", b""):
        assert found(rows(changed(traded(source), 80, **none))) == {}
        assert found(rows(changed(traded(source), 80, trades=0))) == {80: ["amounts"]}


def test_takers_that_no_source_tells_of_contradict_nothing():
    candles = changed(traded(), 80, taker_buy_volume=np.nan, taker_buy_quote_volume=np.nan)
    assert found(rows(candles)) == {}


@pytest.mark.parametrize(
    ("name", "factor", "severity"),
    [
        ("close", 1.0 + 1e-9, "OK"),
        ("close", 1.001, "ERROR"),
        ("low", 0.999, "ERROR"),
        ("volume", 1.004, "INFO"),
        ("volume", 1.2, "WARNING"),
    ],
)
@pytest.mark.parametrize("rule", ["rest_vs_archive", "daily_vs_hourly"])
def test_another_version_of_the_candle_is_compared(rule, name, factor, severity):
    candles = quiet()
    other = changed(candles, 80, **{name: getattr(candles, name)[80] * factor})
    evidence = (
        Evidence(hours=other) if rule == "daily_vs_hourly" else Evidence(others={"archive": other})
    )
    frame = rows(candles, evidence=evidence)
    assert frame.loc[80, "severity"] == severity
    assert found(frame) == ({} if severity == "OK" else {80: [rule]})
    if severity != "OK":
        assert set(seen(frame, 80)[rule]) == {"severity", "source", name}


def test_what_evidence_says_enters_the_input_hash_of_the_windows_that_hold_it():
    candles = quiet()
    plain = rows(candles)["input_hash"]
    fetched_early = Evidence(tuple(forming({FIRST_DAY + 30: "x"})))
    contrary = changed(candles, 30, close=candles.close[30] * 1.01)
    for beside in (
        fetched_early,
        Evidence(hours=part(contrary, slice(30, 31))),
        Evidence(others={"archive": part(contrary, slice(30, 31))}),
    ):
        differs = rows(candles, evidence=beside)["input_hash"] != plain
        # The day itself, and those whose lookback holds it.
        assert differs.tolist() == [day in range(30, 30 + LOOKBACK) for day in differs.index]
    again = Evidence(tuple(forming({FIRST_DAY + 30: "y"})))
    differs = (
        rows(candles, evidence=again)["input_hash"]
        != (rows(candles, evidence=fetched_early)["input_hash"])
    )
    assert differs.loc[30:89].all()


def test_hours_and_other_versions_that_agree_change_nothing():
    candles = quiet()
    plain = rows(candles)
    for beside in (Evidence(hours=candles), Evidence(others={"archive": candles})):
        pd.testing.assert_frame_equal(rows(candles, evidence=beside), plain)


def test_all_rules_can_be_listed_together_in_their_order():
    names = list(RULES)
    assert len(names) == 15
    candles = changed(without(quiet(), 79), 79, volume=0.0, low=1e-9, quote_volume=0.0)
    frame = rows(candles, evidence=Evidence(tuple(forming({FIRST_DAY + 80: "x"}))))
    listed = frame.loc[80, "findings"]
    assert listed == ["gap", "forming", "zero_volume", "price_jump"]
    assert list(seen(frame, 80)) == listed


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(LOOKBACK, N - 1))
def test_nothing_after_a_day_changes_its_row_and_nothing_before_its_lookback(seed, at):
    rng = np.random.default_rng(seed)
    candles = walk(seed, N, 0.4)  # wild: jumps and breaks
    volume = rng.integers(0, 3, N) * 1.0
    level = rng.choice([1.0, 1.3, 100.0], N, p=[0.8, 0.1, 0.1])  # foreign candles
    prices = {n: getattr(candles, n) * level for n in ("open", "high", "low", "close")}
    candles = replace(candles, **prices, volume=volume, quote_volume=volume * candles.close)
    candles = without(candles, *rng.choice(N, 10, replace=False).tolist())
    days = FIRST_DAY + np.arange(LOOKBACK, N)
    evidence = Evidence(tuple(forming({FIRST_DAY + int(rng.integers(N)): "x"})))
    whole = rows(candles, days=days, evidence=evidence).loc[at]
    oldest = FIRST_DAY + at - LOOKBACK + 1
    inside = part(candles, (candles.day >= oldest) & (candles.day <= FIRST_DAY + at))
    alone = rows(inside, days=np.array([FIRST_DAY + at]), evidence=evidence).loc[at]
    assert alone.drop("details").to_dict() == whole.drop("details").to_dict()
    assert [alone["details"]] == [whole["details"]] or pd.isna(whole["details"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_window_is_at_least_as_bad_as_its_last_day(seed):
    order = {"OK": 0, "INFO": 1, "WARNING": 2, "ERROR": 3}
    frame = rows(walk(seed, N, 0.4))
    assert (frame["window_severity"].map(order) >= frame["severity"].map(order)).all()
