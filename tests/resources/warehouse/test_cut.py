"""A warehouse that is cut at a day answers every query as if nothing later was there."""

from datetime import date

import psycopg
import pytest
from support import STAMPS, candles

from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.registry import TABLES
from resources.postgres.urls import libpq_url
from resources.warehouse.candle_faults import candle_faults
from resources.warehouse.candle_queries import candle_gaps, fetched_ranges, last_candles
from resources.warehouse.cut import cut
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

DAYS = ["2024-01-01", "2024-01-02", "2024-01-05"]
FIRST, CUT, LAST = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 5)


@pytest.fixture
def whole(warehouse, database):
    scope = Scope(("AAA",), FIRST, LAST)
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], DAYS)), scope, STAMPS)
    with psycopg.connect(libpq_url(database)) as connection:
        for first, last in ((FIRST, LAST), (LAST, LAST)):
            connection.execute(
                "INSERT INTO trading.fetch_log (exchange, symbol, interval, from_date, to_date, "
                "asked_at, outcome, candles, run_id) "
                "VALUES ('binance', 'AAA', '1d', %s, %s, now(), 'ok', 1, 'r')",
                (first, last),
            )
        for day in (CUT, LAST, None):
            connection.execute(
                "INSERT INTO trading.quarantine (table_name, exchange, symbol, date, reason, raw, "
                "run_id, quarantined_at) VALUES ('ohlcv_1d', 'binance', 'AAA', %s, 'bad', '{}', "
                "'r', now())",
                (day,),
            )
    return warehouse


def test_every_query_ends_on_the_day(whole):
    found = whole.until(CUT)
    assert found.read("ohlcv_1d")["date"].dt.date.tolist() == [FIRST, CUT]
    assert [*found.candles(["AAA"], FIRST, LAST)["AAA"].day] == [19723, 19724]
    assert last_candles(found, ["AAA"]) == {"AAA": CUT}  # an aggregate, too
    assert candle_gaps(found, ["AAA"]).empty  # and a window function
    assert candle_faults(found, ["AAA"], FIRST, LAST)["date"].max().date() == CUT
    assert len(found.read("quarantine")) == 2  # one is of no day
    assert last_candles(whole, ["AAA"]) == {"AAA": LAST}


def test_the_exchange_has_answered_up_to_the_day(whole):
    assert fetched_ranges(whole.until(CUT), "1d", ["AAA"]) == {"AAA": [(FIRST, CUT)]}
    assert fetched_ranges(whole, "1d", ["AAA"]) == {"AAA": [(FIRST, LAST), (LAST, LAST)]}


def test_candles_as_they_were_known_are_cut_too(whole):
    moment = STAMPS["computed_at"].to_pydatetime()
    found = whole.until(CUT).read("ohlcv_1d", as_of=moment)
    assert found["date"].dt.date.tolist() == [FIRST, CUT]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_can_be_read_cut(warehouse, name):
    assert [*warehouse.until(CUT).read(name)] == [*TABLES[name].columns]


def test_a_cut_warehouse_writes_nothing(whole):
    with pytest.raises(SchemaError, match="tables cut at 2024-01-02 are only read"):
        whole.until(CUT).write("ohlcv_1d", Batch(candles(["AAA"], DAYS[:1])), Scope(), STAMPS)
    with pytest.raises(SchemaError, match="signal_chance: tables cut at"):
        whole.until(CUT).keep("signal_chance", whole.read("signal_chance"))


def test_a_view_is_refused_because_it_would_see_everything():
    with pytest.raises(SchemaError, match="table 'signal_lineage' is unknown"):
        cut("SELECT * FROM trading.signal_lineage", (), CUT)


def test_a_query_of_no_table_is_left_alone():
    assert cut("SELECT 1", (), CUT) == ("SELECT 1", ())
