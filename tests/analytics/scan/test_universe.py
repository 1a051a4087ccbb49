import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.scan.universe import (
    input_hashes,
    load_exclusions,
    measure,
    rank,
    ranked_again,
)
from autonama_dagster.schemas.registry import TABLES

D = 19_000
STAMPED = {"params_hash", "code_version", "result_hash", "run_id", "computed_at"}


@dataclass(frozen=True)
class Pair:
    symbol: str
    base: str


def pair(base: str) -> Pair:
    return Pair(f"{base}USDT", base)


def series(base, day, close=None, quote_volume=100.0, volume=1.0) -> Candles:
    """Candles on the given days; by default a price that moves 2 % up and down every day."""
    day = np.array(day, dtype=np.int64)
    close = 100 * 1.02 ** (day % 2) if close is None else np.array(close, dtype=np.float64)
    amount, quote = (np.broadcast_to(v, day.shape).astype(float) for v in (volume, quote_volume))
    hashes = np.array([f"{base}{d}".ljust(64, "x") for d in day], dtype="S64")
    return Candles(f"{base}USDT", day, close, close, close, close, amount, quote, hashes)


def last(n: int, until: int = D) -> range:
    return range(until - n + 1, until + 1)


def ranked(*candles: Candles, days=(D,), size=100, known=(), complete=True) -> pd.DataFrame:
    pairs = [pair(c.symbol.removesuffix("USDT")) for c in candles] + [pair(b) for b in known]
    by_symbol = {c.symbol: c for c in candles}
    return rank(pairs, by_symbol, np.array(days), universe_size=size, is_complete=complete)


def only(*candles: Candles, **options) -> pd.Series:
    frame = ranked(*candles, **options)
    return frame.iloc[0]


@pytest.mark.parametrize(
    ("base", "known", "reason"),
    [
        ("BTCUP", ["BTC"], "leveraged"),
        ("BTCDOWN", ["BTC"], "leveraged"),
        ("ETHBULL", ["ETH"], "leveraged"),
        ("EOSBEAR", ["EOS"], "leveraged"),
        ("BULL", [], "leveraged"),
        ("BEAR", [], "leveraged"),
        ("JUP", ["UP"], None),
        ("SYRUP", ["SY"], None),
        ("UP", [], None),
        ("JUP", ["J"], "leveraged"),
        ("AUDIO", [], None),
        ("AUD", [], "fiat"),
        ("EURI", [], "fiat"),
        ("USDC", [], "stable"),
        ("XUSD", [], "stable"),
        ("USTC", [], None),
    ],
)
def test_lists_exclude_by_base(base, known, reason):
    assert load_exclusions().reason(base, {base, *known}) == reason
    frame = ranked(series(base, last(31)), *(series(b, last(31)) for b in known))
    row = frame.set_index("base_asset").loc[base]
    assert row["is_eligible"] == (reason is None)
    assert row["exclusion_reason"] == reason or (reason is None and pd.isna(row.exclusion_reason))


@pytest.mark.parametrize(
    ("candles", "median"), [(16, 100), (15, 50), (14, 0), (30, 100), (40, 100)]
)
def test_median_counts_a_missing_day_as_zero(candles, median):
    row = only(series("ABC", last(candles)))
    assert row["quote_volume_median_30d"] == median
    assert row["n_candles_30d"] == min(candles, 30)


def test_median_is_over_thirty_days_and_unknown_volume_is_none():
    volumes = np.full(40, 100.0)
    volumes[:10] = 1e9  # D-39 .. D-30: too old
    volumes[10:20] = np.nan
    assert only(series("ABC", last(40), quote_volume=volumes))["quote_volume_median_30d"] == 100
    volumes[20:26] = np.nan  # 16 of 30 unknown
    assert only(series("ABC", last(40), quote_volume=volumes))["quote_volume_median_30d"] == 0


