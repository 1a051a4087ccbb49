"""What a tick of each sensor and schedule decides, from facts alone."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from autonama_dagster.orchestration.automation import (
    daily_universe,
    failed_run_alert,
    revision_sensor,
    scan_sensor,
)
from autonama_dagster.orchestration.automation.revision_sensor import OVERLAP, Handled
from autonama_dagster.orchestration.automation.status import status_of
from autonama_dagster.orchestration.planner import State, Step
from autonama_dagster.orchestration.requests import ATTEMPT_TAG, DAY_TAG, REVISIONS_TAG, Decision
from autonama_dagster.settings import Settings

START = date(2024, 3, 1)
FIRST, SECOND, THIRD = (START + timedelta(days=n) for n in range(3))
NEWEST = datetime(2024, 3, 5, 1, tzinfo=UTC)
SETTLED, WAITING = Decision(is_settled=True), Decision()


def rank(day, attempt=1):
    return Decision((Step("universe_job", day, day),), attempt)


def said(requests, tag=DAY_TAG):
    return [(r.job_name, r.tags[tag], r.tags[ATTEMPT_TAG]) for r in requests]


def test_a_scan_tick_asks_for_every_open_day_and_begins_next_at_the_first_of_them():
    found = scan_sensor.decide_tick([(FIRST, SETTLED), (SECOND, rank(SECOND, 2))], THIRD)
    assert said(found.run_requests) == [("universe_job", str(SECOND), "2")]
    assert (found.cursor, found.skip_reason) == (str(SECOND), None)


def test_a_scan_tick_without_a_run_says_why_and_passes_days_that_are_given_up():
    found = scan_sensor.decide_tick([(FIRST, SETTLED), (SECOND, WAITING), (THIRD, SETTLED)], THIRD)
    assert found.skip_reason.skip_message == (
        f"giving up on {FIRST} after its last attempt; giving up on {THIRD} after its last "
        f"attempt; nothing to run now; first unfinished day: {SECOND}"
    )
    assert found.cursor == str(SECOND)


def test_after_the_last_open_day_the_next_is_awaited():
    assert scan_sensor.decide_tick([], SECOND).cursor == str(THIRD)
    assert scan_sensor.decide_tick([(SECOND, SETTLED)], SECOND).cursor == str(THIRD)


@pytest.mark.parametrize(
    ("cursor", "scanned", "expected"),
    [
        (str(SECOND), None, SECOND),
        (str(START - timedelta(days=5)), None, START),  # the start date was moved
        (None, None, THIRD),
        (None, SECOND, SECOND),
        (None, THIRD + timedelta(days=1), THIRD),
        (None, START - timedelta(days=5), START),
    ],
)
def test_days_are_looked_at_from_the_first_that_may_be_open(cursor, scanned, expected):
    assert scan_sensor.first_day(cursor, scanned, THIRD, START) == expected


@pytest.mark.parametrize(
    ("has_universe", "decision", "expected"),
    [
        (True, WAITING, f"the universe of {FIRST} is already stored"),
        (False, WAITING, f"a run for the universe of {FIRST} is already requested"),
        (False, rank(FIRST, 2), [("universe_job", str(FIRST), "2")]),
    ],
)
def test_the_schedule_ranks_a_day_once(has_universe, decision, expected):
    found = daily_universe.decide_tick(FIRST, State(has_universe=has_universe), decision)
    is_run = isinstance(found, dg.RunRequest)
    assert (said([found]) if is_run else found.skip_message) == expected


def test_stale_rows_are_asked_for_one_part_at_a_time():
    looked = []

    def decisions():
        for name, decision in (("a", SETTLED), ("b", rank(FIRST)), ("c", rank(SECOND))):
            looked.append(name)
            yield name, decision

    found = revision_sensor.decide_tick(decisions(), Handled(7, NEWEST))
    assert said(found.run_requests, REVISIONS_TAG) == [("universe_job", "b", "1")]
    assert found.cursor is None, "they are handled when all parts are settled"
    assert looked == ["a", "b"], "a part costs seconds"


def test_a_part_that_waits_holds_up_those_after_it():
    found = revision_sensor.decide_tick(iter([("a", WAITING), ("b", rank(FIRST))]), Handled())
    assert "wait for their next attempt" in found.skip_message


def test_changes_are_handled_when_all_parts_are_settled():
    found = revision_sensor.decide_tick(iter([("a", SETTLED)]), Handled(7, NEWEST))
    assert Handled.read(found.cursor) == Handled(7, NEWEST)
    assert found.skip_reason.skip_message == "no stale rows with attempts left"


def test_what_is_handled_says_from_when_on_to_look():
    assert (Handled.read(None), Handled().since) == (Handled(0, None), None)
    assert Handled(7, NEWEST).since == NEWEST - OVERLAP
    assert Handled.read(Handled().cursor) == Handled()


def test_an_alert_names_the_run_its_partitions_and_the_error_in_one_line():
    tags = {
        "dagster/asset_partition_range_start": "2024-03-01",
        "dagster/asset_partition_range_end": "2024-03-03",
    }
    run = dg.DagsterRun(job_name="summary_job", run_id="r1", tags=tags)
    found = failed_run_alert.message(run, "it\n  broke " + "x" * 600, NEWEST)
    assert found["text"].startswith(
        "Autonama: summary_job of 2024-03-01 to 2024-03-03 failed: it broke xxx"
    )
    assert found["partitions"] == "2024-03-01 to 2024-03-03"
    assert len(found["error"]) == 500
    assert (found["run_id"], found["time"]) == ("r1", NEWEST.isoformat())


@pytest.mark.parametrize("kind", [dg.DefaultScheduleStatus, dg.DefaultSensorStatus])
def test_what_runs_by_itself_does_so_with_automation_and_something_to_do(kind):
    on, off = Settings(automation=True), Settings(automation=False)
    assert status_of(on, kind) is kind.RUNNING
    assert status_of(off, kind) is kind.STOPPED
    assert status_of(on, kind, has_work=False) is kind.STOPPED
