"""`autonama db restore` of files that somebody has made or changed to do harm."""

import hashlib
import json
import random
import stat
import struct
import tempfile
import zipfile
from pathlib import Path

import psycopg
import pytest
from support import drop_databases

from autonama_dagster.errors import InputError
from resources.postgres.upkeep import backup as backups
from resources.postgres.upkeep.backup_file import checked, opened
from resources.postgres.urls import libpq_url

MANIFEST, DUMPS = "manifest.json", ("dagster.dump", "project.dump")
DEFINITION = b"CREATE TABLE trading.signals ("


@pytest.fixture(scope="session")
def kept(stored, tmp_path_factory):
    """A backup of the stored project, made once, as its parts."""
    file = tmp_path_factory.mktemp("backup") / "kept.backup"
    base, _, query = stored.url.partition("?")
    backups.backup({"project": stored.url, "dagster": f"{base}_dagster?{query}"}, file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def empty(postgres, monkeypatch, request):
    """Point the environment to two empty databases; gives the name of the project's."""
    name = f"hostile_{abs(hash(request.node.name)) % 10**8}"
    for database in (name, f"{name}_dagster"):
        postgres.ensure_database(database)
    monkeypatch.setenv("DATABASE_URL", postgres.url(name))
    yield name
    drop_databases(postgres, name, f"{name}_dagster")


@pytest.fixture
def written():
    """A path that the server's account may make a file at."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder) / "written"


def assembled(file, parts, **written):
    """Write a zip of these parts as a backup's."""
    with zipfile.ZipFile(file, "w", **written) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file


def with_manifest(parts, /, **changed):
    manifest = {**json.loads(parts[MANIFEST]), **changed}
    return {**parts, MANIFEST: json.dumps(manifest).encode()}


def crafted(parts, statement):
    """The parts with a table's definition replaced, and checksums that fit."""
    dump = parts["project.dump"]
    start = dump.index(DEFINITION)
    (length,) = struct.unpack("<i", dump[start - 4 : start])
    evil = statement.encode().ljust(length)
    assert len(evil) == length
    dump = dump[:start] + evil + dump[start + length :]
    checksums = json.loads(parts[MANIFEST])["parts"]
    checksums["project"]["sha256"] = hashlib.sha256(dump).hexdigest()
    return with_manifest({**parts, "project.dump": dump}, parts=checksums)


def is_empty(postgres, name):
    with psycopg.connect(libpq_url(postgres.url(name))) as connection:
        found = connection.execute("SELECT to_regnamespace('trading')").fetchone()
    return found == (None,)


def test_a_dump_starts_no_program(run, kept, empty, postgres, tmp_path, written, monkeypatch):
    parts = crafted(kept, f"COPY (SELECT 1) TO PROGRAM 'id > {written}';")
    file = assembled(tmp_path / "evil.backup", parts)
    ended = run("db", "restore", "--force", file)
    assert ended.code == 1
    assert "which is unchanged" in ended.err
    assert "permission denied to COPY to or from an external program" in ended.err
    assert not written.exists()
    assert is_empty(postgres, empty)
    # Nor on a server of the user's own whose user could: it is not asked.
    monkeypatch.setenv("DATABASE_URL", postgres.admin_url(empty))
    ended = run("db", "restore", "--force", file)
    assert ended.code == 2
    assert "'autonama_admin'" in ended.error
    assert "is a superuser" in ended.error
    assert "--trusted" in ended.error
    assert not written.exists()
    # The file does what it is feared for.
    run("db", "restore", "--force", "--trusted", file)
    assert written.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "RESET ROLE; COPY (SELECT 1) TO PROGRAM 'id > {}';",
        "SET SESSION AUTHORIZATION autonama_admin; COPY (SELECT 1) TO PROGRAM 'id > {}';",
        "COPY (SELECT 1) TO '{}';",
        "\\! id > {}",
        "SELECT 1 \\g {}",
        "\\o {}\nSELECT 1;",
    ],
)
def test_a_dump_writes_no_file(run, kept, empty, postgres, tmp_path, written, statement):
    parts = crafted(kept, statement.format(written))
    ended = run("db", "restore", assembled(tmp_path / "evil.backup", parts))
    assert ended.code == 1, ended.err
    assert not written.exists()
    assert is_empty(postgres, empty)