def test_candidate_has_a_candle_in_the_thirty_days_to_the_day():
    old = series("OLD", last(100, D - 29))
    gone = series("GONE", last(100, D - 30))
    frame = ranked(old, gone, series("NEW", [D]), series("LATER", [D + 1]))
    assert list(frame["symbol"]) == ["NEWUSDT", "OLDUSDT"]
    new, old = frame.iloc[0], frame.iloc[1]
    assert (new["quote_volume"], new["is_eligible"], new["n_candles_30d"]) == (100, True, 1)
    assert (old["exclusion_reason"], old["n_candles_30d"]) == ("no_candle", 1)
    assert math.isnan(old["quote_volume"])
    assert pd.isna(old["rank"])
    assert not old["is_member"]


def test_zero_volume_on_the_day_excludes():
    volume = np.ones(31)
    volume[-2] = 0
    assert only(series("ABC", last(31), volume=volume))["is_eligible"]
    volume[-1] = 0
    assert only(series("ABC", last(31), volume=volume))["exclusion_reason"] == "zero_volume"


def test_volatility_is_of_the_thirty_returns_to_the_day():
    close = np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.05, 60)))
    returns = np.diff(np.log(close))[-30:]
    expected = np.std(returns, ddof=1) * math.sqrt(365) * 100
    assert only(series("ABC", last(60), close))["volatility_30d_pct"] == pytest.approx(expected)
    assert only(series("ABC", last(31), close[-31:]))["volatility_30d_pct"] == pytest.approx(
        expected
    )


def test_volatility_counts_candles_and_needs_ten_returns():
    close = np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.05, 11)))
    days = [*last(10, D - 4), D]  # days missing: a return spans them
    expected = np.std(np.diff(np.log(close)), ddof=1) * math.sqrt(365) * 100
    row = only(series("ABC", days, close))
    assert row["volatility_30d_pct"] == pytest.approx(expected)
    row = only(series("ABC", days[1:], np.full(10, 1.0)))  # nine returns: not judged stable
    assert math.isnan(row["volatility_30d_pct"])
    assert row["is_eligible"]


def test_volatility_leaves_out_a_redenomination():
    close = 100 * 1.02 ** (np.arange(31) % 2)
    plain = only(series("ABC", last(16), close[15:]))["volatility_30d_pct"]
    close[:15] *= 1000
    assert only(series("ABC", last(31), close))["volatility_30d_pct"] == plain


def test_volatility_leaves_out_the_returns_around_a_foreign_candle():
    close = 100 * 1.02 ** (np.arange(31) % 2)
    known = np.delete(np.diff(np.log(close)), [19, 20])
    close[20] *= 1000
    row = only(series("ABC", last(31), close))
    expected = np.std(known, ddof=1) * math.sqrt(365) * 100
    assert row["volatility_30d_pct"] == pytest.approx(expected)


@pytest.mark.parametrize(("percent", "stable"), [(4.9, True), (5.1, False)])
def test_stable_is_a_volatility_under_five_percent(percent, stable):
    step = percent / 100 / math.sqrt(365) * math.sqrt(29 / 30)  # 15 returns up, 15 down
    row = only(series("PEG", last(31), np.exp(step * (np.arange(31) % 2))))
    assert row["volatility_30d_pct"] == pytest.approx(percent)
    assert (row["exclusion_reason"] == "stable") == stable


def test_a_base_listed_later_makes_no_leveraged_token_of_an_older_coin():
    before = only(series("JUP", last(31)), known=["J"])
    assert before["is_eligible"]
    later = series("J", range(D + 1, D + 20))
    after = ranked(series("JUP", last(31)), later).set_index("base_asset").loc["JUP"]
    assert after["is_eligible"]


def test_static_reasons_come_first_then_the_days():
    gone = last(20, D - 3)
    flat = np.ones(20)
    frame = ranked(
        series("BTCUP", gone),
        series("EUR", gone, flat),
        series("USDC", gone, flat),
        series("PEG", gone, flat),
        series("PEGB", last(20), flat, volume=0),
        series("PEGC", last(20), flat),
        series("BTC", last(20)),
    )
    reasons = frame.set_index("base_asset")["exclusion_reason"].drop("BTC").to_dict()
    assert reasons == {
        "BTCUP": "leveraged",
        "EUR": "fiat",
        "USDC": "stable",
        "PEG": "no_candle",
        "PEGB": "zero_volume",
        "PEGC": "stable",
    }


