"""The command line in this process, on a small synthetic market and one stored day."""

import os
import shutil
import sys
from dataclasses import dataclass
from datetime import date

import pytest
from projects import project
from servers import synthetic_market

from autonama_dagster.cli.main import main
from autonama_dagster.replay.server import ReplayServer

DAY = date(2024, 3, 10)
SETTINGS = {"start_date": "2024-03-09", "universe_size": "6"}


@dataclass
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture(scope="session")
def exchange():
    with ReplayServer(synthetic_market(7), now="2024-03-11T00:05:00Z") as server:
        yield server


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `autonama ARGUMENTS` here; the environment it changes is restored."""

    def call(*arguments):
        before = dict(os.environ)
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.setattr(sys, "argv", ["autonama", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        os.environ.clear()
        os.environ.update(before)
        out, err = capsys.readouterr()
        return Finished(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture(scope="session")
def stored(exchange, postgres, tmp_path_factory):
    """A project whose databases hold the scan of DAY, candles for charts included."""
    folder = tmp_path_factory.mktemp("cli_project")
    with project(folder, postgres, exchange.url, **SETTINGS) as opened:
        opened.scanner().scan(DAY)
        yield opened


@pytest.fixture
def day(stored, home, monkeypatch):
    """The environment of the stored project, with results in a folder of this test."""
    stored.enter(monkeypatch)
    monkeypatch.setenv("AUTONAMA_HOME", str(home))
    yield stored
    shutil.rmtree(home / "results", ignore_errors=True)
