"""A whole project for end-to-end tests: its folder, its databases, its exchange."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from servers import EMPTY, SharedServer

from autonama_dagster.orchestration.scanner import Scanner
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.settings import Settings, load_settings
from resources.exchange.build import build_exchange
from resources.exchange.memo import MemoExchange
from resources.instance.home import open_instance
from resources.postgres.migrate import ready_url
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse.warehouse import Warehouse

VOLATILE = {"run_id", "computed_at", "created_at", "updated_at", "quarantined_at", "origins"}


@dataclass
class Project:
    """An open project; `scanner()` has a fresh memory of the exchange each time."""

    settings: Settings
    instance: dg.DagsterInstance
    warehouse: Warehouse
    exchanges: list[MemoExchange] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Address of its database."""
        return self.environment["DATABASE_URL"]

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it the environment's project again, for a test after the one that opened it."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def scanner(self) -> Scanner:
        self.exchanges.append(MemoExchange(build_exchange(self.settings)))
        return Scanner(
            self.settings,
            instance=self.instance,
            exchange=self.exchanges[-1],
            warehouse=self.warehouse,
        )

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table without the columns that tell runs apart, in a total order.

        Verifications and checks of candles are left out, which are of each run, and the cache of
        chances.
        """
        found = {}
        for name, table in TABLES.items():
            if name in {"signal_chance", "verifications", "candle_checks"}:
                continue
            frame = self.warehouse.read(name)
            frame = frame[[c for c in table.columns if c not in VOLATILE]]
            order = frame.astype(str).sort_values(list(frame.columns)).index
            found[name] = frame.loc[order].reset_index(drop=True)
        return found


@contextmanager
def project(
    folder: Path,
    postgres: EmbeddedPostgres,
    exchange_url: str,
    like: str | None = None,
    **settings: str,
) -> Iterator[Project]:
    """Open a project in `folder` with databases of its own; the environment is restored.

    On the shared server they are copies: of those of the project `like`, or of empty ones.
    """
    name = f"project_{folder.name}".replace("-", "_")
    if isinstance(postgres, SharedServer):
        postgres.ensure_project(name, like or EMPTY)
    else:
        postgres.ensure_database(name)
    values: Mapping[str, str] = {
        "AUTONAMA_HOME": str(folder),
        "AUTONAMA_EXCHANGE_URL": exchange_url,
        "DATABASE_URL": postgres.url(name),
        **{f"AUTONAMA_{k.upper()}": v for k, v in settings.items()},
    }
    before = dict(os.environ)
    for key in before:
        if key.startswith("AUTONAMA_") and key != "AUTONAMA_MARKET_DATA":
            del os.environ[key]
    os.environ.update(values)
    try:
        loaded = load_settings()
        warehouse = Warehouse(lambda: ready_url(loaded))
        with open_instance() as instance:
            opened = Project(loaded, instance, warehouse, environment=values)
            yield opened
            for exchange in opened.exchanges:
                exchange.close()
        warehouse.close()
    finally:
        os.environ.clear()
        os.environ.update(before)
