"""`autonama db backup` and `restore`: the round trip, refusals, and what an interruption leaves."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import zipfile

import psycopg
import pytest
from psycopg import sql
from support import drop_databases

from autonama_dagster.errors import DatabaseError
from resources.postgres.migrate import newest_revision
from resources.postgres.server.programs import find_programs
from resources.postgres.upkeep import backup as backups
from resources.postgres.upkeep.backup_file import appearing
from resources.postgres.urls import libpq_url

PROGRAM = [sys.executable, "-c", "from autonama_dagster.cli.main import main; main()"]


def rows(url):
    """Every row of every table and sequence, as text."""
    found = {}
    with psycopg.connect(libpq_url(url)) as connection:
        names = connection.execute(
            "SELECT schemaname, relname FROM pg_stat_user_tables ORDER BY 1, 2"
        ).fetchall()
        for name in names:
            query = sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(sql.Identifier(*name))
            found[name] = [row for (row,) in connection.execute(query)]
        found["sequences"] = connection.execute(
            "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"
        ).fetchall()
        found["views"] = connection.execute(
            "SELECT viewname, definition FROM pg_views WHERE schemaname = 'trading' ORDER BY 1"
        ).fetchall()
        found["comments"] = connection.execute(
            "SELECT objoid::regclass::text, objsubid, description FROM pg_description "
            "JOIN pg_class ON pg_class.oid = objoid "
            "WHERE relnamespace = to_regnamespace('trading') ORDER BY 1, 2"
        ).fetchall()
    return found


@pytest.fixture
def empty(postgres, monkeypatch, request):
    """Point the environment to two databases that are empty; gives their URLs."""
    name = f"restored_{abs(hash(request.node.name)) % 10**8}"
    postgres.ensure_database(name)
    urls = {
        "project": postgres.url(name),
        "dagster": postgres.url(f"{name}_dagster"),
    }
    postgres.ensure_database(f"{name}_dagster")

    def use():
        monkeypatch.setenv("DATABASE_URL", urls["project"])

    urls["use"] = use
    yield urls
    drop_databases(postgres, name, f"{name}_dagster")


@pytest.fixture(scope="session")
def kept(stored, tmp_path_factory):
    """A backup of the stored project, made once."""
    file = tmp_path_factory.mktemp("backup") / "kept.backup"
    urls = {"project": stored.url, "dagster": f"{stored.url.split('?')[0]}_dagster"}
    urls["dagster"] += "?" + stored.url.split("?")[1]
    backups.backup(urls, file)
    return file, urls


@pytest.mark.usefixtures("day")
def test_a_round_trip_loses_nothing(run, kept, empty, tmp_path):
    _, source = kept
    file = tmp_path / "a.backup"
    made = run("db", "backup", file)
    assert made.code == 0, made.err
    assert "reading Dagster's tables" in made.err
    empty["use"]()
    restored = run("db", "restore", file)
    assert restored.code == 0, restored.err
    before, after = rows(source["project"]), rows(empty["project"])
    assert after == before
    assert sum(len(r) for r in after.values()) > 1000
    assert rows(empty["dagster"]) == rows(source["dagster"])
    # And it goes on from there: new rows get new numbers, the registered symbols are known.
    again = run("scan", "--date", "2024-03-10")
    assert again.code == 0, again.err
    assert rows(empty["project"]) == before
    retired = run("retire", "BTCUSDT")
    assert retired.code == 0, retired.err
    assert rows(source["dagster"]) != rows(empty["dagster"])


def test_the_file_is_private_and_says_what_it_holds(kept):
    file, _ = kept
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert archive.namelist()[-1] == "manifest.json"
    assert manifest["revision"] == newest_revision()
    assert manifest["rows"]["project"]["signals"] == 6
    assert manifest["rows"]["dagster"]["dynamic_partitions"] == 6
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.usefixtures("day")
def test_an_existing_file_is_kept_without_force(run, tmp_path):
    file = tmp_path / "a.backup"
    file.write_text("precious")
    ended = run("db", "backup", file)
    assert ended.code == 2
    assert "--force" in ended.error
    assert file.read_text() == "precious"
    assert run("db", "backup", "--force", file).code == 0
    assert zipfile.is_zipfile(file)


@pytest.mark.usefixtures("day")
def test_filled_tables_are_kept_without_force(run, kept, day):
    file, _ = kept
    before = rows(day.url)
    ended = run("db", "restore", file)
    assert ended.code == 2
    assert "add --force" in ended.err.splitlines()[-1]
    assert rows(day.url) == before


def test_force_replaces_what_is_there(run, kept, empty):
    file, source = kept
    empty["use"]()
    assert run("db", "restore", file).code == 0
    with psycopg.connect(libpq_url(empty["project"])) as connection:
        connection.execute("DELETE FROM trading.signals")
        connection.execute("CREATE TABLE trading.newer (a int)")
        connection.execute("CREATE TABLE public.theirs AS SELECT 1 AS a")
    assert run("db", "restore", "--force", file).code == 0
    found = rows(empty["project"])
    assert found.pop(("public", "theirs")) == ["(1)"]
    assert found == rows(source["project"])


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "absent", "future"])
def test_what_is_no_backup_is_refused_and_nothing_changes(run, kept, empty, tmp_path, damage):
    file = tmp_path / "bad.backup"
    data = bytearray(kept[0].read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    elif damage == "text":
        data = b"hello"
    if damage != "absent":
        file.write_bytes(data)
    if damage == "future":
        with zipfile.ZipFile(kept[0]) as old, zipfile.ZipFile(file, "w") as new:
            for name in old.namelist():
                text = old.read(name)
                if name == "manifest.json":
                    text = json.dumps({**json.loads(text), "revision": "9999"})
                new.writestr(name, text)
    empty["use"]()
    ended = run("db", "restore", file)
    assert ended.code == 2
    assert file.name in ended.error
    assert rows(empty["project"])["sequences"] == []
    with psycopg.connect(libpq_url(empty["project"])) as connection:
        found = connection.execute("SELECT to_regnamespace('trading')").fetchone()
    assert found == (None,)


def wrapped(folder, name, script):
    """A folder of the Postgres programs in which one runs `script` first."""
    real = find_programs()
    folder.mkdir()
    for program in real.iterdir():
        (folder / program.name).symlink_to(program)
    (folder / name).unlink()
    (folder / name).write_text(f'#!/bin/sh\nREAL="{real / name}"\n{script}\n')
    (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.usefixtures("day")
def test_a_killed_backup_leaves_no_file(tmp_path, monkeypatch):
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    script = f'echo partial; echo > "{reached}"; exec sleep 600'
    programs = wrapped(tmp_path / "bin", "pg_dump", _version(script))
    monkeypatch.setenv("AUTONAMA_POSTGRES_BIN", programs)
    file = tmp_path / "a.backup"
    process = subprocess.Popen([*PROGRAM, "db", "backup", str(file)], stderr=subprocess.DEVNULL)
    reached.read_text()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not file.exists()
    assert not zipfile.is_zipfile(tmp_path / "a.backup.partial")
    monkeypatch.delenv("AUTONAMA_POSTGRES_BIN")
    ended = subprocess.run([*PROGRAM, "db", "backup", str(file)], check=False)
    assert ended.returncode == 0
    assert zipfile.is_zipfile(file)
    assert not (tmp_path / "a.backup.partial").exists()


def _version(script):
    """The real answer to --version, else the script."""
    return f'if [ "$1" = --version ]; then exec "$REAL" "$@"; fi\n{script}'


@pytest.mark.usefixtures("day")
def test_a_failing_dump_leaves_no_file_and_says_why(run, tmp_path, monkeypatch):
    script = _version("echo some data; echo 'pg_dump: error: no space left' >&2; exit 1")
    monkeypatch.setenv("AUTONAMA_POSTGRES_BIN", wrapped(tmp_path / "bin", "pg_dump", script))
    ended = run("db", "backup", tmp_path / "a.backup")
    assert ended.code == 1
    assert "no space left" in ended.err.splitlines()[-1]
    assert not list(tmp_path.glob("a.backup*"))


def test_a_restore_that_is_cut_off_changes_nothing(run, kept, empty, tmp_path, monkeypatch):
    file, _ = kept
    empty["use"]()
    assert run("db", "restore", file).code == 0
    with psycopg.connect(libpq_url(empty["project"])) as connection:
        connection.execute("DELETE FROM trading.signals")
    before = rows(empty["project"])
    # pg_restore dies in the middle of its script, after the tables were dropped and made anew.
    cut = '"$REAL" "$@" | head -c 60000; exit 1'
    monkeypatch.setenv("AUTONAMA_POSTGRES_BIN", wrapped(tmp_path / "bin", "pg_restore", cut))
    ended = run("db", "restore", "--force", file)
    assert ended.code == 1
    assert rows(empty["project"]) == before


def test_a_killed_restore_changes_nothing(run, kept, empty, tmp_path, monkeypatch):
    file, source = kept
    empty["use"]()
    assert run("db", "restore", file).code == 0
    with psycopg.connect(libpq_url(empty["project"])) as connection:
        connection.execute("DELETE FROM trading.signals")
    before = rows(empty["project"])
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    cut = f'"$REAL" "$@" | head -c 60000; echo > "{reached}"; exec sleep 600'
    monkeypatch.setenv("AUTONAMA_POSTGRES_BIN", wrapped(tmp_path / "bin", "pg_restore", cut))
    process = subprocess.Popen([*PROGRAM, "db", "restore", "--force", str(file)])
    reached.read_text()
    process.send_signal(signal.SIGKILL)
    process.wait()
    monkeypatch.delenv("AUTONAMA_POSTGRES_BIN")
    _end_sessions(empty["project"])
    assert rows(empty["project"]) == before
    assert run("db", "restore", "--force", file).code == 0
    assert rows(empty["project"]) == rows(source["project"])


def _end_sessions(url):
    """Wait until the server has noticed that psql is gone."""
    with psycopg.connect(libpq_url(url)) as connection:
        # The lock is granted when the restoring session has ended, one way or the other.
        connection.execute("LOCK TABLE trading.signals IN ACCESS EXCLUSIVE MODE")


@pytest.mark.usefixtures("day")
def test_two_backups_to_one_file_do_not_mix(run, tmp_path):
    file = tmp_path / "a.backup"
    with appearing(file) as target:
        target.write(b"first")
        ended = run("db", "backup", file)
        assert ended.code == 2
        assert "another backup" in ended.err.splitlines()[-1]
    assert file.read_bytes() == b"first"


@pytest.mark.usefixtures("day")
def test_an_older_client_is_refused(run, tmp_path, monkeypatch):
    script = 'echo "pg_dump (PostgreSQL) 12.3"'
    monkeypatch.setenv("AUTONAMA_POSTGRES_BIN", wrapped(tmp_path / "bin", "pg_dump", script))
    ended = run("db", "backup", tmp_path / "a.backup")
    assert ended.code == 1
    assert "pg_dump is of PostgreSQL 12.3 and the server" in ended.error
    assert "AUTONAMA_POSTGRES_BIN" in ended.error
    assert not (tmp_path / "a.backup").exists()


@pytest.mark.parametrize(("program", "command"), [("pg_dump", "backup"), ("psql", "restore")])
def test_the_password_is_in_no_argument(run, kept, empty, tmp_path, monkeypatch, program, command):
    seen = tmp_path / "seen"
    script = f'echo "$@" >> "{seen}"; echo "$PGPASSWORD" >> "{seen}.env"; exec "$REAL" "$@"'
    monkeypatch.setenv("AUTONAMA_POSTGRES_BIN", wrapped(tmp_path / "bin", program, script))
    url = empty["project"].replace("autonama@", "autonama:planted-pass-17@")
    monkeypatch.setenv("DATABASE_URL", url)
    file = kept[0] if command == "restore" else tmp_path / "a.backup"
    ended = run("db", command, file)
    assert ended.code == 0, ended.err
    assert "--dbname=" in seen.read_text()
    assert "planted-pass-17" not in seen.read_text() + ended.out + ended.err
    assert "planted-pass-17" in (tmp_path / "seen.env").read_text()


@pytest.mark.parametrize(("number", "is_full"), [(errno.ENOENT, False), (errno.ENOSPC, True)])
def test_room_is_asked_for_only_where_there_is_none(tmp_path, monkeypatch, number, is_full):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(DatabaseError) as raised, appearing(tmp_path / "kept.backup"):
        pass
    assert str(raised.value).endswith("choose another folder")
    assert ("free space" in str(raised.value)) == is_full
