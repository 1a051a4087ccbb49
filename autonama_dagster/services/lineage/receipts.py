"""The receipt of a signal: the rows it was made from, down to the candles, checked on the spot.

Nothing of Dagster is imported, so that it is there within a second.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.analytics.candles.run_windows import (
    Answered,
    RunWindows,
    known_days,
    windows_of,
)
from autonama_dagster.analytics.candles.window_facts import WindowFacts, window_facts
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.input_hashes import signal_hashes
from autonama_dagster.analytics.scan.universe import WINDOW_DAYS
from autonama_dagster.analytics.scan.universe import input_hashes as candidate_hashes
from autonama_dagster.days import DAY
from autonama_dagster.errors import InputError
from autonama_dagster.services.inputs.evidence import judged
from autonama_dagster.services.inputs.parameters import versions
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.ledger import latest_day
from resources.warehouse.origins import origins
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

ROWS = (
    "signals", "regression_bands", "indicators", "data_quality", "universe", "asset_analytics",
    "alerts",
)  # fmt: skip


@dataclass(frozen=True)
class Link:
    """One row of the hash chain.

    Attributes
    ----------
    table
        Where the row is.
    stored
        Its `input_hash`.
    recomputed
        What its inputs give now; None: they are not all stored, so it cannot be said.
    """

    table: str
    stored: str
    recomputed: str | None

    @property
    def is_match(self) -> bool | None:
        """Whether both are the same; None: it cannot be said."""
        return None if self.recomputed is None else self.stored == self.recomputed


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
        The hash chain, from the window to the tables made from the signal.
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
        """Whether every hash that can be recomputed is what is stored."""
        return all(link.is_match is not False for link in self.links)

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
    """Gather the receipt of a stored signal and recompute its hashes.

    Raises
    ------
    InputError
        No such signal is stored.
    """
    rows = _rows(warehouse, symbol, day)
    channel = json.loads(rows["asset_analytics"]["polynomial_regression"])
    params = ChannelParams(
        channel["degree"], channel["kstd"], channel["price_scale"], channel["lookback_days"]
    )
    lookback = timedelta(days=params.lookback - 1)
    frame = warehouse.read("ohlcv_1d", Scope((symbol,), day - 2 * lookback, day))
    answered = fetched_ranges(warehouse, "1d", [symbol])
    candles = Candles.by_symbol(frame)
    run = windows_of(candles, [symbol], day, day, params.lookback, answered)
    (hashed,) = run.hashes().tolist()
    expected = {
        "indicators": hashed,
        "regression_bands": hashed,
        "data_quality": str(
            judged(warehouse, settings, Scope((symbol,), day, day), run)["input_hash"].iloc[0]
        ),
        "universe": _candidate_hash(candles, answered, symbol, day),
    }
    facts = window_facts(run.candles[0], run.windows[0], params.lookback)
    suspects = None
    if rows["regression_bands"]["input_hash"] != hashed:
        # Of every day in the window its own window: the first that differs tells which candle did.
        each = windows_of(candles, [symbol], day - lookback, day, params.lookback, answered)
        stored = warehouse.read(
            "regression_bands", Scope((symbol,), day - lookback, day), ("date", "input_hash")
        )
        suspects = _suspects(stored, each.hashes(), day)
    given = origins(warehouse, symbol, facts.first or day + DAY, day)
    return Receipt(
        symbol=symbol,
        day=day,
        rows=rows,
        window=facts,
        parameters=asdict(params),
        links=_chain(rows, expected),
        candles=frame.merge(given, on=["symbol", "date"]),
        run=run,
        suspects=suspects,
        stored=Versions(str(rows["signals"]["params_hash"]), str(rows["signals"]["code_version"])),
        present=versions("signals", settings),
    )


def _rows(warehouse: Warehouse, symbol: str, day: date) -> dict[str, Mapping[str, Any]]:
    scope = Scope((symbol,), day, day)
    frames = {name: warehouse.read(name, scope) for name in ROWS}
    if frames["signals"].empty or frames["asset_analytics"].empty:
        latest = latest_signal(warehouse, symbol)
        raise InputError(f"no signal of {symbol} on {day} is stored; the latest is of {latest}")
    return {name: _record(frame) for name, frame in frames.items() if len(frame)}


def _record(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in frame.to_dict("records")[0].items()}


def _chain(
    rows: Mapping[str, Mapping[str, Any]], expected: Mapping[str, str | None]
) -> tuple[Link, ...]:
    """Each row's hash beside what its inputs give, in the order in which they are made."""
    key = pd.DataFrame([{k: rows["signals"][k] for k in ("symbol", "date")}])
    # Where a row's own inputs are not stored its hash is taken as it is.
    known = {
        name: key.assign(input_hash=expected[name] or rows[name]["input_hash"])
        for name in ("regression_bands", "universe", "data_quality")
        if name in rows
    }
    none = key.iloc[:0].assign(input_hash=pd.Series(dtype="str"))
    (decided,) = signal_hashes(
        key,
        known["regression_bands"],
        known.get("universe", none),
        known.get("data_quality", none),
    )
    chain = {**expected, **dict.fromkeys(("signals", "asset_analytics", "alerts"), decided)}
    return tuple(
        Link(name, str(rows[name]["input_hash"]), hashed)
        for name, hashed in chain.items()
        if name in rows
    )


def _candidate_hash(
    candles: Mapping[str, Candles], answered: Answered, symbol: str, day: date
) -> str | None:
    """Hash of the symbol's universe row; None where its candles are not all stored."""
    days = np.array([day_number(day)])
    if symbol not in candles or not known_days(answered.get(symbol, ()), days, WINDOW_DAYS + 1)[0]:
        return None
    return candidate_hashes(candles[symbol], days)[0]


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
