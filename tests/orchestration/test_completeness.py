"""What lacks, of any stages: found, planned in an order that works, and nothing else."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from autonama_dagster.orchestration.completeness import AT_ONCE, UNDATED, PlannedStage, lacking
from autonama_dagster.orchestration.planner import State, fill_steps, next_steps

DAY = date(2024, 3, 10)
START = date(2024, 1, 1)
LATER = 3  # days until the rows of some stages can be made
REGISTERED = tuple("EDCBA")
WINDOW = 10
FETCHED = {s: [(DAY - timedelta(days=WINDOW), DAY)] for s in REGISTERED}
JOBS = {"first": "date_symbol", "second": "date", "third": "date_symbol", "fourth": None}
BRIEF = st.sets(st.sampled_from(REGISTERED)).map(frozenset)


@st.composite
def pipelines(draw):
    """Stages of four jobs, each made from some before it; some are off, those of a job due late."""
    stages = []
    for job, partitions in JOBS.items():
        due_after = draw(st.sampled_from([0, LATER])) if job == "third" else 0
        for number in range(draw(st.integers(1, 2))):
            before = [s.name for s in stages if partitions is None or not s.due_after or due_after]
            needs = frozenset(draw(st.sets(st.sampled_from(before)))) if before else frozenset()
            is_on = draw(st.integers(0, 5)) > 0
            stages.append(PlannedStage(f"{job}_{number}", job, partitions, needs, due_after, is_on))
    return tuple(stages)


@st.composite
def tables(draw, stages, days):
    """What each stage has of the days."""
    made = {}
    for stage in stages:
        of = days if stage.partitions else [UNDATED]
        some = BRIEF if stage.is_by_symbol else st.sampled_from([AT_ONCE, frozenset()])
        made[stage.name] = {day: draw(some) for day in of}
    return made


@st.composite
def pasts(draw, days=(DAY, DAY - timedelta(days=LATER))):
    stages = draw(pipelines())
    return stages, draw(tables(stages, days))


def plan(stages, made, **options):
    state = State(has_universe=True, registered=REGISTERED, fetched=FETCHED, made=made)
    return next_steps(DAY, state, stages, start_date=START, lookback=WINDOW, **options)


def is_wanted(stage, day, symbol, by_name, made):
    """Whether a row is to be made, told row by row from the rules."""
    if not stage.is_on:
        return False
    upstream = [by_name[n] for n in stage.needs if by_name[n].is_on]
    if stage.due_after and not all(
        is_there(up, day, symbol if stage.is_by_symbol else None, by_name, made)
        for up in upstream
        if up.partitions
    ):
        return False
    if symbol not in made[stage.name].get(day, ()):
        return True
    for up in upstream:
        of = [symbol] if stage.is_by_symbol and up.is_by_symbol else [*REGISTERED, ""]
        for other in of:
            if (other == "") != up.is_by_symbol and is_row_wanted(
                stage, up, day, other, by_name, made
            ):
                return True
    return False


def is_row_wanted(stage, up, day, symbol, by_name, made):
    if up.partitions is None:
        return is_wanted(up, UNDATED, symbol, by_name, made)
    if stage.partitions is None:
        return is_wanted(up, up.due_on(DAY), symbol, by_name, made)
    is_due = up.due_on(DAY) == day
    return is_due and is_wanted(up, day, symbol, by_name, made)


def is_there(up, day, symbol, by_name, made):
    """Whether upstream rows are there, or will be: the symbol's, or any."""
    of = REGISTERED if up.is_by_symbol else [""]
    of = [symbol] if symbol and up.is_by_symbol else of
    is_due = up.due_on(DAY) == day
    return any(
        s in made[up.name].get(day, ()) or (is_due and is_wanted(up, day, s, by_name, made))
        for s in of
    )


def cells(found):
    """Stage, day and symbol of each row that lacks."""
    return {
        (name, day, symbol)
        for name, days in found.items()
        for day, symbols in days.items()
        for symbol in symbols
    }


@given(pasts())
def test_what_lacks_is_what_has_no_row_or_follows_from_what_has_none(past):
    stages, made = past
    by_name = {s.name: s for s in stages}
    expected = {
        (s.name, s.due_on(DAY), symbol)
        for s in stages
        for symbol in (REGISTERED if s.is_by_symbol else [""])
        if is_wanted(s, s.due_on(DAY), symbol, by_name, made)
    }
    found = lacking(stages, made, REGISTERED, lambda s: [s.due_on(DAY)])
    assert cells(found) == expected


