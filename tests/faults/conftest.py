"""An open project on a small market, before a faultless exchange at 00:05 UTC."""

import pytest
from fault_support import DAY, NOW, SETTINGS, Stage, small_market
from projects import project

from autonama_dagster.replay.server import ReplayServer


@pytest.fixture(autouse=True)
def _at_once(impatient):
    """Faults are met again without a wait."""


@pytest.fixture(scope="session")
def market(tmp_path_factory):
    return small_market(tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="session")
def server(market):
    with ReplayServer(market, now=NOW) as running:
        yield running


@pytest.fixture(scope="session")
def opened(server, postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with project(folder, postgres, server.url, **SETTINGS) as found:
        found.scanner().scan(DAY)
        stage = Stage(found, server, found.tables())
        assert set(stage.status().values()) == {"OK"}
        yield stage


@pytest.fixture
def stage(opened):
    """The open project with empty tables, and a faultless exchange at 00:05 UTC."""
    opened.clear()
    return opened
