"""Which stored rows are not what the present candles give: their input hashes, made again.

A row is stale when its `input_hash` is another one than a run would give it now. Rows that were
made with other parameters or by other code are not compared: a backfill makes them anew anyway.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import day_numbers
from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM
from autonama_dagster.analytics.candles.run_windows import answered_candles, known_days
from autonama_dagster.analytics.candles.windows import day_number, day_range
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS, pairs, window_days
from autonama_dagster.analytics.scan.input_hashes import signal_hashes, summary_hash
from autonama_dagster.analytics.scan.summary import members
from autonama_dagster.analytics.scan.universe import WINDOW_DAYS, rank
from autonama_dagster.days import DAY
from autonama_dagster.services.inputs.evidence import judged
from autonama_dagster.services.inputs.longer_candles import candles_made
from autonama_dagster.services.inputs.parameters import versions
from autonama_dagster.services.inputs.windows import read_windows
from autonama_dagster.settings import Settings
from resources.exchange.base import SymbolInfo
from resources.warehouse import ledger
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.ledger import latest_day
from resources.warehouse.revisions import Change
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

OF_SYMBOLS = (
    *("data_quality", "indicators", "regression_bands", "signals", "asset_analytics", "alerts"),
)
OF_DAYS = ("correlation_matrix", "analysis_summary")
ANALYTIC = ("universe", *OF_SYMBOLS, *OF_DAYS)
DAYS_AT_ONCE = 60  # of the pairs that are in memory: 300,000 rows of 100 members


_NO_PAIRS = pd.DataFrame(
    {
        "date": pd.Series(dtype="datetime64[s]"),
        **{c: pd.Series(dtype="str") for c in ("symbol_a", "symbol_b")},
    }
)


@dataclass(frozen=True)
class Stale:
    """Stale rows.

    Attributes
    ----------
    rows
        Keys of the stale rows by table; a table without any is absent.
    n_outdated
        Rows that were made with other parameters or by other code, which are not compared.
    n_unanswered
        Rows of `universe` that are not compared, because not all candles they were made from were
        asked for to be stored.
    """

    rows: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    n_outdated: int = 0
    n_unanswered: int = 0

    @property
    def days(self) -> tuple[date, ...]:
        """Days with a stale row, in order."""
        found = {day for keys in self.rows.values() for day in keys["date"].dt.date}
        return tuple(sorted(found))

    def symbols(self, name: str) -> list[str]:
        """Symbols of a table's stale rows, in order; none where the table is by day."""
        keys = self.rows.get(name, pd.DataFrame())
        columns = [c for c in ("symbol", "symbol_a", "symbol_b") if c in keys]
        return sorted({symbol for c in columns for symbol in keys[c]})

    def symbols_by_day(self) -> dict[date, frozenset[str]]:
        """Symbols with a stale row of their own, by day."""
        keys = [self.rows[name][["date", "symbol"]] for name in OF_SYMBOLS if name in self.rows]
        if not keys:
            return {}
        of_days = pd.concat(keys).groupby("date")["symbol"]
        return {pd.Timestamp(str(day)).date(): frozenset(names) for day, names in of_days}