def rows_of(step, stages):
    """Stage, day and symbol of each row that the step makes, stage by stage."""
    for stage in stages:
        if stage.job == step.job and (step.assets is None or stage.name in step.assets):
            for n in range((step.last - step.first).days + 1):
                day = step.first + timedelta(days=n) if stage.partitions else UNDATED
                yield from ((stage, day, symbol) for symbol in step.symbols or [""])


def executed(steps, stages, made):
    """The tables after the steps, each row made after those that it is made from."""
    made = {name: dict(days) for name, days in made.items()}
    pending = [row for step in steps for row in rows_of(step, stages)]
    for place, (stage, day, symbol) in enumerate(pending):
        later = pending[place + 1 :]
        for up, of, other in later:
            is_own = of == day or UNDATED in (of, day)
            is_own = is_own and (other == symbol or "" in (other, symbol))
            assert not (up.name in stage.needs and is_own), "made before what it is made from"
        made[stage.name][day] = made[stage.name].get(day, frozenset()) | {symbol}
    return made


@given(pasts())
def test_a_plan_makes_all_that_lacks_once_and_in_order(past):
    stages, made = past
    steps = plan(stages, made)
    assert plan(stages, executed(steps, stages, made)) == []
    lack = lacking(stages, made, REGISTERED, lambda s: [s.due_on(DAY)])
    planned = {(stage.name, day) for step in steps for stage, day, _ in rows_of(step, stages)}
    assert planned == {(name, day) for name, days in lack.items() for day in days}
    assert all("".join(step.symbols) in "".join(REGISTERED) for step in steps)


@given(pasts())
def test_what_is_off_is_never_planned_and_what_is_due_later_not_before_its_time(past):
    stages, made = past
    for step in plan(stages, made):
        for stage, day, _ in rows_of(step, stages):
            assert stage.is_on
            assert day in (UNDATED, DAY - timedelta(days=stage.due_after))


def test_a_day_before_the_first_partition_is_not_due():
    late = PlannedStage("late", "third", "date_symbol", due_after=LATER)
    made = {"late": {}}
    state = State(has_universe=True, registered=REGISTERED, fetched=FETCHED, made=made)
    for start, expected in ((DAY - timedelta(days=LATER), 1), (DAY - timedelta(days=2), 0)):
        steps = next_steps(DAY, state, [late], start_date=start, lookback=1)
        assert len(steps) == expected


def test_rows_that_are_due_later_are_made_only_where_what_they_are_made_from_is():
    signals = PlannedStage("signals", "first", "date_symbol")
    late = PlannedStage("late", "third", "date_symbol", frozenset({"signals"}), LATER)
    before = DAY - timedelta(days=LATER)
    made = {"signals": {DAY: frozenset(REGISTERED), before: frozenset("EDBA")}}
    steps = plan([signals, late], made)
    assert [(s.job, s.first, s.symbols) for s in steps] == [
        ("third", before, ("E", "D")),
        ("third", before, ("B", "A")),
    ]


def test_what_is_made_of_all_symbols_can_wait_for_one_that_is_open():
    signals = PlannedStage("signals", "first", "date_symbol")
    summary = PlannedStage("summary", "second", "date", frozenset({"signals"}))
    made = {"signals": {DAY: frozenset("EDCB")}, "summary": {DAY: AT_ONCE}}
    stages = [signals, summary]
    assert [s.job for s in plan(stages, made)] == ["first", "second"]
    assert [s.job for s in plan(stages, made, again=False)] == ["first"]
    assert [s.job for s in plan(stages, made | {"summary": {}}, again=False)] == ["first", "second"]


DAYS = [DAY - timedelta(days=n) for n in reversed(range(5))]


@given(pasts(DAYS), BRIEF)
def test_a_backfill_makes_all_that_lacks_of_the_chosen_symbols_and_of_no_other(past, chosen):
    stages, made = past

    def steps(made):
        return fill_steps(
            DAYS, made, stages, registered=REGISTERED, chosen=chosen, latest=DAY, members=9
        )

    planned = steps(made)
    assert steps(executed(planned, stages, made)) == []
    for step in planned:
        assert chosen >= set(step.symbols)
        for stage, day, _ in rows_of(step, stages):
            assert stage.is_on
            assert day == UNDATED or day + timedelta(days=stage.due_after) <= DAY
