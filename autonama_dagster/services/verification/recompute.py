"""Rows computed again from stored inputs: from what was there on their day, and from more.

The stages' pure functions, fed twice: with candles cut at D, and with all candles, later ones and
made-up ones after the last among them. A row that knows nothing of the future is the same in both.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS, Candles
from autonama_dagster.analytics.candles.run_windows import (
    Answered,
    RunWindows,
    answered_candles,
    known_days,
    windows_of,
)
from autonama_dagster.analytics.candles.windows import day_number, windows
from autonama_dagster.analytics.scan.chance import expectations, pair_chances, signal_chances
from autonama_dagster.analytics.scan.channel import OK, fit_channels
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS, pairs, window_days
from autonama_dagster.analytics.scan.correlation import summary as summarise_pairs
from autonama_dagster.analytics.scan.indicators import levels as support
from autonama_dagster.analytics.scan.indicators.indicators import compute
from autonama_dagster.analytics.scan.input_hashes import signal_hashes, summary_hash
from autonama_dagster.analytics.scan.quality.quality import Evidence, judge
from autonama_dagster.analytics.scan.signals import decide
from autonama_dagster.analytics.scan.summary import (
    alerts,
    analysis_summary,
    asset_analytics,
    members,
)
from autonama_dagster.analytics.scan.universe import WINDOW_DAYS, measure, ranked_again
from autonama_dagster.days import DAY, days_of
from autonama_dagster.services.inputs.evidence import read_evidence
from autonama_dagster.services.inputs.parameters import channel_params, quality_limits
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

OF_SYMBOLS = (
    "data_quality", "indicators", "regression_bands", "signals", "asset_analytics", "alerts",
)  # fmt: skip
OF_DAYS = ("universe", "correlation_matrix", "analysis_summary")
LATER_DAYS = 60  # real ones after the last day, as far as there are any
MADE_UP_DAYS = 40  # after the last candle: more than any look ahead of a few weeks
_WILD = np.array([2.9, 0.4, 1.7, 0.6])  # daily moves of the made-up candles, none a break

Frames = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Inputs:
    """What rows of some symbols and days are made from.

    Attributes
    ----------
    candles
        By symbol: from the first lookback on, and of `LATER_DAYS` after the last day.
    answered
        Days the exchange has answered for.
    universe
        Rows of the days.
    evidence
        For the quality ledger.
    """

    candles: Mapping[str, Candles]
    answered: Answered
    universe: pd.DataFrame
    evidence: Mapping[str, Evidence]


def read_inputs(
    warehouse: Warehouse,
    settings: Settings,
    symbols: Sequence[str] | None,
    first: date,
    last: date,
) -> Inputs:
    """Inputs of the rows of symbols and days; None: of all candidates of these days."""
    begin = first - max(settings.lookback - 1, RETURN_DAYS + 1) * DAY
    universe = warehouse.read("universe", Scope(first=first, last=last))
    if symbols is None:
        symbols = sorted(universe["symbol"].unique())
    return Inputs(
        warehouse.candles(symbols, begin, last + LATER_DAYS * DAY),
        fetched_ranges(warehouse, "1d", symbols),
        universe,
        read_evidence(warehouse, symbols, begin, last),
    )


def with_future(candles: Candles, day: date) -> Candles:
    """The candles with made-up ones after the last and the day: prices nobody could overlook."""
    if not len(candles):
        return candles
    moves = np.cumprod(np.resize(_WILD, MADE_UP_DAYS))
    close = candles.close[-1] * moves
    opened = np.concatenate([candles.close[-1:], close[:-1]])
    later = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.5,
        "low": np.minimum(opened, close) / 1.5,
        "close": close,
        "volume": np.full(MADE_UP_DAYS, candles.volume.max() * 7 + 1),
        "quote_volume": np.full(MADE_UP_DAYS, np.nanmax(candles.quote_volume, initial=0) * 7 + 1),
    }
    columns: dict[str, Any] = {
        n: np.concatenate([getattr(candles, n), later[n]]) for n in CANDLE_FLOATS
    }
    last = max(int(candles.day[-1]), day_number(day))
    days = np.concatenate([candles.day, last + 1 + np.arange(MADE_UP_DAYS)])
    hashes = np.concatenate([candles.row_hash, np.full(MADE_UP_DAYS, b"f" * 64)])
    return Candles(candles.symbol, days, row_hash=hashes, **columns)


def cut_tables(
    inputs: Inputs, symbols: Sequence[str], first: date, last: date, settings: Settings
) -> Frames:
    """Rows of `OF_SYMBOLS`, day by day from what was there on the day and nothing else."""
    days = days_of(first, last)
    made = [
        tables_of_symbols(*_at_day(inputs, symbols, day, settings.lookback), settings)
        for day in days
    ]
    return {name: pd.concat([of[name] for of in made], ignore_index=True) for name in OF_SYMBOLS}


def _at_day(
    inputs: Inputs, symbols: Sequence[str], day: date, lookback: int
) -> tuple[Inputs, RunWindows]:
    """The inputs as they were when the day had closed, and its windows."""
    number = day_number(day)
    known = replace(
        inputs,
        candles={s: inputs.candles[s].until(number) for s in symbols if s in inputs.candles},
        universe=inputs.universe[inputs.universe["date"] == pd.Timestamp(day)],
    )
    return known, windows_of(known.candles, symbols, day, day, lookback, inputs.answered)


def full_tables(
    inputs: Inputs, symbols: Sequence[str], first: date, last: date, settings: Settings
) -> Frames:
    """Rows of `OF_SYMBOLS` at once, from all candles and a future that is made up."""
    found = {s: with_future(inputs.candles[s], last) for s in symbols if s in inputs.candles}
    run = windows_of(found, symbols, first, last, settings.lookback, inputs.answered)
    return tables_of_symbols(inputs, run, settings)


def tables_of_symbols(inputs: Inputs, run: RunWindows, settings: Settings) -> Frames:
    """Rows of `OF_SYMBOLS` as their stages make them of these windows."""
    params = channel_params(settings)
    hashes = run.hashes()
    quality = judge(
        run.candles, run.windows, run.known, inputs.evidence, quality_limits(settings),
        settings.lookback,
    )  # fmt: skip
    bands = fit_channels(run.candles, run.windows, params).assign(input_hash=hashes)
    indicators = compute(run.candles, run.windows)
    indicators = indicators.assign(input_hash=hashes[run.has_candle()])
    signals = decide(bands, indicators, inputs.universe, quality, kstd=params.kstd)
    made_of = signal_hashes(signals, bands, inputs.universe, quality)
    signals = signals.assign(input_hash=pd.Series(made_of, dtype="str"))
    levels = support.compute(run.candles, run.windows, indicators["natr_14"].to_numpy())
    beside = {"input_hash": signals["input_hash"]}
    return {
        "data_quality": quality,
        "indicators": indicators,
        "regression_bands": bands,
        "signals": signals,
        "asset_analytics": asset_analytics(signals, indicators, bands, levels, params).assign(
            **beside
        ),
        "alerts": alerts(signals, indicators, bands, params).assign(**beside),
    }


def tables_of_days(
    inputs: Inputs,
    days: Sequence[date],
    settings: Settings,
    signals: pd.DataFrame,
    names: Collection[str],
    *,
    is_cut: bool,
) -> Frames:
    """Rows of some of `OF_DAYS`.

    Cut: day by day from what was there on the day and nothing else. Otherwise at once, from all
    candles and a future that is made up. `signals` are the days' stored rows: what the summary is
    made from, beside the pairs.
    """
    if not is_cut:
        candles = {s: with_future(c, days[-1]) for s, c in inputs.candles.items()}
        return _tables_of_days(inputs, candles, days, settings, signals, names)
    made = []
    for day in days:
        candles = {s: c.until(day_number(day)) for s, c in inputs.candles.items()}
        made.append(_tables_of_days(inputs, candles, [day], settings, signals, names))
    return {name: pd.concat([of[name] for of in made], ignore_index=True) for name in made[0]}


def _tables_of_days(
    inputs: Inputs,
    candles: Mapping[str, Candles],
    days: Sequence[date],
    settings: Settings,
    signals: pd.DataFrame,
    names: Collection[str],
) -> Frames:
    """Rows of `OF_DAYS` as their stages make them of these candles; the last two come together."""
    stored = inputs.universe[inputs.universe["date"].isin([pd.Timestamp(day) for day in days])]
    frames = {}
    if "universe" in names:
        frames["universe"] = _universe(stored, candles, inputs.answered, days, settings)
    if set(names) <= {"universe"}:
        return frames
    ranked = dict(iter(stored.loc[stored["is_member"]].groupby("date")["symbol"]))
    decided = dict(iter(signals.groupby("date")))
    none: pd.Series = stored["symbol"].iloc[:0]
    made = [
        _matrix_and_summary(
            inputs,
            candles,
            day_number(day),
            settings,
            decided.get(moment, signals.iloc[:0]),
            ranked.get(moment, none).tolist(),
        )
        for day, moment in ((day, pd.Timestamp(day)) for day in days)
    ]
    matrices, rows = zip(*made, strict=True)
    frames["correlation_matrix"] = pd.concat(matrices, ignore_index=True)
    frames["analysis_summary"] = pd.concat(rows, ignore_index=True)
    return frames


def _matrix_and_summary(
    inputs: Inputs,
    candles: Mapping[str, Candles],
    day: int,
    settings: Settings,
    signals: pd.DataFrame,
    ranked: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    known = answered_candles(candles, inputs.answered, day, window_days(settings.lookback))
    matrix = pairs(ranked, known, day, lookback=settings.lookback)
    chances = _chances(candles, signals, day, settings)
    drawn = pair_chances(ranked, known, day, lookback=settings.lookback)
    row = analysis_summary(signals, summarise_pairs(matrix), day, expectations(chances, drawn))
    return matrix, row.assign(input_hash=summary_hash(members(signals), matrix))


def _universe(
    stored: pd.DataFrame,
    candles: Mapping[str, Candles],
    answered: Answered,
    days: Sequence[date],
    settings: Settings,
) -> pd.DataFrame:
    """The days' rankings, of the symbols whose candles are stored measured anew."""
    numbers = np.array(days, dtype="datetime64[D]").astype(np.int64)
    known = {s: known_days(answered.get(s, ()), numbers, WINDOW_DAYS + 1) for s in candles}
    measured = stored.iloc[:0]
    if candles:
        measured = measure([*candles.values()], [numbers[known[s]] for s in candles])
    columns = [
        "symbol", "date", "quote_volume", "quote_volume_median_30d", "volatility_30d_pct",
        "n_candles_30d", "rank", "is_member", "input_hash",
    ]  # fmt: skip
    return ranked_again(stored, measured, settings.universe_size, settings.symbols)[columns]


def _chances(
    candles: Mapping[str, Candles], signals: pd.DataFrame, day: int, settings: Settings
) -> pd.DataFrame:
    of_members = members(signals)
    names = of_members.loc[of_members["status"] == OK, "symbol"]
    series = [candles[name] for name in names if name in candles]
    spans = [windows(c, np.array([day]), settings.lookback) for c in series]
    run = RunWindows(series, spans, [np.array([True])] * len(series))
    if not series:
        return pd.DataFrame({"p_buy": [], "p_sell": []})
    hashes = run.hashes().tolist()
    made = signal_chances(series, spans, hashes, channel_params(settings))
    return pd.DataFrame({"window_hash": hashes}).merge(made, on="window_hash")
