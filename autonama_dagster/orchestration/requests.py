"""Which runs to ask Dagster for: the planner's steps, once each, and again when they failed.

`wanted` is a pure function. The rest reads from Dagster which runs there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, Literal

import dagster as dg

from autonama_dagster.orchestration.execution import origin_tags
from autonama_dagster.orchestration.jobs import JOBS, range_tags, run_config
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.schemas.partitions import RANGE_END_TAG, RANGE_START_TAG, rectangle_of_run

DAY_TAG = "autonama/day"
LATEST = "latest"  # instead of a backfill's last day
REVISIONS_TAG = "autonama/revisions"
STEP_TAG = "autonama/step"
ATTEMPT_TAG = "autonama/attempt"
# Before the second, third, ... attempt. After the last the day is left as it is.
PAUSES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=20), timedelta(hours=1))
MAX_ATTEMPTS = len(PAUSES) + 1
IN_FLIGHT = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Attempts:
    """Attempts at a step that have ended: how many, when the last did, and whether it succeeded."""

    count: int = 0
    last_end: datetime | None = None
    has_succeeded: bool = False

    def may_begin(self, now: datetime) -> bool:
        """Whether another attempt is due."""
        if self.last_end is None:
            return True
        return self.count < MAX_ATTEMPTS and now - self.last_end >= PAUSES[self.count - 1]


@dataclass(frozen=True)
class Work:
    """What a run in flight writes; None stands for everything."""

    assets: frozenset[str]
    first: date | None
    last: date | None
    symbols: frozenset[str] | None

    def touches(self, step: Step) -> bool:
        """Whether the run makes something that the step would make."""
        if self.assets.isdisjoint(step.assets or JOBS[step.job][1]):
            return False
        if self.first is not None and self.last is not None:
            is_by_day = JOBS[step.job][0] not in {"symbol", None}
            if is_by_day and (self.last < step.first or step.last < self.first):
                return False
        return not self.symbols or not step.symbols or not self.symbols.isdisjoint(step.symbols)


@dataclass(frozen=True)
class Decision:
    """What to ask for now, and whether nothing more can be done for the day."""

    steps: tuple[Step, ...] = ()
    attempt: int = 1
    is_settled: bool = False


def phase(step: Step) -> str:
    """Steps of one phase can run at the same time; the next phase needs them."""
    return f"{step.job}:{','.join(step.assets or ())}"


def wanted(
    steps: Sequence[Step],
    attempts: Mapping[str, Attempts],
    in_flight: Sequence[Work],
    now: datetime,
) -> Decision:
    """The first phase of the steps that may begin.

    A phase whose last attempt ended well and that still is open, because a symbol failed, waits for
    its next attempt and holds nothing up; one whose last attempt failed holds up what follows.

    Parameters
    ----------
    steps
        The planner's steps of one day, in order.
    attempts
        Ended attempts of this day by phase.
    in_flight
        Runs that are queued or have started, whoever asked for them.
    now
        This machine's time, aware: it stamped the ends of the attempts.
    """
    is_settled = True
    for name, group in groupby(steps, key=phase):
        of_phase = tuple(group)
        if any(work.touches(step) for work in in_flight for step in of_phase):
            return Decision()
        tried = attempts.get(name, Attempts())
        if tried.may_begin(now):
            return Decision(of_phase, tried.count + 1)
        is_settled = is_settled and tried.count >= MAX_ATTEMPTS
        if not tried.has_succeeded:
            return Decision(is_settled=is_settled)
    return Decision(is_settled=is_settled)


def run_request(
    step: Step,
    day: date | str,
    attempt: int,
    tag: str = DAY_TAG,
    *,
    starter: Literal["schedule", "sensor"] = "sensor",
) -> dg.RunRequest:
    """The step as a run; its key is the step, its range and the attempt.

    Attempts are counted by the day of a scan, or by what else the tag says.
    """
    tags = range_tags(step)
    key = f"{day}:{phase(step)}:{_range_of(tags)}:{attempt}"
    return dg.RunRequest(
        run_key=key,
        job_name=step.job,
        run_config=run_config(step),
        tags={
            **tags,
            **origin_tags(starter),
            tag: str(day),
            STEP_TAG: phase(step),
            ATTEMPT_TAG: str(attempt),
        },
        asset_selection=[dg.AssetKey(a) for a in step.assets] if step.assets else None,
    )


def read_attempts(
    instance: dg.DagsterInstance, day: date | str, tag: str = DAY_TAG
) -> dict[str, Attempts]:
    """Ended attempts at the day's steps, by phase; one succeeds when all its runs do."""
    records = instance.get_run_records(dg.RunsFilter(tags={tag: str(day)}))
    found: dict[str, Attempts] = {}
    # Dagster itself starts a lost run again: of the runs over one range the latest counts.
    ended: dict[tuple[str, int], dict[str, bool]] = {}
    for record in sorted(records, key=lambda r: r.storage_id):
        run = record.dagster_run
        if run.status in IN_FLIGHT:
            continue
        name, count = run.tags[STEP_TAG], int(run.tags[ATTEMPT_TAG])
        ranges = ended.setdefault((name, count), {})
        ranges[_range_of(run.tags)] = run.is_success
        end = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
        found[name] = Attempts(count, end, all(ranges.values()))
    return found


def read_in_flight(instance: dg.DagsterInstance, registered: Sequence[str]) -> list[Work]:
    """What the runs write that are queued or have started, whoever asked for them."""
    runs = instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT))
    return [work_of(run, registered) for run in runs]


def work_of(run: dg.DagsterRun, registered: Sequence[str]) -> Work:
    """What the run writes, by its job, its tags and its configuration."""
    chosen = {key.to_user_string() for key in run.asset_selection or ()}
    assets = frozenset(chosen or JOBS.get(run.job_name, ("", ()))[1])
    if run.job_name == "backfill_job":
        return _work_of_backfill(run)
    symbols, first, last = rectangle_of_run(run.tags, registered)
    return Work(assets, first, last, None if symbols is None else frozenset(symbols))


def work_of_step(step: Step) -> Work:
    """What the run of the step will write."""
    kind, assets = JOBS[step.job]
    first, last = (None, None) if kind in {"symbol", None} else (step.first, step.last)
    return Work(frozenset(step.assets or assets), first, last, frozenset(step.symbols) or None)


def _range_of(tags: Mapping[str, str]) -> str:
    """The run's range of partitions, empty where it has none."""
    return "..".join(tags[tag] for tag in (RANGE_START_TAG, RANGE_END_TAG) if tag in tags)


def _work_of_backfill(run: dg.DagsterRun) -> Work:
    run_config: Any = run.run_config
    config = run_config.get("ops", {}).get("backfill", {}).get("config", {})
    everything = frozenset(asset for _, of in JOBS.values() for asset in of)
    begin, end = config.get("from"), config.get("to", LATEST)
    try:
        first = date.fromisoformat(begin) if begin else date.min
        last = date.max if end == LATEST else date.fromisoformat(end)
    except ValueError:  # it ends with an error before it writes anything
        return Work(frozenset(), None, None, None)
    return Work(
        frozenset(config.get("assets") or everything),
        first,
        last,
        frozenset(s.strip().upper() for s in config.get("symbols", ())) or None,
    )
