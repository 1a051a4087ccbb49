"""`backfill_job`: its configuration, with which the Launchpad opens, and what its log says."""

from datetime import date

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap
from fault_support import small_market
from scan_support import DAY, START, at

from autonama_dagster.definitions import build_defs
from autonama_dagster.errors import InputError
from autonama_dagster.orchestration.backfill.job import LogProgress
from autonama_dagster.orchestration.backfill.request import Request, read_request, run_config
from autonama_dagster.orchestration.jobs import Started, StepRun
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.settings import Settings
from resources.exchange.build import build_exchange

SETTINGS = Settings(start_date=START)
LATEST = date(2023, 12, 29)
ASKED = {"from": str(START), "symbols": [], "assets": [], "again": False}


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    market = small_market(tmp_path_factory.mktemp("market"))
    with ReplayServer(market, now=at(DAY)) as server:
        opened = build_exchange(Settings(start_date=START, exchange_url=server.url))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def job():
    return build_defs(SETTINGS).resolve_job_def("backfill_job")


def launch(job, **config):
    """What Dagster does before there is a run."""
    create_execution_plan(job, run_config=run_config(config))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"from": "2023-12-50"}, "from 2023-12-50: not a day; write it like"),
        ({"to": "soon"}, "to soon: not a day"),
        ({"to": "2199-01-01"}, "to 2199-01-01: is in the future"),
        ({"to": "2023-12-26"}, "from 2023-12-27 is after to 2023-12-26"),
        ({"from": "2023-12-26"}, "AUTONAMA_START_DATE=2023-12-26"),
    ],
)
def test_impossible_days_are_refused_when_it_is_launched(job, exchange, wrong, says):
    with pytest.raises(dg.DagsterError) as refused:
        launch(job, **wrong)
    with pytest.raises(InputError, match=says) as raised:
        read_request({**ASKED, **wrong}, SETTINGS, exchange)
    assert str(refused.value) == str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"to": "2023-12-30"}, "has not closed yet; the latest closed day is 2023-12-29"),
        ({"from": "2024-01-03"}, "has not closed yet; the latest closed day is 2023-12-29"),
        ({"assets": ["signal"]}, "asset signal is unknown; known: universe, "),
        ({"symbols": ["BTCUSDT", "NOPEUSDT"]}, "symbol NOPEUSDT is not a USDT spot pair"),
        ({"days_per_run": 0}, "days per run 0"),
    ],
)
def test_what_the_exchange_does_not_have_is_said(exchange, wrong, says):
    with pytest.raises(InputError, match=says) as raised:
        read_request({**ASKED, **wrong}, SETTINGS, exchange)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("end", [{}, {"to": "latest"}])
def test_it_ends_with_the_latest_closed_day(exchange, end):
    asked = {**ASKED, **end, "symbols": ["ethusdt", "ETHUSDT "], "days_per_run": 7}
    found = read_request(asked, SETTINGS, exchange)
    assert found == Request(START, LATEST, ("ETHUSDT",), (), 7, latest=LATEST)


def test_the_launchpad_opens_with_days_that_can_be_launched(job, exchange):
    snap = job.get_job_snapshot()
    types = snap.config_schema_snapshot
    root = types.get_config_snap(snap.mode_def_snaps[0].root_config_key)
    shown = dg.config_from_yaml_strings([default_values_yaml_from_type_snap(types, root)])
    config = shown["ops"]["backfill"]["config"]
    assert config["from"] == str(START)
    assert config["to"] == "latest"
    launch(job, **config)
    assert read_request(config, SETTINGS, exchange) == Request(START, LATEST, latest=LATEST)


class Log:
    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(text)


def test_its_log_says_how_far_each_part_is_and_names_its_runs():
    log = Log()
    progress = LogProgress(log)
    step = Step("symbols_job", START, DAY, ("BTCUSDT",), assets=("ohlcv_1d",))
    for title, total in (("fetch candles", 15), ("indicators to summaries", 400)):
        progress.step(title)
        for done in range(total + 1):
            progress.requests(done, total)
    parts = [line for line in log.lines if line.startswith("indicators to summaries: ")]
    assert len(parts) == 10
    assert "fetch candles: 3 of 15" in log.lines
    assert "fetch candles: 15 of 15" in log.lines
    assert len([line for line in log.lines if line.startswith("fetch candles: ")]) == 10
    progress.started(Started(step, "a-run"))
    progress.ran(StepRun(step, "a-run", 2.5, 1234))
    assert log.lines[-2:] == [
        "missing candles: 2023-12-27 .. 2023-12-29, 1 symbol: started (run a-run)",
        "missing candles: 2023-12-27 .. 2023-12-29, 1 symbol: 1,234 rows in 2.5 s (run a-run)",
    ]


def test_after_a_silence_it_says_how_far_it_is(monkeypatch):
    log, clock = Log(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = LogProgress(log)
    progress.step("fetch candles")
    for done in (1, 2, 3):
        clock[0] += 16
        progress.requests(done, 4000)
    assert log.lines[1:] == [f"fetch candles: {n} of 4000" for n in (1, 2, 3)]
