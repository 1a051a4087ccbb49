"""Fixtures shared by all tests: where the real market data lies."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.embedded_postgres import EmbeddedPostgres


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
    """A running embedded server for all tests: each makes a database of its own on it."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.destroy()
