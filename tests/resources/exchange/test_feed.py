from datetime import UTC, date, datetime

import pandas as pd
import pytest

from autonama_dagster.analytics.candles.klines import raw_kline
from autonama_dagster.errors import InputError, SymbolFetchError
from autonama_dagster.schemas.registry import table
from resources.exchange.base import Klines
from resources.exchange.feed import fetch_daily, refuse_mixture

DAY_MS = 86_400_000
FIRST = date(2024, 1, 1)
FIRST_MS = 1_704_067_200_000


def kline(n, close="1.5", high="2"):
    open_time = FIRST_MS + n * DAY_MS
    return raw_kline(
        [open_time, "1", high, "0.5", close, "10", open_time + DAY_MS - 1, "15", 3, "4", "6", "0"]
    )


class Scripted:
    """An exchange that answers from a script."""

    name = "binance"

    def __init__(self, answers, now=datetime(2024, 1, 4, 0, 5, tzinfo=UTC)):
        self.answers, self.now, self.asked = answers, now, []

    def server_time(self):
        return self.now

    def klines_many(self, requests, on_progress=None):  # noqa: ARG002
        self.asked = list(requests)
        return {
            r.symbol: self.answers[r.symbol]
            if isinstance(self.answers[r.symbol], Exception)
            else Klines(r.symbol, "1d", r.start, r.end, self.answers[r.symbol], "binance", self.now)
            for r in requests
        }


def test_good_bad_and_failed_are_told_apart_and_all_are_logged():
    exchange = Scripted(
        {
            "GOOD": (kline(0), kline(1)),
            "MIXED": (kline(0), kline(1, close="9")),
            "NONE": (),
            "LOST": SymbolFetchError("LOST: garbage"),
        }
    )
    fetched = fetch_daily(exchange, list(exchange.answers), FIRST, date(2024, 1, 2))
    assert fetched.frame["symbol"].tolist() == ["GOOD", "GOOD", "MIXED"]
    assert fetched.rejected["symbol"].tolist() == ["MIXED"]
    assert fetched.failed == ("LOST",)
    log = fetched.log.set_index("symbol")
    assert log["outcome"].to_dict() == {
        "GOOD": "ok", "MIXED": "ok", "NONE": "empty", "LOST": "failed",
    }  # fmt: skip
    assert log.loc["LOST", "message"] == "LOST: garbage"
    for name, frame in (("ohlcv_1d", fetched.frame), ("fetch_log", fetched.log)):
        table(name).schema.validate(frame.assign(run_id="x")[list(table(name).columns)])


def test_a_day_that_has_not_closed_is_neither_asked_for_nor_logged():
    exchange = Scripted({"GOOD": (kline(0),)})
    fetched = fetch_daily(exchange, ["GOOD"], FIRST, date(2024, 1, 9))
    assert exchange.asked[0].end == datetime(2024, 1, 4, tzinfo=UTC)
    assert fetched.log["to_date"].tolist() == [pd.Timestamp("2024-01-03")]


def test_a_range_that_lies_in_the_future_asks_nothing():
    exchange = Scripted({})
    fetched = fetch_daily(exchange, ["GOOD"], date(2024, 1, 4), date(2024, 1, 9))
    assert exchange.asked == []
    assert fetched.frame.empty
    assert fetched.log.empty
    assert set(fetched.frame.columns) >= {"symbol", "date", "close", "source", "fetched_at"}


@pytest.mark.parametrize(
    ("stored", "given", "refused"),
    [
        (None, ["synthetic"], False),
        (None, [], False),
        ("synthetic", [], False),
        ("synthetic", ["synthetic"], False),
        ("binance", ["archive", "binance"], False),
        ("binance", ["synthetic"], True),
        ("synthetic", ["binance"], True),
        (None, ["archive", "synthetic"], True),
        ("synthetic", ["archive", "synthetic"], True),
    ],
)
def test_made_up_and_real_candles_never_meet(stored, given, refused):
    frame = pd.DataFrame({"source": given})
    if not refused:
        refuse_mixture(stored, frame)
        return
    with pytest.raises(InputError, match="must not be mixed"):
        refuse_mixture(stored, frame)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2024, 1, 4, 1, 59, tzinfo=UTC), [(2, "ok"), (3, "failed")]),
        (datetime(2024, 1, 4, 2, tzinfo=UTC), [(3, "ok")]),
    ],
)
def test_an_absent_candle_is_late_for_two_hours_and_then_final(now, expected):
    exchange = Scripted({"LATE": (kline(0), kline(1))}, now)
    log = fetch_daily(exchange, ["LATE"], FIRST, date(2024, 1, 9)).log
    assert list(zip(log["to_date"].dt.day, log["outcome"], strict=True)) == expected


def test_of_a_single_day_the_day_before_tells_who_trades():
    exchange = Scripted({"LATE": (kline(1),), "IDLE": (kline(0),), "NONE": ()})
    fetched = fetch_daily(exchange, list(exchange.answers), date(2024, 1, 3), date(2024, 1, 3))
    assert fetched.frame.empty
    assert fetched.log["outcome"].tolist() == ["failed", "empty", "empty"]
    assert (
        fetched.log["message"].iloc[0]
        == "LATE: no candle for 2024-01-03 yet: it will be requested again"
    )
