"""How the installation is: facts from the databases, the disk and the exchange, and a verdict.

Looking changes nothing: no server is started, no database made, no migration applied.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import Connection

from autonama_dagster.days import DAY, DUE, last_closed_day, stretches
from autonama_dagster.errors import AutonamaError
from autonama_dagster.services.inputs.required import lacking_lately
from autonama_dagster.settings import Settings, project_dir
from autonama_dagster.text.labels import counted
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.anchor_log import read_log
from resources.exchange.build import asked_exchanges
from resources.exchange.pulse import NoPulseError, check_exchange
from resources.instance.facts import FAILED, RECENT, DagsterFacts, read_dagster
from resources.postgres.database import embedded_server
from resources.postgres.diagnosis import explained
from resources.postgres.migrate import newest_revision, revisions
from resources.postgres.roles.readers import Databases, Row, find_databases, reading
from resources.postgres.schema_check import faults
from resources.warehouse.table_facts import TableFacts, read_tables

GRACE: Final = timedelta(
    hours=1
)  # after midnight, in which the day before may still be in the making
LOW_BYTES: Final = 512 * 2**20  # free space: a day, the write-ahead log and the files of its runs
LOW_FILES: Final = 10_000
_LISTED: Final = 5


@dataclass(frozen=True)
class Clock:
    """The time; `source` is exchange, archive or wall clock, `note` says why not the first."""

    now: datetime
    source: str
    note: str | None = None

    @property
    def latest_closed(self) -> date:
        """The latest UTC day that has closed."""
        return last_closed_day(self.now)

    @property
    def expected(self) -> date:
        """The latest day that should be complete: closed, its hour of grace over."""
        return last_closed_day(self.now - GRACE)


@dataclass(frozen=True)
class Disk:
    """The project's data folder, what it takes, and the space left beside it."""

    folder: Path
    folder_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Anchor:
    """The anchor log: its file, and the last of its lines; `unreadable` says why there is none."""

    file: Path
    lines: int = 0
    day: date | None = None
    made_at: datetime | None = None
    root: str | None = None
    unreadable: str | None = None


@dataclass(frozen=True)
class Health:
    """Everything `autonama status` shows.

    Attributes
    ----------
    clock
        The time that days are judged by.
    tables, dagster
        What the two databases hold.
    disk
        The data folder.
    anchor
        The anchor log; None where none is wanted.
    next_tick
        When the daily schedule ticks next, by this machine's clock.
    problems
        What is stale or failing, one line each; empty: healthy.
    notes
        What is worth knowing and no reason for alarm.
    """

    clock: Clock
    tables: TableFacts
    dagster: DagsterFacts
    disk: Disk
    anchor: Anchor | None
    next_tick: datetime
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def gather(settings: Settings) -> Health:
    """Look at everything once.

    Raises
    ------
    DatabaseError
        The project's database is out of reach, or its embedded server is stopped.
    """
    wall = datetime.now(UTC)
    databases = find_databases(settings)
    with ThreadPoolExecutor(1) as asking:
        answer = asking.submit(read_clock, settings)
        with reading(databases.project) as connection:
            dagster = dagster_facts(databases, wall)
            clock = answer.result()
            tables = table_facts(connection, settings, databases, dagster, clock)
    folder = _data_folder(settings)
    return Health(
        clock=clock,
        tables=tables,
        dagster=dagster,
        disk=Disk(folder, _folder_bytes(folder), free_bytes(settings)),
        anchor=None if settings.anchor_path is None else read_anchor(settings.anchor_path),
        next_tick=next_tick(wall),
        problems=(*problems(clock, tables, dagster, wall), *disk_problems(settings)),
        notes=tuple(notes(clock, tables, dagster)),
    )


def document(health: Health) -> dict[str, Any]:
    """The health in plain values, as JSON can hold them: every fact, the verdict first."""
    facts = asdict(health)
    clock = {
        **facts.pop("clock"),
        "latest_closed": health.clock.latest_closed,
        "expected": health.clock.expected,
    }
    verdict = {"is_healthy": not health.problems, "problems": facts.pop("problems")}
    found: dict[str, Any] = _plain(
        {**verdict, "notes": facts.pop("notes"), "clock": clock, **facts}
    )
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value


