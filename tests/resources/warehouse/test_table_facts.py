"""What the tables hold: days that lack something, symbols without an answer, sizes."""

from datetime import date

import psycopg
import pytest
from rows import MEMBERS, add_day, insert

from resources.warehouse.table_facts import BY_MEMBER, read_tables

FIRST, SECOND, THIRD = (date(2024, 1, n) for n in (1, 2, 3))


@pytest.fixture
def connection(database):
    with psycopg.connect(database) as opened:
        yield opened


def state(facts, name):
    return next(t for t in facts.tables if t.name == name)


def test_an_empty_database_has_tables_without_days(connection):
    facts = read_tables(connection, ("AAA",), THIRD)
    assert {t.latest_day for t in facts.tables} == {None}
    assert (facts.latest_summary, facts.day, facts.unanswered) == (None, None, ())
    assert facts.without_summary == facts.without_universe == ()


def test_a_database_before_the_first_migration(postgres):
    with psycopg.connect(postgres.url("postgres")) as connection:
        facts = read_tables(connection, (), THIRD)
    assert facts.tables == ()
    assert facts.database_bytes > 0


def test_a_complete_day(connection):
    add_day(connection, FIRST)
    facts = read_tables(connection, MEMBERS, FIRST)
    for name in (*BY_MEMBER, "universe", "correlation_matrix", "analysis_summary"):
        assert (state(facts, name).latest_day, state(facts, name).complete_day) == (FIRST, FIRST)
    assert (facts.first_summary, facts.latest_summary, facts.day) == (FIRST, FIRST, FIRST)
    assert facts.failed_fetches == facts.unanswered == facts.without_summary == ()


def test_a_table_is_complete_up_to_the_last_day_on_which_no_member_lacks_its_row(connection):
    add_day(connection, FIRST)
    add_day(connection, SECOND, without=("signals",))
    insert(connection, "signals", date=SECOND, symbol="AAA")
    facts = read_tables(connection, MEMBERS, SECOND)
    assert (state(facts, "signals").latest_day, state(facts, "signals").complete_day) == (
        SECOND,
        FIRST,
    )
    assert state(facts, "alerts").complete_day == SECOND


def test_symbols_that_are_no_members_may_lack_their_rows(connection):
    add_day(connection, FIRST)
    insert(connection, "universe", date=FIRST, symbol="CCC", is_member=False)
    assert state(read_tables(connection, MEMBERS, FIRST), "signals").complete_day == FIRST


def test_days_that_lack_a_summary_or_a_universe(connection):
    add_day(connection, FIRST)
    add_day(connection, SECOND, without=("analysis_summary",))
    facts = read_tables(connection, MEMBERS, THIRD)
    assert facts.without_summary == (SECOND, THIRD)
    assert facts.without_universe == (THIRD,)


def test_symbols_without_an_answer(connection):
    add_day(connection, FIRST)
    log = {"interval": "1d", "from_date": FIRST, "to_date": FIRST}
    insert(connection, "fetch_log", symbol="FAILS", outcome="failed", **log)
    insert(connection, "fetch_log", symbol="LATER", outcome="failed", run_id="1", **log)
    insert(connection, "fetch_log", symbol="LATER", outcome="empty", run_id="2", **log)
    ranking = {**log, "interval": "1d-ranking"}
    insert(connection, "fetch_log", symbol="RANKS", outcome="failed", **ranking)
    facts = read_tables(connection, (*MEMBERS, "FAILS", "LATER", "NEVER"), FIRST)
    assert facts.failed_fetches == ("FAILS", "RANKS")
    assert facts.unanswered == ("FAILS", "NEVER")


def test_answers_are_asked_for_up_to_the_expected_day_only(connection):
    add_day(connection, FIRST)
    add_day(connection, SECOND)
    facts = read_tables(connection, (*MEMBERS, "NEW"), FIRST)
    assert facts.day == FIRST


def test_quarantined_candles(connection):
    add_day(connection, SECOND)
    for day in (FIRST, SECOND):
        insert(connection, "quarantine", table_name="ohlcv_1d", symbol="AAA", date=day,
               exchange="binance")  # fmt: skip
    insert(connection, "quarantine", table_name="signals", symbol="AAA", date=SECOND)
    insert(connection, "quarantine", table_name="ohlcv_1d", date=SECOND, exchange="other")
    facts = read_tables(connection, MEMBERS, SECOND)
    assert (facts.quarantined, facts.quarantined_today) == (2, 1)


def test_sizes_count_indexes_and_rows(connection):
    add_day(connection, FIRST)
    connection.commit()
    connection.execute("ANALYZE trading.signals")
    facts = read_tables(connection, MEMBERS, FIRST)
    signals = state(facts, "signals")
    assert signals.rows == 2
    assert signals.bytes > signals.index_bytes > 0
    assert facts.database_bytes > sum(t.bytes for t in facts.tables)


def test_the_days_of_a_table_are_read_from_an_index(connection):
    # The bookkeeping tables have none that leads with the date: they are left out, not scanned.
    add_day(connection, FIRST)
    insert(connection, "quarantine", table_name="ohlcv_1d", date=FIRST, exchange="binance")
    assert state(read_tables(connection, MEMBERS, FIRST), "quarantine").latest_day is None
