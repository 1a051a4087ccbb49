"""Which runs are asked for, and what counts as in flight; no database."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from autonama_dagster.orchestration.backfill.request import run_config as backfill_config
from autonama_dagster.orchestration.jobs import JOBS, range_tags
from autonama_dagster.orchestration.planner import CANDLES_ONLY, Step
from autonama_dagster.orchestration.requests import (
    MAX_ATTEMPTS,
    PAUSES,
    Attempts,
    Decision,
    Work,
    phase,
    run_request,
    wanted,
    work_of,
    work_of_step,
)
from autonama_dagster.schemas.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

DAY = date(2024, 3, 10)
NOW = datetime(2024, 3, 11, 0, 10, tzinfo=UTC)
BEFORE = DAY - timedelta(days=1)
REGISTERED = ("DDD", "CCC", "BBB", "AAA")

RANK = Step("universe_job", DAY, DAY)
HISTORY = Step("history_job", date(2023, 1, 1), date(2023, 12, 31), ("DDD", "CCC"))
OTHER_HISTORY = Step("history_job", date(2023, 6, 1), date(2023, 12, 31), ("AAA",))
CANDLES = Step("symbols_job", date(2024, 1, 1), BEFORE, ("DDD", "CCC"), assets=CANDLES_ONLY)
SYMBOLS = Step("symbols_job", DAY, DAY, REGISTERED)
SUMMARY = Step("summary_job", DAY, DAY)
STEPS = [HISTORY, OTHER_HISTORY, CANDLES, SYMBOLS, SUMMARY]


def ended(count, *, ago=timedelta(days=1), well=False):
    return Attempts(count, NOW - ago, well)


def decide(steps, attempts=None, in_flight=()):
    return wanted(steps, attempts or {}, in_flight, NOW)


def run(job, config=None, assets=None, **tags):
    names = {"start": RANGE_START_TAG, "end": RANGE_END_TAG, "partition": PARTITION_TAG}
    return dg.DagsterRun(
        job_name=job,
        run_config=config or {},
        tags={names[k]: v for k, v in tags.items()},
        asset_selection=frozenset(dg.AssetKey(a) for a in assets) if assets else None,
    )


def backfill(**config):
    return run("backfill_job", config=backfill_config({"from": "2024-03-01", **config}))


@pytest.mark.parametrize("starter", ["schedule", "sensor"])
def test_a_requested_run_says_who_started_it(starter):
    found = run_request(SYMBOLS, DAY, 1, starter=starter)
    assert found.tags["autonama/started_by"] == starter


@pytest.mark.parametrize("config", [{}, backfill_config({}), backfill_config({"to": "latest"})])
def test_a_backfill_with_its_defaults_writes_every_day(config):
    found = work_of(run("backfill_job", config=config), REGISTERED)
    assert (found.first, found.last, found.symbols) == (date.min, date.max, None)
    assert found.touches(SYMBOLS)


def test_the_first_phase_is_asked_for_whole_and_alone():
    assert decide(STEPS) == Decision((HISTORY, OTHER_HISTORY), 1)
    assert decide(STEPS[2:]) == Decision((CANDLES,), 1)
    assert decide(STEPS[3:]) == Decision((SYMBOLS,), 1)


def test_a_complete_day_is_settled():
    assert decide([]) == Decision(is_settled=True)


@pytest.mark.parametrize("count", range(1, MAX_ATTEMPTS))
def test_a_failed_step_is_asked_for_again_after_a_pause_that_grows(count):
    pause, second = PAUSES[count - 1], timedelta(seconds=1)
    early = {phase(SYMBOLS): ended(count, ago=pause - second)}
    due = {phase(SYMBOLS): ended(count, ago=pause)}
    assert decide([SYMBOLS, SUMMARY], early) == Decision()
    assert decide([SYMBOLS, SUMMARY], due) == Decision((SYMBOLS,), count + 1)


def test_pauses_grow_and_five_attempts_are_all():
    assert list(PAUSES) == sorted(set(PAUSES))
    assert MAX_ATTEMPTS == 5
    exhausted = {phase(SYMBOLS): ended(MAX_ATTEMPTS, ago=timedelta(days=99))}
    assert decide([SYMBOLS, SUMMARY], exhausted) == Decision(is_settled=True)


def test_a_step_that_ended_well_and_is_open_still_holds_nothing_up():
    # A symbol failed: its next attempt waits, the summary does not.
    tried = {phase(SYMBOLS): ended(1, ago=timedelta(seconds=1), well=True)}
    assert decide([SYMBOLS, SUMMARY], tried) == Decision((SUMMARY,), 1)
    assert decide([SYMBOLS], tried) == Decision()


def test_a_day_is_settled_when_its_last_open_symbol_had_all_its_attempts():
    tried = {phase(SYMBOLS): ended(MAX_ATTEMPTS, well=True)}
    assert decide([SYMBOLS], tried) == Decision(is_settled=True)
    assert decide([SYMBOLS, SUMMARY], tried) == Decision((SUMMARY,), 1)


def test_an_open_step_before_an_exhausted_one_keeps_the_day_open():
    tried = {
        phase(CANDLES): ended(1, ago=timedelta(seconds=1), well=True),
        phase(SYMBOLS): ended(MAX_ATTEMPTS),
    }
    assert decide([CANDLES, SYMBOLS], tried) == Decision()


def test_attempts_at_one_phase_say_nothing_of_another():
    assert decide([CANDLES, SYMBOLS], {phase(SYMBOLS): ended(2)}) == Decision((CANDLES,), 1)


@pytest.mark.parametrize("step", [RANK, *STEPS])
def test_nothing_is_asked_for_while_a_run_of_it_is_in_flight(step):
    in_flight = work_of(run(step.job, assets=step.assets, **_range(step)), REGISTERED)
    assert in_flight == work_of_step(step)
    assert decide([step, *STEPS], in_flight=[in_flight]) == Decision()


def test_a_run_in_flight_for_one_part_of_a_phase_holds_up_all_of_it():
    assert decide(STEPS, in_flight=[work_of_step(OTHER_HISTORY)]) == Decision()


def test_a_later_phase_in_flight_does_not_hold_up_the_first():
    assert decide(STEPS, in_flight=[work_of_step(SUMMARY)]).steps == (HISTORY, OTHER_HISTORY)


def _range(step):
    tags = range_tags(step)
    return {"start": tags[RANGE_START_TAG], "end": tags[RANGE_END_TAG]}


EVERYTHING = frozenset(asset for _, of in JOBS.values() for asset in of)


@pytest.mark.parametrize(
    ("work", "touched"),
    [
        (Work(EVERYTHING, None, None, None), [RANK, *STEPS]),
        (Work(frozenset(), None, None, None), []),
        (Work(frozenset({"universe"}), DAY, DAY, None), [RANK]),
        (Work(frozenset({"universe"}), date(2024, 1, 1), BEFORE, None), []),
        (Work(frozenset({"alerts"}), DAY, DAY, None), [SYMBOLS]),
        (Work(frozenset({"ohlcv_1d"}), BEFORE, DAY, None), [CANDLES, SYMBOLS]),
        (Work(frozenset({"ohlcv_1d"}), BEFORE, DAY, frozenset({"AAA"})), [SYMBOLS]),
        # History is by symbol: whatever days a run is about, it writes the same rows.
        (Work(frozenset({"ohlcv_1d_history"}), DAY, DAY, None), [HISTORY, OTHER_HISTORY]),
        (Work(frozenset({"ohlcv_1d_history"}), None, None, frozenset({"CCC"})), [HISTORY]),
        # A step by date is about all symbols.
        (Work(frozenset({"analysis_summary"}), DAY, DAY, frozenset({"AAA"})), [SUMMARY]),
    ],
)
def test_a_run_touches_the_steps_that_would_write_the_same(work, touched):
    assert [step for step in (RANK, *STEPS) if work.touches(step)] == touched


SYMBOL_ASSETS = frozenset(JOBS["symbols_job"][1])
SUMMARY_ASSETS = frozenset(JOBS["summary_job"][1])
MARCH = date(2024, 3, 1)


@pytest.mark.parametrize(
    ("launched", "work"),
    [
        (run("universe_job", start="2024-03-01", end="2024-03-10"),
         Work(frozenset({"universe"}), MARCH, DAY, None)),
        (run("summary_job", partition="2024-03-10"), Work(SUMMARY_ASSETS, DAY, DAY, None)),
        (run("history_job", start="CCC", end="AAA"),
         Work(frozenset({"ohlcv_1d_history"}), None, None, frozenset({"CCC", "BBB", "AAA"}))),
        (run("symbols_job", start="2024-03-01|CCC", end="2024-03-10|BBB"),
         Work(SYMBOL_ASSETS, MARCH, DAY, frozenset({"CCC", "BBB"}))),
        # Runs of Dagster's own backfills are of no job of ours and name their assets.
        (run("__ASSET_JOB", assets=["signals", "alerts"], start="2024-03-01|DDD",
             end="2024-03-10|DDD"),
         Work(frozenset({"signals", "alerts"}), MARCH, DAY, frozenset({"DDD"}))),
        (run("__ASSET_JOB", assets=["ohlcv_1d"], partition="2024-03-10|BBB"),
         Work(frozenset({"ohlcv_1d"}), DAY, DAY, frozenset({"BBB"}))),
        (run("__ASSET_JOB", assets=["ohlcv_1d_history"], partition="NEW"),
         Work(frozenset({"ohlcv_1d_history"}), None, None, frozenset({"NEW"}))),
        # Without partitions it may be about all of them.
        (run("summary_job"), Work(SUMMARY_ASSETS, None, None, None)),
        (run("retention_job"), Work(frozenset(), None, None, None)),
        (backfill(), Work(EVERYTHING, MARCH, date.max, None)),
        (backfill(to="2024-03-10", symbols=["aaa "], assets=["signals"]),
         Work(frozenset({"signals"}), MARCH, DAY, frozenset({"AAA"}))),
        # It will end with an error; a tick must not end with one.
        (backfill(to="yesterday"), Work(frozenset(), None, None, None)),
    ],
)  # fmt: skip
def test_what_a_run_writes(launched, work):
    assert work_of(launched, REGISTERED) == work


def test_a_run_is_asked_for_with_its_range_its_assets_and_a_key_of_its_own():
    first, second = run_request(CANDLES, DAY, 1), run_request(CANDLES, DAY, 2)
    assert first.job_name == "symbols_job"
    assert first.asset_selection == [dg.AssetKey("ohlcv_1d")]
    assert range_tags(CANDLES).items() <= first.tags.items()
    assert run_request(SYMBOLS, DAY, 1).asset_selection is None
    keys = [first.run_key, second.run_key, run_request(CANDLES, BEFORE, 1).run_key]
    keys += [run_request(step, DAY, 1).run_key for step in (RANK, HISTORY, OTHER_HISTORY, SYMBOLS)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == run_request(CANDLES, DAY, 1).run_key


def test_a_run_without_partitions_is_asked_for_like_any_other_and_belongs_to_no_day(monkeypatch):
    monkeypatch.setitem(JOBS, "report_job", (None, ("report",)))
    step = Step("report_job", DAY, DAY)
    asked = run_request(step, DAY, 2)
    assert asked.run_key == f"{DAY}:report_job:::2"
    assert RANGE_START_TAG not in asked.tags
    assert work_of_step(step) == Work(frozenset({"report"}), None, None, None)
    assert work_of_step(step).touches(step)
    assert step.title == f"report_job: {DAY}"