def test_rank_follows_the_median_not_the_day_and_ties_the_symbol():
    spike = np.full(31, 10.0)
    spike[-1] = 1e12
    frame = ranked(
        series("TIEB", last(31), quote_volume=50),
        series("TIEA", last(31), quote_volume=50),
        series("SPIKE", last(31), quote_volume=spike),
        series("USDC", last(31), quote_volume=1e15),
        series("TOP", last(31), quote_volume=70),
        size=3,
    ).set_index("base_asset")
    assert frame["rank"].dropna().to_dict() == {"TOP": 1, "TIEA": 2, "TIEB": 3, "SPIKE": 4}
    assert list(frame.index[frame["is_member"]]) == ["TIEA", "TIEB", "TOP"]
    assert pd.isna(frame.loc["USDC", "rank"])
    assert frame.loc["SPIKE", "quote_volume"] == 1e12


def test_rank_and_membership_are_per_day():
    rising = series("UPS", last(70), quote_volume=np.linspace(1, 1000, 70))
    steady = series("STEADY", last(70), quote_volume=500)
    frame = ranked(rising, steady, days=(D, D - 30, D), size=1)
    assert list(frame["date"].unique()) == [pd.Timestamp(d, unit="D") for d in (D - 30, D)]
    assert list(frame[frame["is_member"]]["base_asset"]) == ["STEADY", "UPS"]


def test_is_complete_is_copied():
    assert not only(series("ABC", last(5)), complete=False)["is_complete"]
    assert only(series("ABC", last(5)), complete=True)["is_complete"]


def test_pairs_with_one_and_the_same_candle_are_no_members():
    one, other = series("AAA", last(31)), series("BBB", last(31))
    same = replace(one, symbol="CCCUSDT")
    frame = ranked(one, other, same, days=(D - 1, D)).set_index(["base_asset", "date"])
    assert frame["exclusion_reason"].dropna().to_dict() == {
        (base, day): "copied" for base in ("AAA", "CCC") for day in frame.loc["BBB"].index
    }
    assert not frame.loc["AAA", "is_eligible"].any()
    assert frame.loc["BBB", "rank"].tolist() == [1, 1]


def test_a_copy_counts_on_its_day_alone_and_not_without_a_trade():
    one = series("AAA", last(31), volume=np.append(np.ones(30), 0.0))
    same = replace(one, symbol="CCCUSDT")
    frame = ranked(one, same, days=(D - 1, D))
    assert frame["exclusion_reason"].tolist() == ["copied"] * 2 + ["zero_volume"] * 2
    hashes = one.row_hash.copy()
    hashes[-1] = b"f" * 64
    frame = ranked(one, replace(same, row_hash=hashes, volume=np.ones(31)), days=(D,))
    assert "copied" not in set(frame["exclusion_reason"].dropna())


def test_a_pair_without_a_candle_is_no_copy_of_itself_the_day_before():
    frame = ranked(series("AAA", last(31)[:-1]), series("BBB", last(31)), days=(D - 1, D))
    assert frame["exclusion_reason"].dropna().tolist() == ["no_candle"]


def test_input_hash_covers_the_thirty_one_candles_and_the_symbol():
    candles = series("ABC", last(40))

    def digest(changed: int | None = None, symbol: str = "ABCUSDT") -> str:
        hashes = candles.row_hash.copy()
        if changed is not None:
            hashes[candles.day == changed] = b"changed".ljust(64, b"x")
        other = replace(candles, row_hash=hashes, symbol=symbol)
        frame = rank([Pair(symbol, "ABC")], {symbol: other}, np.array([D]),
                     universe_size=1, is_complete=True)  # fmt: skip
        return frame["input_hash"].iloc[0]

    assert len(digest()) == 64
    assert digest(D - 31) == digest()
    assert len({digest(), digest(D - 30), digest(D), digest(symbol="XYZUSDT")}) == 4