def read_clock(settings: Settings) -> Clock:
    """The time of the scan's exchange; this machine's where that cannot be reached."""
    wall = datetime.now(UTC)
    if SCAN_EXCHANGE not in asked_exchanges(settings):
        from resources.exchange.archive.archive import PUBLICATION_LAG  # noqa: PLC0415  (pandas)

        note = "the archive has no clock: this machine's clock, minus the publication delay"
        return Clock(wall - PUBLICATION_LAG, "archive", note)
    try:
        return Clock(check_exchange(settings).now, "exchange")
    except NoPulseError as error:
        return Clock(wall, "wall clock", f"cannot get the exchange's time: {error}")


def dagster_facts(databases: Databases, wall: datetime) -> DagsterFacts:
    """What Dagster's database says, or why it cannot be read."""
    try:
        with reading(databases.dagster) as connection:
            return read_dagster(connection, wall)
    except AutonamaError as error:
        return DagsterFacts(unreadable=str(error))


def table_facts(
    connection: Connection[Row],
    settings: Settings,
    databases: Databases,
    dagster: DagsterFacts,
    clock: Clock,
) -> TableFacts:
    """What the project's tables hold and what is wrong with them, or why they cannot be read."""
    found: tuple[str, ...] = ()
    try:
        if has := revisions(connection):
            found = tuple(_schema_faults(connection, has))
        tables = read_tables(connection, dagster.registered, clock.expected)
        ranked = next((t.latest_day for t in tables.tables if t.name == "universe"), None)
        if ranked is not None:
            gone = lacking_lately(connection, settings, dagster.registered, ranked)
            tables = replace(tables, lacking=gone)
    except psycopg.Error as error:
        connection.rollback()
        why = None if found else str(explained(databases.project, error))
        return TableFacts(faults=found, unreadable=why)
    return replace(tables, faults=found)


def _schema_faults(connection: Connection[Row], has: Sequence[str]) -> Iterator[str]:
    newest = newest_revision()
    if list(has) != [newest]:
        yield (
            f"the tables are at migration {', '.join(has)} but this version needs {newest}: "
            "run `autonama db start`, which upgrades them or says why it cannot"
        )
        return
    yield from faults(connection)


def read_anchor(path: Path) -> Anchor:
    """The state of an anchor log."""
    try:
        content = read_log(path)
    except AutonamaError as error:
        return Anchor(path, unreadable=str(error))
    if content is None or not content.lines:
        return Anchor(path, unreadable=f"there is no line in {path} yet")
    last = content.lines[-1]
    return Anchor(path, len(content.lines), last.day, last.made_at, last.root)


def disk_problems(settings: Settings) -> Iterator[str]:
    """Each disk of ours that is nearly full."""
    looked = set()
    for folder in (_data_folder(settings), project_dir()):
        there = next(p for p in (folder, *folder.parents) if p.exists())
        space = os.statvfs(there)
        if there.stat().st_dev in looked:
            continue
        looked.add(there.stat().st_dev)
        free = space.f_bavail * space.f_frsize
        if free < LOW_BYTES:
            yield (
                f"{free / 2**20:,.0f} MiB are free on the disk of {there}, and a scan may need "
                f"{LOW_BYTES / 2**20:,.0f}: free some"
            )
        elif space.f_files and space.f_favail < LOW_FILES:
            yield f"{space.f_favail:,} inodes are free on the disk of {there}: delete files there"


def free_bytes(settings: Settings) -> int:
    """Free space on the disk of the data folder."""
    folder = _data_folder(settings)
    return shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free


def next_tick(wall: datetime) -> datetime:
    """The next time of the daily schedule after `wall`."""
    today = datetime.combine(wall.date(), DUE, UTC)
    return today if wall < today else today + DAY


def problems(
    clock: Clock, tables: TableFacts, dagster: DagsterFacts, wall: datetime
) -> Iterator[str]:
    """What is stale or failing: each line names it and says what to do."""
    yield from tables.faults
    if tables.unreadable is not None:
        yield f"cannot read the tables: {tables.unreadable}"
    if dagster.unreadable is not None:
        yield f"cannot read Dagster's runs: {dagster.unreadable}"
    if tables.unreadable is None and (tables.tables or not tables.faults):
        yield from _table_problems(clock, tables)
    yield from _run_problems(dagster, wall)


