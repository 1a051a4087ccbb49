"""Whether a table holds what was sent: read in the transaction that wrote it, which ends otherwise.

A trigger, a rule or row security may drop or change a row without a word. Rows that were staged are
compared one by one. Those that went by COPY are compared by sums over each column, at a third of
what reading them again costs: of numbers to nine digits, of texts by their hashes, or by the first
and the last where nearly each row has another.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi

from autonama_dagster.errors import DatabaseError
from autonama_dagster.schemas.base import SCHEMA, Table
from autonama_dagster.text.labels import counted

_TOLERANCE: Final = 1e-9  # of a sum of floats, whose order differs
_MANY: Final = 2_000  # different texts, from which on they are not sent again to be hashed
_CASTS: Final = {"jsonb": "::jsonb"}

# What may stand between a statement and the rows, and what takes it away.
_MEDDLERS: Final = """
    SELECT 'trigger ' || quote_ident(tgname) AS what,
           'DISABLE TRIGGER ' || quote_ident(tgname) AS mend
    FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal AND tgenabled <> 'D'
    UNION ALL
    SELECT 'rule ' || quote_ident(rulename), 'DISABLE RULE ' || quote_ident(rulename)
    FROM pg_rewrite WHERE ev_class = $1::regclass AND ev_enabled <> 'D'
    UNION ALL
    SELECT 'row security', 'DISABLE ROW LEVEL SECURITY'
    FROM pg_class WHERE oid = $1::regclass AND relrowsecurity
