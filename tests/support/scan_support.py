"""A small project as the daemon sees it: ticks of its sensor, and the runs they ask for."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta

import dagster as dg
import psycopg
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from fault_support import small_market
from projects import Project, project

from autonama_dagster.definitions import build_defs
from autonama_dagster.orchestration.jobs import run_step
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.schemas.registry import TABLES
from resources.exchange.build import build_exchange

DAY = date(2023, 12, 29)
START = date(2023, 12, 27)
DAYS = [START + timedelta(days=n) for n in range(3)]
SETTINGS = {"start_date": str(START), "universe_size": "3", "lookback": "40", "degree": "2"}


def at(day, clock="00:10:00"):
    """A time of the day after `day`, when its candles are published."""
    return f"{day + timedelta(days=1)}T{clock}Z"


@dataclass
class Daemon:
    """Evaluates the sensor and the schedule as Dagster's daemon does; keeps the cursor."""

    project: Project
    server: ReplayServer
    cursor: str | None = None
    exchanges: list = field(default_factory=list)

    def __post_init__(self):
        self.exchanges.append(build_exchange(self.project.settings))
        self.defs = build_defs(
            self.project.settings, binance=self.exchanges[-1], warehouse=self.project.warehouse
        )
        self.repository = self.defs.get_repository_def()

    @property
    def resources(self):
        return {"binance": self.exchanges[-1], "warehouse": self.project.warehouse}

    @property
    def instance(self):
        return self.project.instance

    @property
    def registered(self):
        """Symbols in the order of a run's range."""
        return self.instance.get_dynamic_partitions("symbol")

    def tick(self, name="scan_sensor"):
        """The runs that the sensor asks for; `skipped` says why there are none."""
        sensor = self.repository.get_sensor_def(name)
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=self.repository,
            sensor_name=sensor.name,
            resources=self.resources,
        ) as context:
            found = sensor.evaluate_tick(context)
        self.cursor = found.cursor
        self.skipped = found.skip_message
        return found.run_requests

    def asked(self):
        """Job, range and attempt of what a tick asks for."""
        return [said(request) for request in self.tick()]

    def scheduled(self):
        """The run that the schedule asks for, or why there is none."""
        schedule = self.repository.get_schedule_def("daily_universe")
        with dg.build_schedule_context(
            instance=self.instance, repository_def=self.repository, resources=self.resources
        ) as context:
            found = schedule.evaluate_tick(context)
        return [said(request) for request in found.run_requests] or found.skip_message

    def execute(self, request):
        """Execute a requested run to its end, well or not."""
        return self._job(request).execute_in_process(
            instance=self.instance,
            run_config={**request.run_config, **QUIET},
            tags=request.tags,
            asset_selection=request.asset_selection,
            raise_on_error=False,
        )

    def queue(self, request, status=dg.DagsterRunStatus.QUEUED):
        """A requested run that has not ended."""
        return self.instance.create_run_for_job(
            self._job(request),
            run_config=request.run_config,
            tags=request.tags,
            asset_selection=frozenset(request.asset_selection or ()) or None,
            status=status,
            remote_job_origin=ORIGIN,  # Dagster insists for queued runs
        )

    def fail(self, request):
        """A requested run that failed at once."""
        self.instance.report_run_failed(self.queue(request))

    def scan(self, day):
        """The day's scan, by the command line."""
        self.project.scanner().scan(day)

    def step(self, job, first, last, *symbols, assets=None):
        run_step(self.defs, self.instance, Step(job, first, last, symbols, assets), {})

    def settle(self):
        """Execute what ticks ask for until one asks for nothing; the jobs of each tick."""
        jobs = []
        while requests := self.tick():
            for request in requests:
                assert self.execute(request).success
            jobs.append([said(request)[0] for request in requests])
            assert len(jobs) < 20
        return jobs

    def clear(self):
        """Nothing stored, no run, nobody registered, no fault, 00:10 after DAY."""
        self.server.faults.replace()
        self.server.set_now(at(DAY))
        self.cursor = None
        with self.project.warehouse.transaction() as cursor:
            for name in TABLES:
                cursor.execute(f"DELETE FROM trading.{name}")
        for symbol in self.instance.get_dynamic_partitions("symbol"):
            self.instance.delete_dynamic_partition("symbol", symbol)
        for run in self.instance.get_runs():
            self.instance.delete_run(run.run_id)
        return self

    def keep(self):
        """Copy all tables, to be put back by `restore`."""
        keep_tables(self.project.warehouse)

    def restore(self):
        """All tables as they were when they were kept."""
        restore_tables(self.project.warehouse)

    def close(self):
        for exchange in self.exchanges:
            exchange.close()

    def _job(self, request):
        return self.defs.resolve_job_def(request.job_name)


def keep_tables(warehouse):
    """Copy all tables, to be put back by `restore_tables`."""
    with warehouse.transaction() as cursor:
        cursor.execute("CREATE SCHEMA kept")
        for name in TABLES:
            cursor.execute(f"CREATE TABLE kept.{name} AS TABLE trading.{name}")


def restore_tables(warehouse):
    """All tables as they were when they were kept."""
    with warehouse.transaction() as cursor:
        for name in TABLES:
            cursor.execute(f"DELETE FROM trading.{name}")
            cursor.execute(f"INSERT INTO trading.{name} SELECT * FROM kept.{name}")


@contextmanager
def kept(url, names):
    """Execute statements on tables that are put back afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE TEMP TABLE kept_{name} AS TABLE trading.{name}")
        yield connection.execute
        for name in names:
            connection.execute(f"DELETE FROM trading.{name}")
            connection.execute(f"INSERT INTO trading.{name} TABLE kept_{name}")


@contextmanager
def opened_project(folder, postgres, *, scanned=(), **candles):
    """A project of three symbols and the exchange it asks, 00:10 after DAY.

    The days in `scanned` are: once on the shared server, and copied.
    """
    (folder / "market").mkdir()
    market = small_market(folder / "market", **candles)
    with ReplayServer(market, now=at(DAY)) as server:
        like = _scanned(folder, postgres, server.url, scanned, candles) if scanned else None
        with project(folder, postgres, server.url, like, **SETTINGS) as found:
            yield found, server


def _scanned(folder, postgres, url, days, candles):
    """Name of the databases of a project whose days are scanned."""
    parts = (*map(str, days), *(f"{symbol}_{count}" for symbol, count in candles.items()))
    name = "_".join(("scanned", *parts)).lower().replace("-", "")
    if not postgres.has(f"project_{name}"):
        with project(folder / name, postgres, url, **SETTINGS) as found:
            for day in days:
                found.scanner().scan(day)
    return f"project_{name}"


@contextmanager
def opened_daemon(folder, postgres, **options):
    """A daemon of such a project."""
    with opened_project(folder, postgres, **options) as (found, server):
        daemon = Daemon(found, server)
        yield daemon
        daemon.close()


_LOCATION = InProcessCodeLocationOrigin(
    LoadableTargetOrigin(module_name="autonama_dagster.definitions"), location_name="autonama"
)
ORIGIN = RemoteRepositoryOrigin(_LOCATION, "__repository__").get_job_origin("universe_job")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def said(request):
    """Job, day and attempt of a requested run."""
    return request.job_name, request.tags["autonama/day"], int(request.tags["autonama/attempt"])
