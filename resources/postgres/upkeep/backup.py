"""Backup and restore of the project's tables and Dagster's, in one file.

The file is a zip of two dumps in pg_dump's custom format and `manifest.json`, written last and
under another name, so that an interrupted backup never looks like one. Only the project's schema
and Dagster's own tables are dumped, dropped and restored: what else is in these databases stays.
"""

import contextlib
import json
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Final

import psycopg
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from psycopg import sql

from autonama_dagster.errors import DatabaseError, InputError
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.text.labels import counted
from resources.postgres.connections import connect
from resources.postgres.diagnosis import explained
from resources.postgres.migrate import check_ours, migrate
from resources.postgres.roles.clients import check_client, connection_of, program
from resources.postgres.roles.rights import risky_role
from resources.postgres.server.programs import last_meaningful_line
from resources.postgres.upkeep.backup_file import (
    CHUNK,
    DAGSTER,
    DUMPS,
    FORMAT,
    MANIFEST,
    PROJECT,
    Counts,
    Manifest,
    Measuring,
    Part,
    appearing,
    checked,
    opened,
)
from resources.postgres.urls import redacted
from resources.postgres.watching import watched

_TITLES: Final = {PROJECT: "the project's tables", DAGSTER: "Dagster's tables"}
_HEAD: Final = 1 << 12
# Keeps psql from obeying anything but SQL in what follows.
_RESTRICTED: Final = b"\n\\restrict "
# The first settings of a dump's script; older servers do not know them, and these are the defaults.
_NEWER_SETTINGS: Final = (b"SET transaction_timeout = 0;\n",)


def backup(
    urls: dict[str, str],
    file: Path,
    *,
    overwrite: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write a backup; the file appears when it is complete.

    Dagster's tables are read first: a run that ends meanwhile may then be missing from them, but
    none is reported as done whose rows are missing.

    Parameters
    ----------
    urls
        Libpq URLs of the databases `project` and `dagster`.
    file
        Where to; readable by its owner alone.
    overwrite
        Whether the file may exist; it is then replaced at once when the new one is complete.
    on_progress
        Called with a line of text at every step.

    Raises
    ------
    InputError
        The file exists, or another backup is writing it.
    DatabaseError
        A server is out of reach or newer than pg_dump, or pg_dump failed.
    """
    if file.exists() and not overwrite:
        raise InputError(f"{file} exists: choose another name, or add --force to replace it")
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise InputError(f"{file} is not a file in a folder that exists: choose another name")
    servers = {name: check_client("pg_dump", url) for name, url in urls.items()}
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    rows: dict[str, Counts] = {}
    parts: dict[str, Part] = {}
    with appearing(file) as target, zipfile.ZipFile(target, "w") as archive:
        for name in (DAGSTER, PROJECT):
            on_progress(f"reading {_TITLES[name]}")
            with archive.open(DUMPS[name], "w", force_zip64=True) as member:
                measured = Measuring(member)
                rows[name] = _dump(name, urls[name], measured)
            parts[name] = measured.part()
            dumped = counted(sum(rows[name].values()), "row")
            on_progress(f"{dumped}, {parts[name].size / 1e6:,.1f} MB")
        manifest = Manifest(
            format=FORMAT,
            autonama=metadata.version("autonama"),
            postgres=servers[PROJECT],
            revision=_revision(urls[PROJECT]),
            made_at=made_at,
            rows=rows,
            parts=parts,
        )
        archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=2))
    return manifest


def restore(
    urls: dict[str, str],
    file: Path,
    *,
    overwrite: bool = False,
    trusted: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Replace the tables of both databases with a backup's; each database in one transaction.

    The project's first: interrupted between the two, no partition is reported as done without its
    rows. The schema is then brought up to date with this version of the project.

    A dump is SQL, which can do what the database's user can. So that user must not be one who can
    start programs or reach files of the server, unless the file is `trusted`.

    Raises
    ------
    InputError
        The file is no complete backup, or of a newer version; a database holds rows and
        `overwrite` is not given, or a schema of another program; or its user could reach the
        server's programs or files.
    DatabaseError
        A server is out of reach or refuses the tables; its database is then as before.
    """
    with opened(file) as archive:
        manifest = checked(archive, file)
        if not manifest.has_checksums:
            on_progress(
                f"{file.name} was made by Autonama {manifest.autonama}, whose backups have no "
                "checksums: changes to it cannot be detected"
            )
        for name, url in urls.items():
            check_client("psql", url)
            if not trusted:
                _check_user(url)
            if name == PROJECT:
                with _connected(url) as connection:
                    check_ours(connection, url)
            if not overwrite and (found := _filled(name, url)):
                raise InputError(
                    f"{redacted(url)} already has rows in {_TITLES[name]} "
                    f"({', '.join(found[:3])}): "
                    "restore into an empty database, or add --force to replace what is there"
                )
        for name in (PROJECT, DAGSTER):
            on_progress(f"writing {_TITLES[name]}")
            with archive.open(DUMPS[name]) as member:
                _load(name, urls[name], member)
            _compare(name, urls[name], manifest.rows[name])
            on_progress(counted(sum(manifest.rows[name].values()), "row"))
    migrate(urls[PROJECT])
    return manifest


def dagster_tables() -> list[str]:
    """Names of the tables that Dagster makes for itself."""
    of = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)
    return sorted({name for meta in of for name in meta.tables} | {"alembic_version"})


