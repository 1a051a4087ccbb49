"""The command line in this process."""

import os
import sys
from dataclasses import dataclass

import pytest

from autonama_dagster.cli.main import main


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
