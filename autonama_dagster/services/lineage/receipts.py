"""The receipt of a signal: the rows it was made from, down to the candles, checked on the spot.

Nothing of Dagster is imported, so that it is there within a second.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.analytics.candles.run_windows import Answered, RunWindows, windows_of
from autonama_dagster.analytics.candles.window_facts import WindowFacts, window_facts
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.quality.quality import Evidence
from autonama_dagster.analytics.scan.recipe import DayScope, Recipes, followed
from autonama_dagster.analytics.scan.tables import RECIPES
from autonama_dagster.days import DAY
from autonama_dagster.errors import InputError
from autonama_dagster.services.inputs.evidence import read_evidence
from autonama_dagster.services.inputs.parameters import OF_SYMBOLS, scan_params, versions
from autonama_dagster.services.inputs.readers import MadeReader, within
from autonama_dagster.services.lineage.links import Link, links_of
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.ledger import latest_day
from resources.warehouse.origins import origins
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

ROWS = (
    "signals", "regression_bands", "indicators", "data_quality", "universe",
    *(name for name in OF_SYMBOLS if name not in
      {"signals", "regression_bands", "indicators", "data_quality"}),
)  # fmt: skip
# The hash chain: what is made of candles alone comes first.
CHAIN = (
    "indicators", "regression_bands", "data_quality", "universe",
    *(name for name in OF_SYMBOLS if name not in
      {"regression_bands", "indicators", "data_quality"}),
)  # fmt: skip


@dataclass(frozen=True)
class Receipt:
    """What a signal was made of.

    Attributes
    ----------
    symbol, day
        Of the signal.
    rows
        Its rows by table, as they are stored; a table without one is absent.
    window
        Facts of W as the stored candles give it now.
    parameters
        What the channel was fitted with.
    links
        The rows of the hash chain, from the window to the tables made from the signal.
    candles
        The candles of W: every column of `ohlcv_1d`, and `origin`, the call or file as JSON.
    run
        The same as arrays, with earlier ones, and the window of the day.
    suspects
        First and last day that a changed candle can lie on; None: the window's hash matches.
    stored, present
        What made the signal, parameters and code, and what would make it now.
    """

    symbol: str
    day: date
    rows: Mapping[str, Mapping[str, Any]]
    window: WindowFacts
    parameters: Mapping[str, Any]
    links: tuple[Link, ...]
    candles: pd.DataFrame
    run: RunWindows
    suspects: tuple[date, date] | None
    stored: Versions
    present: Versions

    @property
    def is_match(self) -> bool:
        """Whether all that can be recomputed, hashes and values, is what is stored."""
        return all(link.is_match is not False for link in self.links)

    @property
    def fault(self) -> str | None:
        """What does not match, in words; None: everything does that can be recomputed."""
        if self.is_match:
            return None
        if any(link.is_input_match is False for link in self.links):
            return "the stored inputs have changed since the row was computed"
        names = ", ".join(link.table for link in self.links if link.is_match is False)
        return f"a row was changed after it was computed: {names}"

    @property
    def run_ids(self) -> dict[str, str]:
        """The run that wrote the row of each table."""
        return {name: str(row["run_id"]) for name, row in self.rows.items()}


def latest_signal(warehouse: Warehouse, symbol: str) -> date:
    """The latest day that the symbol has a signal of.

    Raises
    ------
    InputError
        It has none.
    """
    latest = latest_day(warehouse, "signals", symbol)
    if latest is None:
        newest = latest_day(warehouse, "signals")
        known = warehouse.read("signals", Scope(first=newest, last=newest), ("symbol",))["symbol"]
        near = get_close_matches(symbol, known.tolist(), n=1)
        hint = f"did you mean {near[0]}?" if near else "see `autonama show signals`"
        if newest is None:
            hint = "run `autonama scan` first"
        raise InputError(f"no signal of {symbol} is stored; {hint}")
    return latest


def read_receipt(warehouse: Warehouse, settings: Settings, symbol: str, day: date) -> Receipt:
    """Gather the receipt of a stored signal and recompute its rows and their hashes.

    Raises
    ------
    InputError
        No such signal is stored.
    """
    stored = _stored(warehouse, symbol, day)
    scope = DayScope((symbol,), day, day)
    own = {name: within(stored[name], scope) for name in ROWS}
    rows = {name: _record(frame) for name, frame in own.items() if len(frame)}
    channel = json.loads(rows["asset_analytics"]["polynomial_regression"])
    params = ChannelParams(
        channel["degree"], channel["kstd"], channel["price_scale"], channel["lookback_days"]
    )
    lookback = timedelta(days=params.lookback - 1)
    frame = warehouse.read("ohlcv_1d", Scope((symbol,), day - 2 * lookback, day))
    answered = fetched_ranges(warehouse, "1d", [symbol])
    candles = Candles.by_symbol(frame)
    made_with = followed(RECIPES, replace(scan_params(settings), channel=params))
    evidence = read_evidence(warehouse, (symbol,), day - lookback, day)
    hashes, made = _expected(made_with, candles, answered, evidence, scope, stored)
    run = windows_of(candles, [symbol], day, day, params.lookback, answered)
    facts = window_facts(run.candles[0], run.windows[0], params.lookback)
    suspects = None
    if rows["regression_bands"]["input_hash"] != hashes["regression_bands"]:
        # Of every day in the window its own window: the first that differs tells which candle did.
        each = windows_of(candles, [symbol], day - lookback, day, params.lookback, answered)
        bands = warehouse.read(
            "regression_bands", Scope((symbol,), day - lookback, day), ("date", "input_hash")
        )
        suspects = _suspects(bands, each.hashes(), day)
    given = origins(warehouse, symbol, facts.first or day + DAY, day)
    return Receipt(
        symbol=symbol,
        day=day,
        rows=rows,
        window=facts,
        parameters=asdict(params),
        links=links_of(stored, hashes, made, made_with, scope, CHAIN),
        candles=frame.merge(given, on=["symbol", "date"]),
        run=run,
        suspects=suspects,
        stored=Versions(str(rows["signals"]["params_hash"]), str(rows["signals"]["code_version"])),
        present=versions("signals", settings),
    )


def _stored(warehouse: Warehouse, symbol: str, day: date) -> dict[str, pd.DataFrame]:
    """The symbol's rows of the day by table, and everyone's of the ranking."""
    found = {name: warehouse.read(name, Scope((symbol,), day, day)) for name in OF_SYMBOLS}
    if found["signals"].empty or found["asset_analytics"].empty:
        latest = latest_signal(warehouse, symbol)
        raise InputError(f"no signal of {symbol} on {day} is stored; the latest is of {latest}")
    return found | {"universe": warehouse.read("universe", Scope(first=day, last=day))}


def _record(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in frame.to_dict("records")[0].items()}


def _expected(
    recipes: Recipes,
    candles: Mapping[str, Candles],
    answered: Answered,
    evidence: Mapping[str, Evidence],
    scope: DayScope,
    stored: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, str | None], dict[str, pd.DataFrame]]:
    """Input hash and row of each table as they come out now."""
    universe = stored["universe"]
    ranking = MadeReader(recipes, candles, answered=answered, rows={"universe": universe})
    rank = _only_hash(recipes["universe"].hashes(ranking, scope))
    ranked = within(recipes["universe"].rows(ranking, scope.everyone), scope)
    # The ranking is taken as it is stored, with the hash that its candles have now, where they are
    # stored; a row that there was not is not made up.
    given = {"universe": universe}
    if rank:
        is_own = universe["symbol"].isin(scope.symbols or ())
        given["universe"] = universe.assign(input_hash=universe["input_hash"].mask(is_own, rank))
    if stored["data_quality"].empty:
        given["data_quality"] = stored["data_quality"]
    reader = MadeReader(recipes, candles, answered=answered, evidence=evidence, rows=given)
    hashes = {name: _only_hash(reader.hashes(name, scope)) for name in OF_SYMBOLS}
    made = {name: reader.rows(name, scope) for name in OF_SYMBOLS}
    return {"universe": rank, **hashes}, {"universe": ranked, **made}


def _only_hash(rows: pd.DataFrame) -> str | None:
    """The hash of one row; None: it cannot be said; empty: there is no row."""
    if rows.empty:
        return ""
    found = rows["input_hash"].iloc[0]
    return None if pd.isna(found) else str(found)


def _suspects(stored: pd.DataFrame, hashes: NDArray[np.str_], day: date) -> tuple[date, date]:
    """Days of the first candle that differs from what the stored rows were made from.

    A window ends with its day's candle, so the first day whose hash differs is the candle's own
    if the day before is stored and does not differ.
    """
    days = pd.date_range(end=pd.Timestamp(day), periods=len(hashes)).as_unit("s")
    now = pd.Series(hashes, index=days, dtype="str")
    known = stored.set_index("date")["input_hash"]
    differs = known != now.reindex(known.index)
    matching = known.index[~differs]
    earlier = matching[-1] if len(matching) else days[0] - pd.Timedelta(days=1)
    first = known.index[known.index > earlier][0]
    return (earlier + pd.Timedelta(days=1)).date(), first.date()
