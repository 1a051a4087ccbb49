"""Runs spread over Celery workers make the tables of an undisturbed scan."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import date, timedelta

import dagster as dg
import pandas as pd
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster_graphql.client.query import LAUNCH_PIPELINE_EXECUTION_MUTATION
from dagster_graphql.test.utils import execute_dagster_graphql
from places import ROOT
from projects import project
from servers import synthetic_market

from autonama_dagster.orchestration.jobs import JOBS, range_tags, run_config
from autonama_dagster.orchestration.planner import CANDLES_ONLY, Step
from autonama_dagster.replay.server import ReplayServer
from resources.warehouse.candle_queries import RANKING

pytestmark = [
    pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed"),
    pytest.mark.skipif(
        not importlib.util.find_spec("dagster_celery"), reason="dagster-celery is not installed"
    ),
    # dagster-celery's launcher declares its task again for each run; the first one stays.
    pytest.mark.filterwarnings("ignore:Task name 'execute_job' is already registered"),
]

FIRST = date(2024, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
SPANS = [(DAYS[0], DAYS[0]), (DAYS[1], DAYS[2])]  # one run each
DECIDED = tuple(asset for asset in JOBS["symbols_job"][1] if asset not in CANDLES_ONLY)
SETTINGS = {"start_date": str(FIRST), "universe_size": "5", "lookback": "60", "degree": "3"}
WORKERS = 2
SECONDS = 120  # a run or a start that takes longer is stuck


@pytest.fixture(scope="module")
def exchange():
    with ReplayServer(synthetic_market(5), now="2024-03-04T00:05:00Z") as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(exchange, postgres, tmp_path_factory):
    with project(tmp_path_factory.mktemp("alone"), postgres, exchange.url, **SETTINGS) as opened:
        # A day's scan knows the members so far; the second pass fills in those of later days.
        for day in (*DAYS, *DAYS):
            opened.scanner().scan(day)
        return comparable(opened)


class Program:
    """A child process, in a group of its own, that ends with the block; its output is kept."""

    def __init__(self, *arguments, ready, **options):
        self._ready = ready
        self._seen = []
        self._is_settled = threading.Event()
        self._child = subprocess.Popen(
            [str(a) for a in arguments],
            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **options,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)

    def __enter__(self):
        self._reader.start()
        return self

    def __exit__(self, *_error):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._reader.join()
        self._child.stdout.close()

    def _read(self):
        # To the end: a full pipe would stop the child.
        for line in self._child.stdout:
            self._seen.append(line)
            if self._ready in line:
                self._is_settled.set()
        self._is_settled.set()

    def wait_until_ready(self):
        self._is_settled.wait(SECONDS)
        assert any(self._ready in line for line in self._seen), "".join(self._seen)


@pytest.fixture
def redis():
    # pytest's own folders are too deep for a socket's path.
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis.sock"
        arguments = ("--port", 0, "--unixsocket", socket, "--save", "", "--dir", folder)
        with Program("redis-server", *arguments, ready="eady to accept connections") as server:
            server.wait_until_ready()
            yield f"redis+socket://{socket}"


class Deployment:
    """Queue, launcher and code server of `deploy/celery`, driven by hand."""

    def __init__(self, instance):
        self.instance = instance
        target = WorkspaceFileTarget([str(ROOT / "workspace.yaml")])
        self._workspace = WorkspaceProcessContext(instance, target)
        self._daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)

    def __enter__(self):
        self._workspace.__enter__()
        return self

    def __exit__(self, *error):
        self._daemon.__exit__(*error)
        self._workspace.__exit__(*error)

    def run(self, *steps):
        """Queue the steps, hand them to the workers, wait for their ends; gives their runs' ids."""
        run_ids = [self._submit(step) for step in steps]
        for run_id in run_ids:
            # Again for each: a run that calls the exchange waits in the queue for the one before.
            list(self._daemon.run_iteration(self._workspace))
            task = self.instance.get_run_by_id(run_id).tags["dagster-celery/task_id"]
            result = self.instance.run_launcher.celery.AsyncResult(task)
            assert result.get(timeout=SECONDS) == 0, self._story(run_id)
            assert self.instance.get_run_by_id(run_id).is_success, self._story(run_id)
        return run_ids

    def _submit(self, step):
        """What the Launch button sends."""
        selection = [{"path": [asset]} for asset in step.assets] if step.assets else None
        parameters = {
            "selector": {
                "repositoryLocationName": "autonama",
                "repositoryName": "__repository__",
                "pipelineName": step.job,
                "assetSelection": selection,
            },
            "runConfigData": run_config(step),
            "executionMetadata": {
                "tags": [{"key": k, "value": v} for k, v in range_tags(step).items()]
            },
            "mode": "default",
        }
        answer = execute_dagster_graphql(
            self._workspace.create_request_context(),
            LAUNCH_PIPELINE_EXECUTION_MUTATION,
            {"executionParams": parameters},
        ).data["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def _story(self, run_id):
        events = self.instance.all_logs(run_id)
        return "\n".join(e.message or str(e.dagster_event) for e in events)

    def process(self, run_id):
        """Process id of the worker that executed the run."""
        (started,) = [
            log.dagster_event.engine_event_data.metadata["pid"].value
            for log in self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            if (log.dagster_event.message or "").startswith("Started process for run")
        ]
        return started


@pytest.fixture
def deployment(redis, exchange, postgres, tmp_path_factory, monkeypatch):
    """An open project on deploy/celery's instance, with workers that are ready."""
    folder = tmp_path_factory.mktemp("celery")
    with (
        project(folder, postgres, exchange.url, **SETTINGS) as opened,
        contextlib.ExitStack() as stack,
    ):
        monkeypatch.chdir(folder)  # Dagster reads the .env of where it is, which may be a user's
        monkeypatch.setenv("DAGSTER_HOME", str(ROOT / "deploy" / "celery"))
        monkeypatch.setenv("CELERY_BROKER_URL", redis)
        monkeypatch.setenv("CELERY_RESULT_BACKEND", redis)
        # As deploy/celery/compose.yaml starts them, with one process each.
        command = [sys.executable, "-m", "celery", "-A", "dagster_celery.app", "worker"]
        command += ["-Q", "dagster", "--disable-prefetch", "--loglevel", "INFO"]
        workers = [
            Program(*command, "--concurrency", 1, "-n", f"{n}@%h", ready="ready.", cwd=folder)
            for n in range(WORKERS)
        ]
        for worker in workers:
            stack.enter_context(worker)
        for worker in workers:
            worker.wait_until_ready()
        with dg.DagsterInstance.get() as instance:
            opened.instance = instance
            yield opened, stack.enter_context(Deployment(instance))


def comparable(opened):
    """Every table, without times, and `fetch_log` by day: the division into requests differs.

    A day that is ranked a second time also logs what has failed the first time and is answered now.
    """
    tables = opened.tables()
    tables["ohlcv_1d"] = tables["ohlcv_1d"].drop(columns="fetched_at")
    asked = tables["fetch_log"]
    asked = asked[(asked["interval"] != RANKING) | (asked["outcome"] == "failed")].copy()
    asked["day"] = list(map(pd.date_range, asked["from_date"], asked["to_date"]))
    by_day = asked.explode("day")[["symbol", "interval", "day", "outcome"]].drop_duplicates()
    tables["fetch_log"] = by_day.sort_values(list(by_day.columns), ignore_index=True)
    return tables


def test_a_backfill_on_several_workers_equals_an_undisturbed_scan(deployment, undisturbed):
    opened, workers = deployment
    workers.run(*(Step("universe_job", *span) for span in SPANS))
    symbols = tuple(opened.instance.get_dynamic_partitions("symbol"))
    history = {"ohlcv_1d_history": {"first_date": str(FIRST - timedelta(days=59))}}
    before = FIRST - timedelta(days=1)
    workers.run(Step("history_job", before, before, symbols, config=history))
    workers.run(*(Step("symbols_job", *span, symbols, assets=CANDLES_ONLY) for span in SPANS))
    decided = workers.run(*(Step("symbols_job", *span, symbols, assets=DECIDED) for span in SPANS))
    workers.run(*(Step("summary_job", *span) for span in SPANS))

    assert len({workers.process(run_id) for run_id in decided}) == WORKERS
    found = comparable(opened)
    assert found.keys() == undisturbed.keys()
    assert len(found["signals"]) == len(DAYS) * len(symbols)
    for name, expected in undisturbed.items():
        pd.testing.assert_frame_equal(found[name], expected, check_exact=True, obj=name)
