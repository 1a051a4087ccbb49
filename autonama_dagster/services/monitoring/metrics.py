"""Prometheus metrics of the installation, read from its tables when they are scraped.

No process keeps counters: runs come and go in processes of their own, and the tables know what
they did. So every metric is a gauge of what the tables say now.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autonama_dagster.days import DAY, midnight
from autonama_dagster.errors import DatabaseError
from autonama_dagster.schemas.tables.candle_checks import OUTCOMES
from autonama_dagster.services.monitoring.health import (
    Clock,
    dagster_facts,
    disk_problems,
    free_bytes,
    problems,
    read_clock,
    table_facts,
)
from autonama_dagster.settings import Settings
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.exchange.build import asked_exchanges
from resources.exchange.pulse import NoPulseError, Pulse, check_exchange
from resources.instance.facts import SUCCEEDED, DagsterFacts
from resources.postgres.roles.readers import find_databases, reading
from resources.warehouse.check_facts import CheckFacts
from resources.warehouse.table_facts import TableFacts

KEPT_S: Final = 5.0  # one reading of the tables serves the scrapes of so many seconds
ASKED_EVERY: Final = timedelta(minutes=1)  # the exchange; its weight counts this request too

# Name without the prefix `autonama_`, labels, help text. docs/metrics.md is this table.
METRICS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "up": ((), "1 if the project's database answers; if 0, metrics that need it are missing."),
    "problems": ((), "Problems reported by `autonama status`; 0 is healthy."),
    "scan_age_seconds": (
        (),
        "Time since the end of the latest day with a summary, by the exchange's clock.",
    ),
    "scan_computed_age_seconds": ((), "Time since the latest summary was computed."),
    "days_behind": (
        (),
        "Days from the latest summary to the expected day, the latest closed for at least an hour.",
    ),
    "missing_days": ((), "Days without a summary, from the first summary to the expected day."),
    "failed_fetches": ((), "Symbols that could not be fetched for the latest day."),
    "unanswered_symbols": (
        (),
        "Registered symbols whose candle of the latest day was not fetched.",
    ),
    "registered_symbols": ((), "Registered symbols, which are computed every day."),
    "quarantined_candles": ((), "Candles rejected from ohlcv_1d."),
    "candle_checks": (
        ("outcome",),
        "Stored candles requested again in the last 30 days: confirmed, revised, missing, failed.",
    ),
    "candles_confirmed_ratio": ((), "Confirmed share of those that were answered."),
    "candles_confirmed_ratio_low": ((), "Lower end of its 95 % confidence interval."),
    "candles_confirmed_ratio_high": ((), "Upper end of its 95 % confidence interval."),
    "failed_checks": ((), "Asset checks whose latest evaluation failed."),
    "table_rows": (("table",), "Rows of a table (Postgres estimate)."),
    "table_size_bytes": (("table",), "Size of a table, including its indexes."),
    "database_size_bytes": (("database",), "Size of a database: project or dagster."),
    "disk_free_bytes": ((), "Free space on the disk of the project's data."),
    "recent_runs": (
        ("job", "status"),
        "Runs by status: in progress, or ended in the last 24 hours.",
    ),
    "last_run_success": (("job",), "1 if the job's latest finished run succeeded, else 0."),
    "last_run_duration_seconds": (("job",), "Duration of the job's latest finished run."),
    "last_run_end_timestamp_seconds": (("job",), "End time of the job's latest finished run."),
    "daemon_up": ((), "1 if Dagster's daemon sent a heartbeat in the last two minutes."),
    "exchange_up": (
        ("exchange",),
        "1 if the exchange answered the latest probe, sent once a minute.",
    ),
    "exchange_used_weight": (
        ("exchange",),
        "Request weight used in the current minute by all processes at this IP address.",
    ),
}

Samples = Iterator[tuple[str, tuple[str, ...], float]]


class ExchangePulse:
    """Asks an exchange at most once a minute, and not at all as long as it forbids that.

    Parameters
    ----------
    settings
        Say where its server is.
    clock
        Seconds of a clock that never goes back.
    exchange
        Its name.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        exchange: str = SCAN_EXCHANGE,
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._clock = clock
        self._ask_at = float("-inf")
        self._asked_at = 0.0
        self._pulse: Pulse | None = None

    def latest(self) -> Pulse | None:
        """The latest answer; None: the exchange did not give one."""
        if self._clock() >= self._ask_at:
            wait = ASKED_EVERY
            try:
                self._pulse = check_exchange(self._settings, self._exchange)
            except NoPulseError as error:
                self._pulse, wait = None, error.wait
            self._asked_at = self._clock()
            self._ask_at = self._asked_at + wait.total_seconds()
        return self._pulse

    def time(self) -> Clock:
        """The exchange's time, carried on since it was asked; this machine's where it is silent."""
        pulse = self.latest()
        if pulse is None:
            return Clock(datetime.now(UTC), "wall clock")
        return Clock(pulse.now + timedelta(seconds=self._clock() - self._asked_at), "exchange")


