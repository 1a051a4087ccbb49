"""The program `autonama` in processes of its own, on a small market, with an embedded server."""

import importlib
from contextlib import contextmanager

import pytest
from places import ROOT
from scan_support import opened_project

SETTINGS = {"start_date": "2023-12-27", "universe_size": "3", "lookback": "40", "degree": "2"}
RANGE = ("--from", "2023-12-27", "--to", "2023-12-29")
DAY = ("--date", "2023-12-29")
TIMEOUT = 240

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT)
    crash = importlib.import_module("bench.crash_command")
    crash_bench = importlib.import_module("bench.crash")
    crash_project = importlib.import_module("bench.crash_project")
    crash_state = importlib.import_module("bench.crash_state")


@contextmanager
def opened(folder, exchange_url):
    """A project in an empty folder; its programs and its server are ended."""
    folder.mkdir()
    project = crash_project.Project(folder, exchange_url, **SETTINGS)
    try:
        yield project
    finally:
        project.close()


def tables_of_scans(folder, postgres, days):
    """All tables after scans of the days in this process, one after the other and undisturbed."""
    with opened_project(folder, postgres, scanned=days) as (found, _):
        return crash_state.read_tables(found.url)


def ended_well(project, *started):
    """Wait for the programs: each ends with exit code 0, and nothing is left behind."""
    for process in started:
        assert process.wait(TIMEOUT) == 0, [e.read_text() for e in project.errors]
    assert crash_project.left_behind(project) == []
    assert crash_state.unfinished(project.dagster_url()) == []
    assert crash_state.baseless(project.url(), project.dagster_url()) == []
