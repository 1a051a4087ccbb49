"""Stored candles asked for again: which are drawn, what comes out, and what is kept of it."""

from datetime import timedelta

import pandas as pd
import pytest
from scan_support import DAY, DAYS, at, keep_tables, opened_project, restore_tables

from autonama_dagster.errors import InputError
from autonama_dagster.services.monitoring import candle_checks
from autonama_dagster.services.monitoring.candle_checks import check_candles
from resources.exchange.build import build_exchange
from resources.warehouse.candle_checks import drawn_candles, is_due
from resources.warehouse.statements import Scope

LATER = DAY + timedelta(days=3)
KEPT = ("ohlcv_1d", "ohlcv_1d_revisions", "fetch_log", "quarantine", "candle_checks")


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked_again")
    with opened_project(folder, postgres, scanned=DAYS) as (found, server):
        keep_tables(found.warehouse)
        exchange = build_exchange(found.settings)
        yield found, server, exchange
        exchange.close()


class Asked:
    """The project, three days after its last scan."""

    def __init__(self, warehouse, server, exchange):
        self.warehouse, self.server, self.exchange = warehouse, server, exchange

    def check(self, daily=20, run_id="r"):
        return check_candles(self.exchange, self.warehouse, daily, run_id).set_index("symbol")

    def drawn(self, count=20):
        return drawn_candles(self.warehouse, self.exchange.server_time(), count)

    def day_of(self, symbol):
        return self.drawn().set_index("symbol")["date"][symbol].date()

    def fault(self, text):
        self.server.faults.add(text)

    def tables(self):
        return {name: self.warehouse.read(name) for name in KEPT}


@pytest.fixture
def asked(opened, monkeypatch, impatient):  # noqa: ARG001
    found, server, exchange = opened
    found.enter(monkeypatch)
    server.set_now(at(LATER))
    yield Asked(found.warehouse, server, exchange)
    server.faults.replace()
    restore_tables(found.warehouse)


def unchanged(before, after, *but):
    for name in set(KEPT) - set(but):
        pd.testing.assert_frame_equal(after[name], before[name])


def test_candles_that_are_as_stored_are_confirmed_and_nothing_else_is_written(asked):
    before = asked.tables()
    rows = asked.check()
    after = asked.tables()
    assert rows["outcome"].to_dict() == dict.fromkeys(
        ("BTCUSDT", "ETHUSDT", "SOLUSDT"), "confirmed"
    )
    assert rows["message"].isna().all()
    unchanged(before, after, "candle_checks")
    kept = after["candle_checks"].set_index("symbol").loc[rows.index]
    pd.testing.assert_frame_equal(kept, rows, check_like=True)
    assert set(kept["asked_at"]) == {pd.Timestamp(at(LATER))}
    assert asked.check().empty, "every symbol was asked about on the day"
    assert not is_due(asked.warehouse, asked.exchange.server_time(), 20)


def test_the_day_is_the_seed_and_the_budget_is_of_the_day(asked):
    drawn = [tuple(map(tuple, asked.drawn(n)[["symbol", "date"]].values)) for n in (20, 20, 2, 0)]
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[0][:2]
    assert drawn[3] == ()
    assert len(asked.check(daily=2)) == 2
    assert asked.check(daily=2).empty
    assert not is_due(asked.warehouse, asked.exchange.server_time(), 2)
    assert is_due(asked.warehouse, asked.exchange.server_time(), 3)
    rest = asked.check(daily=20)
    assert rest.index.tolist() == [symbol for symbol, _ in drawn[0][2:]]
    days = set()
    for n in range(20):
        asked.server.set_now(at(LATER + timedelta(days=n)))
        days |= set(asked.drawn()["date"])
    assert len(days) > 20, "other candles on other days"


def test_a_candle_fetched_within_a_day_is_not_asked_for_again(asked):
    asked.server.set_now(at(DAY, "23:00:00"))
    assert asked.drawn().empty
    assert not is_due(asked.warehouse, asked.exchange.server_time(), 20)
    assert asked.check().empty


def test_a_candle_that_the_exchange_has_changed_becomes_a_revision(asked):
    day = asked.day_of("ETHUSDT")
    before = asked.tables()
    of = Scope(("ETHUSDT",), day, day)
    old = asked.warehouse.read("ohlcv_1d", of).iloc[0]
    asked.fault(f"revised-candle:date={day},symbol=ETHUSDT")
    rows = asked.check(run_id="again")
    new = asked.warehouse.read("ohlcv_1d", of).iloc[0]
    assert rows["outcome"].to_dict() == {
        "BTCUSDT": "confirmed", "ETHUSDT": "revised", "SOLUSDT": "confirmed",
    }  # fmt: skip
    assert old["close"] < new["close"] == old["high"]
    assert new["run_id"] == "again"
    (kept,) = asked.warehouse.read("ohlcv_1d_revisions").to_dict("records")
    assert (kept["symbol"], kept["close"], kept["run_id"]) == (
        "ETHUSDT",
        old["close"],
        old["run_id"],
    )
    after = asked.tables()
    unchanged(before, after, "candle_checks", "ohlcv_1d", "ohlcv_1d_revisions", "fetch_log")
    (log,) = after["fetch_log"].query("run_id == 'again'").to_dict("records")
    assert (log["symbol"], log["from_date"].date(), log["outcome"]) == ("ETHUSDT", day, "ok")
    assert "symbol=ETHUSDT" in log["origins"]


def test_a_number_that_was_changed_by_hand_is_no_confirmation(asked):
    day = asked.day_of("ETHUSDT")
    with asked.warehouse.transaction() as cursor:
        cursor.execute(
            "UPDATE trading.ohlcv_1d SET close = close * 1.001 "
            f"WHERE symbol = 'ETHUSDT' AND date = '{day}'"
        )
    assert asked.check()["outcome"]["ETHUSDT"] == "revised"


def test_a_candle_that_the_exchange_has_no_more_is_missing_and_stays(asked):
    before = asked.tables()
    asked.fault(f"missing-days:date={asked.day_of('SOLUSDT')},days=1,symbol=SOLUSDT")
    assert asked.check()["outcome"].to_dict() == {
        "BTCUSDT": "confirmed", "ETHUSDT": "confirmed", "SOLUSDT": "missing",
    }  # fmt: skip
    unchanged(before, asked.tables(), "candle_checks")


def test_what_is_no_candle_and_what_is_no_answer_failed_and_change_nothing(asked):
    before = asked.tables()
    asked.fault(f"bad-values:value=negative,date={asked.day_of('ETHUSDT')},symbol=ETHUSDT")
    asked.fault("garbage:symbol=SOLUSDT")
    rows = asked.check()
    assert rows["outcome"].to_dict() == {
        "BTCUSDT": "confirmed", "ETHUSDT": "failed", "SOLUSDT": "failed",
    }  # fmt: skip
    assert rows["message"]["ETHUSDT"].startswith("ETHUSDT: the answer is not a candle: ")
    assert rows["message"]["SOLUSDT"]
    unchanged(before, asked.tables(), "candle_checks")


def test_an_exchange_that_is_down_fails_all_of_them(asked):
    asked.fault("503:path=klines")
    rows = asked.check()
    assert set(rows["outcome"]) == {"failed"}
    assert rows["message"].notna().all()


def test_made_up_candles_do_not_revise_real_ones(asked, monkeypatch):
    monkeypatch.setattr(candle_checks, "any_source", lambda _: "synthetic")
    before = asked.tables()
    with pytest.raises(InputError, match="must not be mixed"):
        asked.check()
    unchanged(before, asked.tables())
