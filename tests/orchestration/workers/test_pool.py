"""Worker processes: what is said when one is lost, and that none outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import psutil
import pytest
from scan_support import DAY, opened_project

from autonama_dagster.errors import AutonamaError
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.orchestration.workers.pool import Workers
from autonama_dagster.orchestration.workers.worker import Outlet

PATIENCE = 60  # seconds for a process to end
PARENT = """
import signal, sys
from datetime import date
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.orchestration.workers.pool import Workers
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    day = date.fromisoformat(sys.argv[1])
    told = dict.fromkeys(("on_start", "on_done", "on_requests"), lambda *_: None)
    with Workers(2, tags={}, **told) as workers:
        for _ in range(2):
            workers.submit([Step("universe_job", day, day)])
        print(*(w.process.pid for w in workers._workers), flush=True)
        workers.finish()
"""

ASKS = """
import os, sys
import autonama_dagster
from resources.processes import PRELOADED, process_context
def ask(pipe):
    pipe.send((PRELOADED in sys.modules, sys.modules["autonama_dagster"].__file__))
if __name__ == "__main__":
    context = process_context()
    ours, theirs = context.Pipe()
    context.Process(target=ask, args=(theirs,)).start()
    is_loaded, file = ours.recv()
    print(is_loaded, file == autonama_dagster.__file__, os.environ.get("PYTHONSAFEPATH"))
"""


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    with opened_project(folder, postgres) as (found, server):
        found.server = server
        yield found


@pytest.fixture(autouse=True)
def entered(opened, monkeypatch):
    opened.enter(monkeypatch)
    opened.server.faults.replace()


def workers(count=1):
    begun, done = [], []
    made = Workers(
        count,
        tags={"a": "b"},
        on_start=begun.append,
        on_done=done.append,
        on_requests=lambda *_: None,
    )
    made.begun, made.done = begun, done
    return made


def rank(day=DAY):
    return [Step("universe_job", day, day)]


def test_a_lost_process_is_said_and_an_error_of_a_step_too(opened):
    with workers(2) as made:
        made.submit(rank(DAY + timedelta(days=5)))
        with pytest.raises(AutonamaError, match="rank the universe"):
            made.finish()
        made.submit(rank())
        made.finish()
        assert [d.step for d in made.done] == rank()
        assert opened.instance.get_run_by_id(made.done[0].run_id).is_success
        # An answer that takes for ever keeps the process busy until it is killed.
        opened.server.faults.add("timeout:seconds=600,path=klines")
        made.submit(rank())
        pids = [w.process.pid for w in made._workers if w.is_busy]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(AutonamaError, match=r"a worker process died .* run the same comm"):
            made.finish()
    assert [p for p in pids if psutil.pid_exists(p)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not forked")
def test_processes_are_forked_from_one_that_has_loaded_which_may_be_lost(opened):
    with workers(2) as made:
        for _ in range(2):
            made.submit(rank())
        forked = [psutil.Process(w.process.pid) for w in made._workers]
        (loaded,) = {process.parent() for process in forked}
        assert loaded.parent() == psutil.Process()
        loaded.kill()
        made.finish()
        assert len(made.done) == 2
        with workers() as others:
            others.submit(rank())
            others.finish()
            assert psutil.Process(others._workers[0].process.pid).parent() != loaded
        # The children of the lost one are ended in the middle of a task all the same.
        opened.server.faults.add("timeout:seconds=600,path=klines")
        made.submit(rank(DAY - timedelta(days=1)))
    assert not any(process.is_running() for process in forked)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path, how):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(DAY)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        children = psutil.Process(parent.pid).children(recursive=True)
        assert set(pids) <= {child.pid for child in children}
        parent.send_signal(how)
        _, left = psutil.wait_procs(children, timeout=PATIENCE)
        assert left == []
        parent.wait(PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not forked")
def test_what_lies_in_the_current_directory_is_not_loaded(tmp_path):
    for name in ("assets", "resources", "autonama_dagster"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    script = tmp_path / "program" / "asks.py"
    script.parent.mkdir()
    script.write_text(ASKS)
    answer = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["True", "True", "None"]


def test_messages_of_two_threads_arrive_whole():
    ours, theirs = multiprocessing.Pipe()
    outlet = Outlet(theirs)
    texts = {letter: letter * 100_000 for letter in "ab"}  # longer than what is written at once
    threads = [
        threading.Thread(target=lambda t=t: [outlet.send(t) for _ in range(100)])
        for t in texts.values()
    ]
    for thread in threads:
        thread.start()
    arrived = []
    while len(arrived) < 200:
        assert ours.poll(60)
        arrived.append(ours.recv())
    assert sorted(arrived) == 100 * [texts["a"]] + 100 * [texts["b"]]
    ours.close()
    outlet.tell("somebody")  # nobody listens any more
