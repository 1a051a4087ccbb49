"""What-if scans: other parameters or a choice of symbols, computed in memory.

No run, no event, nothing stored: the recipes of the stages, on candles that the warehouse holds or
the exchange gives.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.scan.quality.beside import copies
from autonama_dagster.analytics.scan.quality.quality import Evidence
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.analytics.scan.universe import WINDOW_DAYS, are_members
from autonama_dagster.days import CHART_DAYS, uncovered
from autonama_dagster.errors import ExchangeError, InputError
from autonama_dagster.services.inputs.evidence import evidence, read_evidence, with_copies
from autonama_dagster.services.inputs.parameters import recipes, with_provenance
from autonama_dagster.services.inputs.ranking import ranked_days
from autonama_dagster.services.inputs.readers import MadeReader
from autonama_dagster.services.scan.results import (
    ScanResult,
    by_strength,
    plain_summary,
    scan_parameters,
)
from autonama_dagster.services.scan.symbol_charts import charted, draw_symbol_charts
from autonama_dagster.settings import Settings
from autonama_dagster.text.labels import counted
from autonama_dagster.text.sources import distance
from resources.exchange.base import NOTHING_LISTED, Exchange
from resources.exchange.feed import Fetched, fetch_daily, refuse_mixture
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
    made_with = recipes(settings)
    on_step("rank the universe" if symbols is None else "look up the symbols")
    universe, failed = scanned_universe(settings, day, symbols, exchange, warehouse)
    members = universe.loc[universe["is_member"], "symbol"].tolist()
    on_step(f"candles of {counted(len(members), 'symbol')}")
    reach = settings.lookback - 1 + (CHART_DAYS - 1 if with_charts else 0)
    first = day - timedelta(days=reach)
    fetched, candles, source = _candles(members, first, day, exchange, warehouse)
    on_step("channels, indicators and signals")
    reader = MadeReader(
        made_with,
        candles,
        symbols=members,
        evidence=with_copies(
            _evidence(fetched, members, first, day, warehouse), copies(candles.values())
        ),
        rows={"universe": universe},
    )
    signals = reader.rows("signals", DayScope(tuple(members), day, day))
    signals = with_provenance(signals, "signals", settings)
    on_step("correlations and summary")
    summary = reader.rows("analysis_summary", DayScope(None, day, day))
    charts = []
    if with_charts:
        on_step("charts")
        chosen = signals if symbols else signals[signals["symbol"].isin(charted(signals))]
        folder = settings.results_path / "charts" / "what-if"
        charts = draw_symbol_charts(folder, day, chosen, candles, settings, source)
    return ScanResult(
        day=day,
        signals=by_strength(signals),
        summary=plain_summary(summary.drop(columns="input_hash")),
        parameters=scan_parameters(settings),
        source=source,
        stored=False,
        failed=tuple(sorted({*failed, *fetched.failed})),
        refusal=fetched.refusal,
        quarantined=count_quarantined(fetched, members, day, warehouse),
        charts=tuple(charts),
    )


def scanned_universe(
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
    ranked = ranked_days(settings, known, fetched, day, day, is_complete=exchange.knows_delisted)
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


def count_quarantined(
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
