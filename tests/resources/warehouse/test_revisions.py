"""Replaced candles are kept as revisions."""

from datetime import date

import pandas as pd
import psycopg
import pytest
from support import NOW, STAMPS, candles

from autonama_dagster.errors import DatabaseError, InputError
from autonama_dagster.schemas.registry import table
from resources.postgres.urls import libpq_url
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

DAYS = ["2024-01-01", "2024-01-02"]
BOTH = Scope(("AAA", "BBB"), date(2024, 1, 1), date(2024, 1, 2))
FIRST = Scope(("AAA",), last=date(2024, 1, 1))
RAW = "1.50,1.6E+2,1.4e-1,1.55,9.0,13.5,7,4.0,6.00"
HOUR = pd.Timedelta(hours=1)


def hourly(symbols, days, close=10.0):
    """Candles of the first hour of each day."""
    frame = candles(symbols, days, close)
    frame.insert(2, "open_time", frame["date"].dt.tz_localize("UTC").dt.as_unit("us"))
    return frame


MAKERS = {"ohlcv_1d": candles, "ohlcv_1h": hourly, "ohlcv_15m": hourly}


@pytest.fixture(params=list(MAKERS))
def name(request):
    return request.param


@pytest.fixture
def put(warehouse, name):
    """Writes candles of AAA and BBB, two days, AAA's first one at another price and time."""

    def write(close=10.0, after=0, **columns):
        make = MAKERS[name]
        changed = make(["AAA"], DAYS[:1], close).assign(fetched_at=NOW + after * HOUR, **columns)
        others = pd.concat([make(["AAA"], DAYS[1:]), make(["BBB"], DAYS)])
        frame = pd.concat([changed, others.assign(fetched_at=NOW + after * HOUR)])
        frame["fetched_at"] = frame["fetched_at"].dt.as_unit("us")
        stamps = STAMPS | {"run_id": f"run-{after}"}
        warehouse.write(name, Batch(frame.reset_index(drop=True)), BOTH, stamps)

    return write


@pytest.fixture
def kept(warehouse, name):
    return lambda: warehouse.read(f"{name}_revisions").sort_values("revision")


@pytest.fixture
def stored(warehouse, name):
    """AAA's first candle."""
    return lambda: warehouse.read(name, FIRST).iloc[0]


def test_a_first_write_and_the_same_again_replace_nothing(put, kept, stored):
    put()
    put(after=1)
    assert kept().empty
    assert stored()["fetched_at"] == NOW


def test_a_changed_candle_is_stored_and_the_old_one_kept_as_it_was(
    put, kept, stored, warehouse, name
):
    put()
    before = warehouse.read(name)
    put(close=11.0, after=1)
    assert stored()["close"] == 11.0
    (found,) = kept().to_dict("records")
    columns = table(name).columns
    assert {c: found[c] for c in columns} == before.iloc[0][list(columns)].to_dict()
    assert (found["revision"], found["valid_from"], found["valid_to"]) == (1, NOW, NOW + HOUR)
    table(f"{name}_revisions").schema.validate(kept())
    after = warehouse.read(name)
    pd.testing.assert_frame_equal(after.iloc[1:], before.iloc[1:])


def test_a_number_changed_by_hand_is_mended_by_the_next_fetch_and_kept(
    put, kept, stored, database, name
):
    put()
    with psycopg.connect(libpq_url(database)) as connection:
        connection.execute(
            f"UPDATE trading.{name} SET close = 11 WHERE symbol = 'AAA' AND date = %s", (DAYS[0],)
        )
    put(after=1)
    assert (stored()["close"], stored()["fetched_at"]) == (10.0, NOW + HOUR)
    assert kept()["close"].tolist() == [11.0]
    put(after=2)
    assert len(kept()) == 1


def test_strings_are_kept_in_half_a_byte_each_and_read_as_text(put, stored, database, name):
    put(raw=RAW)
    assert stored()["raw"] == RAW
    with psycopg.connect(libpq_url(database)) as connection:
        (size,) = connection.execute(
            f"SELECT max(octet_length(raw)) FROM trading.{name}"
        ).fetchone()
    assert size == (len(RAW) + 1) // 2


