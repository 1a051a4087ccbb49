"""Programs kept running side by side: started, started again, given up, and stopped."""

import os
import signal
import subprocess
import time

import psutil
import pytest

from autonama_dagster.cli.serve import supervisor
from autonama_dagster.cli.serve.supervisor import Child, StopSignals, supervise
from autonama_dagster.errors import AutonamaError
from resources import waiting

LONGEST = 60  # seconds of a test, for a machine under load
STEADY = 'echo $$ >> "$0.pids"; exec sleep 1000'
BRIEF = 'echo $$ >> "$0.pids"; exit 3'
LOUD = """
trap 'echo INT > "$0.heard"; exit 0' INT
trap 'echo TERM > "$0.heard"; exit 0' TERM
echo $$ >> "$0.pids"
while :; do sleep 0.01; done
"""
DEAF = LOUD.replace("trap 'echo INT > \"$0.heard\"; exit 0' INT", "trap '' INT")
SLOW = LOUD.replace("echo INT", 'until [ -e "${0%slow}deaf.heard" ]; do sleep 0.01; done; echo INT')


class Programs:
    """Shell programs in a folder, each with files of its name, and what is said of them."""

    def __init__(self, folder):
        self.folder = folder
        self.lines = []

    def child(self, name, script, **options):
        command = ["sh", "-c", script, str(self.folder / name)]
        return Child(name, command, **options)

    def read(self, name, what):
        file = self.folder / f"{name}.{what}"
        return file.read_text().split() if file.exists() else []

    def pids(self, name):
        return [int(pid) for pid in self.read(name, "pids")]

    def said(self, part):
        return any(part in line for line in self.lines)

    def run(self, children, is_over):
        """Keep them running until it is over; a signal says so, as Ctrl-C does."""
        deadline = time.monotonic() + LONGEST

        def keep():
            assert time.monotonic() < deadline, self.lines
            if is_over():
                os.kill(os.getpid(), signal.SIGTERM)

        with StopSignals() as signals:
            supervise(
                children, signals, keep=keep, every=0.01,
                say=lambda text, **_: self.lines.append(text),
            )  # fmt: skip


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path)


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_program_that_ends_too_often_is_reported_and_the_others_go_on(programs):
    children = [
        programs.child("brief", BRIEF, restarts=2),
        programs.child("steady", STEADY),
        programs.child("briefest", BRIEF, restarts=1),
    ]
    looks = []

    def is_over():
        if programs.said("brief stopped 3 times") and programs.pids("steady"):
            looks.append(1)
        return len(looks) == 3  # nor is it started again

    programs.run(children, is_over)
    off = "and stays off: see its output above, fix the cause and start all again"
    assert sorted(programs.lines) == sorted(
        [
            "brief stopped with code 3; restarting it",
            "brief stopped with code 3; restarting it",
            f"brief stopped 3 times, last with code 3, {off}",
            "briefest stopped with code 3; restarting it",
            f"briefest stopped 2 times, last with code 3, {off}",
            "stopped",
        ]
    )
    counts = [len(programs.pids(child.name)) for child in children]
    assert counts == [3, 1, 2]
    assert not any(map(is_alive, programs.pids("steady")))


def test_all_stop_when_the_one_that_is_needed_ends_too_often(programs):
    needed = programs.child("needed", BRIEF, restarts=1, is_needed=True)
    with pytest.raises(AutonamaError) as error:
        programs.run([programs.child("steady", STEADY), needed], lambda: False)
    assert str(error.value) == (
        "needed stopped 2 times, last with code 3: see its output above, fix the cause and "
        "start it again"
    )
    assert not programs.said("stays off")
    assert not any(map(is_alive, programs.pids("steady")))


def test_ends_of_long_ago_do_not_count(programs, monkeypatch):
    monkeypatch.setattr(supervisor, "RESTART_WINDOW", 0.0)
    brief = programs.child("brief", BRIEF, restarts=1)
    programs.run([brief], lambda: len(programs.pids("brief")) >= 4)
    assert not programs.said("stays off")


