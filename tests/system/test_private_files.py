"""What is written is closed to other users whatever the umask, and what is open is told."""

import os
import stat

import pytest

from autonama_dagster.cli.compute.demo import _prepare
from autonama_dagster.errors import DatabaseError
from autonama_dagster.settings import load_settings
from autonama_dagster.system.private_files import private_folder, write_private
from resources.instance.home import dagster_home
from resources.postgres.server.cluster import Cluster


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_folders_and_files_are_the_owners(tmp_path):
    folder = private_folder(tmp_path / "a" / "b")
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
    folder.chmod(0o755)
    assert mode(private_folder(folder)) == 0o700
    write_private(folder / "file", "text")
    assert mode(folder / "file") == 0o600
    with pytest.raises(FileExistsError):
        write_private(folder / "file", "other")


def test_the_projects_own_folder_is_closed(home):
    (home / ".autonama").mkdir()
    dagster_home()
    assert mode(home / ".autonama") == 0o700


def test_it_is_closed_before_an_embedded_server_is_made_in_it(home, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)  # root's server lies elsewhere
    with pytest.raises(DatabaseError, match="belongs to user"):
        Cluster(home).make_home()
    assert mode(home / ".autonama") == 0o700


def test_the_demos_settings_are_closed(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTONAMA_HOME", str(tmp_path))
    _prepare(tmp_path / ".autonama" / "demo")
    assert mode(tmp_path / ".autonama") == 0o700
    assert mode(tmp_path / ".autonama" / "demo" / ".env") == 0o600


@pytest.mark.parametrize(
    ("text", "file_mode", "is_told"),
    [
        ("BINANCE_API_KEY=abc\n", 0o644, True),
        ("DATABASE_URL=postgresql://u:p@h/d\n", 0o620, True),
        ("BINANCE_API_KEY=abc\n", 0o600, False),
        ("AUTONAMA_START_DATE=2025-01-01\nBINANCE_API_KEY=\n", 0o644, False),
    ],
)
def test_a_secret_that_others_may_read_is_told(home, capsys, text, file_mode, is_told):
    file = home / ".env"
    file.write_text(text)
    file.chmod(file_mode)
    load_settings()
    told = capsys.readouterr().err
    assert told.endswith(f"chmod 600 {file}\n") == is_told
    assert told.count("\n") == int(is_told)
    assert "abc" not in told
