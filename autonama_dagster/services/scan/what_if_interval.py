"""What-if scans of the last candle of another interval, in memory like those of a day."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.aggregation import aggregate
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import market_hashes, params_hash
from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM, Interval
from autonama_dagster.analytics.candles.run_windows import RunWindows, windows_at
from autonama_dagster.analytics.scan.chance import signal_chances
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.recipe import DayScope, Recipes
from autonama_dagster.days import FIRST_DAY, uncovered
from autonama_dagster.services.inputs.parameters import recipes, versions
from autonama_dagster.services.inputs.readers import MadeReader
from autonama_dagster.services.scan.results import (
    ScanResult,
    by_strength,
    plain_summary,
    scan_parameters,
)
from autonama_dagster.services.scan.what_if import count_quarantined, scanned_universe
from autonama_dagster.settings import Settings
from autonama_dagster.text.labels import counted
from autonama_dagster.text.sources import SOURCES, distance
from resources.exchange.base import Exchange
from resources.exchange.feed import Fetched, fetch_candles, refuse_mixture
from resources.warehouse.candle_queries import any_source, fetched_ranges
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

_UNJUDGED: Final = pd.DataFrame(
    {
        "symbol": pd.Series(dtype="str"),
        "date": pd.Series(dtype="datetime64[s]"),
        "window_severity": pd.Series(dtype="str"),
        "input_hash": pd.Series(dtype="str"),
    }
)


class StepReader(MadeReader):
    """Rows of one day, made of the last bar of an interval that has closed when the day ends.

    They are dated with the day, on which a longer bar need not close.
    """

    def __init__(
        self, recipes: Recipes, candles: Mapping[str, Candles], grid: Interval, **given: Any
    ) -> None:
        super().__init__(recipes, candles, **given)
        self._grid = grid

    def step(self, day: date) -> int:
        """The interval's last step of the day."""
        return self._grid.last_step(day)

    def make_windows(self, scope: DayScope, lookback: int) -> RunWindows:
        """Windows to the last step."""
        steps = np.array([self.step(scope.last)], dtype=np.int64)
        return windows_at(self._candles, scope.symbols or (), steps, lookback, self._grid)

    def make_rows(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Rows made by the table's recipe, volatility annualised by the interval."""
        frame = super().make_rows(table, scope).drop(columns="open_time", errors="ignore")
        if table == "indicators":
            frame["volatility_30d_pct"] *= self._grid.steps_per_day**0.5
        return frame.assign(date=pd.Timestamp(scope.last).as_unit("s"))

    def chances(self, members: pd.DataFrame, params: ChannelParams) -> pd.DataFrame:
        """Chances of the windows to the last step."""
        if members.empty:
            return super().chances(members, params)
        day = members["date"].iloc[0].date()
        run = self.windows(DayScope(tuple(members["symbol"]), day, day), params.lookback)
        pairs = zip(run.candles, run.windows, strict=True)
        seeds = [seed for pair in pairs for seed in market_hashes(*pair)]
        made = signal_chances(run.candles, run.windows, seeds, params)
        return members.assign(seed=pd.Series(seeds, dtype="str")).merge(made, on="seed")


def what_if_interval(
    settings: Settings,
    interval: str,
    day: date,
    symbols: Sequence[str],
    *,
    exchange: Exchange,
    warehouse: Warehouse,
    on_step: Callable[[str], None] = lambda _: None,
) -> ScanResult:
    """Scan the last candle of another interval that has closed when `day` ends.

    The channel is fitted in calendar time on the interval's grid, its window is `lookback` steps
    long; indicators and correlations count candles; volatility is annualised by the interval.

    Parameters
    ----------
    interval
        15m, 1h, 4h or 1w; the last two are made from hourly and from daily candles.

    Raises
    ------
    InputError
        The exchange does not know a symbol, or the parameters do not go together.
    """
    grid = INTERVALS[interval]
    made_with = recipes(settings)
    on_step("look up the symbols")
    universe, _ = scanned_universe(settings, day, symbols, exchange, warehouse)
    step = grid.last_step(day)
    on_step(f"{interval} candles of {counted(len(symbols), 'symbol')}")
    first = max(grid.opens_on(step - settings.lookback + 1), FIRST_DAY)
    fetched, frame = _frame(grid, symbols, first, grid.closes_on(step), exchange, warehouse)
    candles = Candles.by_symbol(frame, grid)
    on_step("channels, indicators and signals")
    names = universe["symbol"].tolist()
    # The ledger's rules are about days.
    rows = {"universe": universe, "data_quality": _UNJUDGED}
    reader = StepReader(made_with, candles, grid, symbols=names, rows=rows)
    signals = reader.rows("signals", DayScope(tuple(names), day, day)).assign(
        params_hash=params_hash({**made_with["signals"].parameters, "interval": interval}),
        code_version=versions("signals", settings).code_version,
    )
    on_step("correlations and summary")
    summary = reader.rows("analysis_summary", DayScope(None, day, day))
    table = f"ohlcv_{MADE_FROM.get(interval, interval)}"
    return ScanResult(
        day=day,
        signals=by_strength(signals),
        summary=plain_summary(summary.drop(columns="input_hash")),
        parameters=scan_parameters(settings, interval),
        source=max(set(frame["source"]), key=distance, default="none"),
        stored=False,
        failed=fetched.failed,
        refusal=fetched.refusal,
        quarantined=count_quarantined(fetched, symbols, day, warehouse, table),
        interval=interval,
        candle_opens=grid.opens_at(step),
    )


def _frame(
    grid: Interval,
    symbols: Sequence[str],
    first: date,
    last: date,
    exchange: Exchange,
    warehouse: Warehouse,
) -> tuple[Fetched, pd.DataFrame]:
    """Candles of the interval: stored where the warehouse has the whole range, else fetched.

    Candles of 4 hours and of a week are made here, in both cases, so that a result does not depend
    on where its candles come from; they are those that the tables hold.
    """
    base = INTERVALS[MADE_FROM.get(grid.name, grid.name)]
    ranges = fetched_ranges(warehouse, base.name, symbols)
    missing = [s for s in symbols if uncovered(ranges.get(s, ()), first, last) is not None]
    fetched = fetch_candles(exchange, missing, base.name, first, last)
    present = tuple(s for s in symbols if s not in set(missing))
    frame = fetched.frame
    if present:
        stored = warehouse.read(f"ohlcv_{base.name}", Scope(present, first, last))
        refuse_mixture(any_source(warehouse), frame)
        frame = pd.concat([f for f in (stored, frame) if len(f)] or [frame], ignore_index=True)
    return fetched, frame if base == grid else aggregate(frame, base, grid, SOURCES)
