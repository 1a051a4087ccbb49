"""A query as a database would answer it that ends on a day: nothing later is in any table."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from autonama_dagster.schemas.base import SCHEMA, Table
from autonama_dagster.schemas.registry import table
from autonama_dagster.schemas.tables.market import FETCH_LOG

_NAMED: Final = re.compile(rf"\b{SCHEMA}\.(\w+)")


def cut(sql: str, parameters: Sequence[Any], until: date) -> tuple[str, tuple[Any, ...]]:
    """A SELECT and its values, with every table of the project cut at a day, the day included.

    Each table stands as a common table expression of its own name in front of the query, so that
    whatever the query does with it, it does with rows up to the day. Requests to the exchange count
    for the days up to it. A table without days is empty: nobody can say what it held then.

    Raises
    ------
    SchemaError
        The query names what is not a table of the registry, e.g. a view.
    """
    names = dict.fromkeys(_NAMED.findall(sql))
    if not names:
        return sql, tuple(parameters)
    day = f"${len(parameters) + 1}::date"
    # Not materialised: conditions of the query reach the table's indexes.
    tables = ", ".join(
        f'"{name}" AS NOT MATERIALIZED ({_rows_until(table(name), day)})' for name in names
    )
    rest = _NAMED.sub(r'"\1"', sql)
    return f"WITH {tables} ({rest})", (*parameters, until)


def _rows_until(of: Table, day: str) -> str:
    columns = {name: f'"{name}"' for name in of.columns}
    if of is FETCH_LOG:
        columns["to_date"] = f"least(to_date, {day}) AS to_date"
        columns["fault_date"] = f"CASE WHEN fault_date <= {day} THEN fault_date END AS fault_date"
        condition = f"from_date <= {day}"
    elif "date" not in of.columns:
        condition = f"{day} IS NULL"
    elif of.schema.columns["date"].nullable:
        condition = f"(date <= {day} OR date IS NULL)"
    else:
        condition = f"date <= {day}"
    return f"SELECT {', '.join(columns.values())} FROM {SCHEMA}.{of.name} WHERE {condition}"
