"""Values never become SQL text: what our sources put into statements, and what users type."""

import ast
import re

import pandas as pd
import psycopg
import pytest
from places import ROOT
from support import NOW, bands

from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.registry import INDEXES, TABLES, VIEWS
from resources.postgres.urls import libpq_url
from resources.warehouse.candle_queries import candle_gaps, fetched_ranges, last_candles
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

FOLDERS = ("autonama_dagster", "assets", "resources")
EXECUTORS = {"execute", "executemany", "query", "copy_expert", "SQL", "scalar", "scalars"}
STATEMENT = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|TRUNCATE|CREATE|ALTER|DROP|COPY|GRANT|REVOKE|WITH|COMMENT)\b"
)

# What may stand inside the text of a statement. All of it is made from the schema registry, or is a
# constant of ours; the places where that is so are few and named.
NAMES = {
    "SCHEMA", "qualified(of)", "qualified(table(name))", "qualified(QUARANTINE)", "STAGE", "where",
    "order", "select_list(of, chosen)", "rows",
}  # fmt: skip


CANDLES_VIEW = (
    "''.join((f\"UNION ALL\\nSELECT symbol, '{t.name.removeprefix('ohlcv_')}', open_time, open, "
    'high, low, close, volume\\nFROM trading.{t.name}\\n" for t in INTRADAY))'
)

SESSION = (
    "', '.join((f\"set_config('{name}', '{value}', false)\" for name, value in SESSION.items()))"
)

# Of single modules, each looked at: where the name or clause comes from.
ALLOWED = {
    "autonama_dagster/schemas/ddl.py": {"what", "text"},  # no input
    "autonama_dagster/schemas/registry.py": {CANDLES_VIEW},  # no input
    "autonama_dagster/schemas/tables/lineage.py": {  # names and numbers of ours
        "_ARE_RESULTS",
        "_CANDLE",
        "_RESULT",
        "_is_far('d.open', 'lag(d.close) OVER o')",
        "_is_far('d.open', 'lag(d.close, 2) OVER o')",
        "_is_far('lag(d.open) OVER o', 'lag(d.close, 2) OVER o')",
        "_NUMBERS",
        "name",
        "MAX_MISSING_DAYS + 1",
        "MAX_OVERNIGHT_RATIO",
    },
    "resources/warehouse/candle_faults.py": {  # columns of a candle, and a condition of ours
        "facts",
        "_judged('data_quality')",
        "_judged('universe')",
        "_judged('signals')",
    },
    "resources/warehouse/candle_checks.py": {"_OLD", "select_list(of, of.columns)"},  # of ours
    "resources/warehouse/cut.py": {  # of the registry, and a query of ours
        "', '.join(columns.values())",
        "condition",
        "of.name",
        "rest",
        "tables",
    },
    "resources/warehouse/presence.py": {  # of the registry, and clauses that are constants of ours
        "'NULL::text[]' if kind in counted else 'array_agg(symbol)'",
        "SCAN_EXCHANGE",
        "before",
        "end",
        "kind",
        "name",
        "of",
    },
    "resources/postgres/connections.py": {  # constants of ours, and numbers of bound values
        "_PIN",
        "more",
        SESSION,
    },
    "resources/postgres/diagnosis.py": {"_LOCK_TIMEOUT_S"},
    "resources/postgres/migrate.py": {"_LOCK_TIMEOUT_S"},
    "resources/dagster_storage.py": {"table.name", "names"},  # Dagster's tables and columns
    "resources/warehouse/candle_queries.py": {"tables"},  # of the registry
    "resources/warehouse/ledger.py": {  # names of tables and clauses that are constants of ours
        "current",
        "also",
        "joins",
        "' '.join(newer)",
        "', '.join((f'{name}.symbol IS NOT NULL AS {name}' for name in LIKE_SIGNALS))",
        "_not_older(after, 'o.date = r.date')",
        "_not_older(after, 'o.date BETWEEN $1 AND $2')",
    },
    "resources/warehouse/read_back.py": {  # of the registry; and a hint, which is printed
        "', '.join(chosen)",
        "', '.join(of.key)",
        "mend",
        "name",
        "of.key[0]",
        "of.name",
        "stage",
        "staged",
        "stored",
    },
    "resources/warehouse/revisions.py": {  # of the registry
        "select_list(kept, kept.columns)",
        "select_list(of, of.columns)",
        "qualified(kept)",
        "keys",
        "qualified(REVISIONS['ohlcv_1d'])",
    },
    "resources/postgres/schema_check.py": {"of.name"},  # a hint, which is printed
    "resources/warehouse/statements.py": {  # of the registry
        "' AND '.join((f'r.{k} = t.{k}' for k in of.key))",
        "said",
        "said.replace('t.', 'r.')",
        "_columns(of)",
        "_differs(of, 's')",
        "chosen",
        "conflict",
        "extra",
        "matches",
        "qualified(kept)",
        "replaced",
        "keys",
    },
}


