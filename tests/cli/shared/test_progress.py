"""Progress on standard error, on a terminal and elsewhere."""

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from autonama_dagster.cli.shared.progress import StepProgress


def written(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=60)


def test_without_a_terminal_a_step_takes_four_lines_at_most():
    console = written(terminal=False)
    with StepProgress(console).running() as progress:
        progress.step("candles of a hundred symbols, with a title longer than the width of a line")
        for done in range(1, 101):
            progress.requests(done, 100)
    lines = console.file.getvalue().splitlines()
    assert [line.rpartition(": ")[2] for line in lines[:-1]] == [
        "25 of 100", "50 of 100", "75 of 100",
    ]  # fmt: skip
    assert lines[-1].endswith("s]")


def test_charts_are_counted_where_nothing_else_is_to_be_seen():
    console = written(terminal=False)
    with StepProgress(console).running() as progress:
        progress.step("summary")
        for done in range(20):
            progress.charts(done, 19)
    lines = console.file.getvalue().splitlines()
    assert [line.split(": ")[-1] for line in lines[:-1]] == [
        "5 of 19 charts", "10 of 19 charts", "15 of 19 charts",
    ]  # fmt: skip


def test_small_steps_take_one_line_each_and_their_seconds_are_kept():
    console = written(terminal=False)
    with StepProgress(console).running() as progress:
        for title in ("one", "two", "one"):
            progress.step(title)
            progress.requests(6, 6)
    assert len(console.file.getvalue().splitlines()) == 3
    assert list(progress.seconds) == ["one", "two"]


def test_on_a_terminal_the_running_step_is_shown_live():
    console = written(terminal=True)
    with StepProgress(console).running() as progress:
        progress.step("candles")
        progress.requests(50, 100)
        progress._bars.refresh()
        assert "50/100" in console.file.getvalue()
    assert "of 100" not in console.file.getvalue()


def test_a_failing_step_is_not_reported_as_done():
    console = written(terminal=False)

    def fail():
        with StepProgress(console).running() as progress:
            progress.step("candles")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert console.file.getvalue() == ""


def test_repeated_requests_are_told_three_times_a_step():
    console = written(terminal=False)
    with StepProgress(console).running() as progress:
        progress.step("candles")
        for _ in range(20):
            progress.retry(SimpleNamespace(wait_for=1.25, caused_by=ValueError("no answer")))
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "  retrying in 1.2 s: no answer"
    assert sum("retrying" in line for line in lines) == 3
    assert len(lines) == 5


@pytest.mark.parametrize("terminal", [True, False])
def test_as_json_every_line_is_an_object(terminal):
    console = written(terminal=terminal)
    with StepProgress(console, "json").running() as progress:
        progress.step("candles [of] a hundred symbols, with a title longer than a line :smile:")
        for done in range(1, 101):
            progress.requests(done, 100)
        progress.retry(SimpleNamespace(wait_for=1.25, caused_by=ValueError("no answer")))
    found = [json.loads(line) for line in console.file.getvalue().splitlines()]
    assert [line["message"] for line in found] == [
        "requests", "requests", "requests", "retrying", "step done",
    ]  # fmt: skip
    assert {line["step"] for line in found} == {
        "candles [of] a hundred symbols, with a title longer than a line :smile:"
    }
    assert [line.get("done") for line in found[:3]] == [25, 50, 75]
    assert (found[3]["level"], found[3]["cause"]) == ("warning", "no answer")
    assert found[-1]["seconds"] >= 0
    assert all(list(line)[:3] == ["time", "level", "message"] for line in found)
