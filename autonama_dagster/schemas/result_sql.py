"""Result hashes in SQL: the same bytes as `analytics.candles.results` packs, made by Postgres."""

from autonama_dagster.analytics.candles.results import FIXED, Kind
from autonama_dagster.schemas.base import Table

_NO_INTEGER = r"'\x000000000000000000'::bytea"


def result_sql(of: Table, row: str, chain: str) -> str:
    """SQL of the result hash of a table's row.

    Parameters
    ----------
    row
        Alias of the table's row.
    chain
        SQL of the text that its chain is: the result hashes of the rows that it was made from, in
        lines; an empty text where there are none.
    """
    kinds = of.result_kinds
    ordered = sorted(kinds, key=lambda name: kinds[name] not in FIXED)
    values = [packed_sql(kinds[name], f'{row}."{name}"') for name in ordered]
    head = f"convert_to(E'{of.name}\\n', 'UTF8')"
    return f"encode(sha256({' || '.join([head, *values, packed_sql('text', chain)])}), 'hex')"


def packed_sql(kind: Kind, value: str) -> str:
    """SQL of a value's bytes."""
    match kind:
        case "float" | "money":
            return f"float8send(coalesce(({value})::float8, 'NaN'))"
        case "int":
            return rf"coalesce('\x01'::bytea || int8send(({value})::bigint), {_NO_INTEGER})"
        case "date":
            return packed_sql("int", f"{value} - date '1970-01-01'")
        case "timestamptz":
            return packed_sql("int", f"extract(epoch FROM {value}) * 1000000")
        case "bool":
            return (
                rf"CASE WHEN {value} IS NULL THEN '\x02'::bytea WHEN {value} THEN '\x01'::bytea "
                r"ELSE '\x00'::bytea END"
            )
        case "text[]":
            item = packed_sql("text", "i.item")
            of = f"unnest({value}) WITH ORDINALITY AS i (item, place)"
            items = f"(SELECT string_agg({item}, ''::bytea ORDER BY i.place) FROM {of})"  # noqa: S608
            return f"int4send(coalesce(cardinality({value}), 0)) || coalesce({items}, ''::bytea)"
        case "text" | "jsonb":
            text = f"convert_to(({value})::text, 'UTF8')"
            return f"coalesce(int4send(octet_length({text})) || {text}, int4send(-1))"