def _selection(name: str) -> list[str]:
    """Arguments that select a dump's tables; pg_dump takes `*` and the like in a name, we don't."""
    if name == PROJECT:
        return [f"--schema={SCHEMA}"]
    return [f"--table=public.{table}" for table in dagster_tables()]


def _dump(name: str, url: str, member: Measuring) -> Counts:
    """Dump one database into a member of the archive; the counts are of the same snapshot."""
    conninfo, environment = connection_of(url)
    with _connected(url) as connection, watched(url, connection.info.backend_pid):
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        snapshot = str(row[0]) if row else ""
        rows = _counts(name, connection)
        arguments = ["--format=custom", "--no-owner", "--no-privileges", "--no-password"]
        arguments += ["--lock-wait-timeout=30s"]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [
                    program("pg_dump"),
                    *arguments,
                    f"--snapshot={snapshot}",
                    *_selection(name),
                    f"--dbname={conninfo}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
            with _ended(process):
                assert process.stdout is not None  # noqa: S101
                while chunk := process.stdout.read(CHUNK):
                    member.write(chunk)
            if process.wait() != 0:
                raise DatabaseError(f"cannot back up {redacted(url)}: {_said(errors)}")
    return rows


def _load(name: str, url: str, member: IO[bytes]) -> None:
    """Replace one database's tables in one transaction.

    psql gets a script that begins the transaction and, once pg_restore has ended well, commits it:
    whichever process is killed on the way, the end of the input is no COMMIT.
    """
    conninfo, environment = connection_of(url)
    quiet = ["--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null"]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as read:
        writer = subprocess.Popen(
            [program("psql"), *quiet, "--set=ON_ERROR_STOP=1", f"--dbname={conninfo}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment,
        )
        with _ended(writer):
            assert writer.stdin is not None  # noqa: S101
            # A refused statement ends psql: what it said is the error, not the broken pipe.
            with contextlib.suppress(BrokenPipeError):
                writer.stdin.write(b"BEGIN;\n" + _preparation(name).encode())
                if not _script(member, writer.stdin, read):
                    raise DatabaseError(f"cannot read the backup: {_said(read)}")
                writer.stdin.write(b"COMMIT;\n")
                writer.stdin.close()
            if writer.wait() != 0:
                raise DatabaseError(
                    f"cannot restore into {redacted(url)}, which is unchanged: {_said(said)}"
                )


def _script(member: IO[bytes], out: IO[bytes], errors: IO[bytes]) -> bool:
    """Write a dump as SQL; whether pg_restore ended well."""
    process = subprocess.Popen(
        [program("pg_restore"), "--no-owner", "--no-privileges", "--file=-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    with _ended(process), ThreadPoolExecutor(1) as feeder:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        fed = feeder.submit(_feed, member, process.stdin)
        try:
            head = process.stdout.read(_HEAD)
            for setting in _NEWER_SETTINGS:
                head = head.replace(setting, b"")
            _check_restricted(head)
            out.write(head)
            while chunk := process.stdout.read(CHUNK):
                out.write(chunk)
        except BaseException:
            process.kill()  # or the feeder would wait for it for ever
            raise
        fed.result()
        return process.wait() == 0


def _check_restricted(head: bytes) -> None:
    """Refuse the script of a pg_restore that lets a dump say more to psql than SQL."""
    if head and _RESTRICTED not in head:
        raise DatabaseError(
            f"{program('pg_restore')} is too old to restore safely: use that of PostgreSQL 18 or "
            "17.6, for example the one that comes with Autonama"
        )


def _feed(source: IO[bytes], pipe: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:  # a reader that fails says why
        shutil.copyfileobj(source, pipe, CHUNK)


def _check_user(url: str) -> None:
    """Refuse a user whose rights a crafted dump could turn against the server's machine."""
    with _connected(url) as connection:
        user, role = connection.info.user, risky_role(connection)
    if role is not None:
        reason = "is a superuser" if role == user else f"is a member of {role}"
        raise InputError(
            f"the user {user!r} of {redacted(url)} {reason}: a crafted backup could start programs "
            "on the server; restore as a user who only owns the database, or add --trusted if "
            "nobody else could have changed the file"
        )


def _preparation(name: str) -> str:
    """SQL before a restore's own."""
    # The dump's script lifts the limit.
    return removing(name).as_string() + "\n"


def removing(name: str) -> sql.Composed:
    """SQL that removes what a restore replaces; all names are ours or Dagster's."""
    if name == PROJECT:
        # The dump makes the schema.
        drops = [sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE;").format(sql.Identifier(SCHEMA))]
    else:
        drops = [
            sql.SQL("DROP TABLE IF EXISTS {} CASCADE;").format(sql.Identifier("public", table))
            for table in dagster_tables()
        ]
    # Who still works with the tables is told, not waited for.
    settings = sql.SQL("SET client_min_messages = warning;\nSET lock_timeout = '30s';\n")
    return settings + sql.SQL("\n").join(drops)


def _counts(name: str, connection: psycopg.Connection[Any]) -> Counts:
    """Rows of every table of the dump that exists."""
    schema = SCHEMA if name == PROJECT else "public"
    known = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (schema,)
    ).fetchall()
    wanted = [t for (t,) in known if name == PROJECT or t in dagster_tables()]
    rows = {}
    for table in wanted:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        rows[str(table)] = int(row[0]) if row else 0
    return rows


def _filled(name: str, url: str) -> list[str]:
    """Tables with rows that a restore would lose."""
    own = {"alembic_version", "instance_info", "secondary_indexes", "daemon_heartbeats", "kvs"}
    with _connected(url) as connection:
        return [t for t, rows in _counts(name, connection).items() if rows and t not in own]


def _compare(name: str, url: str, expected: Counts) -> None:
    with _connected(url) as connection:
        found = _counts(name, connection)
    if wrong := [t for t in expected if found.get(t) != expected[t]]:
        raise DatabaseError(
            f"{redacted(url)} does not match the backup after the restore in "
            f"{', '.join(t if t.isprintable() else ascii(t) for t in wrong)}: "
            "stop what writes to it, then restore again with --force"
        )


def _revision(url: str) -> str:
    with _connected(url) as connection:
        query = sql.SQL("SELECT version_num FROM {}").format(
            sql.Identifier(SCHEMA, "alembic_version")
        )
        row = connection.execute(query).fetchone()
    return str(row[0]) if row else "0000"


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the process if the block fails, and close its pipes."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(url) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise explained(url, error) from None


def _said(errors: IO[bytes]) -> str:
    errors.seek(0)
    return last_meaningful_line(errors.read().decode(errors="replace"))