def interpolated(node):
    """Source of every expression that an f-string, format, % or + puts into a text."""
    if isinstance(node, ast.JoinedStr):
        return [ast.unparse(v.value) for v in node.values if isinstance(v, ast.FormattedValue)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        parts = []
        for side in (node.left, node.right):
            parts += interpolated(side)
            is_plain = isinstance(side, (ast.Constant, ast.JoinedStr, ast.BinOp))
            parts += [] if is_plain else [ast.unparse(side)]
        return parts
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and not is_psycopg_sql(node.func.value)
    ):
        return [ast.unparse(a) for a in [*node.args, *(k.value for k in node.keywords)]]
    return []


def is_psycopg_sql(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "sql.SQL"


def literal(node):
    """The text of a node as far as it is constant."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            v.value if isinstance(v, ast.Constant) else "\N{REPLACEMENT CHARACTER}"
            for v in node.values
        )
    if isinstance(node, ast.BinOp):
        return literal(node.left) + literal(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return literal(node.func.value)
    return ""


def statements(tree):
    """Nodes that are the text of a statement: by what they say, or by whom they are given to."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.JoinedStr, ast.BinOp, ast.Call)) and STATEMENT.match(
            literal(node)
        ):
            yield node
        if isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in EXECUTORS or ast.unparse(node.func) in {"sa.text", "text"}:
                yield node.args[0]


def suspicious(source, name):
    return {
        f"{name}:{node.lineno}: {part}"
        for node in statements(ast.parse(source))
        for part in interpolated(node)
        if part not in NAMES | ALLOWED.get(name, set())
    }


def test_nothing_but_names_of_the_registry_is_put_into_a_statement():
    found = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            found |= suspicious(path.read_text("utf-8"), str(path.relative_to(ROOT)))
    assert sorted(found) == []


@pytest.mark.parametrize(
    "source",
    [
        "cursor.execute(f'SELECT 1 FROM t WHERE a = {symbol}')",
        "cursor.execute('SELECT 1 WHERE a = %s' % symbol)",
        "cursor.execute('SELECT 1 WHERE a = ' + symbol)",
        "cursor.execute('SELECT 1 WHERE a = {}'.format(symbol))",
        "q = f'DELETE FROM t WHERE a = {symbol!r}'",
        "warehouse.query(f'{prefix} 1')",
        "sa.text(f'x {symbol}')",
        "sql.SQL(f'SELECT {symbol}')",
    ],
)
def test_the_scan_finds_what_it_looks_for(source):
    assert suspicious(source, "x.py")


def test_names_of_the_registry_need_no_quoting():
    plain = re.compile(r"[a-z][a-z0-9_]*")
    names = {*TABLES, *VIEWS}
    for table in TABLES.values():
        names |= {*table.columns, *table.key}
    for indexes in INDEXES.values():
        names |= {column for index in indexes for column in index}
    assert [n for n in names if not plain.fullmatch(n)] == []


HOSTILE = (
    "BTC'; DROP TABLE trading.signals; --",
    'BTC"; DROP TABLE trading.signals; --',
    "BTC') OR 1=1 --",
    "{BTC,ETH}",
    "$1",
    "%s",
    ":symbol",
    "\\",
)


def signals(warehouse):
    with psycopg.connect(libpq_url(warehouse.url)) as connection:
        return connection.execute("SELECT to_regclass('trading.signals')").fetchone()[0]


@pytest.mark.parametrize("symbol", HOSTILE)
def test_a_hostile_symbol_is_a_value_to_the_warehouse(warehouse, symbol):
    scope = Scope((symbol,))
    assert warehouse.read("regression_bands", scope).empty
    assert fetched_ranges(warehouse, "1d", [symbol]) == {}
    assert last_candles(warehouse, [symbol]) == {}
    assert candle_gaps(warehouse, [symbol]).empty
    assert signals(warehouse) == "trading.signals"
    with pytest.raises(SchemaError, match="unknown"):
        warehouse.read(symbol)
    with pytest.raises(SchemaError, match="no column"):
        warehouse.read("regression_bands", columns=[symbol])


def test_a_hostile_value_is_stored_as_it_is(warehouse):
    symbol = "A';DROP/**/TABLE/**/x;--"
    frame = bands([symbol], ["2024-01-01"])
    stamps = {"run_id": "r'); --", "computed_at": NOW}
    day = pd.Timestamp("2024-01-01").date()
    warehouse.write("regression_bands", Batch(frame), Scope((symbol,), day, day), stamps)
    (found,) = warehouse.read("regression_bands").to_dict("records")
    assert (found["symbol"], found["run_id"]) == (symbol, "r'); --")
