"""What the tests of a worker share: a server, databases to be copied, and synthetic markets."""

import os
import signal
from contextlib import suppress
from functools import cache

import psycopg
from support import as_users_own

from autonama_dagster.replay.market.synthetic import SyntheticMarket
from resources.postgres.migrate import migrate
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import dagster_url

EMPTY = "template_project"


@cache
def synthetic_market(seed):
    """The synthetic market of a seed, whose candles are made once for all tests that ask for it."""
    return SyntheticMarket(seed)


class SharedServer(EmbeddedPostgres):
    """A server for the tests of one worker: nothing is synced, since nothing outlives them.

    It also stands for a user's server, so its user may make databases and roles.
    """

    def start(self):
        super().start()
        with psycopg.connect(self.admin_url("postgres"), autocommit=True) as connection:
            for name in ("fsync", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {name} = off")
            connection.execute("SELECT pg_reload_conf()")
        as_users_own(self)

    def destroy(self):
        with suppress(ProcessLookupError, TypeError):  # it does not run
            os.kill(self.pid(), signal.SIGQUIT)  # without the checkpoint of an orderly end
        super().destroy()

    def has(self, name):
        with psycopg.connect(self.admin_url("postgres")) as connection:
            query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)"
            return connection.execute(query, (name,)).fetchone()[0]

    def migrated(self):
        """Name of a database with the project's tables, to be copied."""
        if not self.has(EMPTY):
            self.ensure_database(EMPTY)
            migrate(self.url(EMPTY))
        return EMPTY

    def copy(self, source, target):
        """Copy a database that nobody is connected to."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {target} TEMPLATE {source} STRATEGY FILE_COPY")

    def ensure_project(self, name, like=EMPTY):
        """Make a project's databases as copies of those of another, by default an empty one."""
        if self.has(name):
            return
        if not self.has(f"{EMPTY}_dagster"):
            from resources.instance.tables import make_tables  # noqa: PLC0415  (Dagster)

            self.migrated()
            self.ensure_database(f"{EMPTY}_dagster")
            make_tables(dagster_url(self.url(f"{EMPTY}_dagster")))
        for suffix in ("", "_dagster"):
            self.copy(f"{like}{suffix}", f"{name}{suffix}")
