"""The receipt of a signal: the rows it was made from, down to the candles, checked on the spot.

Nothing of Dagster is imported, so that it is there within a second.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles import Candles
from autonama_dagster.analytics.channel import ChannelParams
from autonama_dagster.analytics.hashing import code_version, combine, params_hash
from autonama_dagster.analytics.run_windows import Answered, known_days, windows_of
from autonama_dagster.analytics.universe import WINDOW_DAYS
from autonama_dagster.analytics.universe import input_hashes as candidate_hashes
from autonama_dagster.analytics.window_facts import WindowFacts, window_facts
from autonama_dagster.errors import InputError
from resources.statements import Scope
from resources.warehouse import Warehouse

ROWS = ("signals", "regression_bands", "indicators", "universe", "asset_analytics", "alerts")


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
        The candles of W: every column of `ohlcv_1d`.
    suspects
        First and last day that a changed candle can lie on; None: the window's hash matches.
    stored_code, present_code
        Version of the code that made the signal, and of this one.
    is_parameters_match
        Whether the stored hash is that of the stored parameters.
    """

    symbol: str
    day: date
    rows: Mapping[str, Mapping[str, Any]]
    window: WindowFacts
    parameters: Mapping[str, Any]
    links: tuple[Link, ...]
    candles: pd.DataFrame
    suspects: tuple[date, date] | None
    stored_code: str
    present_code: str
    is_parameters_match: bool

    @property
    def is_match(self) -> bool:
        """Whether everything that can be recomputed is what is stored."""
        return self.is_parameters_match and all(k.is_match is not False for k in self.links)

    @property
    def run_ids(self) -> dict[str, str]:
        """The run that wrote the row of each table."""
        return {name: str(row["run_id"]) for name, row in self.rows.items()}


def latest_day(warehouse: Warehouse, symbol: str) -> date:
    """The latest day that the symbol has a signal of.

    Raises
    ------
    InputError
        It has none.
    """
    latest = warehouse.latest_day("signals", symbol)
    if latest is None:
        raise InputError(f"no signal of {symbol} is stored: run `autonama scan` first")
    return latest


def read_receipt(warehouse: Warehouse, symbol: str, day: date) -> Receipt:
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
    # Of every day in the window its own window too: the first that differs tells which candle did.
    frame = warehouse.read("ohlcv_1d", Scope((symbol,), day - 2 * lookback, day))
    answered = warehouse.fetched_ranges("1d", [symbol])
    candles = Candles.by_symbol(frame)
    run = windows_of(candles, [symbol], day - lookback, day, params.lookback, answered)
    hashes = run.hashes()
    links = _chain(rows, str(hashes[-1]), _candidate_hash(candles, answered, symbol, day))
    last = windows_of(candles, [symbol], day, day, params.lookback, answered)
    facts = window_facts(last.candles[0], last.windows[0], params.lookback)
    stored = warehouse.read(
        "regression_bands", Scope((symbol,), day - lookback, day), ("date", "input_hash")
    )
    in_window = frame["date"] >= pd.Timestamp(facts.first or day + timedelta(days=1))
    return Receipt(
        symbol=symbol,
        day=day,
        rows=rows,
        window=facts,
        parameters=asdict(params),
        links=links,
        candles=frame[in_window].reset_index(drop=True),
        suspects=_suspects(stored, hashes, day),
        stored_code=str(rows["signals"]["code_version"]),
        present_code=code_version(),
        is_parameters_match=params_hash(asdict(params)) == rows["signals"]["params_hash"],
    )


def _rows(warehouse: Warehouse, symbol: str, day: date) -> dict[str, Mapping[str, Any]]:
    scope = Scope((symbol,), day, day)
    frames = {name: warehouse.read(name, scope) for name in ROWS}
    if frames["signals"].empty or frames["asset_analytics"].empty:
        latest = latest_day(warehouse, symbol)
        raise InputError(f"no signal of {symbol} on {day} is stored; the latest is of {latest}")
    return {name: _record(frame) for name, frame in frames.items() if len(frame)}


def _record(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in frame.to_dict("records")[0].items()}


def _chain(
    rows: Mapping[str, Mapping[str, Any]], window: str, candidate: str | None
) -> tuple[Link, ...]:
    """Each row's hash beside what its inputs give, in the order in which they are made."""
    ranked = rows.get("universe")
    of_universe = () if ranked is None else (candidate or str(ranked["input_hash"]),)
    decided = combine(window, *of_universe)
    expected = {
        "indicators": window,
        "regression_bands": window,
        "universe": candidate,
        "signals": decided,
        "asset_analytics": decided,
        "alerts": decided,
    }
    return tuple(
        Link(name, str(rows[name]["input_hash"]), hashed)
        for name, hashed in expected.items()
        if name in rows
    )


def _candidate_hash(
    candles: Mapping[str, Candles], answered: Answered, symbol: str, day: date
) -> str | None:
    """Hash of the symbol's universe row; None where its candles are not all stored."""
    days = np.array([np.datetime64(day)]).astype(np.int64)
    if symbol not in candles or not known_days(answered.get(symbol, ()), days, WINDOW_DAYS + 1)[0]:
        return None
    return candidate_hashes(candles[symbol], days)[0]


def _suspects(
    stored: pd.DataFrame, hashes: NDArray[np.str_], day: date
) -> tuple[date, date] | None:
    """Days of the first candle that differs from what the stored rows were made from.

    A window ends with its day's candle, so the first day whose hash differs is the candle's own
    if the day before is stored and does not differ.
    """
    days = pd.date_range(end=pd.Timestamp(day), periods=len(hashes)).as_unit("s")
    now = pd.Series(hashes, index=days, dtype="str")
    known = stored.set_index("date")["input_hash"]
    differs = known != now.reindex(known.index)
    if not differs.iloc[-1]:
        return None
    matching = known.index[~differs]
    earlier = matching[-1] if len(matching) else days[0] - pd.Timedelta(days=1)
    first = known.index[known.index > earlier][0]
    return (earlier + pd.Timedelta(days=1)).date(), first.date()