def test_input_hash_knows_the_days_of_the_candles_and_not_their_source():
    candles = series("ABC", last(40))
    (plain,) = input_hashes(candles, np.array([D]))
    archived = replace(candles, source=np.full(40, b"archive"))
    assert input_hashes(archived, np.array([D])) == [plain]
    holed = series("ABC", np.delete(last(41), 21))
    days = holed.day.copy()
    days[20] += 1  # to the empty day
    found = [input_hashes(c, np.array([D])) for c in (holed, replace(holed, day=days))]
    assert found[0] != found[1]


def test_no_candidates_make_an_empty_frame_of_the_same_types():
    full = ranked(series("ABC", last(31)))
    for empty in (ranked(), ranked(series("ABC", [D + 1])), ranked(known=["ABC"])):
        assert len(empty) == 0
        assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_columns_are_those_of_the_table():
    assert set(ranked(series("ABC", [D]))) == set(TABLES["universe"].columns) - STAMPED


@st.composite
def markets(draw):
    """A few symbols with gaps, breaks, zero volumes and equal medians, around day D."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    market = []
    for base in draw(st.sampled_from([["AA", "BB"], ["AA", "BB", "AAUP", "EUR", "JUP"]])):
        day = np.flatnonzero(rng.random(90) < rng.choice([0.1, 0.6, 1.0])) + D - 60
        jumps = rng.choice([1, 1000], len(day), p=[0.97, 0.03])
        close = np.exp(np.cumsum(rng.normal(0, rng.choice([1e-4, 0.05]), len(day)))) * jumps
        quote = rng.choice([0.0, 1.0, 2.0, 5.0], len(day))
        market.append(series(base, day, close, quote, volume=quote))
    return market


@settings(max_examples=25, deadline=None)
@given(markets(), st.integers(0, 29))
def test_the_future_changes_nothing(market, ahead):
    day = D - ahead
    known = [
        Candles(
            c.symbol,
            *(getattr(c, name)[c.day <= day] for name in ("day", "open", "high", "low", "close")),
            *(getattr(c, name)[c.day <= day] for name in ("volume", "quote_volume", "row_hash")),
        )
        for c in market
    ]
    expected = ranked(*known, days=[day])
    pd.testing.assert_frame_equal(ranked(*market, days=[day]), expected, check_exact=True)
    in_range = ranked(*reversed(market), days=range(day - 5, day + 25))
    in_range = in_range[in_range["date"] == pd.Timestamp(day, unit="D")].reset_index(drop=True)
    pd.testing.assert_frame_equal(in_range, expected, check_exact=True)


@settings(max_examples=10, deadline=None)
@given(markets(), st.integers(-3, 3))
def test_the_unit_of_volume_changes_no_rank(market, exponent):
    scaled = [replace(c, quote_volume=c.quote_volume * 4.0**exponent) for c in market]
    names = ["symbol", "rank", "is_member", "exclusion_reason"]
    plain, other = (ranked(*m, days=range(D - 3, D + 1), size=2) for m in (market, scaled))
    pd.testing.assert_frame_equal(plain[names], other[names])


@pytest.fixture(scope="module")
def real_market(market_data) -> dict[str, Candles]:
    frames = []
    columns = ["open_time", "open", "high", "low", "close", "volume", "quote_volume"]
    for path in sorted((market_data / "klines" / "1d").glob("*.csv.gz")):
        raw = pd.read_csv(path, usecols=columns)
        frames.append(raw.assign(symbol=path.name.removesuffix(".csv.gz")))
    raw = pd.concat(frames, ignore_index=True)
    estimate = raw["volume"] * raw[["open", "high", "low", "close"]].sum(axis=1) / 4
    date = (raw["open_time"] // 86_400_000).to_numpy().astype("datetime64[D]")
    return Candles.by_symbol(
        raw.assign(
            date=date.astype("datetime64[s]"),
            quote_volume=raw["quote_volume"].fillna(estimate),
            row_hash=[f"{n:064x}" for n in range(len(raw))],
            taker_buy_volume=np.nan,
            taker_buy_quote_volume=np.nan,
            trades=0,
            source="replay-recorded",
        )
    )


def real_day(market: dict[str, Candles], date: str) -> pd.DataFrame:
    pairs = [pair(symbol.removesuffix("USDT")) for symbol in market]
    day = np.datetime64(date, "D").astype(np.int64)
    frame = rank(pairs, market, np.array([day]), universe_size=100, is_complete=False)
    return frame.set_index("base_asset")


def test_real_universe_of_2023_12_29(real_market):
    frame = real_day(real_market, "2023-12-29")
    assert frame["is_member"].sum() == 100
    assert frame["rank"].dropna().sort_values().tolist() == [*range(1, 353)]
    assert frame["rank"].nsmallest(3).index.tolist() == ["BTC", "ETH", "SOL"]
    excluded = frame[~frame["is_eligible"]].groupby("exclusion_reason").groups
    assert {reason: set(bases) for reason, bases in excluded.items()} == {
        "fiat": {"EUR", "GBP"},
        "no_candle": {"BTS", "PERL", "WTC"},
        "stable": {"BUSD", "FDUSD", "TUSD", "USDC", "USDP"},
    }
    assert frame.loc["AUDIO", "is_eligible"]


def test_real_universe_of_2021_06_01_knows_what_was_delisted_since(real_market):
    frame = real_day(real_market, "2021-06-01")
    assert frame.loc["BTCUP", "exclusion_reason"] == "leveraged"
    assert frame.loc["AUD", "exclusion_reason"] == "fiat"
    leveraged = frame[frame["exclusion_reason"] == "leveraged"].index
    assert all(base.endswith(("UP", "DOWN", "BULL", "BEAR")) for base in leveraged)
    assert frame["is_member"].sum() == 100
    assert not {"BTCUP", "EUR", "USDC", "PAX"} & set(frame.index[frame["is_member"]])


def test_pairs_of_the_users_lists_are_members_always_and_never():
    amounts = {"AAA": 500.0, "BBB": 400.0, "CCC": 300.0, "DDD": 200.0, "EUR": 600.0}
    market = [series(base, last(40), quote_volume=amount) for base, amount in amounts.items()]
    late = series("LATE", last(40, D - 5), quote_volume=50.0)
    pairs = [pair(base) for base in (*amounts, "LATE", "GONE")]
    frame = rank(
        pairs,
        {c.symbol: c for c in (*market, late)},
        np.array([D]),
        universe_size=2,
        is_complete=True,
        always=("DDDUSDT", "EURUSDT", "LATEUSDT", "GONEUSDT"),
        never=("AAAUSDT",),
    ).set_index("symbol")
    assert frame["exclusion_reason"].dropna().to_dict() == {
        "AAAUSDT": "excluded", "EURUSDT": "fiat", "LATEUSDT": "no_candle"
    }  # fmt: skip
    assert frame["rank"].dropna().to_dict() == {"BBBUSDT": 1, "CCCUSDT": 2, "DDDUSDT": 3}
    assert set(frame.index[frame["is_member"]]) == {
        "BBBUSDT", "CCCUSDT", "DDDUSDT", "EURUSDT", "LATEUSDT"
    }  # fmt: skip
    assert "GONEUSDT" not in frame.index
    checked = TABLES["universe"].schema
    assert set(frame["exclusion_reason"].dropna()) <= set(
        checked.columns["exclusion_reason"].checks[0].statistics["allowed_values"]
    )


# A ranking made again from the stored one and the candles of some candidates.

DAYS = np.array([D - 1, D])


def a_market():
    """Candidates of every reason; in pairs, so that either of two copies can be known."""
    one = series("AAA", last(31), quote_volume=300.0)
    idle = np.append(np.ones(30), 0.0)
    return [
        one, replace(one, symbol="COPYUSDT"), series("BBB", last(31), quote_volume=200.0),
        series("BBBUP", last(31)), series("EUR", last(31)), series("LATE", last(31)[:-1]),
        series("IDLE", last(31), volume=idle, quote_volume=idle * 150),
        series("CALM", last(31), close=np.full(31, 1.0)), series("OUT", last(31)),
    ]  # fmt: skip


OPTIONS = {"universe_size": 1, "always": ("EURUSDT",), "never": ("OUTUSDT",)}
AGAIN = [
    "quote_volume", "quote_volume_median_30d", "volatility_30d_pct", "n_candles_30d", "rank",
    "is_eligible", "exclusion_reason", "is_member", "input_hash",
]  # fmt: skip


def made_again(stored, known):
    """The ranking again, where the candles of the known ones are stored."""
    candles = [c for c in a_market() if c.symbol in known]
    measured = measure(candles, [DAYS] * len(candles)) if candles else None
    return ranked_again(stored, measured, **OPTIONS)


def a_ranking():
    market = a_market()
    pairs = [pair(c.symbol.removesuffix("USDT")) for c in market]
    candles = {c.symbol: c for c in market}
    return rank(pairs, candles, DAYS, is_complete=True, **OPTIONS)


@given(st.sets(st.sampled_from([c.symbol for c in a_market()])))
@settings(max_examples=40, deadline=None)
def test_a_ranking_made_again_is_the_same_whoevers_candles_are_stored(known):
    stored = a_ranking()
    assert set(stored["exclusion_reason"].dropna()) == {
        "leveraged", "fiat", "stable", "no_candle", "zero_volume", "copied", "excluded"
    }  # fmt: skip
    pd.testing.assert_frame_equal(made_again(stored, known)[AGAIN], stored[AGAIN])


@pytest.mark.parametrize(
    ("symbol", "forged", "known"),
    [
        ("BBBUSDT", "zero_volume", True),
        ("BBBUSDT", "zero_volume", False),  # its quote volume says otherwise
        ("BBBUSDT", "no_candle", False),
        ("BBBUSDT", "stable", False),  # its volatility does
        ("BBBUSDT", "copied", True),
        ("BBBUSDT", "copied", False),  # nobody has the same quote volume
        ("BBBUSDT", "fiat", False),
        ("LATEUSDT", None, False),
        ("LATEUSDT", "zero_volume", False),
        ("IDLEUSDT", None, True),
        ("CALMUSDT", None, False),
        ("COPYUSDT", None, True),
        ("OUTUSDT", None, False),
        ("EURUSDT", "stable", False),
        ("BBBUPUSDT", None, False),
    ],
)
def test_a_forged_reason_is_put_right(symbol, forged, known):
    stored = a_ranking()
    others = {c.symbol for c in a_market()} - {symbol}
    at = stored.index[stored["symbol"] == symbol][-1]
    changed = stored.copy()
    changed.loc[at, "exclusion_reason"] = np.nan if forged is None else forged
    changed.loc[at, "is_eligible"] = forged is None
    again = made_again(changed, others | {symbol} if known else others)
    pd.testing.assert_frame_equal(again[AGAIN], stored[AGAIN])


def test_a_copy_of_a_candle_that_is_not_stored_is_believed_where_the_volume_is_the_same():
    stored = a_ranking()
    again = made_again(stored, {"AAAUSDT"})  # that of COPYUSDT is not stored
    assert set(again.loc[again["exclusion_reason"] == "copied", "symbol"]) == {
        "AAAUSDT", "COPYUSDT"
    }  # fmt: skip
    stored.loc[stored["symbol"] == "COPYUSDT", "quote_volume"] = 301.0
    again = made_again(stored, {"AAAUSDT"})
    assert "copied" not in set(again["exclusion_reason"].dropna())
