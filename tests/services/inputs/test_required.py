"""Rows that must exist of a day, as other rows tell of them."""

from datetime import date

import psycopg
import pytest
from rows import MEMBERS, add_day, insert

from autonama_dagster.services.inputs.required import lacking, lacking_lately, required
from autonama_dagster.settings import load_settings
from resources.warehouse.presence import BY_SYMBOL, stored_rows, stored_rows_by
from resources.warehouse.table_facts import BY_MEMBER

FIRST, SECOND, THIRD = (date(2024, 1, n) for n in (1, 2, 3))


@pytest.fixture
def connection(database):
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def lately(connection, registered=(), last=SECOND):
    return lacking_lately(connection, load_settings(), registered, last)


def wanted(connection, registered=(), **options):
    return required(stored_rows_by(connection, FIRST, THIRD), FIRST, THIRD, registered, **options)


def test_both_drivers_find_the_same(connection, warehouse):
    add_day(connection, FIRST)
    add_day(connection, SECOND, without=("signals", "analysis_summary"))
    insert(connection, "quarantine", table_name="alerts", symbol="AAA", date=SECOND)
    found = stored_rows(warehouse, FIRST, SECOND)
    assert found == stored_rows_by(connection, FIRST, SECOND)
    assert found.rows["alerts"] == dict.fromkeys((FIRST, SECOND), frozenset(MEMBERS))
    assert found.rows["signals"] == {FIRST: frozenset(MEMBERS)}
    assert found.pairs == {FIRST: 1, SECOND: 1}
    assert found.span == (FIRST, FIRST)
    assert found.kept_out == {SECOND: {"AAA"}}
    assert found.asked == {*MEMBERS}
    assert stored_rows(warehouse, SECOND, THIRD).earlier == {*MEMBERS}


def test_an_empty_database_must_have_nothing(connection):
    assert wanted(connection, ("AAA",)).days == []
    assert lately(connection, ("AAA",)) == ()


@pytest.mark.parametrize("name", BY_MEMBER)
def test_a_row_that_a_complete_day_must_have_had(connection, name):
    add_day(connection, FIRST)
    add_day(connection, SECOND)
    assert lately(connection) == ()
    for day in (FIRST, SECOND):
        connection.execute(f"DELETE FROM trading.{name} WHERE date = %s AND symbol = 'BBB'", (day,))
    found = {r.table: (r.count, r.symbol, r.day, r.first) for r in lately(connection)}
    assert found == {name: (2, "BBB", SECOND, FIRST)}


def test_a_rank_that_a_complete_day_must_have_had(connection):
    add_day(connection, FIRST)
    connection.execute("UPDATE trading.signals SET is_member = true")
    connection.execute("DELETE FROM trading.universe WHERE symbol = 'AAA'")
    connection.execute("DELETE FROM trading.correlation_matrix")  # of one member there is none
    assert [(r.table, r.symbol) for r in lately(connection)] == [("universe", "AAA")]


def test_pairs_and_whole_tables_of_a_day_are_missed(connection):
    add_day(connection, FIRST)
    add_day(connection, SECOND)
    connection.execute("DELETE FROM trading.correlation_matrix WHERE date = %s", (SECOND,))
    connection.execute("DELETE FROM trading.signals WHERE date = %s", (SECOND,))
    assert [(r.table, r.count, r.symbol, r.day) for r in lately(connection)] == [
        ("signals", 2, "AAA", SECOND), ("correlation_matrix", 1, None, SECOND)
    ]  # fmt: skip


def test_a_symbol_that_lost_all_its_rows_is_missed_where_it_is_registered(connection):
    for day in (FIRST, SECOND):
        add_day(connection, day)
        insert(connection, "universe", date=day, symbol="OLD", is_member=False)
    insert(connection, "fetch_log", symbol="OLD", interval="1d", from_date=FIRST, to_date=SECOND)
    for name in BY_MEMBER:
        insert(connection, name, date=FIRST, symbol="OLD")
    assert lately(connection) == ()  # it may have been retired
    found = {(r.table, r.symbol, r.day) for r in lately(connection, (*MEMBERS, "OLD"))}
    assert found == {(name, "OLD", SECOND) for name in BY_SYMBOL if name != "indicators"}


def test_a_registered_symbol_is_not_missed_before_it_had_a_row(connection):
    add_day(connection, FIRST)
    add_day(connection, SECOND)
    assert lately(connection, (*MEMBERS, "NEW")) == ()


def test_a_stranger_is_not_asked_for_and_nothing_of_it_is_missed(connection):
    add_day(connection, FIRST)
    insert(connection, "signals", date=FIRST, symbol="FAKE", is_member=False, universe_rank=None)
    found = wanted(connection)
    assert found.strangers[FIRST] == {"FAKE"}
    assert found.known[FIRST] == {*MEMBERS}
    assert lately(connection) == ()


def test_what_a_day_may_lack(connection, monkeypatch):
    add_day(connection, FIRST, without=("ohlcv_1d", "indicators", "analysis_summary"))
    assert lately(connection) == ()  # the day is not complete
    insert(connection, "analysis_summary", date=FIRST)
    connection.execute("UPDATE trading.signals SET status = 'NO_DATA'")
    assert lately(connection) == ()  # no data
    connection.execute("DELETE FROM trading.alerts")
    assert [r.table for r in lately(connection)] == ["alerts"]
    monkeypatch.setenv("AUTONAMA_RETENTION_ALERTS_DAYS", "30")
    assert lately(connection) == ()


def test_rows_in_the_quarantine_are_not_missed(connection):
    add_day(connection, FIRST)
    connection.execute("DELETE FROM trading.signals WHERE symbol = 'AAA'")
    assert [r.table for r in lately(connection)] == ["signals"]
    insert(connection, "quarantine", table_name="regression_bands", symbol="AAA", date=FIRST)
    assert lately(connection) == ()


def test_every_day_between_summaries_must_have_one(connection):
    add_day(connection, FIRST)
    add_day(connection, THIRD)
    found = wanted(connection)
    assert found.summaries == {FIRST, SECOND, THIRD}
    assert found.days == [FIRST, SECOND, THIRD]
    assert wanted(connection, since={"analysis_summary": THIRD}).summaries == {THIRD}
    stored = stored_rows_by(connection, FIRST, THIRD)
    assert lacking(found, stored, stored.summaries) == []