class Comparison:
    """Compares what may have been made from some candles with what a run would make of them now.

    Parameters
    ----------
    warehouse
        The project's tables.
    settings
        The configured parameters.
    symbols
        Whose candles are looked at.
    first, last
        Days of these candles; rows of later days are compared as far as a window reaches.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        settings: Settings,
        symbols: Sequence[str],
        first: date,
        last: date,
    ) -> None:
        self._warehouse = warehouse
        self._settings = settings
        self._symbols = tuple(sorted(symbols))
        self._first = max(first, settings.start_date)
        self._last = last
        self._n_outdated = 0
        self._n_unanswered = 0

    def all_tables(self) -> Stale:
        """Stale rows of every analytic table."""
        rows = {**self._of_universe(), **self._of_symbols()}
        parts = [found for _, found in self._of_days()]
        for name in OF_DAYS if parts else ():
            rows[name] = pd.concat([part[name] for part in parts], ignore_index=True)
        return self._found(rows)

    def tables_of_symbols(self) -> Stale:
        """Stale rows of `OF_SYMBOLS`."""
        return self._found(self._of_symbols())

    def tables_of_days(self) -> Iterator[tuple[date, Stale]]:
        """Stale rows of `OF_DAYS`, as if the tables of symbols had been made again.

        In parts of at most `DAYS_AT_ONCE` days, oldest first, each with its first day.
        """
        for begin, rows in self._of_days():
            yield begin, self._found(rows)

    def _found(self, rows: Mapping[str, pd.DataFrame]) -> Stale:
        filled = {name: keys for name, keys in rows.items() if len(keys)}
        return Stale(filled, self._n_outdated, self._n_unanswered)

    def _scope(self, days: int) -> Scope:
        """Days whose window of so many days holds one of the candles."""
        latest = latest_day(self._warehouse, "regression_bands") or self._first - DAY
        return Scope(self._symbols, self._first, min(self._last + (days - 1) * DAY, latest))

    def _stored(self, name: str, scope: Scope) -> pd.DataFrame:
        """Keys and hashes of a table's rows of the present versions."""
        made = versions(name, self._settings)
        frame, others = ledger.input_hashes(self._warehouse, name, scope, made)
        self._n_outdated += others
        return frame

    def _of_universe(self) -> dict[str, pd.DataFrame]:
        scope = self._scope(WINDOW_DAYS + 1)
        if _is_empty(scope):
            return {}
        stored = self._stored("universe", scope)
        stored = stored[stored["symbol"].isin(self._symbols)]
        answered = fetched_ranges(self._warehouse, "1d", self._symbols)
        days = day_range(_begin(scope), _end(scope))
        known = {
            s: set(days[known_days(answered.get(s, ()), days, WINDOW_DAYS + 1)].tolist())
            for s in self._symbols
        }
        is_known = [
            number in known[symbol]
            for symbol, number in zip(stored["symbol"], day_numbers(stored).tolist(), strict=True)
        ]
        self._n_unanswered += len(stored) - sum(is_known)
        candles = self._warehouse.candles(
            self._symbols, self._first - WINDOW_DAYS * DAY, _end(scope)
        )
        infos = [SymbolInfo(s, s.removesuffix("USDT"), "USDT") for s in self._symbols]
        # The hash is of a symbol's own candles alone: whom it is ranked among does not matter.
        expected = rank(infos, candles, days, universe_size=1, is_complete=True)
        return {"universe": _different(stored[is_known], expected)}

    def _expected_signals(self, scope: Scope) -> pd.DataFrame:
        """symbol, date, window, quality, has_candle and input_hash of every symbol and day."""
        run = read_windows(self._warehouse, scope, self._settings.lookback)
        quality = judged(self._warehouse, self._settings, scope, run)
        days = pd.to_datetime(day_range(_begin(scope), _end(scope)), unit="D").astype(
            "datetime64[s]"
        )
        frame = pd.DataFrame(
            {
                "symbol": np.repeat(self._symbols, len(days)),
                "date": np.tile(days, len(self._symbols)),
                "window": run.hashes(),
                "quality": quality["input_hash"],
                "has_candle": run.has_candle(),
            }
        ).astype({"symbol": "str", "window": "str"})
        ranked = ("symbol", "date", "input_hash")
        universe = self._warehouse.read("universe", scope, ranked)
        bands = frame.rename(columns={"window": "input_hash"})
        return frame.assign(
            input_hash=pd.Series(signal_hashes(frame, bands, universe, quality), dtype="str")
        )

    def _of_symbols(self) -> dict[str, pd.DataFrame]:
        scope = self._scope(self._settings.lookback)
        if _is_empty(scope):
            return {}
        signals = self._expected_signals(scope)
        windows = signals.assign(input_hash=signals["window"])
        expected = {
            "data_quality": signals.assign(input_hash=signals["quality"]),
            "indicators": windows[windows["has_candle"]],
            "regression_bands": windows,
            **dict.fromkeys(("signals", "asset_analytics", "alerts"), signals),
        }
        return {name: _different(self._stored(name, scope), expected[name]) for name in expected}

    def _of_days(self) -> Iterator[tuple[date, dict[str, pd.DataFrame]]]:
        scope = self._scope(self._settings.lookback)
        if _is_empty(scope):
            return
        reach = self._scope(window_days(self._settings.lookback))
        stored = self._stored("analysis_summary", Scope(None, scope.first, scope.last))
        summaries = stored.set_index("date")["input_hash"].to_dict()
        members = self._expected_members(scope)
        for begin, end in _parts(scope):
            pairs_now = dict(self._expected_pairs(begin, min(end, _end(reach))))
            unsure = [d for d in members if d in summaries and begin <= d.date() <= end]
            days = sorted({*pairs_now, *unsure})
            if not days:
                continue
            found = [_NO_PAIRS]
            stale_days = []
            part = Scope(None, days[0].date(), days[-1].date())
            for key, of_day in self._stored("correlation_matrix", part).groupby("date"):
                day = pd.Timestamp(str(key))
                expected = pairs_now.get(day, of_day)
                found.append(_different(of_day, expected))
                is_unsure = day in members and day in summaries
                if is_unsure and summary_hash(members[day], expected) != summaries[day]:
                    stale_days.append(day)
            yield (
                begin,
                {
                    "correlation_matrix": pd.concat(found, ignore_index=True),
                    "analysis_summary": pd.DataFrame(
                        {"date": pd.Series(stale_days, dtype="datetime64[s]")}
                    ),
                },
            )

    def _expected_members(self, scope: Scope) -> dict[pd.Timestamp, pd.DataFrame]:
        """The members' signals of every day whose summary may be stale, but for its pairs.

        Those of the symbols as they would be made now, all others as they are stored. Left out are
        days without a stale signal whose summary is older than none of its inputs, outside the
        reach of the pairs: reading all pairs of a day is what costs.
        """
        columns = ("symbol", "date", "is_member", "input_hash")
        stored = self._warehouse.read("signals", Scope(None, scope.first, scope.last), columns)
        stored = members(stored)
        ours = self._expected_signals(scope)[["symbol", "date", "input_hash"]]
        merged = stored.merge(ours, on=["symbol", "date"], how="left", suffixes=("", "_now"))
        now = merged["input_hash_now"].fillna(merged["input_hash"])
        changed = set(merged.loc[now.ne(merged["input_hash"]), "date"].dt.date)
        merged["input_hash"] = now
        made = versions("analysis_summary", self._settings)
        settled = ledger.settled_days(self._warehouse, self._first, _end(scope), made)
        reach = _end(self._scope(window_days(self._settings.lookback)))
        found = {}
        for key, of_day in merged.groupby("date"):
            day = pd.Timestamp(str(key))
            is_sure = day.date() in settled - changed and day.date() > reach
            if not is_sure and of_day["symbol"].isin(self._symbols).any():
                found[day] = of_day
        return found

    def _expected_pairs(
        self, first: date, last: date
    ) -> Iterator[tuple[pd.Timestamp, pd.DataFrame]]:
        """All pairs of every day that has one of the symbols among its members."""
        columns = ("date", "symbol", "is_member")
        universe = self._warehouse.read("universe", Scope(None, first, last), columns)
        members = universe[universe["is_member"]]
        names = members["symbol"].unique().tolist()
        candles = self._warehouse.candles(names, first - RETURN_DAYS * DAY, last)
        answered = fetched_ranges(self._warehouse, "1d", names)
        lookback = self._settings.lookback
        reach = window_days(lookback)
        for day, of_day in members.groupby("date")["symbol"]:
            if of_day.isin(self._symbols).any():
                number = day_number(pd.Timestamp(str(day)))
                known = answered_candles(candles, answered, number, reach)
                yield pd.Timestamp(str(day)), pairs(list(of_day), known, number, lookback=lookback)


