"""The metrics: what they say, that they are documented, and that a lost database is one of them."""

import re

import psycopg
import pytest
import yaml
from places import DOCS
from projects import project
from servers import synthetic_market

from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.services.monitoring.metrics import (
    KEPT_S,
    METRICS,
    ExchangePulse,
    ProjectCollector,
)
from autonama_dagster.settings import load_settings
from resources.postgres.urls import libpq_url

SETTINGS = {"start_date": "2024-03-09", "universe_size": "6"}


class FakeClock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def exchange():
    with ReplayServer(synthetic_market(7), now="2024-03-11T00:05:00Z") as server:
        yield server


@pytest.fixture(scope="module")
def scanned(exchange, postgres, tmp_path_factory):
    """Settings of a project with one scanned day."""
    folder = tmp_path_factory.mktemp("metrics_project")
    with project(folder, postgres, exchange.url, **SETTINGS) as made:
        made.scanner().scan(made.settings.start_date)
        with psycopg.connect(libpq_url(made.url), autocommit=True) as connection:
            connection.execute(
                "INSERT INTO trading.candle_checks SELECT '2024-03-10T03:00Z', 'S' || n, "
                "'2024-01-01', CASE n WHEN 1 THEN 'revised' ELSE 'confirmed' END, NULL, 'r' "
                "FROM generate_series(1, 4) AS n"
            )
            connection.execute("ANALYZE")  # the rows are estimates
        yield made.settings


def collect(settings, clock=None):
    """Values by metric and label values."""
    families = ProjectCollector(settings, clock or FakeClock()).collect()
    return {
        (s.name.removeprefix("autonama_"), *s.labels.values()): s.value
        for family in families
        for s in family.samples
    }


def test_a_scanned_day(scanned):
    found = collect(scanned)
    assert found["up",] == found["exchange_up", "binance"] == 1
    # The 9th closed at the beginning of the 10th; the exchange's clock says the 11th, 00:05.
    assert found["scan_age_seconds",] == pytest.approx(86_400 + 300, abs=60)
    assert 0 < found["scan_computed_age_seconds",] < 600
    assert (found["days_behind",], found["missing_days",], found["problems",]) == (0, 0, 0)
    assert found["registered_symbols",] == 6
    assert found["table_rows", "signals"] == 6
    assert found["table_size_bytes", "signals"] > 0
    assert found["recent_runs", "symbols_job", "success"] >= 1
    assert found["last_run_success", "summary_job"] == 1
    assert found["last_run_duration_seconds", "summary_job"] > 0
    assert found["daemon_up",] == 0
    assert (found["candle_checks", "confirmed"], found["candle_checks", "revised"]) == (3, 1)
    assert found["candle_checks", "failed"] == 0
    assert found["candles_confirmed_ratio",] == 0.75
    assert 0 < found["candles_confirmed_ratio_low",] < 0.75 < found["candles_confirmed_ratio_high",]
    assert found["exchange_used_weight", "binance"] >= 1


def test_every_metric_is_collected_and_documented(scanned):
    assert {name for name, *_ in collect(scanned)} == set(METRICS)
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `autonama_(\w+)` \| (.*?) \| (.+?) \|$", page, re.MULTILINE)
    documented = {
        name: (tuple(re.findall(r"`(\w+)`", labels)), text) for name, labels, text in rows
    }
    assert documented == METRICS


def test_the_rules_use_metrics_that_exist():
    rules = yaml.safe_load((DOCS / "prometheus-alerts.yaml").read_text(encoding="utf-8"))
    expressions = [r["expr"] for group in rules["groups"] for r in group["rules"]]
    used = {name for e in expressions for name in re.findall(r"autonama_(\w+)", e)}
    assert len(expressions) > 3
    assert used <= set(METRICS)


def test_names_follow_prometheus():
    for name, (labels, text) in METRICS.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert not name.endswith(
            ("_total", "_count", "_sum", "_bucket")
        )  # of counters and histograms
        assert all(re.fullmatch(r"[a-z_]+", label) for label in labels)
        assert text.endswith(".")


@pytest.mark.parametrize("url", [None, "postgresql://u@127.0.0.1:9/nothing"])
def test_a_lost_database_is_a_metric(exchange, url):
    settings = load_settings(DATABASE_URL=url, exchange_url=exchange.url)
    found = collect(settings)
    assert found.pop(("up",)) == 0
    assert {name for name, *_ in found} == {"exchange_up", "exchange_used_weight"}


def test_an_empty_database_has_no_age(database):
    found = collect(load_settings(DATABASE_URL=database, exchange_url="http://127.0.0.1:9"))
    assert found["up",] == 1
    assert found["problems",] > 0
    assert ("scan_age_seconds",) not in found


def test_an_exchange_that_is_down_has_no_weight(database):
    found = collect(load_settings(DATABASE_URL=database, exchange_url="http://127.0.0.1:9"))
    assert found["exchange_up", "binance"] == 0
    assert ("exchange_used_weight", "binance") not in found


def test_the_archive_is_not_asked_for_its_pulse(database):
    found = collect(load_settings(DATABASE_URL=database, exchange="archive"))
    assert found["up",] == 1
    assert ("exchange_up", "binance") not in found


def test_scrapes_in_quick_succession_share_one_reading(scanned, monkeypatch):
    readings = []
    read = ProjectCollector._read
    monkeypatch.setattr(ProjectCollector, "_read", lambda self: readings.append(1) or read(self))
    clock = FakeClock()
    collector = ProjectCollector(scanned, clock)
    for passed in (0, KEPT_S - 1, 1):
        clock.now += passed
        collector.collect()
    assert len(readings) == 2


def test_the_exchange_is_asked_once_a_minute_and_its_time_goes_on(exchange):
    exchange.clear_requests()
    clock = FakeClock()
    pulse = ExchangePulse(load_settings(exchange_url=exchange.url), clock)
    first = pulse.time()
    clock.now += 59
    assert (pulse.time().now - first.now).total_seconds() == 59
    assert len(exchange.requests) == 1
    clock.now += 1
    pulse.latest()
    assert len(exchange.requests) == 2


def test_a_banned_address_stays_silent(exchange):
    exchange.clear_requests()
    exchange.faults.add("418:count=1,retry_after=600")
    clock = FakeClock()
    pulse = ExchangePulse(load_settings(exchange_url=exchange.url), clock)
    for passed in (0, 60, 539):
        clock.now += passed
        assert pulse.latest() is None
        assert pulse.time().source == "wall clock"
    assert len(exchange.requests) == 1
    clock.now += 1
    assert pulse.latest() is not None
    exchange.faults.replace()