def test_a_candle_of_before_gets_its_strings_and_is_no_revision(put, kept, stored):
    put()
    put(after=1, raw=RAW)
    assert kept().empty
    assert (stored()["raw"], stored()["fetched_at"]) == (RAW, NOW)
    put(close=11.0, after=2, raw=RAW + "1")
    assert (kept()["raw"].tolist(), stored()["raw"]) == ([RAW], RAW + "1")


def test_two_changes_and_one_back_are_three_revisions_that_meet(put, kept, stored):
    for after, close in enumerate([10.0, 11.0, 12.0, 10.0]):
        put(close, after)
    assert stored()["close"] == 10.0
    found = kept()
    assert found["close"].tolist() == [10.0, 11.0, 12.0]
    assert found["revision"].tolist() == [1, 2, 3]
    assert found["run_id"].tolist() == ["run-0", "run-1", "run-2"]
    assert found["valid_from"].tolist() == [NOW, NOW + HOUR, NOW + 2 * HOUR]
    assert found["valid_to"].tolist() == [NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR]


def test_another_source_whose_clock_is_behind_replaces_without_going_back(put, kept, stored):
    put(after=2)
    put(close=11.0, after=1, source="archive")
    (found,) = kept().to_dict("records")
    assert (found["source"], stored()["source"]) == ("binance", "archive")
    assert found["valid_to"] == stored()["fetched_at"] == NOW + 2 * HOUR


def test_a_write_that_is_lost_half_way_keeps_both_or_neither(
    put, kept, stored, database, monkeypatch
):
    put()

    def cut(*_):
        with psycopg.connect(libpq_url(database), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with monkeypatch.context() as patched:
        patched.setattr("resources.warehouse.warehouse.quarantine_rows", cut)
        with pytest.raises(DatabaseError):
            put(close=11.0, after=1)
    assert kept().empty
    assert stored()["close"] == 10.0
    put(close=11.0, after=1)
    assert (len(kept()), stored()["close"]) == (1, 11.0)


def test_a_read_as_of_a_moment_gives_what_was_known_then(put, warehouse, name):
    for after, close in enumerate([10.0, 11.0, 12.0]):
        put(close, after=2 * after)

    def known(hours, scope=FIRST):
        return warehouse.read(name, scope, as_of=(NOW + hours * HOUR).to_pydatetime())

    assert known(-1).empty
    closes = {hours: known(hours)["close"].tolist() for hours in range(6)}
    assert closes == {0: [10.0], 1: [10.0], 2: [11.0], 3: [11.0], 4: [12.0], 5: [12.0]}
    whole = known(3, Scope())
    keys = list(table(name).key)
    assert len(whole) == 4
    pd.testing.assert_frame_equal(whole[keys], warehouse.read(name)[keys])
    table(name).schema.validate(whole)


def test_candles_as_of_a_moment(warehouse):
    for after, close in enumerate([10.0, 11.0]):
        frame = candles(["AAA"], DAYS, close).assign(fetched_at=NOW + after * HOUR)
        frame["fetched_at"] = frame["fetched_at"].dt.as_unit("us")
        warehouse.write("ohlcv_1d", Batch(frame), BOTH, STAMPS)
    days = date(2024, 1, 1), date(2024, 1, 2)
    found = warehouse.candles(["AAA"], *days, as_of=NOW.to_pydatetime())["AAA"]
    assert found.close.tolist() == [10.0, 10.0]
    assert warehouse.candles(["AAA"], *days)["AAA"].close.tolist() == [11.0, 11.0]


@pytest.mark.parametrize("other", ["signals", "ohlcv_4h", "ohlcv_1d_revisions"])
def test_other_tables_do_not_say_what_they_held(warehouse, other):
    with pytest.raises(InputError, match=f"table {other} does not keep earlier versions") as caught:
        warehouse.read(other, as_of=NOW.to_pydatetime())
    assert "\n" not in str(caught.value)
