"""Two checkouts side by side: the same scan, backfill and verification, and whether rows differ.

`python -m bench.compare ../other` runs the programs of the other checkout and of this one in turn,
each in new projects of its own, over the same candles. Every table is compared bit for bit in the
columns that both have, but for what tells runs apart and the version of the code. `value` is the
time of the backfill in this checkout over that in the other, the median of all rounds.
"""

import argparse
import hashlib
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import psycopg
from psycopg import sql

from bench.backfill import LAST_DAY, market
from bench.command import PROGRAM, environment
from bench.report import report
from bench.scan import replay_exchange
from resources.postgres.server.embedded import EmbeddedPostgres

TARGET = 1.02
VOLATILE = {
    "run_id", "computed_at", "created_at", "updated_at", "quarantined_at", "asked_at",
    "fetched_at", "verified_at", "code_version", "result_hash", "origin", "origins", "platform",
}  # fmt: skip
COLUMNS = """
    SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position)
    FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema = 'trading' AND table_type = 'BASE TABLE' GROUP BY table_name
"""


class Checkout:
    """The program of a checkout, and what it took and left."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / ".venv" / "bin" / PROGRAM.name
        self.seconds: dict[str, list[float]] = {}

    def run(self, settings: dict[str, str], name: str, *arguments: str) -> None:
        """Run a command and note its time."""
        begun = perf_counter()
        ended = subprocess.run(
            [self.program, *arguments],
            env=settings, stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if ended.returncode:
            raise SystemExit(f"{self.program} {' '.join(arguments)}: exit code {ended.returncode}")
        self.seconds.setdefault(name, []).append(perf_counter() - begun)

    def median(self, name: str) -> float:
        """Median seconds of a command."""
        return median(self.seconds[name])


def columns(connection: psycopg.Connection) -> dict[str, list[str]]:
    """Columns of every table that are compared."""
    return {
        table: [name for name in names if name not in VOLATILE]
        for table, names in connection.execute(COLUMNS).fetchall()
    }


def digest(connection: psycopg.Connection, table: str, names: list[str]) -> tuple[int, str]:
    """Number of rows and digest of their text, in which floats are exact."""
    chosen = sql.SQL(", ").join(map(sql.Identifier, names))
    query = sql.SQL('COPY (SELECT {} FROM {} AS t ORDER BY ROW({})::text COLLATE "C") TO STDOUT')
    lines, found = 0, hashlib.sha256()
    statement = query.format(chosen, sql.Identifier("trading", table), chosen)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for part in copy:
            lines += bytes(part).count(b"\n")
            found.update(part)
    return lines, found.hexdigest()


def differences(homes: list[Path]) -> tuple[int, list[str]]:
    """Rows compared, and tables that differ between the projects of two homes."""
    urls = [EmbeddedPostgres(home).url("autonama").replace("+psycopg", "") for home in homes]
    with closing(psycopg.connect(urls[0])) as one, closing(psycopg.connect(urls[1])) as other:
        of_one, of_other = columns(one), columns(other)
        rows, differing = 0, []
        for table in sorted(set(of_one) & set(of_other) - {"verifications", "alembic_version"}):
            names = [name for name in of_one[table] if name in of_other[table]]
            found = [digest(connection, table, names) for connection in (one, other)]
            rows += found[0][0]
            if found[0] != found[1]:
                differing.append(f"{table} ({found[0][0]} and {found[1][0]} rows)")
        return rows, differing


def main() -> None:
    """Compare and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout, with its .venv")
    parser.add_argument("--symbols", type=int, default=25, help="symbols (default: 25)")
    parser.add_argument("--days", type=int, default=180, help="days (default: 180)")
    parser.add_argument("--repeat", type=int, default=1, help="rounds (default: 1)")
    given = parser.parse_args()
    before, after = Checkout(given.other.resolve()), Checkout(Path.cwd())
    first = LAST_DAY - timedelta(days=given.days - 1)
    rows, differing = 0, ["nothing was compared"]
    for _ in range(given.repeat):
        with (
            market(given.symbols) as candles,
            TemporaryDirectory() as folder,
            replay_exchange(candles, Path(folder)) as url,
        ):
            homes = [Path(folder) / name for name in ("before", "after")]
            try:
                for home, checkout in zip(homes, (before, after), strict=True):
                    home.mkdir()
                    settings = environment(
                        home, exchange_url=url, start_date=first, universe_size=given.symbols
                    )
                    days = ("--from", f"{first}", "--to", f"{LAST_DAY - timedelta(days=1)}")
                    checkout.run(settings, "backfill", "backfill", *days)
                    checkout.run(settings, "scan", "scan", "--date", f"{LAST_DAY}")
                    checkout.run(settings, "verify", "verify", "--all")
                rows, differing = differences(homes)
            finally:
                for home in homes:
                    EmbeddedPostgres(home).destroy()
    ratios = {name: round(after.median(name) / before.median(name), 3) for name in before.seconds}
    report(
        "compare",
        ratios["backfill"],
        "ratio",
        target=TARGET,
        met=not differing and max(ratios.values()) <= TARGET,
        rows=rows,
        differing=differing,
        ratios=ratios,
        seconds_before={name: round(before.median(name), 1) for name in before.seconds},
        seconds_after={name: round(after.median(name), 1) for name in after.seconds},
        symbols=given.symbols,
        days=given.days,
        repeat=given.repeat,
    )


if __name__ == "__main__":
    main()
