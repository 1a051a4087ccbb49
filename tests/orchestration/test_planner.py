from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonama_dagster.orchestration.completeness import AT_ONCE, PlannedStage
from autonama_dagster.orchestration.planner import (
    CANDLES_ONLY,
    RANKED_AT_ONCE,
    ROWS_AT_ONCE,
    State,
    candle_steps,
    chunks,
    days_per_run,
    next_steps,
    ranking_steps,
    rectangles,
    summary_steps,
)

START = date(2023, 1, 1)
DAY = date(2023, 12, 29)
WINDOW = DAY - timedelta(days=719)
ALL = (WINDOW, DAY)


def stage(name, job, partitions, *needs, **more):
    return PlannedStage(name, job, partitions, frozenset(needs), **more)


STAGES = (
    stage("ohlcv_1d", "symbols_job", "date_symbol"),
    stage("data_quality", "symbols_job", "date_symbol", "ohlcv_1d"),
    stage("indicators", "symbols_job", "date_symbol", "ohlcv_1d"),
    stage("signals", "symbols_job", "date_symbol", "universe", "data_quality", "indicators"),
    stage("alerts", "symbols_job", "date_symbol", "signals"),
    stage("correlation_matrix", "summary_job", "date", "universe", "ohlcv_1d"),
    stage("analysis_summary", "summary_job", "date", "signals", "correlation_matrix"),
)
BY_SYMBOL = [s.name for s in STAGES if s.is_by_symbol]
BY_DAY = [s.name for s in STAGES if not s.is_by_symbol]


def rows(symbols, day=DAY):
    """What the tables have of a day by symbol, as if it was all made in one run."""
    return {name: {day: frozenset(symbols)} for name in BY_SYMBOL}


SUMMARISED = {name: {DAY: AT_ONCE} for name in BY_DAY}


def known(fetched, *decided, is_summarised=False):
    """A day whose universe is stored; the keys of `fetched` are registered."""
    made = rows(decided) | (SUMMARISED if is_summarised else {})
    return State(has_universe=True, registered=tuple(fetched), fetched=fetched, made=made)


def plan(state, stages=STAGES, **options):
    return next_steps(DAY, state, stages, start_date=START, lookback=720, **options)


def jobs(steps):
    return [(s.job, s.first, s.last, s.symbols) for s in steps]


def test_the_universe_comes_first_and_alone():
    assert jobs(plan(State(has_universe=False))) == [("universe_job", DAY, DAY, ())]


def test_new_members_get_history_then_missing_days_then_the_day_then_the_summary():
    steps = plan(State(has_universe=True, registered=("AAA", "BBB")))
    both = ("AAA", "BBB")
    assert jobs(steps) == [
        ("history_job", WINDOW, START - timedelta(days=1), both),
        ("symbols_job", START, DAY - timedelta(days=1), both),
        ("symbols_job", DAY, DAY, both),
        ("summary_job", DAY, DAY, ()),
    ]
    assert steps[0].config == {"ohlcv_1d_history": {"first_date": "2022-01-09"}}
    assert steps[1].assets == CANDLES_ONLY
    assert steps[2].assets is None


def test_a_complete_day_needs_nothing():
    state = known({"AAA": [ALL]}, "AAA", is_summarised=True)
    assert plan(state) == []


def test_a_missing_summary_is_all_that_is_made():
    assert jobs(plan(known({"AAA": [ALL]}, "AAA"))) == [("summary_job", DAY, DAY, ())]


def test_one_new_member_among_known_ones_is_fetched_alone():
    state = known({"AAA": [(WINDOW, DAY - timedelta(days=1))], "NEW": []})
    assert [(s.job, s.symbols) for s in plan(state)] == [
        ("history_job", ("NEW",)),
        ("symbols_job", ("NEW",)),
        ("symbols_job", ("AAA", "NEW")),
        ("summary_job", ()),
    ]


def test_a_run_never_leaves_out_a_symbol_between_two_that_need_it():
    state = known({"AAA": [], "BBB": [ALL], "CCC": []}, "BBB")
    day_step = [s for s in plan(state) if s.first == DAY and s.symbols][-1]
    assert day_step.symbols == ("AAA", "BBB", "CCC")


def test_a_range_answered_with_no_candle_is_not_missing():
    ranges = [(WINDOW, START - timedelta(days=1)), (START, DAY)]
    assert plan(known({"GONE": ranges}, "GONE", is_summarised=True)) == []


def test_charts_reach_further_back_without_deciding_again():
    state = known({"AAA": [ALL]}, "AAA", is_summarised=True)
    steps = plan(state, chart_days=180)
    assert [s.job for s in steps] == ["history_job", "summary_job"]
    assert steps[0].first == WINDOW - timedelta(days=179)
    assert steps[1].config == {"analysis_summary": {"symbol_charts": True}}


def test_a_window_that_begins_after_the_start_date_needs_no_history():
    day = START + timedelta(days=1000)
    state = State(has_universe=True, registered=("AAA",))
    steps = next_steps(day, state, STAGES, start_date=START, lookback=720)
    assert [s.job for s in steps] == ["symbols_job", "symbols_job", "summary_job"]
    assert steps[0].first == day - timedelta(days=719)


def on(*numbers):
    return [START + timedelta(days=n) for n in numbers]


