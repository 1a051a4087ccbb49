"""Rows computed again from stored inputs: from what was there on their day, and from more.

The tables' recipes, followed twice: with candles cut at D, and with all candles, later ones and
made-up ones after the last among them. A row that knows nothing of the future is the same in both.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import FACTS, Candles
from autonama_dagster.analytics.candles.run_windows import Answered
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS
from autonama_dagster.analytics.scan.quality.quality import Evidence
from autonama_dagster.analytics.scan.recipe import DayScope, Recipes
from autonama_dagster.days import DAY
from autonama_dagster.services.inputs.evidence import read_evidence
from autonama_dagster.services.inputs.parameters import OF_SYMBOLS
from autonama_dagster.services.inputs.readers import MadeReader
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

LATER_DAYS = 60  # real ones after the last day, as far as there are any
MADE_UP_DAYS = 40  # after the last candle: more than any look ahead of a few weeks
_MOVES = np.array([2.9, 0.4, 1.7, 0.6])  # daily, of the made-up candles; none is a break

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
    lookback: int,
    symbols: Sequence[str] | None,
    first: date,
    last: date,
) -> Inputs:
    """Inputs of the rows of symbols and days; None: of all candidates of these days."""
    begin = first - max(lookback - 1, RETURN_DAYS + 1) * DAY
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
    moves = np.cumprod(np.resize(_MOVES, MADE_UP_DAYS))
    close = candles.close[-1] * moves
    opened = np.concatenate([candles.close[-1:], close[:-1]])
    later = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.5,
        "low": np.minimum(opened, close) / 1.5,
        "close": close,
        "volume": np.full(MADE_UP_DAYS, candles.volume.max() * 7 + 1),
        "quote_volume": np.full(MADE_UP_DAYS, np.nanmax(candles.quote_volume, initial=0) * 7 + 1),
        "taker_buy_volume": np.full(MADE_UP_DAYS, np.nan),
        "taker_buy_quote_volume": np.full(MADE_UP_DAYS, np.nan),
        "trades": np.full(MADE_UP_DAYS, candles.trades.max() * 7 + 1),
        "row_hash": np.full(MADE_UP_DAYS, b"f" * 64),
        "source": np.full(MADE_UP_DAYS, candles.source[-1]),
    }
    facts: dict[str, Any] = {n: np.concatenate([getattr(candles, n), later[n]]) for n in FACTS}
    last = max(int(candles.day[-1]), day_number(day))
    days = np.concatenate([candles.day, last + 1 + np.arange(MADE_UP_DAYS)])
    return Candles(candles.symbol, days, **facts)


def tables_of_symbols(inputs: Inputs, recipes: Recipes, scope: DayScope, *, is_cut: bool) -> Frames:
    """Rows of `OF_SYMBOLS`.

    Cut: day by day from what was there on the day and nothing else. Otherwise at once, from all
    candles and a future that is made up.
    """
    rows = {"universe": inputs.universe}
    return _made(inputs, recipes, scope, rows, OF_SYMBOLS, is_cut=is_cut)


def tables_of_days(
    inputs: Inputs,
    recipes: Recipes,
    scope: DayScope,
    signals: pd.DataFrame,
    names: Collection[str],
    *,
    is_cut: bool,
) -> Frames:
    """Rows of some tables by date; see `tables_of_symbols`.

    `signals` are the days' stored rows: what the summary is made from, beside the pairs.
    """
    rows = {"universe": inputs.universe, "signals": signals}
    return _made(inputs, recipes, scope, rows, names, is_cut=is_cut)


def _made(
    inputs: Inputs,
    recipes: Recipes,
    scope: DayScope,
    rows: Mapping[str, pd.DataFrame],
    names: Collection[str],
    *,
    is_cut: bool,
) -> Frames:
    if not is_cut:
        found = {s: with_future(c, scope.last) for s, c in inputs.candles.items()}
        return _at_once(_reader(inputs, recipes, found, rows), scope, names)
    made = []
    for day in scope.days:
        number = day_number(day)
        found = {s: c.until(number) for s, c in inputs.candles.items()}
        reader = _reader(inputs, recipes, found, rows)
        made.append(_at_once(reader, DayScope(scope.symbols, day, day), names))
    return {name: pd.concat([of[name] for of in made], ignore_index=True) for name in names}


def _reader(
    inputs: Inputs,
    recipes: Recipes,
    candles: Mapping[str, Candles],
    rows: Mapping[str, pd.DataFrame],
) -> MadeReader:
    return MadeReader(
        recipes, candles, answered=inputs.answered, evidence=inputs.evidence, rows=rows
    )


def _at_once(reader: MadeReader, scope: DayScope, names: Collection[str]) -> Frames:
    """The tables' rows; of the ranking, which is given to the others as stored, those made anew."""
    return {
        name: reader.make_rows(name, scope) if name == "universe" else reader.rows(name, scope)
        for name in names
    }
