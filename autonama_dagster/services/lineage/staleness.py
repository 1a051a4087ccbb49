"""Which stored rows are not what the present candles give: their input hashes, made again.

A row is stale when its `input_hash` is another one than a run would give it now. Rows that were
made with other parameters or by other code are not compared: a backfill makes them anew anyway.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import pandas as pd

from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS, window_days
from autonama_dagster.analytics.scan.input_hashes import summary_hash
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.analytics.scan.summary import members
from autonama_dagster.analytics.scan.universe import WINDOW_DAYS
from autonama_dagster.days import DAY, chunks
from autonama_dagster.services.inputs.longer_candles import candles_made
from autonama_dagster.services.inputs.parameters import OF_SYMBOLS, recipes, versions
from autonama_dagster.services.inputs.readers import MadeReader, PresentReader, stored_scope
from autonama_dagster.settings import Settings
from resources.warehouse import ledger
from resources.warehouse.ledger import latest_day
from resources.warehouse.revisions import Change
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

KEY = ["symbol", "date"]
_OF_DAYS = ("correlation_matrix", "analysis_summary")
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
        self._recipes = recipes(settings)
        self._reader = PresentReader(warehouse, self._recipes)
        self._n_outdated = 0
        self._n_unanswered = 0

    def all_tables(self) -> Stale:
        """Stale rows of every analytic table."""
        rows = {**self._of_universe(), **self._of_symbols()}
        parts = [found for _, found in self._of_days()]
        for name in _OF_DAYS if parts else ():
            rows[name] = pd.concat([part[name] for part in parts], ignore_index=True)
        return self._found(rows)

    def tables_of_symbols(self) -> Stale:
        """Stale rows of `OF_SYMBOLS`."""
        return self._found(self._of_symbols())

    def tables_of_days(self) -> Iterator[tuple[date, Stale]]:
        """Stale rows of the tables by date, as if the tables of symbols had been made again.

        In parts of at most `DAYS_AT_ONCE` days, oldest first, each with its first day.
        """
        for begin, rows in self._of_days():
            yield begin, self._found(rows)

    def _found(self, rows: Mapping[str, pd.DataFrame]) -> Stale:
        filled = {name: keys for name, keys in rows.items() if len(keys)}
        return Stale(filled, self._n_outdated, self._n_unanswered)

    def _scope(self, days: int) -> DayScope:
        """Days whose window of so many days holds one of the candles."""
        latest = latest_day(self._warehouse, "regression_bands") or self._first - DAY
        return DayScope(self._symbols, self._first, min(self._last + (days - 1) * DAY, latest))

    def _stored(self, name: str, scope: DayScope) -> pd.DataFrame:
        """Keys and hashes of a table's rows of the present versions."""
        made = versions(name, self._settings)
        frame, others = ledger.input_hashes(self._warehouse, name, stored_scope(scope), made)
        self._n_outdated += others
        return frame

    def _of_universe(self) -> dict[str, pd.DataFrame]:
        """The hash is of a symbol's own candles alone: whom it is ranked among does not matter."""
        scope = self._scope(WINDOW_DAYS + 1)
        if _is_empty(scope):
            return {}
        stored = self._stored("universe", scope)
        stored = stored[stored["symbol"].isin(self._symbols)]
        now = self._recipes["universe"].hashes(self._reader, scope)
        unknown = now[now["input_hash"].isna()]
        is_unknown = stored[KEY].merge(unknown, on=KEY, how="left", indicator=True)["_merge"]
        is_known = is_unknown.eq("left_only").to_numpy()
        self._n_unanswered += int((~is_known).sum())
        return {"universe": _different(stored[is_known], now)}

    def _of_symbols(self) -> dict[str, pd.DataFrame]:
        scope = self._scope(self._settings.lookback)
        if _is_empty(scope):
            return {}
        return {
            name: _different(self._stored(name, scope), self._reader.hashes(name, scope))
            for name in OF_SYMBOLS
        }

    def _of_days(self) -> Iterator[tuple[date, dict[str, pd.DataFrame]]]:
        scope = self._scope(self._settings.lookback)
        if _is_empty(scope):
            return
        reach = self._scope(window_days(self._settings.lookback))
        stored = self._stored("analysis_summary", scope.everyone)
        summaries = stored.set_index("date")["input_hash"].to_dict()
        members = self._expected_members(scope)
        for begin, end in chunks(scope.first, scope.last, DAYS_AT_ONCE):
            pairs_now = dict(self._expected_pairs(begin, min(end, reach.last)))
            unsure = [d for d in members if d in summaries and begin <= d.date() <= end]
            days = sorted({*pairs_now, *unsure})
            if not days:
                continue
            found = [_NO_PAIRS]
            stale_days = []
            part = DayScope(None, days[0].date(), days[-1].date())
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

    def _expected_members(self, scope: DayScope) -> dict[pd.Timestamp, pd.DataFrame]:
        """The members' signals of every day whose summary may be stale, but for its pairs.

        Those of the symbols as they would be made now, all others as they are stored. Left out are
        days without a stale signal whose summary is older than none of its inputs, outside the
        reach of the pairs: reading all pairs of a day is what costs.
        """
        columns = ("symbol", "date", "is_member", "input_hash")
        stored = members(self._reader.rows("signals", scope.everyone, columns))
        ours = self._reader.hashes("signals", scope)
        merged = stored.merge(ours, on=["symbol", "date"], how="left", suffixes=("", "_now"))
        now = merged["input_hash_now"].fillna(merged["input_hash"])
        changed = set(merged.loc[now.ne(merged["input_hash"]), "date"].dt.date)
        merged["input_hash"] = now
        made = versions("analysis_summary", self._settings)
        settled = ledger.settled_days(self._warehouse, self._first, scope.last, made)
        reach = self._scope(window_days(self._settings.lookback)).last
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
        if first > last:
            return
        scope = DayScope(None, first, last)
        universe = self._reader.rows("universe", scope, ("date", "symbol", "is_member"))
        members = universe[universe["is_member"]]
        touched = members.loc[members["symbol"].isin(self._symbols), "date"]
        wanted = members[members["date"].isin(touched)]
        if wanted.empty:
            return
        names = wanted["symbol"].unique().tolist()
        candles = self._reader.candles(names, first - RETURN_DAYS * DAY, last)
        answered = self._reader.answered(names)
        reader = MadeReader(self._recipes, candles, answered=answered, rows={"universe": wanted})
        for day, pairs in reader.hashes("correlation_matrix", scope).groupby("date"):
            yield pd.Timestamp(str(day)), pairs


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


def _is_empty(scope: DayScope) -> bool:
    return not scope.symbols or scope.first > scope.last