"""


class _Sum(NamedTuple):
    """How a column is summed up, and what that should give.

    `is_hashed`: the column's texts are summed by their hashes, and `expected` is left to
    `_text_sums`, which asks the server for them.
    """

    sql: str
    expected: Any
    is_hashed: bool = False


def check_scope(
    cursor: dbapi.Cursor, of: Table, sent: pa.Table, where: str, values: Sequence[Any]
) -> None:
    """Compare what the scope `where` holds with the rows that were to be all of it.

    Raises
    ------
    DatabaseError
        It holds others, or other numbers of them.
    """
    sums = {name: _sum_of(of, name, sent.column(name)) for name in of.columns}
    texts = [name for name, of_column in sums.items() if of_column.is_hashed]
    chosen = [f'count("{name}"), {of_column.sql}' for name, of_column in sums.items()]
    cursor.execute(
        f"SELECT count(*), {', '.join(chosen)} FROM {SCHEMA}.{of.name}{where}",
        tuple(values) or None,
    )
    row: Any = cursor.fetchone()
    found, *rest = row
    if found != sent.num_rows:
        raise _lost(cursor, of, _numbers(sent.num_rows, found))
    hashes = _text_sums(cursor, sent, texts)
    for number, (name, of_column) in enumerate(sums.items()):
        filled, total = rest[2 * number], rest[2 * number + 1]
        expected = hashes[name] if of_column.is_hashed else of_column.expected
        column = sent.column(name)
        is_filled = filled == len(column) - column.null_count
        is_same = is_filled and _agree(total, expected, column)
        if found and not is_same:
            raise _lost(
                cursor, of, f"column {name} of {counted(found, 'row')} differs from what was sent"
            )


def check_staged(cursor: dbapi.Cursor, of: Table, stage: str, columns: Sequence[str]) -> None:
    """Compare each staged row with the table's row of its key, in these columns.

    Raises
    ------
    DatabaseError
        The table lacks some, or has others.
    """
    staged = ", ".join(f's."{c}"{_CASTS.get(of.sql_type(c) or "", "")}' for c in columns)
    stored = ", ".join(f't."{c}"' for c in columns)
    cursor.execute(
        f"SELECT count(*), count(*) FILTER (WHERE t.{of.key[0]} IS NULL), "
        f"count(*) FILTER (WHERE ({staged}) IS DISTINCT FROM ({stored})) "
        f"FROM {stage} AS s LEFT JOIN {SCHEMA}.{of.name} AS t USING ({', '.join(of.key)})"
    )
    sent, missing, different = cursor.fetchone() or (0, 0, 0)
    if missing:
        raise _lost(cursor, of, _numbers(sent, sent - missing))
    if different:
        raise _lost(
            cursor, of, f"{different:,} of {counted(sent, 'row')} differ from what was sent"
        )


def check_none(
    cursor: dbapi.Cursor, of: Table, query: str, what: str, values: Sequence[Any] = ()
) -> None:
    """Refuse a count of rows of `of` that are not there.

    Raises
    ------
    DatabaseError
        The count is not 0.
    """
    cursor.execute(query, tuple(values) or None)
    (missing,) = cursor.fetchone() or (0,)
    if missing:
        raise _lost(cursor, of, f"{missing} {what} are missing")


def _sum_of(of: Table, name: str, column: pa.ChunkedArray) -> _Sum:
    """How a column is summed up."""
    kind = column.type
    if of.sql_type(name) == "jsonb":
        return _Sum(f'count("{name}")', len(column) - column.null_count)
    if pa.types.is_string(kind):
        if _is_various(column):
            ends = pc.min_max(column).as_py()
            first_and_last = f"""min("{name}" COLLATE "C") || ' ' || max("{name}" COLLATE "C")"""
            return _Sum(first_and_last, f"{ends['min']} {ends['max']}")
        return _Sum(f'sum(hashtext("{name}")::bigint)::text', None, is_hashed=True)
    if pa.types.is_list(kind) or pa.types.is_binary(kind):
        return _sum_of_lengths(name, column)
    if pa.types.is_date(kind):
        days = pc.sum(pc.cast(pc.cast(column, pa.date32()), pa.int32())).as_py()
        return _Sum(f"sum(\"{name}\" - date '1970-01-01')", days)
    if pa.types.is_timestamp(kind):
        latest = pc.max(pc.cast(column, pa.int64())).as_py()
        return _Sum(f'(extract(epoch FROM max("{name}")) * 1000000)::bigint', latest)
    if pa.types.is_decimal(kind):
        total = pc.sum(pc.cast(column, pa.float64())).as_py()
        return _Sum(f'sum("{name}")::double precision', total)
    if pa.types.is_boolean(kind):
        return _Sum(f'sum("{name}"::int)', pc.sum(pc.cast(column, pa.int64())).as_py())
    if pa.types.is_integer(kind):
        total = pc.sum(pc.cast(column, pa.decimal128(38))).as_py()  # it may exceed 64 bits
        return _Sum(f'sum("{name}")::text', None if total is None else str(total))
    return _Sum(f'sum("{name}")', pc.sum(column).as_py())


def _sum_of_lengths(name: str, column: pa.ChunkedArray) -> _Sum:
    if pa.types.is_binary(column.type):
        return _Sum(f'sum(octet_length("{name}"))', pc.sum(pc.binary_length(column)).as_py())
    return _Sum(f'sum(cardinality("{name}"))', pc.sum(pc.list_value_length(column)).as_py())


def _text_sums(cursor: dbapi.Cursor, sent: pa.Table, names: Sequence[str]) -> dict[str, str | None]:
    """Sum of the hashes of each column of texts: the server hashes what differs, once each."""
    numbers, texts, times = [], [], []
    for number, name in enumerate(names):
        found = pc.value_counts(sent.column(name).combine_chunks().drop_null())
        texts += found.field("values").to_pylist()
        times += found.field("counts").to_pylist()
        numbers += [number] * len(found)
    cursor.execute(
        "SELECT number, sum(times * hashtext(value)::bigint)::text "
        "FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS given (number, value, times) "
        "GROUP BY number",
        (numbers, texts, times),
    )
    sums = dict(cursor.fetchall())
    return {name: sums.get(number) for number, name in enumerate(names)}


def _is_various(column: pa.ChunkedArray) -> bool:
    return len(column) > _MANY and pc.count_distinct(column).as_py() > _MANY


def _agree(found: Any, expected: Any, column: pa.ChunkedArray) -> bool:
    if isinstance(expected, float) and found is not None:
        size = float(np.abs(pc.cast(column, pa.float64()).drop_null().to_numpy()).sum())
        return math.isclose(float(found), expected, rel_tol=0, abs_tol=_TOLERANCE * size)
    return bool(found == expected)


def _numbers(sent: int, stored: int) -> str:
    were = counted(sent, "row was", "rows were")
    return f"{were} sent but {counted(stored, 'is', 'are')} stored"


def _lost(cursor: dbapi.Cursor, of: Table, what: str) -> DatabaseError:
    """The error, with what may have done it."""
    name = f"{SCHEMA}.{of.name}"
    cursor.execute(_MEDDLERS, (name,))
    found = cursor.fetchall()
    why = "; nothing was written"
    if found:
        mend = ", ".join(m for _, m in found)
        why = f"; nothing was written, {' or '.join(w for w, _ in found)} is the cause: "
        why += f"ALTER TABLE {name} {mend}"
    return DatabaseError(f"{name} does not contain what was written: {what}{why}")
