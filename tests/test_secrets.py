"""Planted secrets appear nowhere: not in output, tables, files, events, nor arguments."""

import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.instance.ref import InstanceRef
from projects import Project, project
from psycopg import sql
from servers import synthetic_market

from autonama_dagster.cli.main import main
from autonama_dagster.definitions import build_defs
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.settings import load_settings
from resources.postgres.database import dagster_database_url
from resources.postgres.roles.reader_role import ensure_reader
from resources.postgres.server.programs import find_programs
from resources.postgres.urls import libpq_url, with_database

PLANTED = {
    "database": "planted-db-pass-1187",
    "dagster": "planted-dagster-pass-2296",
    "key": "planted-api-key-3305",
    "secret": "planted-api-secret-4414",
    "webhook": "planted-webhook-token-5523",
}
SETTINGS = {"start_date": "2024-03-09", "universe_size": "3", "lookback": "200"}


@pytest.fixture(scope="module")
def scene(postgres, tmp_path_factory):
    """A project whose every secret is planted, and what its commands said."""
    folder = tmp_path_factory.mktemp("secrets")
    with (
        ReplayServer(synthetic_market(3), now="2024-03-11T00:05:00Z") as server,
        project(folder, postgres, server.url, **SETTINGS) as opened,
    ):
        url = libpq_url(os.environ["DATABASE_URL"])
        postgres.ensure_database("secrets_dagster")
        yield Scene(folder, server, url, opened)


@dataclass
class Scene:
    folder: Path
    server: ReplayServer
    url: str  # of the project's database, without a password
    opened: Project


def with_password(url, which):
    return url.replace("autonama@", f"autonama:{PLANTED[which]}@")


@pytest.fixture
def say(monkeypatch, capfd):
    """Run a command, and again with `--debug`; its last exit code and all it said."""

    def call(*arguments, **values):
        code, said = 1, []
        with pytest.MonkeyPatch.context() as environment:
            for name, value in values.items():
                environment.setenv(name, value)
            for shown in (arguments, (*arguments, "--debug")):
                monkeypatch.setattr(sys, "argv", ["autonama", *shown])
                try:
                    main()
                except SystemExit as ended:
                    code = int(ended.code or 0)
        said += capfd.readouterr()
        check("".join(said))
        return code, "".join(said)

    return call


@pytest.fixture(autouse=True)
def planted(scene, monkeypatch, home):  # noqa: ARG001  (home clears the environment first)
    monkeypatch.setenv("AUTONAMA_HOME", str(scene.folder))
    monkeypatch.setenv("AUTONAMA_EXCHANGE_URL", scene.server.url)
    monkeypatch.setenv("DATABASE_URL", with_password(scene.url, "database"))
    monkeypatch.setenv(
        "AUTONAMA_DAGSTER_DATABASE_URL",
        with_password(with_database(scene.url, "secrets_dagster"), "dagster"),
    )
    monkeypatch.setenv("BINANCE_API_KEY", PLANTED["key"])
    monkeypatch.setenv("BINANCE_API_SECRET", PLANTED["secret"])
    monkeypatch.setenv("AUTONAMA_ALERT_WEBHOOK", f"http://127.0.0.1:1/{PLANTED['webhook']}")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(f"AUTONAMA_{name.upper()}", value)
    scene.server.faults.replace()


def check(text):
    assert [which for which, secret in PLANTED.items() if secret in text] == []


def kept(scene):
    """Everything that is stored: all rows of both databases, all files of the project."""
    text = []
    for url in (scene.url, with_database(scene.url, "secrets_dagster")):
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT schemaname, relname FROM pg_stat_user_tables"
            ).fetchall()
            assert tables
            for name in tables:
                query = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(*name))
                text += [row for (row,) in connection.execute(query)]
            # Dagster compresses snapshots; their bytes are decompressed here.
            if ("public", "snapshots") in tables:
                rows = connection.execute("SELECT snapshot_body FROM snapshots")
                text += [zlib.decompress(bytes(body)).decode() for (body,) in rows]
    files = [p for p in scene.folder.rglob("*") if p.is_file()]
    text += [p.read_bytes().decode("latin-1") for p in files]
    assert len(text) > 200
    return "\n".join(text)


def test_a_scan_that_succeeds(scene, say):
    code, said = say("scan")
    assert code == 0, said
    assert "3" in said
    check(kept(scene))


def test_settings_say_only_that_they_are_set(say):
    code, said = say("settings")
    assert code == 0
    assert said.count("(set)") >= 2 * len(PLANTED)


