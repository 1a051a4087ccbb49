"""What-if scans: other parameters or a choice of symbols, computed in memory.

No run, no event, nothing stored: the same pure functions as the stages, on candles that the
warehouse holds or the exchange gives.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd

from assets.market.universe import require_members
from assets.stage import with_provenance
from autonama_dagster.analytics.candles.aggregation import aggregate
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import code_version, params_hash
from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM, Interval
from autonama_dagster.analytics.candles.run_windows import RunWindows, windows_at, windows_of
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.chance import expectations, pair_chances, signal_chances
from autonama_dagster.analytics.scan.channel import ChannelParams, fit_channels
from autonama_dagster.analytics.scan.correlation import pairs
from autonama_dagster.analytics.scan.correlation import summary as summarise_pairs
from autonama_dagster.analytics.scan.indicators.indicators import compute
from autonama_dagster.analytics.scan.input_hashes import signal_hashes
from autonama_dagster.analytics.scan.quality.quality import Evidence, judge
from autonama_dagster.analytics.scan.quality.rules import copies
from autonama_dagster.analytics.scan.signals import decide
from autonama_dagster.analytics.scan.summary import analysis_summary
from autonama_dagster.analytics.scan.universe import WINDOW_DAYS, are_members, rank
from autonama_dagster.days import CHART_DAYS, FIRST_DAY, uncovered
from autonama_dagster.errors import ExchangeError, InputError
from autonama_dagster.services.inputs.evidence import evidence, read_evidence, with_copies
from autonama_dagster.services.inputs.parameters import PARAMETERS, channel_params, quality_limits
from autonama_dagster.services.scan.results import (
    ScanResult,
    by_strength,
    plain_summary,
    scan_parameters,
)
from autonama_dagster.services.scan.symbol_charts import charted, draw_symbol_charts
from autonama_dagster.settings import Settings
from autonama_dagster.text.labels import counted
from autonama_dagster.text.sources import SOURCES, distance
from resources.exchange.base import NOTHING_LISTED, Exchange
from resources.exchange.feed import Fetched, fetch_candles, fetch_daily, refuse_mixture
from resources.warehouse.candle_queries import (
    any_source,
    fetched_ranges,
    quarantined_candles,
    source_label,
)
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


def what_if(
    settings: Settings,
    day: date,
    symbols: Sequence[str] | None,
    *,
    exchange: Exchange,
    warehouse: Warehouse,
    on_step: Callable[[str], None] = lambda _: None,
    with_charts: bool = False,
) -> ScanResult:
    """Scan `day` with the given parameters; the chosen symbols are its members.

    Parameters
    ----------
    symbols
        Symbols to scan; None: the members of the day's ranking.

    with_charts
        Draw the charts of a stored scan into a folder `what-if` of the results.

    Raises
    ------
    InputError
        The exchange does not know a symbol, or the parameters do not go together.
    """
    params = channel_params(settings)
    on_step("rank the universe" if symbols is None else "look up the symbols")
    universe, failed = _universe(settings, day, symbols, exchange, warehouse)
    members = universe.loc[universe["is_member"], "symbol"].tolist()
    on_step(f"candles of {counted(len(members), 'symbol')}")
    reach = settings.lookback - 1 + (CHART_DAYS - 1 if with_charts else 0)
    first = day - timedelta(days=reach)
    fetched, candles, source = _candles(members, first, day, exchange, warehouse)
    on_step("channels, indicators and signals")
    run = windows_of(candles, members, day, day, settings.lookback)
    beside = with_copies(
        _evidence(fetched, members, first, day, warehouse), copies(candles.values())
    )
    signals = _signals(settings, params, run, universe, beside)
    on_step("correlations and summary")
    number = day_number(day)
    matrix = pairs(members, candles, number, lookback=settings.lookback)
    pair_counts = pair_chances(members, candles, number, lookback=settings.lookback)
    chance = expectations(_chances(params, run), pair_counts)
    summary = analysis_summary(signals, summarise_pairs(matrix), number, chance)
    charts = []
    if with_charts:
        on_step("charts")
        chosen = signals if symbols else signals[signals["symbol"].isin(charted(signals))]
        folder = settings.results_path / "charts" / "what-if"
        charts = draw_symbol_charts(folder, day, chosen, candles, settings, source)
    return ScanResult(
        day=day,
        signals=by_strength(signals),
        summary=plain_summary(summary),
        parameters=scan_parameters(settings),
        source=source,
        stored=False,
        failed=tuple(sorted({*failed, *fetched.failed})),
        refusal=fetched.refusal,
        quarantined=_quarantined(fetched, members, day, warehouse),
        charts=tuple(charts),
    )


def _universe(
    settings: Settings,
    day: date,
    symbols: Sequence[str] | None,
    exchange: Exchange,
    warehouse: Warehouse,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The day's ranking with the scanned symbols as its members, and what could not be ranked."""
    stored = warehouse.read("universe", Scope(first=day, last=day))
    if symbols is None:
        # A ranking that left out other pairs than are left out now has other ranks.
        left_out = set(stored.loc[stored["exclusion_reason"] == "excluded", "symbol"])
        is_ours = left_out == set(stored["symbol"]) & set(settings.exclude) and not stored.empty
        ranked, failed = (stored, ()) if is_ours else _ranked(settings, day, exchange)
        is_member = are_members(ranked, settings.universe_size, settings.symbols)
        return ranked.assign(is_member=is_member), failed
    listed = {s.symbol for s in exchange.symbols()}
    if unknown := [s for s in symbols if s not in listed | set(stored["symbol"])]:
        if not listed:
            raise ExchangeError(NOTHING_LISTED)
        raise InputError(
            f"{', '.join(unknown)}: not a USDT spot pair on the exchange; names look like BTCUSDT"
        )
    # The ranking of a stored day belongs to what a signal is made of, and to its hash.
    rows = stored.set_index("symbol")[["rank", "input_hash"]].reindex(list(symbols))
    chosen = rows.reset_index(names="symbol").astype({"symbol": "str", "rank": "Int64"})
    days = pd.Series([pd.Timestamp(day)] * len(chosen)).astype("datetime64[s]")
    return chosen.assign(date=days, is_member=True), ()


