"""The universe: which pairs are candidates on a day, how they rank, and who is a member.

Nothing after D enters the rows of D: a pair delisted since belongs to the days it traded, a pair
listed later does not. The exchange's present trading status is never used.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import combine, window_hashes
from autonama_dagster.analytics.candles.windows import breaks, windows

WINDOW_DAYS = 30
MIN_RETURNS = 10
STABLE_VOLATILITY_PCT = 5.0
DAYS_PER_YEAR = 365

_DTYPES = {
    "date": "datetime64[s]",
    "symbol": "str",
    "base_asset": "str",
    "quote_volume": "float64",
    "quote_volume_median_30d": "float64",
    "volatility_30d_pct": "float64",
    "n_candles_30d": "int64",
    "rank": "Int64",
    "is_eligible": "bool",
    "exclusion_reason": "str",
    "is_member": "bool",
    "is_complete": "bool",
    "input_hash": "str",
}


class SymbolInfo(Protocol):
    """What the universe needs to know about a USDT pair."""

    @property
    def symbol(self) -> str:
        """The pair, e.g. "BTCUSDT"."""

    @property
    def base(self) -> str:
        """Its base asset, e.g. "BTC"."""


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Bases that are never eligible.

    Attributes
    ----------
    leveraged_bases
        Bases that are leveraged tokens by themselves.
    leveraged_suffixes
        Endings that make a leveraged token of a known base: BTC + UP.
    stable, fiat
        Bases pegged to a currency, and currencies.
    """

    leveraged_bases: frozenset[str]
    leveraged_suffixes: tuple[str, ...]
    stable: frozenset[str]
    fiat: frozenset[str]

    def reason(self, base: str, known_bases: Collection[str]) -> str | None:
        """Why a base is never eligible: "leveraged", "stable", "fiat", or None.

        A suffix alone proves nothing: JUP and SYRUP are coins as long as no coin is called J or
        SYR, so what stands before it must be a base itself.
        """
        stems = (base.removesuffix(s) for s in self.leveraged_suffixes if base.endswith(s))
        if base in self.leveraged_bases or any(stem in known_bases for stem in stems):
            return "leveraged"
        if base in self.stable:
            return "stable"
        return "fiat" if base in self.fiat else None


@cache
def load_exclusions() -> Exclusions:
    """The lists of `exclusions.json`, which ships with this package."""
    text = files("autonama_dagster.analytics.scan").joinpath("exclusions.json").read_text("utf-8")
    lists: dict[str, list[str]] = json.loads(text)
    return Exclusions(
        frozenset(lists["leveraged_bases"]),
        tuple(lists["leveraged_suffixes"]),
        frozenset(lists["stable"]),
        frozenset(lists["fiat"]),
    )


def rank(
    symbols: Sequence[SymbolInfo],
    candles: Mapping[str, Candles],
    days: NDArray[np.int64],
    *,
    universe_size: int,
    is_complete: bool,
    always: Collection[str] = (),
    never: Collection[str] = (),
) -> pd.DataFrame:
    """Candidates of each day, ranked by their median quote volume.

    A candidate on D has at least one candle in the 30 calendar days to D (D-29 .. D). Its
    exclusion reason is the first that applies, the static ones first: "excluded", "leveraged",
    "stable" by name, "fiat"; then those of the day: "no_candle" on D, "zero_volume" on D, "copied"
    where another candidate has the very same candle of D, "stable" by a volatility under 5 % a
    year. Among the eligible, rank follows the median, ties the symbol.

    Parameters
    ----------
    symbols
        Every pair the source knows, each once. A leveraged token is one of a base that itself
        has a candle in the 30 days to D.
    candles
        Candles by symbol, from D-30 of the earliest day on; pairs without any may be absent.
    days
        Days since 1970-01-01 (UTC), length n, in any order.
    universe_size
        Members per day.
    is_complete
        Whether the source knows pairs delisted since; copied to every row.
    always
        Pairs that are members on every day on which they are candidates, whatever their rank or
        the reason why they have none.
    never
        Pairs that are "excluded".

    Returns
    -------
    pd.DataFrame
        One row per candidate and day, sorted by date, symbol:

        - date (datetime64[s]), symbol, base_asset (str)
        - quote_volume (USDT): D's, NaN without a candle
        - quote_volume_median_30d (USDT): over the 30 calendar days to D, a missing day counted as 0
        - volatility_30d_pct (percent a year): sample standard deviation (ddof 1) of the log returns
          between consecutive candles of D-30 .. D x sqrt(365) x 100; 30 returns where no day is
          missing, none across a break (see `windows`). NaN with fewer than 10 returns: the pair
          is then not judged stable by it
        - n_candles_30d (int64): candles in D-29 .. D
        - rank (Int64): 1 has the largest median; NA when not eligible
        - is_eligible (bool), exclusion_reason (str): NaN when eligible
        - is_member (bool): rank <= universe_size, or one of `always`
        - is_complete (bool)
        - input_hash (str): over the symbol and its candles of D-30 .. D, whatever their source. The
          rank also follows from the day's other rows, which carry hashes of their own.
    """
    asked = np.unique(np.asarray(days, dtype=np.int64))
    bases = {info.symbol: info.base for info in symbols if info.symbol in candles}
    if not bases:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in _DTYPES.items()})
    measured = measure([candles[symbol] for symbol in bases], [asked] * len(bases))
    measured["base_asset"] = measured["symbol"].map(bases)
    has_traded = measured["has_candle"] & measured["has_volume"]
    measured["is_copied"] = _have_the_same(measured["row_hash"], has_traded)
    judged = _rank(_judge(measured, never), universe_size, always).assign(is_complete=is_complete)
    return judged.sort_values(["date", "symbol"], ignore_index=True).astype(_DTYPES)[[*_DTYPES]]