class ProjectCollector(Collector):
    """Collects the metrics of one project.

    Parameters
    ----------
    settings
        Of the project.
    clock
        Seconds of a clock that never goes back.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._pulses = {
            name: ExchangePulse(settings, clock, name) for name in asked_exchanges(settings)
        }
        self._lock = threading.Lock()
        self._kept: list[GaugeMetricFamily] = []
        self._read_at = float("-inf")

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: so that registering the collector does not read the tables."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The metrics, at most five seconds old."""
        with self._lock:
            if self._clock() - self._read_at >= KEPT_S:
                self._kept = _families(self._read())
                self._read_at = self._clock()
            return self._kept

    def _read(self) -> Samples:
        yield from self._exchanges()
        try:
            found = list(self._project())
        except DatabaseError:
            yield "up", (), 0
            return
        yield "up", (), 1
        yield from found

    def _exchanges(self) -> Samples:
        for name, asked in self._pulses.items():
            pulse = asked.latest()
            yield "exchange_up", (name,), pulse is not None
            if pulse is not None and pulse.used_weight is not None:
                yield "exchange_used_weight", (name,), pulse.used_weight

    def _project(self) -> Samples:
        databases = find_databases(self._settings)
        scans = self._pulses.get(SCAN_EXCHANGE)
        clock = scans.time() if scans else read_clock(self._settings)
        wall = datetime.now(UTC)
        with reading(databases.project) as connection:
            dagster = dagster_facts(databases, wall)
            tables = table_facts(connection, self._settings, databases, dagster, clock)
        told = [*problems(clock, tables, dagster, wall), *disk_problems(self._settings)]
        yield "problems", (), len(told)
        yield from _dagster(dagster)
        yield "disk_free_bytes", (), free_bytes(self._settings)
        if tables.unreadable is not None or tables.faults:
            return
        yield from _scan(tables, clock, wall)
        yield from _checks(tables.candle_checks)
        yield from _tables(tables)
        yield "database_size_bytes", ("project",), tables.database_bytes
        yield "database_size_bytes", ("dagster",), dagster.database_bytes


def _scan(tables: TableFacts, clock: Clock, wall: datetime) -> Samples:
    yield "missing_days", (), len(tables.without_summary)
    yield "failed_fetches", (), len(tables.failed_fetches)
    yield "unanswered_symbols", (), len(tables.unanswered)
    yield "quarantined_candles", (), tables.quarantined
    if tables.latest_summary is not None and tables.computed_at is not None:
        closed_at = midnight(tables.latest_summary + DAY)
        yield "scan_age_seconds", (), (clock.now - closed_at).total_seconds()
        yield "scan_computed_age_seconds", (), (wall - tables.computed_at).total_seconds()
        yield "days_behind", (), max((clock.expected - tables.latest_summary).days, 0)


def _checks(checks: CheckFacts) -> Samples:
    for outcome in OUTCOMES:
        yield "candle_checks", (outcome,), getattr(checks, outcome)
    for name, value in (
        ("candles_confirmed_ratio", checks.confirmed_share),
        ("candles_confirmed_ratio_low", checks.confirmed_low),
        ("candles_confirmed_ratio_high", checks.confirmed_high),
    ):
        if value is not None:
            yield name, (), value


def _tables(tables: TableFacts) -> Samples:
    for table in tables.tables:
        yield "table_rows", (table.name,), table.rows
        yield "table_size_bytes", (table.name,), table.bytes


def _dagster(dagster: DagsterFacts) -> Samples:
    yield "registered_symbols", (), len(dagster.registered)
    yield "failed_checks", (), len(dagster.failed_checks)
    yield "daemon_up", (), dagster.is_daemon_alive
    for job, status, count in dagster.recent:
        yield "recent_runs", (job, status.lower()), count
    for run in dagster.last_by_job:
        yield "last_run_success", (run.job,), run.status == SUCCEEDED
        if run.ended is not None and run.seconds is not None:
            yield "last_run_duration_seconds", (run.job,), run.seconds
            yield "last_run_end_timestamp_seconds", (run.job,), run.ended.timestamp()


def _families(samples: Samples) -> list[GaugeMetricFamily]:
    """One family for each metric with a sample, in the order of `METRICS`."""
    families = {
        name: GaugeMetricFamily(f"autonama_{name}", text, labels=labels)
        for name, (labels, text) in METRICS.items()
    }
    for name, values, number in samples:
        families[name].add_metric(values, float(number))
    return [family for family in families.values() if family.samples]