def stale_after(warehouse: Warehouse, settings: Settings, changes: Sequence[Change]) -> Stale:
    """What changed candles have made stale: rows of the analytic tables, and longer candles."""
    stale = Stale()
    daily = _changed(changes, "1d")
    if daily is not None:
        stale = Comparison(warehouse, settings, *daily).all_tables()
    rows = {}
    for interval, of in MADE_FROM.items():
        changed = _changed(changes, of)
        keys = None if changed is None else _longer_candles(warehouse, interval, *changed)
        if keys is not None and len(keys):
            rows[f"ohlcv_{interval}"] = keys
    return replace(stale, rows={**rows, **stale.rows})


def _changed(changes: Sequence[Change], interval: str) -> tuple[list[str], date, date] | None:
    """Symbols, first and last day of the changed candles of an interval; None: there are none."""
    found = [change for change in changes if change.table == f"ohlcv_{interval}"]
    days = [change.date for change in found]
    return (sorted({c.symbol for c in found}), min(days), max(days)) if found else None


def _longer_candles(
    warehouse: Warehouse, interval: str, symbols: Sequence[str], first: date, last: date
) -> pd.DataFrame:
    """Keys of stored candles that are not what those they were made from give now."""
    until = last + INTERVALS[interval].lengths[-1]
    columns = ("symbol", "date", "open_time", "row_hash")
    stored = warehouse.read(f"ohlcv_{interval}", Scope(tuple(symbols), first, until), columns)
    now = candles_made(interval, symbols, first, until, warehouse)
    return _different(
        *(of[[*columns]].rename(columns={"row_hash": "input_hash"}) for of in (stored, now))
    )


def _different(stored: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Keys of the stored rows that have another hash than expected, or are not expected."""
    keys = [c for c in stored.columns if c != "input_hash"]
    wanted = expected[[*keys, "input_hash"]]
    merged = stored.merge(wanted, on=keys, how="left", suffixes=("", "_now"))
    is_same = merged["input_hash"].eq(merged["input_hash_now"]).fillna(value=False)
    return merged.loc[~is_same.astype(bool), keys].reset_index(drop=True)


def _is_empty(scope: Scope) -> bool:
    return not scope.symbols or scope.first is None or scope.first > _end(scope)


def _begin(scope: Scope) -> date:
    assert scope.first is not None  # noqa: S101
    return scope.first


def _end(scope: Scope) -> date:
    assert scope.last is not None  # noqa: S101
    return scope.last


def _parts(scope: Scope) -> Iterator[tuple[date, date]]:
    begin = _begin(scope)
    while begin <= _end(scope):
        yield begin, min(begin + (DAYS_AT_ONCE - 1) * DAY, _end(scope))
        begin += DAYS_AT_ONCE * DAY