def _table_problems(clock: Clock, tables: TableFacts) -> Iterator[str]:
    latest = tables.latest_summary
    if latest is None:
        yield "no day is complete yet: run `autonama scan`"
    elif latest < clock.expected:
        behind = (clock.expected - latest).days
        yield (
            f"stale: the latest complete day is {latest}, {counted(behind, 'day')} behind "
            f"{clock.expected}; run `autonama scan`, or `autonama up` to catch up"
        )
    gaps = sorted(
        {d for d in (*tables.without_summary, *tables.without_universe) if latest and d < latest}
    )
    if gaps:
        first, last = gaps[0], gaps[-1]
        yield (
            f"{counted(len(gaps), 'day')} without a summary or universe: {listed(ranges(gaps))}; "
            f"run `autonama backfill --from {first} --to {last}`"
        )
    for lacking in tables.lacking:
        whose = "" if lacking.symbol is None else f" of {lacking.symbol}"
        yield (
            f"{counted(lacking.count, 'row is', 'rows are')} missing from {lacking.table}, the "
            f"latest{whose} on {lacking.day}: run `autonama backfill --from {lacking.first} "
            f"--to {lacking.day} --again`"
        )
    if tables.failed_fetches:
        yield (
            f"{counted(len(tables.failed_fetches), 'symbol')} could not be fetched for "
            f"{tables.day}: "
            f"{listed(tables.failed_fetches)}; run `autonama scan`, or `autonama retire` "
            "delisted symbols"
        )
    if unasked := [s for s in tables.unanswered if s not in tables.failed_fetches]:
        yield (
            f"{counted(len(unasked), 'registered symbol was', 'registered symbols were')} not "
            f"requested for {tables.day}: {listed(unasked)}; run `autonama scan --date "
            f"{tables.day}`"
        )


def _run_problems(dagster: DagsterFacts, wall: datetime) -> Iterator[str]:
    for stalled in dagster.stalled:
        when = f"{stalled.heard:%Y-%m-%d %H:%M} UTC"
        yield (
            f"a run of {stalled.job} lost its process, last seen {when}: run `autonama scan`, "
            "which ends it and runs it again"
            if stalled.is_lost
            else f"a run of {stalled.job} has shown no activity since {when}: see run "
            f"{stalled.run_id} in "
            "`autonama up`"
        )
    for run in dagster.last_by_job:
        if run.status == FAILED and run.ended is not None and wall - run.ended < RECENT:
            yield (
                f"the last {run.job} failed at {run.ended:%Y-%m-%d %H:%M} UTC: "
                f"see run {run.run_id} in `autonama up`"
            )


def notes(clock: Clock, tables: TableFacts, dagster: DagsterFacts) -> Iterator[str]:
    """What is worth knowing and no reason for alarm."""
    if clock.note is not None:
        yield clock.note
    if tables.quarantined:
        yield (
            f"{counted(tables.quarantined, 'candle is', 'candles are')} quarantined, "
            f"{tables.quarantined_today} of {tables.day}: see table trading.quarantine"
        )
    checks = tables.candle_checks
    if checks.revised or checks.missing:
        yield (
            f"of {counted(checks.answered, 'stored candle')} requested again since {checks.since}, "
            f"{checks.revised} had been revised and {checks.missing} "
            f"{'is' if checks.missing == 1 else 'are'} missing: see table trading.candle_checks, "
            f"and run `autonama revisions --since {checks.since}`"
        )
    if dagster.n_left_out:
        yield (
            f"{counted(dagster.n_left_out, 'listed pair is', 'listed pairs are')} ignored: "
            f"{dagster.left_out}"
        )
    if dagster.failed_checks:
        yield f"failed checks: {listed(dagster.failed_checks)}"


def ranges(days: Sequence[date]) -> list[str]:
    """Days as ranges, e.g. `2024-01-02 .. 2024-01-05`."""
    return [f"{a}" if a == b else f"{a} .. {b}" for a, b in stretches(days)]


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _data_folder(settings: Settings) -> Path:
    """Where the embedded server keeps its data; with a server elsewhere, what else is kept."""
    if settings.database_url is None:
        return embedded_server().data_dir
    return project_dir() / ".autonama"


def _folder_bytes(folder: Path) -> int:
    """Bytes that the folder's files take on the disk; links are not followed."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512  # noqa: PTH118
            except FileNotFoundError:  # removed meanwhile: a log segment of the server
                continue
    return total
