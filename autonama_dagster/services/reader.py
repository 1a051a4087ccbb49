"""Tables as DataFrames, for notebooks: reads alone, nothing is started, made or changed."""

import json
from collections.abc import Iterable
from contextlib import closing
from datetime import date, datetime

import pandas as pd

from autonama_dagster.days import parse_day, parse_moment
from autonama_dagster.errors import InputError
from autonama_dagster.schemas.base import Table
from autonama_dagster.schemas.registry import table
from autonama_dagster.settings import load_settings
from autonama_dagster.text.pair_names import parse_symbols
from resources.postgres.roles.readers import find_databases
from resources.warehouse.frames import of_symbols
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


def read(
    name: str,
    *,
    symbols: str | Iterable[str] | None = None,
    first: str | date | None = None,
    last: str | date | None = None,
    as_of: str | date | None = None,
    columns: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Rows of a table of the project in the configured home.

    Parameters
    ----------
    name
        A table, e.g. "signals"; docs/data-dictionary.md lists them.
    symbols
        Pairs, as a list or separated by commas; None: all. Of `correlation_matrix` the pairs of
        which one is among them.
    first, last
        UTC days, both included, e.g. "2024-01-31"; None: from the earliest, to the latest.
    as_of
        Candles as they were known at this moment of the exchange's clock, in UTC unless it says
        otherwise. Only for candles that are fetched: `ohlcv_1d`, `ohlcv_1h`, `ohlcv_15m`.
    columns
        Columns to read beside the key; None: all.

    Returns
    -------
    pandas.DataFrame
        The index is the table's key, e.g. (symbol, date), and sorted. Days are datetime64[s],
        midnight UTC without a zone; moments are datetime64[us, UTC]; text is str; numbers are
        float64 or int64; columns that may lack a whole number or a flag are Int64 and boolean.
        Missing is NaN, or <NA> in the last two. Columns of JSON hold dicts and lists.

    Raises
    ------
    InputError
        A day, a moment, or a filter that the table has no column for.
    SchemaError
        Unknown table or column.
    DatabaseError
        The database cannot be reached, or the embedded server is stopped: `autonama db start`.
    """
    of = table(name)
    names = _symbols(of, symbols)
    begin, end = _day(of, "first", first), _day(of, "last", last)
    moment = _moment(as_of)
    chosen = None if columns is None else tuple(dict.fromkeys((*of.key, *columns)))
    databases = find_databases(load_settings())
    with closing(Warehouse(lambda: databases.project, reads=True)) as warehouse:
        frame = warehouse.read(name, Scope(names, begin, end), chosen, as_of=moment)
    if names is not None and "symbol" not in of.columns:  # which the query has not looked at
        frame = of_symbols(of, frame, names)
    for column in frame.columns:
        if of.sql_type(column) == "jsonb":
            frame[column] = [None if pd.isna(text) else json.loads(text) for text in frame[column]]
    return frame.set_index(list(of.key)) if of.key else frame


def _symbols(of: Table, symbols: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if symbols is None:
        return None
    if not of.symbol_columns:
        raise InputError(f"symbols: table {of.name} has no symbols; remove the argument")
    try:
        return parse_symbols(symbols if isinstance(symbols, str) else ",".join(symbols))
    except ValueError as error:
        raise InputError(f"symbols: {error}; write it like BTCUSDT") from None


def _day(of: Table, what: str, day: str | date | None) -> date | None:
    if day is None:
        return None
    if "date" not in of.columns:
        raise InputError(f"{what}: table {of.name} has no days; remove the argument")
    if isinstance(day, datetime):
        day = day.date()
    return parse_day(str(day), what)


def _moment(as_of: str | date | None) -> datetime | None:
    return None if as_of is None else parse_moment("as_of", str(as_of))
