"""Fixtures shared by all tests: the real market data, a server, databases."""

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support import as_users_own, drop_databases

from resources.postgres.migrate import migrate
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import libpq_url
from resources.warehouse.warehouse import Warehouse

_numbers = itertools.count()


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


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Folder of real market data; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "market"
    folder = Path(os.environ.get("AUTONAMA_MARKET_DATA", default))
    if not (folder / "klines").is_dir():
        pytest.skip(
            f"no market data at {folder}: set AUTONAMA_MARKET_DATA to a folder with klines/"
        )
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running embedded server for all tests: each makes a database of its own on it.

    It also stands for a user's server, so its user may make databases and roles.
    """
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    as_users_own(server)
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """A migrated database that others are copied from."""
    postgres.ensure_database("template_trading")
    migrate(postgres.url("template_trading"))
    return "template_trading"


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """URL of a fresh, migrated database."""
    name = f"trading_{next(_numbers)}"
    admin = libpq_url(postgres.url("postgres"))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield postgres.url(name)
    drop_databases(postgres, name)


@pytest.fixture
def warehouse(database: str) -> Iterator[Warehouse]:
    opened = Warehouse(lambda: database)
    yield opened
    opened.close()