def measure(candidates: Sequence[Candles], days: Sequence[NDArray[np.int64]]) -> pd.DataFrame:
    """Candidates' own figures: what follows from their candles alone.

    Parameters
    ----------
    candidates
        One at least.
    days
        Aligned with them: the days wanted of each, rising.

    Returns
    -------
    pandas.DataFrame
        symbol, date, the figures of `rank`, input_hash, and of the candle of the day: has_candle,
        has_volume (both bool) and row_hash (bytes); one row for each day on which the symbol is a
        candidate. Without a candle of the day the last two are those of the one before.
    """
    parts = [_figures(series, of) for series, of in zip(candidates, days, strict=True)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    lengths = [len(part["day"]) for part in parts]
    symbols = np.repeat(np.array([series.symbol for series in candidates], dtype=object), lengths)
    dates = columns.pop("day").astype("datetime64[D]").astype("datetime64[s]")
    frame = pd.DataFrame({"symbol": pd.Series(symbols, dtype="str"), "date": dates, **columns})
    return frame.astype({"input_hash": "str"})


def _figures(series: Candles, days: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """One symbol's figures on the days on which it is a candidate; aligned arrays."""
    first, stop = _span(series, days, WINDOW_DAYS)
    days = days[first < stop]
    first, stop = _span(series, days, WINDOW_DAYS)
    window = windows(series, days, WINDOW_DAYS + 1)
    volumes = _gather(np.nan_to_num(series.quote_volume), first, stop, fill=0.0)
    returns = _gather(_log_returns(series), window.start + 1, stop, fill=math.nan)
    return {
        "day": days,
        "quote_volume": np.where(window.has_candle, series.quote_volume[stop - 1], math.nan),
        "quote_volume_median_30d": np.median(volumes, axis=1),
        "volatility_30d_pct": _volatility_pct(returns),
        "n_candles_30d": stop - first,
        "has_candle": window.has_candle,
        "has_volume": series.volume[stop - 1] > 0,
        "row_hash": series.row_hash[stop - 1],
        "input_hash": np.array(input_hashes(series, days), dtype=object),
    }


def input_hashes(series: Candles, days: NDArray[np.int64]) -> list[str]:
    """Hash of what a candidate's row is made from on each day: its symbol and candles of D-30 .. D.

    Parameters
    ----------
    series
        The candidate's candles.
    days
        Days since 1970-01-01 (UTC), length n.

    Returns
    -------
    list of str
        Length n.
    """
    window = windows(series, days, WINDOW_DAYS + 1)
    oldest, _ = _span(series, days, WINDOW_DAYS + 1)  # breaks count for the returns alone
    # Candles that are ranked may come another way (API or archive) than those that are stored.
    begin = int(oldest.min(initial=len(series)))
    unsourced = replace(
        series.part(slice(begin, int(window.stop.max(initial=0)))), source=np.empty(0, "S1")
    )
    hashes = window_hashes(
        unsourced, replace(window, start=oldest - begin, stop=window.stop - begin)
    )
    return [combine(series.symbol, h) for h in hashes]


def _span(
    series: Candles, days: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Half-open range of the candles in the `length` calendar days to each day."""
    first = np.searchsorted(series.day, days - (length - 1))
    return first, np.searchsorted(series.day, days, side="right")


def _gather(
    values: NDArray[np.float64],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    *,
    fill: float,
) -> NDArray[np.float64]:
    """Rows `values[start:stop]`, each filled up to 30 columns; start and stop of length n."""
    position = start[:, None] + np.arange(WINDOW_DAYS)
    inside = position < stop[:, None]
    return np.where(inside, values[np.where(inside, position, 0)], fill)


def _log_returns(series: Candles) -> NDArray[np.float64]:
    """Log of each close over the one before, NaN for the first and across a break; length n.

    math.log, one by one: a vectorised logarithm may round by the place in the array.
    """
    ratios = series.close[1:] / series.close[:-1]
    returns = np.array([math.nan, *map(math.log, ratios.tolist())])
    returns[breaks(series)] = math.nan
    return returns


def _volatility_pct(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Annualised sample standard deviation (ddof 1) of each row, NaNs left out; percent."""
    known = ~np.isnan(returns)
    count = known.sum(axis=1)
    enough = count >= MIN_RETURNS
    divisor = np.where(enough, count, 2)
    mean = np.where(known, returns, 0.0).sum(axis=1) / divisor
    squares = np.where(known, returns - mean[:, None], 0.0) ** 2
    deviation = np.sqrt(squares.sum(axis=1) / (divisor - 1))
    return np.where(enough, deviation * math.sqrt(DAYS_PER_YEAR) * 100, math.nan)


def ranked_again(
    stored: pd.DataFrame,
    measured: pd.DataFrame | None,
    universe_size: int,
    always: Collection[str] = (),
    never: Collection[str] = (),
) -> pd.DataFrame:
    """Rows of a ranking with figures measured anew, and the reasons and ranks that follow.

    Parameters
    ----------
    stored
        Rows of `universe`, all candidates of their days.
    measured
        What `measure` gives for some of them; the others keep their figures. None: of none.
    universe_size, always, never
        As in `rank`.

    Returns
    -------
    pandas.DataFrame
        `stored` in its order, with the figures, exclusion_reason, is_eligible, rank, is_member and
        input_hash as they are now. Of a candidate that is not measured, "no_candle" follows from a
        missing quote_volume and "stable" from its volatility; "zero_volume" stands unless its
        quote_volume is positive, and "copied" where another has the same quote_volume that day. A
        candidate that is measured is "copied" from such a one only if both are stored as copied.
    """
    keys = ["symbol", "date"]
    again = stored.reset_index(drop=True)
    if measured is None:
        measured = again.iloc[:0].assign(has_candle=False, has_volume=False, row_hash=b"")
    found = again[keys].merge(measured, on=keys, how="left")
    is_new = found["input_hash"].notna()
    for name in ("quote_volume", "quote_volume_median_30d", "volatility_30d_pct", "n_candles_30d",
                 "input_hash"):  # fmt: skip
        again[name] = found[name].where(is_new, again[name]).astype(again[name].dtype)
    said = stored["exclusion_reason"].reset_index(drop=True)
    volume = again["quote_volume"]
    again["has_candle"] = found["has_candle"].where(is_new, volume.notna()).astype(bool)
    has_volume = (volume > 0) | (said != "zero_volume")
    again["has_volume"] = found["has_volume"].where(is_new, has_volume).astype(bool)
    same = again.assign(is_known=is_new).groupby(["date", "quote_volume"])["is_known"]
    is_beside_unknown = (same.transform("size") > 1) & ~same.transform("all").astype(bool)
    is_same = _have_the_same(found["row_hash"], is_new & again["has_candle"] & again["has_volume"])
    again["is_copied"] = is_same | ((said == "copied") & is_beside_unknown)
    judged = _rank(_judge(again, never), universe_size, always)
    return judged.drop(columns=["has_candle", "has_volume", "is_copied"])


def _have_the_same(row_hash: pd.Series, has_traded: pd.Series) -> pd.Series:
    """Which rows have a candle that another has too, of those that have traded."""
    return row_hash.where(has_traded).duplicated(keep=False) & has_traded


def _judge(measured: pd.DataFrame, never: Collection[str]) -> pd.DataFrame:
    """Add exclusion_reason and is_eligible, from all candidates of the days.

    Of the frame count base_asset, volatility_30d_pct, has_candle, has_volume and is_copied: whether
    another candidate has the very same candle.
    """
    exclusions, left_out = load_exclusions(), frozenset(never)
    # A coin listed later must not make a leveraged token of a name that was a coin's before.
    traded = {day: set(of_day) for day, of_day in measured.groupby("date")["base_asset"]}
    static = [
        "excluded" if symbol in left_out else exclusions.reason(base, traded[day])
        for symbol, base, day in zip(
            measured["symbol"], measured["base_asset"], measured["date"], strict=True
        )
    ]
    of_the_day = pd.Series(
        np.select(
            [
                ~measured["has_candle"],
                ~measured["has_volume"],
                measured["is_copied"],
                measured["volatility_30d_pct"] < STABLE_VOLATILITY_PCT,
            ],
            ["no_candle", "zero_volume", "copied", "stable"],
            default="",
        ),
        dtype="str",
    )
    listed = pd.Series(static, index=measured.index, dtype=object).astype("str")
    reason = listed.where(listed.notna(), of_the_day.mask(of_the_day == ""))
    return measured.assign(exclusion_reason=reason, is_eligible=reason.isna())


def are_members(ranked: pd.DataFrame, universe_size: int, always: Collection[str]) -> pd.Series:
    """Which rows of a ranking are those of members."""
    is_large: pd.Series = (ranked["rank"] <= universe_size).fillna(value=False).astype(bool)
    return is_large | ranked["symbol"].isin(list(always))


def _rank(judged: pd.DataFrame, universe_size: int, always: Collection[str]) -> pd.DataFrame:
    """Add rank and is_member."""
    eligible = judged[judged["is_eligible"]].sort_values(
        ["date", "quote_volume_median_30d", "symbol"], ascending=[True, False, True]
    )
    ranks = (eligible.groupby("date").cumcount() + 1).astype("Int64").reindex(judged.index)
    ranked = judged.assign(rank=ranks)
    return ranked.assign(is_member=are_members(ranked, universe_size, always))
