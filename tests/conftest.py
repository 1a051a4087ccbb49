"""Fixtures shared by all tests: the real market data, a server, databases."""

import gc
import itertools
import os
import shutil
import signal
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import stamina
from places import ROOT
from servers import SharedServer, synthetic_market
from support import drop_databases

from autonama_dagster.replay.server import ReplayServer
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from projects import Project

STORED = date(2024, 3, 10)
_numbers = itertools.count()


def pytest_collection() -> None:
    """Let garbage be: what the test files import is none, and there is much of it."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage again, but among what the tests themselves make."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left alone with one."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True, scope="session")
def _hears_ctrl_c() -> None:
    """A shell starts background jobs deaf to it, and programs inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project folder: no test reads or writes the checkout's own settings and data.

    A server that a command has started in it is gone with the test.
    """
    for name in list(os.environ):
        ours = name.startswith(("AUTONAMA_", "BINANCE_", "DAGSTER_")) or name == "DATABASE_URL"
        if ours and name != "AUTONAMA_MARKET_DATA":
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("AUTONAMA_HOME", str(folder))
    server = EmbeddedPostgres(folder)
    yield folder
    server.destroy()


@pytest.fixture
def impatient() -> Iterator[None]:
    """Requests are tried three times without a wait between them, and without a word."""
    stamina.instrumentation.set_on_retry_hooks(())
    with stamina.set_testing(True, attempts=3, cap=True):
        yield
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Folder of real market data; tests that need it are skipped where it is absent."""
    default = ROOT.parent / "shared" / "market"
    folder = Path(os.environ.get("AUTONAMA_MARKET_DATA", default))
    if not (folder / "klines").is_dir():
        pytest.skip(
            f"no market data at {folder}: set AUTONAMA_MARKET_DATA to a folder with klines/"
        )
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    """A running server for all tests: each makes databases of its own on it."""
    server = SharedServer(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.destroy()


@pytest.fixture
def database(postgres: SharedServer) -> Iterator[str]:
    """URL of a fresh, migrated database."""
    name = f"trading_{next(_numbers)}"
    postgres.copy(postgres.migrated(), name)
    yield postgres.url(name)
    drop_databases(postgres, name)


@pytest.fixture
def warehouse(database: str) -> Iterator[Warehouse]:
    opened = Warehouse(lambda: database)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def exchange() -> Iterator[ReplayServer]:
    """A small synthetic market, five minutes after STORED has closed."""
    with ReplayServer(synthetic_market(7), now="2024-03-11T00:05:00Z") as server:
        yield server


@pytest.fixture(scope="session")
def stored(
    exchange: ReplayServer, postgres: SharedServer, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Project]":
    """A project whose databases hold the scan of a day, candles for charts included."""
    from projects import project  # noqa: PLC0415  (Dagster, seconds that few tests need)

    folder = tmp_path_factory.mktemp("stored")
    settings = {"start_date": "2024-03-09", "universe_size": "6"}
    with project(folder, postgres, exchange.url, **settings) as opened:
        opened.scanner().scan(STORED)
        yield opened


@pytest.fixture
def day(stored: "Project", home: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Project]":
    """The environment of the stored project, with results in a folder of this test."""
    stored.enter(monkeypatch)
    monkeypatch.setenv("AUTONAMA_HOME", str(home))
    yield stored
    shutil.rmtree(home / "results", ignore_errors=True)