def test_neighbouring_days_are_ranked_by_one_run():
    steps = ranking_steps(on(7, 1, 2, 3, 9, 8))
    assert jobs(steps) == [("universe_job", *on(1, 3), ()), ("universe_job", *on(7, 9), ())]
    assert ranking_steps([]) == []


def test_one_run_ranks_no_more_days_than_fit_the_memory():
    spans = [(s.first, s.last) for s in ranking_steps(on(*range(RANKED_AT_ONCE + 5)))]
    cut = RANKED_AT_ONCE
    assert spans == [tuple(on(0, cut - 1)), tuple(on(cut, cut + 4))]


def test_candles_of_a_range_are_fetched_with_the_windows_of_all_its_days():
    fetched = {"BBB": [(WINDOW, DAY)]}
    first = DAY - timedelta(days=9)
    steps = candle_steps(first, DAY, ("AAA", "BBB"), fetched, start_date=START, lookback=720)
    reach = first - timedelta(days=719)
    assert jobs(steps) == [
        ("history_job", reach, START - timedelta(days=1), ("AAA",)),
        ("history_job", reach, START - timedelta(days=1), ("BBB",)),
        ("symbols_job", START, DAY, ("AAA",)),
    ]
    assert steps[-1].assets == CANDLES_ONLY


def test_without_a_window_only_the_days_themselves_are_fetched():
    steps = candle_steps(DAY, DAY, ("AAA",), {}, start_date=START, lookback=1)
    assert jobs(steps) == [("symbols_job", DAY, DAY, ("AAA",))]


def test_nobody_registered_needs_no_candles():
    assert candle_steps(START, DAY, (), {}, start_date=START, lookback=720) == []


@given(st.integers(0, 400), st.integers(1, 50))
def test_chunks_hold_every_day_once(more, days):
    last = START + timedelta(days=more)
    found = chunks(START, last, days)
    covered = [a + timedelta(days=n) for a, b in found for n in range((b - a).days + 1)]
    assert covered == on(*range(more + 1))
    assert all((b - a).days + 1 == days for a, b in found[:-1])


@pytest.mark.parametrize(
    ("symbols", "days", "processes", "expected"),
    [
        (100, 720, 2, ROWS_AT_ONCE // 100),
        (200, 720, 2, ROWS_AT_ONCE // 100),  # in two runs of 100
        (150, 720, 2, 30),  # in two runs of 75: 24 chunks of 30 days, not 22.5 of 32
        (100, 10, 2, 5),
        (100, 11, 2, 6),
        (100, 1, 2, 1),
        (ROWS_AT_ONCE // 60, 180, 2, 45),  # four of 45, not three of 60
        (0, 10, 2, 5),
        (10 * ROWS_AT_ONCE, 720, 2, ROWS_AT_ONCE // 100),
    ],
)
def test_a_chunk_fits_the_memory_and_leaves_each_process_its_share(
    symbols, days, processes, expected
):
    assert days_per_run(symbols, days, processes) == expected


def test_a_rectangle_holds_what_is_undone_and_not_the_days_around_it():
    undone = dict(zip(on(0, 1, 2, 3, 4), ["", "B", "", "C", ""], strict=True))
    assert rectangles(undone, "ABCD", "ABCD") == [(*on(1, 3), ("B", "C"))]


def test_a_rectangle_never_holds_a_symbol_that_is_not_chosen():
    undone = {START: {"A", "C", "E"}}
    assert rectangles(undone, "ABCDE", "ACDE") == [
        (START, START, ("A",)),
        (START, START, ("C", "D", "E")),
    ]


@pytest.mark.parametrize(("symbols", "runs"), [(100, [100]), (101, [51, 50]), (250, [84, 84, 82])])
def test_a_rectangle_has_a_hundred_symbols_at_most(symbols, runs):
    registered = tuple(f"S{n}" for n in range(symbols))
    found = rectangles({START: set(registered)}, registered, frozenset(registered))
    assert [len(who) for *_, who in found] == runs
    assert tuple(symbol for *_, who in found for symbol in who) == registered


@pytest.mark.parametrize(("members", "runs"), [(100, 1), (200, 2), (500, 8), (1001, 30), (1, 1)])
def test_summaries_of_many_members_are_made_in_more_runs(members, runs):
    days = on(*range(30))
    found = summary_steps(days, members, ("correlation_matrix",))
    assert len(found) == runs
    assert (found[0].first, found[-1].last) == (days[0], days[-1])
    assert summary_steps([], members, ("correlation_matrix",)) == []


@pytest.mark.parametrize("undone", [{}, {START: frozenset()}])
def test_nothing_undone_needs_no_rectangle(undone):
    assert rectangles(undone, ["A"], {"A"}) == []
    assert rectangles(undone, [], frozenset()) == []


@given(
    st.dictionaries(st.integers(0, 9).map(lambda n: on(n)[0]), st.sets(st.sampled_from("ABCDE"))),
    st.sets(st.sampled_from("ABCDE"), min_size=1),
)
def test_rectangles_cover_what_is_undone_in_the_order_of_registration(undone, chosen):
    undone = {day: symbols & chosen for day, symbols in undone.items()}
    found = rectangles(undone, "EDCBA", chosen)
    for day, symbols in undone.items():
        for symbol in symbols:
            assert any(a <= day <= b and symbol in who for a, b, who in found)
    for _, _, who in found:
        assert chosen >= set(who)
        assert "".join(who) in "EDCBA"
