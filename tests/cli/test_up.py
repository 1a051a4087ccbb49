"""`autonama up` as a program of its own, started in the background as a script would."""

import signal
import socket
import subprocess
import sys
import time

import psutil
import psycopg
import pytest
import requests
from fault_support import NOW, small_market
from support import free_port

from autonama_dagster.replay.server import ReplayServer
from resources.database_urls import libpq_url, with_database

PATIENCE = 150  # seconds, for a machine under load
IN_BACKGROUND = 'trap "" INT; exec "$@"'  # as a shell starts `command &`
MAIN = "from autonama_dagster.cli.main import main; main()"
LAUNCH = """
mutation Launch($start: String!, $end: String!) {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "autonama", repositoryName: "__repository__",
      jobName: "universe_job"
    },
    executionMetadata: { tags: [
      {key: "dagster/asset_partition_range_start", value: $start},
      {key: "dagster/asset_partition_range_end", value: $end}
    ]}
  }) {
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
    __typename
  }
}
"""
AUTOMATION = """
{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    ... on RepositoryLocation { repositories {
      sensors { name sensorState { status } }
      schedules { name scheduleState { status } }
    } }
    ... on PythonError { message }
} } } } }
"""


def until(answer, process):
    """What `answer` gives as soon as it gives something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "it has ended"
        if found := answer():
            return found
        time.sleep(0.5)
    raise AssertionError("no answer in time")


@pytest.fixture
def up(home, postgres, tmp_path, monkeypatch):
    """The running program: its process, its UI's address and what it says."""
    postgres.ensure_database("up")
    url = with_database(libpq_url(postgres.url("up")), "up_dagster")
    with ReplayServer(small_market(tmp_path), now=NOW) as exchange:
        for name, value in {
            "DATABASE_URL": postgres.url("up"),
            "AUTONAMA_EXCHANGE_URL": exchange.url,
            "AUTONAMA_START_DATE": "2023-12-27",
            "AUTONAMA_UNIVERSE_SIZE": "3",
            "AUTONAMA_LOOKBACK": "40",
            "AUTONAMA_DEGREE": "2",
        }.items():
            monkeypatch.setenv(name, value)
        port, metrics = free_port(), free_port()
        log = tmp_path / "up.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [
                    "sh", "-c", IN_BACKGROUND, "sh", sys.executable, "-c", MAIN, "up",
                    "--port", str(port), "--metrics-port", str(metrics),
                ],
                stdout=out, stderr=out, cwd=home,
            )  # fmt: skip
        program = Up(process, f"http://127.0.0.1:{port}", metrics, url, log)
        yield program
        for child in program.family():
            child.kill()
        process.kill()
        process.wait()


class Up:
    """`autonama up` in another process."""

    def __init__(self, process, address, metrics_port, database, log):
        self.process, self.address, self.metrics_port = process, address, metrics_port
        self.database, self.log = database, log

    def family(self):
        """Everything it has started."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def leader(self):
        """`dagster dev`."""
        (found,) = psutil.Process(self.process.pid).children()
        return found

    def ask(self, query, **variables):
        """Data of a GraphQL answer; None while nobody answers."""
        body = {"query": query, "variables": variables}
        try:
            answer = requests.post(f"{self.address}/graphql", json=body, timeout=30)
        except requests.RequestException:
            return None
        return answer.json()["data"] if answer.ok else None

    def automation(self):
        """Status of every sensor and schedule; None until they are loaded."""
        data = self.ask(AUTOMATION)
        entries = data["workspaceOrError"].get("locationEntries") if data else None
        if not entries or not (entries[0]["locationOrLoadError"] or {}).get("repositories"):
            return None
        (repository,) = entries[0]["locationOrLoadError"]["repositories"]
        states = {s["name"]: s["sensorState"]["status"] for s in repository["sensors"]}
        return states | {s["name"]: s["scheduleState"]["status"] for s in repository["schedules"]}

    def dagster_rows(self, sql, *values):
        with psycopg.connect(self.database) as connection:
            return connection.execute(sql, values).fetchall()


def test_it_serves_automates_comes_back_and_leaves_nothing_behind(up):
    states = until(up.automation, up.process)
    assert (states["scan_sensor"], states["daily_universe"]) == ("RUNNING", "RUNNING")
    metrics = requests.get(f"http://127.0.0.1:{up.metrics_port}/metrics", timeout=30)
    assert metrics.ok
    picture = f"http://127.0.0.1:{up.metrics_port}/explain/NOPEUSDT/2024-03-10.png"
    assert "no signal of NOPEUSDT is stored" in requests.get(picture, timeout=30).text

    check_that_a_run_of_the_ui_writes_its_events_in_bulk(up)

    first = up.leader()
    family = up.family()
    first.kill()
    until(lambda: up.process.pid and first.pid not in {p.pid for p in up.family()}, up.process)
    until(lambda: up.automation() if up.family() else None, up.process)
    assert up.leader().pid != first.pid
    assert "it is started again" in up.log.read_text()
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []

    family = up.family()
    assert len(family) >= 3  # dagster dev, the UI, the daemon, code servers
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(PATIENCE) == 0
    _, left = psutil.wait_procs(family, timeout=PATIENCE)
    assert left == []
    assert up.log.read_text().rstrip().endswith("stopped")


def check_that_a_run_of_the_ui_writes_its_events_in_bulk(up):
    launched = up.ask(LAUNCH, start="2023-12-27", end="2023-12-29")["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    sql = "SELECT status FROM runs WHERE run_id = %s AND status IN ('SUCCESS', 'FAILURE')"
    assert until(lambda: up.dagster_rows(sql, run_id), up.process) == [("SUCCESS",)]
    # Dagster's own storage writes each planned event in a transaction of its own.
    sql = (
        "SELECT count(*), count(DISTINCT xmin::text) FROM event_logs "
        "WHERE run_id = %s AND dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'"
    )
    assert up.dagster_rows(sql, run_id) == [(3, 1)]


def test_dagster_ends_with_a_program_that_was_killed(home, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    log = tmp_path / "dev.log"
    start = (
        "import os, subprocess, sys, time; subprocess.Popen([sys.executable, '-m', "
        "'autonama_dagster.dagster_dev', str(os.getpid()), '--empty-workspace', "
        f"'-p', '{free_port()}']); time.sleep(1000)"
    )
    with (
        log.open("w") as out,
        subprocess.Popen([sys.executable, "-c", start], stdout=out, stderr=out, cwd=home) as parent,
    ):
        until(lambda: "Serving dagster-webserver" in log.read_text(), parent)
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 3  # dagster dev, the UI, the daemon
        parent.kill()
    _, left = psutil.wait_procs(family, timeout=PATIENCE)
    for process in left:
        process.kill()
    assert left == []


@pytest.mark.parametrize("option", ["--port", "--metrics-port"])
def test_a_port_that_is_taken_is_said(run, option):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("up", option, port)
    assert ended.code != 0
    assert f"{option} {port}: cannot listen on 127.0.0.1" in ended.err