@pytest.mark.parametrize("role", ["pg_execute_server_program", "autonama_admin", None])
def test_a_user_who_could_become_dangerous_is_refused(
    run, kept, empty, postgres, tmp_path, monkeypatch, role
):
    """By being a member of a role; or a superuser whom the URL makes look like another."""
    user = f"user_of_{empty}"
    with psycopg.connect(postgres.admin_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN")
        if role is not None:
            connection.execute(f"GRANT {role} TO {user}")
    url = postgres.url(empty).replace("autonama@", f"{user}@")
    expected = f"is a member of {role}"
    if role is None:
        url = f"{postgres.admin_url(empty)}&options=-c%20role%3D{user}"
        expected = "is a superuser"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("AUTONAMA_DAGSTER_DATABASE_URL", postgres.url(f"{empty}_dagster"))
    try:
        ended = run("db", "restore", assembled(tmp_path / "a.backup", kept))
    finally:
        with psycopg.connect(postgres.admin_url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP ROLE {user}")
    assert ended.code == 2
    assert expected in ended.error


def test_a_part_that_is_not_the_manifests_is_refused(run, kept, empty, postgres, tmp_path):
    """Even where the zip's own checksums are right."""
    parts = {**crafted(kept, "SELECT 1;"), MANIFEST: kept[MANIFEST]}
    ended = run("db", "restore", assembled(tmp_path / "a.backup", parts))
    assert ended.code == 2
    assert "damaged (project.dump)" in ended.error
    assert is_empty(postgres, empty)


@pytest.mark.usefixtures("empty")
def test_a_backup_of_the_version_before_is_taken_and_said_to_be_unchecked(run, kept, tmp_path):
    manifest = json.loads(kept[MANIFEST])
    del manifest["parts"]
    manifest["format"] = 1
    parts = {**kept, MANIFEST: json.dumps(manifest).encode()}
    ended = run("db", "restore", assembled(tmp_path / "old.backup", parts))
    assert ended.code == 0, ended.err
    assert "old.backup was made by Autonama 0.1.0, whose backups have no checksums" in ended.err


HOSTILE = {
    "no checksums": lambda parts: with_manifest(parts, parts=None),
    "a checksum less": lambda parts: with_manifest(parts, parts={}),
    "rows of another type": lambda parts: with_manifest(parts, rows={"project": {"a": "b"}}),
    "control characters": lambda parts: with_manifest(parts, revision="9999", autonama="\x1b[2J"),
    "a list": lambda parts: {**parts, MANIFEST: b"[]"},
    "nested too deeply": lambda parts: {**parts, MANIFEST: b"[" * 100_000},
    "no text": lambda parts: {**parts, MANIFEST: b"\xff\xfe"},
    "much": lambda parts: {**parts, MANIFEST: parts[MANIFEST] + b" " * 300_000},
    "another part": lambda parts: {**parts, "../../etc/passwd": b""},
    "a part less": lambda parts: {n: parts[n] for n in parts if n != "dagster.dump"},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_manifest_that_is_none_is_refused(kept, tmp_path, kind):
    file = assembled(tmp_path / "a.backup", HOSTILE[kind](kept))
    with (
        opened(file) as archive,
        pytest.raises(InputError, match="is not an Autonama backup") as error,
    ):
        checked(archive, file)
    assert str(error.value).isprintable()


def test_a_part_that_would_grow_is_refused(kept, tmp_path):
    """A manifest of spaces, a thousand times smaller in the file."""
    parts = {**kept, MANIFEST: kept[MANIFEST] + b" " * 10_000}
    file = assembled(tmp_path / "a.backup", parts, compression=zipfile.ZIP_DEFLATED)
    with opened(file) as archive, pytest.raises(InputError, match="is compressed"):
        checked(archive, file)


def test_a_directory_that_would_fill_the_memory_is_not_read(tmp_path):
    file, size = tmp_path / "a.backup", 1 << 31
    with file.open("wb") as target:
        target.truncate(size)  # of holes
        target.seek(size)
        target.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0))
    with pytest.raises(InputError, match="is not an Autonama backup"), opened(file):
        pass


def test_a_file_with_changed_bytes_is_refused_in_one_way(kept, tmp_path):
    """In the zip's own headers, where no checksum is: never an error of a library's."""
    file = assembled(tmp_path / "a.backup", {**kept, **dict.fromkeys(DUMPS, b"dump")})
    good = file.read_bytes()
    chance = random.Random(7)
    for _ in range(400):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 4))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        file.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        with pytest.raises(InputError), opened(file) as archive:
            checked(archive, file)


@pytest.mark.usefixtures("day")
def test_what_lies_in_a_backups_place_gives_nothing_away(run, tmp_path):
    """A file left where the backup is written is closed to others; a link is not followed."""
    left, target = tmp_path / "a.backup.partial", tmp_path / "theirs"
    left.write_text("left")
    left.chmod(0o666)
    assert run("db", "backup", tmp_path / "a.backup").code == 0
    assert stat.S_IMODE((tmp_path / "a.backup").stat().st_mode) == 0o600
    left.symlink_to(target)
    assert run("db", "backup", tmp_path / "a.backup", "--force").code == 1
    assert not target.exists()