def _ranked(
    settings: Settings, day: date, exchange: Exchange
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    known = exchange.symbols()
    names = [s.symbol for s in known]
    fetched = fetch_daily(exchange, names, day - timedelta(days=WINDOW_DAYS), day)
    days = np.array([day_number(day)])
    ranked = rank(
        known,
        Candles.by_symbol(fetched.frame),
        days,
        universe_size=settings.universe_size,
        is_complete=exchange.knows_delisted,
        always=settings.symbols,
        never=settings.exclude,
    )
    require_members(ranked, fetched, day, day)
    return ranked, fetched.failed


def _candles(
    symbols: Sequence[str], first: date, last: date, exchange: Exchange, warehouse: Warehouse
) -> tuple[Fetched, dict[str, Candles], str]:
    """Candles from the warehouse where it has the whole range, else from the exchange.

    The text is their source; of several, the one farthest from the market.
    """
    ranges = fetched_ranges(warehouse, "1d", symbols)
    missing = [s for s in symbols if uncovered(ranges.get(s, ()), first, last) is not None]
    fetched = fetch_daily(exchange, missing, first, last)
    sources = set(fetched.frame["source"])
    stored = warehouse.candles([s for s in symbols if s not in set(missing)], first, last)
    if stored:
        refuse_mixture(any_source(warehouse), fetched.frame)
        sources |= {s for s in (source_label(warehouse, last),) if s}
    source = max(sources, key=distance, default="none")
    return fetched, {**stored, **Candles.by_symbol(fetched.frame)}, source


def _quarantined(
    fetched: Fetched,
    members: Sequence[str],
    day: date,
    warehouse: Warehouse,
    table: str = "ohlcv_1d",
) -> int:
    """Bad candles of the windows: those just fetched, and those of windows that are stored."""
    asked = set(fetched.log["symbol"])
    stored = [m for m in members if m not in asked]
    return len(fetched.rejected) + quarantined_candles(warehouse, stored, day, table)


def _evidence(
    fetched: Fetched, members: Sequence[str], first: date, day: date, warehouse: Warehouse
) -> dict[str, Evidence]:
    """What is known beside the candles: of those just fetched, and of those that are stored."""
    asked = set(fetched.log["symbol"])
    rejected = fetched.rejected.rename(columns={"reason": "said"}).assign(kind="kept_out")
    stored = read_evidence(warehouse, [m for m in members if m not in asked], first, day)
    return {**evidence(rejected), **stored}


def _signals(
    settings: Settings,
    params: ChannelParams,
    run: RunWindows,
    universe: pd.DataFrame,
    beside: Mapping[str, Evidence],
) -> pd.DataFrame:
    bands = fit_channels(run.candles, run.windows, params).assign(input_hash=run.hashes())
    indicators = compute(run.candles, run.windows)
    limits = quality_limits(settings)
    quality = judge(run.candles, run.windows, run.known, beside, limits, settings.lookback)
    frame = decide(bands, indicators, universe, quality, kstd=params.kstd)
    frame = frame.assign(input_hash=signal_hashes(frame, bands, universe, quality))
    return with_provenance(frame, "signals", settings)


def _chances(params: ChannelParams, run: RunWindows) -> pd.DataFrame:
    """Chance of a signal of each scanned symbol that has a channel."""
    hashes = run.hashes()
    chances = signal_chances(run.candles, run.windows, hashes, params)
    return pd.DataFrame({"window_hash": pd.Series(hashes, dtype="str")}).merge(chances)


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
    params = channel_params(settings)
    on_step("look up the symbols")
    universe, _ = _universe(settings, day, symbols, exchange, warehouse)
    step = grid.last_step(day)
    on_step(f"{interval} candles of {counted(len(symbols), 'symbol')}")
    first = max(grid.opens_on(step - settings.lookback + 1), FIRST_DAY)
    fetched, frame = _frame(grid, symbols, first, grid.closes_on(step), exchange, warehouse)
    candles = Candles.by_symbol(frame, grid)
    on_step("channels, indicators and signals")
    steps = np.array([step], dtype=np.int64)
    run = windows_at(candles, universe["symbol"].tolist(), steps, settings.lookback, grid)
    signals = _signals_at(settings, params, grid, day, run, universe)
    on_step("correlations and summary")
    matrix = pairs(symbols, candles, step, lookback=settings.lookback)
    pair_counts = pair_chances(symbols, candles, step, lookback=settings.lookback)
    chance = expectations(_chances(params, run), pair_counts)
    number = day_number(day)
    summary = analysis_summary(signals, summarise_pairs(matrix), number, chance)
    table = f"ohlcv_{MADE_FROM.get(interval, interval)}"
    return ScanResult(
        day=day,
        signals=by_strength(signals),
        summary=plain_summary(summary),
        parameters=scan_parameters(settings, interval),
        source=max(set(frame["source"]), key=distance, default="none"),
        stored=False,
        failed=fetched.failed,
        refusal=fetched.refusal,
        quarantined=_quarantined(fetched, symbols, day, warehouse, table),
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


def _signals_at(
    settings: Settings,
    params: ChannelParams,
    grid: Interval,
    day: date,
    run: RunWindows,
    universe: pd.DataFrame,
) -> pd.DataFrame:
    """Signals of the interval's last step of the day, dated with the day."""
    bands = fit_channels(run.candles, run.windows, params).assign(input_hash=run.hashes())
    indicators = compute(run.candles, run.windows)
    indicators["volatility_30d_pct"] *= grid.steps_per_day**0.5
    # The ledger's rules are about days.
    unjudged = bands[["symbol", "date", "input_hash"]].iloc[:0].assign(window_severity="")
    # The ranking is the asked day's, before which the bar may have closed: a week ends on Sunday.
    ranked = universe.assign(date=bands["date"].iloc[0])
    frame = decide(bands, indicators, ranked, unjudged, kstd=params.kstd)
    made_with = PARAMETERS["signals"](settings) | {"interval": grid.name}
    return frame.drop(columns="open_time").assign(
        date=pd.Timestamp(day).as_unit("s"),
        input_hash=signal_hashes(frame, bands, ranked, unjudged),
        params_hash=params_hash(made_with),
        code_version=code_version(),
    )