def test_a_wrong_password(scene, say, postgres):
    """The server asks this role for its password, and gets the planted one."""
    user = "secrets_reader"
    ensure_reader(scene.url, user, "quite-another-1", dagster_database=None, server=postgres)
    try:
        url = os.environ["DATABASE_URL"].replace("//autonama:", f"//{user}:")
        for command in (["scan"], ["db", "status"], ["show", "signals"], ["db", "backup", "x"]):
            code, said = say(*command, DATABASE_URL=url)
            assert code == 1
            assert "password authentication failed" in said
    finally:
        database = psycopg.conninfo.conninfo_to_dict(libpq_url(scene.url))["dbname"]
        with psycopg.connect(postgres.admin_url(database)) as connection:
            connection.execute(f"DROP OWNED BY {user}")
            connection.execute(f"DROP ROLE {user}")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{PLANTED['database']}@127.0.0.1:1/x",
        f"postgresql://u@127.0.0.1:1/x?password={PLANTED['database']}",
        f"postgresql://u:{PLANTED['database']}@127.0.0.1:port/x",
        f"mysql://u:{PLANTED['database']}@127.0.0.1/x",
        f"postgresql://u:{PLANTED['database']}/@127.0.0.1/x",
    ],
)
def test_a_database_out_of_reach_or_a_wrong_address(say, url):
    for command in (["scan"], ["show", "signals"], ["db", "status"], ["retire", "BTCUSDT"]):
        assert say(*command, DATABASE_URL=url)[0] != 0


def test_an_exchange_that_fails(scene, say):
    scene.server.faults.add("418:path=klines")
    assert say("scan", "--date", "2024-03-09")[0] == 1
    check(kept(scene))


def test_a_statement_that_the_database_refuses(scene, say):
    """A failing run in which Dagster stores the error of the database, and its compute logs."""
    with psycopg.connect(scene.url) as connection:
        connection.execute("ALTER TABLE trading.universe RENAME TO hidden")
    try:
        settings = load_settings()
        ref = InstanceRef.from_dir(str(scene.folder / ".autonama/dagster"))
        with dg.DagsterInstance.from_ref(ref) as instance:
            result = (
                build_defs(settings)
                .resolve_job_def("universe_job")
                .execute_in_process(
                    instance=instance, partition_key="2024-03-10", raise_on_error=False
                )
            )
            assert not result.success
        assert say("scan", "--date", "2024-03-09")[0] == 1
    finally:
        with psycopg.connect(scene.url) as connection:
            connection.execute("ALTER TABLE trading.hidden RENAME TO universe")
    stored = kept(scene)
    assert "trading.universe was changed by hand" in stored
    check(stored)
    assert list(scene.folder.rglob("compute_logs/*.err")), "nothing was captured"


def test_a_backfill_and_its_worker_processes(scene, say):
    """After the tests above, which need a day that nobody has scanned."""
    days = ("--from", "2024-03-09", "--to", "2024-03-10")
    code, said = say("backfill", *days)
    assert code == 0, said
    assert "indicators to summaries" in said
    assert "partitions, " in said
    scene.server.faults.add("418:path=klines")
    assert say("backfill", *days, "--again", "--days-per-run", "1")[0] == 1
    check(kept(scene))


def test_arguments_of_the_programs_that_are_started(tmp_path):
    """Each Postgres program writes its arguments down before it starts."""
    real, folder, seen = find_programs(), tmp_path / "bin", tmp_path / "seen"
    folder.mkdir()
    for program in real.iterdir():
        (folder / program.name).write_text(
            f'#!/bin/sh\necho "{program.name} $@" >> "{seen}"\nexec "{program}" "$@"\n'
        )
        (folder / program.name).chmod(0o755)
    environment = {**os.environ, "AUTONAMA_POSTGRES_BIN": str(folder)}
    code = "from autonama_dagster.cli.main import main; main()"
    for arguments in (["db", "psql", "--", "-c", "SELECT 1"], ["db", "backup", "a.backup"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        check(done.stdout + done.stderr)
    written = seen.read_text()
    assert {line.split()[0] for line in written.splitlines()} == {"psql", "pg_dump"}
    assert "host=" in written
    check(written)
    assert str(dagster_database_url()).count(PLANTED["dagster"]) == 1, "it was not planted"


def test_what_is_planted_would_be_found():
    with pytest.raises(AssertionError, match="webhook"):
        check(f"http://h/{PLANTED['webhook']}")
