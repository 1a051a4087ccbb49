"""`autonama up` as a program of its own, started in the background as a script would."""

import ipaddress
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta

import psutil
import psycopg
import pytest
import requests
from browser_support import REBOUND, chromium, served
from fault_support import NOW, small_market
from support import free_port

from autonama_dagster.cli.serve.up import address
from autonama_dagster.replay.server import ReplayServer
from resources.instance.home import open_instance
from resources.instance.locks import PATIENCE as PATIENCE_OF_RUNS
from resources.instance.locks import end_lost_runs
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import dagster_sibling, libpq_url, with_database

pytestmark = pytest.mark.long

STOPS_WITHIN = 30  # seconds, whatever runs do
PATIENCE = 150  # seconds, for a machine under load
IN_BACKGROUND = 'trap "" INT; exec "$@"'  # as a shell starts `command &`
MAIN = "from autonama_dagster.cli.main import main; main()"
LAUNCH = """
mutation Launch($job: String!, $config: RunConfigData!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "autonama", repositoryName: "__repository__", jobName: $job
    },
    runConfigData: $config,
    executionMetadata: { tags: $tags }
  }) {
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    __typename
  }
}
"""
DIALOG = """
mutation Dialog($partitions: [String!]!) {
  launchPartitionBackfill(backfillParams: {
    assetSelection: [{path: ["universe"]}], partitionNames: $partitions
  }) {
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    __typename
  }
}
"""
BACKFILL = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status }
    ... on PythonError { message }
  }
}
"""
ATTACK = """mutation { launchRun(executionParams: {
  selector: {
    repositoryName: "__repository__", repositoryLocationName: "autonama", jobName: "retention_job"
  },
  runConfigData: {}, executionMetadata: {tags: [{key: "by", value: "another page"}]}
}) { __typename } }"""
BY_POST = """async document => (await fetch('/graphql', {
  method: 'POST', headers: {'Content-Type': 'application/json'},
  body: JSON.stringify({query: document})
})).status"""
FROM_ANOTHER_PAGE = """async ([server, document]) => {
  const url = `http://${server}/graphql`;
  const query = `${url}?query=${encodeURIComponent(document)}`;
  const body = JSON.stringify({query: document});
  await new Promise(done => {
    const image = new Image();
    image.onload = image.onerror = done;
    image.src = query;
  });
  for (const type of ['text/plain', 'text/plain; application/json', 'application/json']) {
    for (const mode of ['no-cors', 'cors']) {
      for (const target of [url, query]) {
        const options = {method: 'POST', mode, headers: {'Content-Type': type}, body};
        await fetch(target, options).catch(() => null);
      }
    }
  }
  return await new Promise(done => {
    const socket = new WebSocket(`ws://${server}/graphql`, 'graphql-ws');
    socket.onopen = () => done('open');
    socket.onerror = () => done('refused');
  });
}"""
AUTOMATION = """
{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    ... on RepositoryLocation { repositories {
      sensors { name sensorState { status } }
      schedules { name scheduleState { status } }
    } }
    ... on PythonError { message }
} } } } }
"""


def test_the_metrics_need_a_port_of_their_own(run, home):
    ended = run("up", "--metrics-port", "3000")
    assert (ended.code, list(home.iterdir())) == (2, [])
    assert ended.error == "autonama: --metrics-port 3000: --port is the same; choose another"


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
def exchange(tmp_path):
    with ReplayServer(small_market(tmp_path), now=NOW) as server:
        yield server


@pytest.fixture
def start(exchange, home, postgres, tmp_path, monkeypatch):
    """Start the program on databases of the name; it and its family are ended after the test."""
    started = []

    def call(name, *options):
        postgres.ensure_database(name)
        for variable, value in {
            "DATABASE_URL": postgres.url(name),
            "AUTONAMA_EXCHANGE_URL": exchange.url,
            "AUTONAMA_START_DATE": "2023-12-27",
            "AUTONAMA_UNIVERSE_SIZE": "3",
            "AUTONAMA_LOOKBACK": "40",
            "AUTONAMA_DEGREE": "2",
        }.items():
            monkeypatch.setenv(variable, value)
        port, metrics = free_port(), free_port()
        log = tmp_path / "up.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [
                    "sh", "-c", IN_BACKGROUND, "sh", sys.executable, "-c", MAIN, "up",
                    "--port", str(port), "--metrics-port", str(metrics), *options,
                ],
                stdout=out, stderr=out, cwd=home,
            )  # fmt: skip
        started.append(Up(process, port, metrics, libpq_url(postgres.url(name)), log))
        return started[-1]

    yield call
    for program in started:
        for child in program.family():
            child.kill()
        program.process.kill()
        program.process.wait()


class Up:
    """`autonama up` in another process."""

    def __init__(self, process, port, metrics_port, database, log):
        self.process, self.port, self.metrics_port = process, port, metrics_port
        self.database, self.log = database, log
        self.dagster_database = with_database(database, dagster_sibling(database))

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
            answer = requests.post(f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=30)
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

    def launch(self, job, config=None, **tags):
        """Launch a job as the UI's launchpad does; gives the run's id."""
        pairs = [{"key": f"dagster/{name}", "value": value} for name, value in tags.items()]
        launched = self.ask(LAUNCH, job=job, config=config or {}, tags=pairs)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def ended(self, run_id):
        """Status of a run that has ended, once it has."""
        sql = "SELECT status FROM runs WHERE run_id = %s AND status IN ('SUCCESS', 'FAILURE')"
        ((status,),) = until(lambda: self.dagster_rows(sql, run_id), self.process)
        return status

    def rows(self, sql):
        return rows(self.database, sql)

    def dagster_rows(self, sql, *values):
        return rows(self.dagster_database, sql, *values)

    def listening(self):
        """Address and port that it and all it started listen on."""
        found = set()
        for process in [psutil.Process(self.process.pid), *self.family()]:
            with suppress(psutil.NoSuchProcess):
                found |= {
                    (c.laddr.ip, c.laddr.port)
                    for c in process.net_connections("inet")
                    if c.status == psutil.CONN_LISTEN
                }
        return found

    def stop(self, number):
        """Send the signal: it ends well and leaves no process."""
        family = self.family()
        assert len(family) >= 3  # dagster dev, the UI, the daemon, code servers
        began = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0
        assert time.monotonic() - began < STOPS_WITHIN
        _, left = psutil.wait_procs(family, timeout=PATIENCE)
        for process in left:
            process.kill()
        assert left == []


def rows(url, sql, *values):
    with psycopg.connect(url) as connection:
        return connection.execute(sql, values).fetchall()


def test_it_serves_automates_comes_back_and_leaves_nothing_behind(start):
    up = start("up")
    states = until(up.automation, up.process)
    assert (states["scan_sensor"], states["daily_universe"]) == ("RUNNING", "RUNNING")
    metrics = requests.get(f"http://127.0.0.1:{up.metrics_port}/metrics", timeout=30)
    assert metrics.ok
    picture = f"http://127.0.0.1:{up.metrics_port}/explain/NOPEUSDT/2024-03-10.png"
    assert "no signal of NOPEUSDT is stored" in requests.get(picture, timeout=30).text

    check_that_a_run_of_the_ui_writes_its_events_in_bulk(up)
    check_that_other_pages_do_nothing_and_ours_does(up)

    check_that_dagster_comes_back(up, up.leader())
    (code_server,) = [p for p in up.family() if p.cmdline()[2:5] == ["dagster", "api", "grpc"]]
    check_that_dagster_comes_back(up, code_server)

    up.stop(signal.SIGTERM)
    assert up.log.read_text().rstrip().endswith("stopped")


def check_that_dagster_comes_back(up, victim):
    first, family = up.leader(), up.family()
    victim.kill()
    until(lambda: up.process.pid and first.pid not in {p.pid for p in up.family()}, up.process)
    until(lambda: up.automation() if up.family() else None, up.process)
    assert up.leader().pid != first.pid
    assert "restarting it" in up.log.read_text()
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def check_that_a_run_of_the_ui_writes_its_events_in_bulk(up):
    run_id = up.launch(
        "universe_job",
        asset_partition_range_start="2023-12-27",
        asset_partition_range_end="2023-12-29",
    )
    assert up.ended(run_id) == "SUCCESS"
    # Dagster's own storage writes each planned event in a transaction of its own.
    sql = (
        "SELECT count(*), count(DISTINCT xmin::text) FROM event_logs "
        "WHERE run_id = %s AND dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'"
    )
    assert up.dagster_rows(sql, run_id) == [(3, 1)]


def check_that_other_pages_do_nothing_and_ours_does(up):
    server = f"127.0.0.1:{up.port}"
    with chromium() as browser, served("an innocent page") as elsewhere:
        page = browser.new_page()
        page.goto(elsewhere)
        tried = page.evaluate(FROM_ANOTHER_PAGE, [server, ATTACK])
        # The browser shows the page nothing; what can be seen is that the socket does not open.
        assert tried == "refused"

        rebound = f"http://{REBOUND}:{up.port}"
        assert page.goto(f"{rebound}/server_info").status == 403
        assert page.evaluate(BY_POST, ATTACK) == 403  # of one origin, as the browser sees it
        assert page.evaluate("async () => (await fetch('/graphql?query={version}')).status") == 403
        assert up.dagster_rows("SELECT count(*) FROM run_tags WHERE key = 'by'") == [(0,)]

        with page.expect_websocket() as opened:
            page.goto(f"http://{server}/runs", wait_until="domcontentloaded")
        assert opened.value.url == f"ws://{server}/graphql"
        page.get_by_text("universe_job").first.wait_for()  # the run of the check before
        assert page.evaluate("() => fetch('/graphql?query={version}').then(r => r.status)") == 200
        assert page.evaluate(BY_POST, ATTACK) == 200
    tags = "SELECT value FROM run_tags WHERE key = 'by'"
    assert up.dagster_rows(tags) == [("another page",)]  # so the attack would have worked


def test_without_automation_it_fills_what_the_ui_asks_for_and_stops_in_the_middle(
    start, exchange, tmp_path, monkeypatch
):
    monkeypatch.setenv("AUTONAMA_LOG_FORMAT", "json")
    up = start("up_by_hand", "--no-automation")
    states = until(up.automation, up.process)
    assert set(states.values()) == {"STOPPED"}

    check_that_the_dialog_fills_the_days_it_names(up)
    check_that_a_backfill_of_the_ui_fills_the_rest(up)

    exchange.faults.add("timeout:seconds=600,path=klines")
    exchange.clear_requests()
    run_id = up.launch("backfill_job", backfill_config(again=True))
    until(lambda: any(r.path.endswith("/klines") for r in exchange.requests), up.process)
    assert up.dagster_rows("SELECT status FROM runs WHERE run_id = %s", run_id) == [("STARTED",)]
    addresses = up.listening()
    assert {("127.0.0.1", up.port), ("127.0.0.1", up.metrics_port)} <= addresses
    assert {ip for ip, _ in addresses if not ipaddress.ip_address(ip).is_loopback} == set()
    check_that_another_is_refused(up, tmp_path / "another")
    for process in up.family():  # the run and its workers hear no signal, but for the last
        with suppress(psutil.NoSuchProcess):
            if "multiprocessing" in " ".join(process.cmdline()):
                process.suspend()
    up.stop(signal.SIGINT)
    check_that_no_run_counts_as_running(up, monkeypatch)

    lines = [json.loads(x) for x in up.log.read_text().splitlines() if x.startswith("{")]
    own = [line for line in lines if "message" in line and "run_id" not in line]
    said = [line["message"].partition(":")[0] for line in own]
    assert [text for text in said if not text.startswith("waiting for Dagster")] == [
        "metrics", "starting Dagster; the UI will be ready in a moment", "Dagster UI", "stopped",
    ]  # fmt: skip
    assert own[2]["url"] == f"http://127.0.0.1:{up.port}"
    assert all(line["level"] == "info" and line["time"] for line in own)


def check_that_another_is_refused(up, home):
    ports = ["--port", str(free_port()), "--metrics-port", str(free_port())]
    arguments = ["--home", str(home), "up", *ports]
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"autonama: autonama up at http://127.0.0.1:{up.port}, process {up.process.pid} is "
        "already running on this database: use that one, or stop it first\n"
    )


def backfill_config(**chosen):
    return {"ops": {"backfill": {"config": {"from": "2023-12-27", **chosen}}}}


def check_that_the_dialog_fills_the_days_it_names(up):
    days = ["2023-12-27", "2023-12-28"]
    begun = up.ask(DIALOG, partitions=days)["launchPartitionBackfill"]
    assert begun["__typename"] == "LaunchBackfillSuccess", begun

    def end():
        answer = up.ask(BACKFILL, id=begun["backfillId"])
        status = answer and answer["partitionBackfillOrError"]["status"]
        return None if status in (None, "REQUESTED") else status

    assert until(end, up.process) == "COMPLETED_SUCCESS"
    stored = up.rows("SELECT DISTINCT date::date::text FROM trading.universe ORDER BY 1")
    assert [day for (day,) in stored] == days


def check_that_a_backfill_of_the_ui_fills_the_rest(up):
    run_id = up.launch("backfill_job", backfill_config())
    assert up.ended(run_id) == "SUCCESS"
    for table, count in {"universe": 9, "signals": 9, "analysis_summary": 3}.items():
        assert up.rows(f"SELECT count(*) FROM trading.{table}") == [(count,)], table
    link = f"%http://127.0.0.1:{up.metrics_port}/explain/%"
    sql = "SELECT count(*) > 0 FROM event_logs WHERE event LIKE %s"
    assert up.dagster_rows(sql, link) == [(True,)]
    events = up.dagster_rows("SELECT event FROM event_logs WHERE run_id = %s", run_id)
    said = [json.loads(event)["user_message"] for (event,) in events]
    assert "indicators to summaries" in said
    made = up.dagster_rows("SELECT run_id FROM runs WHERE pipeline_name = 'summary_job'")
    assert made
    for (run,) in made:  # by its workers, and the log of the backfill names each
        assert [text for text in said if f"(run {run})" in text], run


def check_that_no_run_counts_as_running(up, monkeypatch):
    # As if the time was over that a run has until it must hold its lock.
    for status in PATIENCE_OF_RUNS:
        monkeypatch.setitem(PATIENCE_OF_RUNS, status, timedelta(0))
    with open_instance() as instance:
        end_lost_runs(instance)
    sql = "SELECT run_id FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
    assert up.dagster_rows(sql) == []


def test_dagster_ends_with_a_program_that_was_killed(home, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    log = tmp_path / "dev.log"
    start = (
        "import os, subprocess, sys, time; subprocess.Popen([sys.executable, '-m', "
        "'autonama_dagster.cli.serve.dagster_dev', str(os.getpid()), '--empty-workspace', "
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
def test_a_port_that_is_taken_is_said(run, option, postgres, monkeypatch):
    postgres.ensure_database("taken_port")
    monkeypatch.setenv("DATABASE_URL", postgres.url("taken_port"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("up", option, port)
    assert ended.code != 0
    assert f"{option} {port}: cannot listen on 127.0.0.1" in ended.err


def test_a_new_home_is_made(run, home):
    new = home / "new" / "home"
    try:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            ended = run("--home", new, "up", "--port", taken.getsockname()[1])
        assert "cannot listen" in ended.error  # which it looks at with the database at hand
        assert (new / ".autonama").is_dir()
    finally:
        EmbeddedPostgres(new).destroy()


def test_a_server_is_started_in_a_new_home(run, home):
    new = home / "new" / "home"
    try:
        ended = run("--home", new, "db", "start")
        assert ended.code == 0, ended.err
        assert EmbeddedPostgres(new).pid() is not None
    finally:
        EmbeddedPostgres(new).destroy()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3001"),
        ("::1", "http://[::1]:3001"),
        ("0.0.0.0", f"http://{socket.gethostname()}:3001"),
    ],
)
def test_links_lead_to_where_a_browser_reaches_it(host, url):
    assert address(host, 3001) == url


def test_other_machines_are_let_in_only_when_told_so(run):
    ended = run("up", "--host", "0.0.0.0", "--port", free_port(), "--metrics-port", free_port())
    assert ended.code == 2
    assert "--allow-remote" in ended.error