def test_each_is_asked_to_end_by_its_own_signal(programs):
    children = [
        programs.child("dagster", LOUD, stop_signal=signal.SIGINT),
        programs.child("collector", LOUD),
    ]
    # As a shell starts background jobs; a program that inherits it could not be told.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        programs.run(children, lambda: all(programs.pids(c.name) for c in children))
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert programs.read("dagster", "heard") == ["INT"]
    assert programs.read("collector", "heard") == ["TERM"]
    assert programs.lines == ["stopped"]


def test_each_has_its_own_patience(programs):
    children = [
        programs.child("deaf", DEAF, stop_signal=signal.SIGINT, patience=0.1),
        programs.child("slow", SLOW, stop_signal=signal.SIGINT),
    ]
    programs.run(children, lambda: all(programs.pids(c.name) for c in children))
    assert programs.read("deaf", "heard") == ["TERM"]
    assert programs.read("slow", "heard") == ["INT"], "it was not given its own time"


def test_what_hears_no_signal_is_killed_with_all_it_started(programs, monkeypatch):
    monkeypatch.setattr(supervisor, "LAST_PATIENCE", 0.1)
    monkeypatch.setattr(waiting, "QUIET", 0.0)
    told = []
    crew = """trap "" INT TERM
    sleep 1000 & echo $! >> "$0.pids"
    echo $$ >> "$0.pids"; wait"""
    stubborn = programs.child("stubborn", crew, patience=0.1, family="stubborn and its crew")
    with waiting.told_to(told.append):
        programs.run([stubborn], lambda: len(programs.pids("stubborn")) == 2)
    assert told == ["stubborn and its crew, which end (2 processes)", None]
    assert not any(map(is_alive, programs.pids("stubborn")))


def test_what_a_killed_program_leaves_behind_is_ended_before_it_starts_again(programs):
    leader = 'sleep 1000 & echo $! >> "$0.pids"; echo $$ >> "$0.pids"; wait'
    killed = []

    def is_over():
        pids = programs.pids("leader")
        if len(pids) == 2 and not killed:
            killed.extend(pids)
            os.kill(pids[1], signal.SIGKILL)
        if len(pids) == 4:
            assert not any(map(is_alive, killed))
            assert is_alive(pids[3])
        return len(pids) == 4

    programs.run([programs.child("leader", leader, patience=0.1)], is_over)
    assert programs.lines == ["leader stopped with code -9; restarting it", "stopped"]


def test_it_is_announced_when_it_answers_and_again_after_a_restart(programs):
    script = 'echo $$ >> "$0.pids"; until [ -e "$0.go" ]; do sleep 0.01; done; rm "$0.go"; exit 3'
    looks, ready = [], []

    def is_ready():
        looks.append(len(programs.pids("web")))
        return looks.count(looks[-1]) == 2  # at the second look after each start

    def is_over():
        if len(ready) == len(programs.pids("web")) == 1:
            (programs.folder / "web.go").touch()
        return len(ready) == 2

    command = programs.child("web", script).start
    web = Child(
        "web",
        lambda: subprocess.Popen(command, start_new_session=True),
        is_ready=is_ready,
        on_ready=lambda: ready.append("ready"),
    )
    programs.run([web], is_over)
    assert ready == ["ready"] * 2


def test_a_signal_interrupts_what_is_kept_up(programs):
    reached = []

    def is_over():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LONGEST)  # a long start of the database
        reached.append("the end")

    programs.run([programs.child("steady", STEADY)], is_over)
    assert (reached, programs.lines) == ([], ["stopped"])


def test_an_error_in_what_is_kept_up_stops_all(programs):
    def is_over():
        if programs.pids("steady"):
            raise AutonamaError("the database cannot be started")

    with pytest.raises(AutonamaError, match="cannot be started"):
        programs.run([programs.child("steady", STEADY)], is_over)
    assert not any(map(is_alive, programs.pids("steady")))


def test_a_program_that_is_not_there_leaves_the_others_alone(programs):
    absent = Child("absent", [str(programs.folder / "nothing")], restarts=1)
    children = [absent, programs.child("steady", STEADY)]
    programs.run(children, lambda: programs.said("stays off") and programs.pids("steady"))
    again, off, end = programs.lines
    assert again == "absent stopped at its start (No such file or directory); restarting it"
    assert off.startswith("absent stopped 2 times, last at its start (No such file or directory),")
    assert end == "stopped"
    assert len(programs.pids("steady")) == 1
