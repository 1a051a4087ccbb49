"""What a crash must not change: every table; and what it must not leave behind.

All of it is read from outside, by SQL and from the list of processes, never through the code
that is under test.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.registry import TABLES
from resources.postgres.urls import libpq_url

# What tells one run from another.
VOLATILE = frozenset(
    {"run_id", "computed_at", "created_at", "updated_at", "quarantined_at", "fetched_at"}
)
SHOWN = 3  # differing rows of a table that are named
BY_DAY = ("universe", "correlation_matrix", "analysis_summary")
EVERY_SYMBOL = ("data_quality", "signals", "asset_analytics", "alerts")
WHERE_TRADED = ("indicators", "regression_bands")
HISTORY = "ohlcv_1d_history"
# Whether a symbol has any of these is a setting, which no table tells: a partition without rows may
# be as it should. None of the programs that are killed makes them.
NOT_JUDGED = ("ohlcv_15m", "ohlcv_1h", "ohlcv_4h", "ohlcv_1w")

_UNFINISHED = (
    "SELECT pipeline_name, status, run_id FROM runs "
    "WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
)

Rows = Counter[tuple[str, ...]]


def read_tables(url: str) -> dict[str, Rows]:
    """Rows of every table as text, without the columns that tell runs apart.

    Not the verifications, which are of each run, nor the cache of chances. Of the fetch log the
    days that were answered, by symbol and outcome: where a run was cut off decides in how many
    requests they were asked for, so neither the ranges nor the number of candles in each are
    comparable. That every candle is there is seen in the tables of candles.
    """
    with psycopg.connect(libpq_url(url)) as connection:
        found = {
            name: Counter(_texts(connection, name, [c for c in table.columns if c not in VOLATILE]))
            for name, table in TABLES.items()
            if name not in {"fetch_log", "signal_chance", "verifications"}
        }
        return {**found, "fetch_log": _answered(connection)}


def differences(expected: Mapping[str, Rows], found: Mapping[str, Rows]) -> list[str]:
    """Rows that only one of the two has, one line a table; empty: the same."""
    lines = []
    for name, rows in expected.items():
        absent, strange = rows - found[name], found[name] - rows
        if absent or strange:
            lines.append(
                f"{name}: {absent.total()} rows are absent, {strange.total()} are not expected; "
                f"absent {[*absent][:SHOWN]}, not expected {[*strange][:SHOWN]}"
            )
    return lines


def unfinished(dagster_url: str) -> list[str]:
    """Runs that Dagster takes for running, slots of pools they hold, and locks that are held."""
    with psycopg.connect(libpq_url(dagster_url)) as connection:
        if not _exists(connection, "public.runs"):
            return []
        runs = connection.execute(_UNFINISHED).fetchall()
        slots = connection.execute(
            "SELECT concurrency_key, run_id FROM concurrency_slots WHERE run_id IS NOT NULL"
        ).fetchall()
        pending = connection.execute("SELECT concurrency_key, run_id FROM pending_steps").fetchall()
        # Not this cluster's other databases: a table's lock is asked for there during a write.
        locks = connection.execute(
            "SELECT l.pid FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND d.datname = current_database()"
        ).fetchall()
    return [
        *(f"run {run} of {job} stays {status}" for job, status, run in runs),
        *(f"a slot of pool {key} stays with run {run}" for key, run in slots),
        *(f"run {run} still waits for pool {key}" for key, run in pending),
        *(f"process {pid} of the server holds a lock" for (pid,) in locks),
    ]


def unfinished_runs(dagster_url: str) -> int:
    """How many runs Dagster takes for queued or running."""
    with psycopg.connect(libpq_url(dagster_url)) as connection:
        return len(connection.execute(_UNFINISHED).fetchall())


def baseless(url: str, dagster_url: str) -> list[str]:
    """Partitions that Dagster reports as materialised without rows, or candles without a fetch.

    A pair that does not trade on a day has neither indicators nor bands then. Candles of other
    intervals than a day are not judged, see `NOT_JUDGED`.
    """
    with psycopg.connect(libpq_url(dagster_url)) as connection:
        if not _exists(connection, "public.event_logs"):
            return []
        events = connection.execute(
            "SELECT DISTINCT asset_key, partition FROM event_logs "
            "WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND partition IS NOT NULL"
        ).fetchall()
    if not events:
        return []
    with psycopg.connect(libpq_url(url)) as connection:
        held = _Held(connection)
    reported = ((json.loads(key)[-1], str(partition)) for key, partition in events)
    return [
        f"{asset} {partition} is reported as materialised without its rows"
        for asset, partition in sorted(reported)
        if asset not in NOT_JUDGED and not held.holds(asset, partition)
    ]


def processes(home: Path) -> list[psutil.Process]:
    """Every process that works in the project folder; the embedded server's carry no sign of it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("AUTONAMA_HOME") == str(home) and (
                process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


class _Held:
    """Which partitions the tables hold."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._days = {name: set(_texts(connection, name, ["date"])) for name in BY_DAY}
        self._symbols = {
            name: set(_texts(connection, name, ["date", "symbol"]))
            for name in (*EVERY_SYMBOL, *WHERE_TRADED, "ohlcv_1d")
        }
        self._fetched = {
            (day, symbol)
            for symbol, interval, outcome, day in _answered(connection)
            if (interval, outcome) == ("1d", "answered")
        }

    def holds(self, asset: str, partition: str) -> bool:
        """Whether the asset's table has what the partition stands for."""
        day, _, symbol = partition.rpartition("|")
        if asset in BY_DAY:
            return (partition,) in self._days[asset]
        if asset == HISTORY:
            return any(name == partition for _, name in self._fetched)
        if asset == "ohlcv_1d":
            return (day, symbol) in self._fetched
        if asset in WHERE_TRADED and (day, symbol) not in self._symbols["ohlcv_1d"]:
            return True
        return (day, symbol) in self._symbols[asset]


def _texts(
    connection: psycopg.Connection, name: str, columns: list[str]
) -> Iterator[tuple[str, ...]]:
    """Rows with every column as Postgres writes it: all digits of a float, JSON in one order."""
    chosen = sql.SQL(", ").join(
        sql.SQL("coalesce({}::text, 'NULL')").format(sql.Identifier(column)) for column in columns
    )
    query = sql.SQL("SELECT {} FROM {}").format(chosen, sql.Identifier(SCHEMA, name))
    yield from connection.execute(query)


def _answered(connection: psycopg.Connection) -> Rows:
    """Symbol, interval, outcome and day of everything that was asked, each once.

    Whether an answer counts as empty depends on its range, so here it is an answer like others.
    """
    query = sql.SQL(
        "SELECT DISTINCT symbol, interval, "
        "CASE outcome WHEN 'failed' THEN 'failed' ELSE 'answered' END, day::date::text "
        "FROM {}, generate_series(from_date, to_date, '1 day') AS day"
    )
    return Counter(connection.execute(query.format(sql.Identifier(SCHEMA, "fetch_log"))))


def _exists(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s)", (name,)).fetchone()
    return row is not None and row[0] is not None
