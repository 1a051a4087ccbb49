import itertools
import logging
from datetime import timedelta

import pandas as pd
import pytest
from archive_support import ArchiveServer, Mirror, damage_checksum, damage_content, utc
from fault_support import DAY_MS, FIRST_MS, candle_lines, small_market

from autonama_dagster.analytics.intervals import INTERVALS
from autonama_dagster.errors import (
    BadAnswerError,
    ExchangeBannedError,
    InputError,
    SymbolFetchError,
)
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.settings import load_settings
from resources.candle_feed import fetch_candles, fetch_daily
from resources.exchange.archive import ArchiveExchange
from resources.exchange.base import KlinesRequest, from_ms
from resources.exchange.build import build_exchange
from resources.exchange.combined import CombinedExchange
from resources.exchange.memo import MemoExchange

DAY, HOUR_MS = timedelta(days=1), 3_600_000
FIRST, END = utc(2023, 11, 1), utc(2024, 2, 10)  # three closed months, and nine days of a fourth
NOW = END + timedelta(minutes=5)
DAYS = (END - FIRST).days
MONTHS = ["2023-11", "2023-12", "2024-01"]
BY_SYMBOL = ("BTCUSDT", "ETHUSDT")


def month_of(line):
    return f"{from_ms(int(line.partition(',')[0])):%Y-%m}"


def by_month(lines):
    return {month: list(rows) for month, rows in itertools.groupby(lines, month_of)}


@pytest.fixture
def mirror(tmp_path):
    """All closed months of two pairs, as published."""
    made = Mirror(tmp_path / "mirror")
    for number, symbol in enumerate(BY_SYMBOL):
        for month, rows in by_month(candle_lines(number, DAYS)).items():
            if month in MONTHS:
                made.add(symbol, month, rows)
    return made


def rest_row(line):
    """A line of the archive as REST sends it: numbers but for prices and amounts."""
    fields = line.split(",")
    return [int(f) if n in {0, 6, 8} else f for n, f in enumerate(fields)]


@pytest.fixture
def market(server):
    """The same candles behind the scripted API, and those of the current month."""
    server.now = NOW
    for number, symbol in enumerate(BY_SYMBOL):
        server.rows[symbol] = [rest_row(line) for line in candle_lines(number, DAYS + 1)]
    return server


@pytest.fixture
def combine(market, connect, mirror, fast):  # noqa: ARG001  (the API must have its candles)
    opened = []

    def make(location=mirror.folder):
        archive = ArchiveExchange(location, retry=fast, clock=lambda: NOW)
        opened.append(CombinedExchange(connect(), archive))
        return opened[-1]

    yield make
    for exchange in opened:
        exchange.close()


def both(start=FIRST, end=END, interval="1d"):
    return [KlinesRequest(symbol, interval, start, end) for symbol in BY_SYMBOL]


def asked(server, symbol="BTCUSDT"):
    """Ranges of the klines calls for a symbol."""
    calls = [q for endpoint, q in server.calls if endpoint == "klines" and q["symbol"] == symbol]
    return [(from_ms(int(q["startTime"])), from_ms(int(q["endTime"]) + 1)) for q in calls]


def sources(klines):
    return [(source, len(rows)) for source, rows in klines.by_source()]


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_closed_months_come_from_files_and_the_rest_from_the_api(market, combine, connect):
    plain = connect().klines_many(both())
    market.calls.clear()
    answers = combine().klines_many(both())
    for symbol, klines in answers.items():
        assert sources(klines) == [("archive", 92), ("binance", 9)]
        assert (klines.rows, klines.asked_at) == (plain[symbol].rows, NOW)
        assert (klines.start, klines.end) == (FIRST, END)
        assert asked(market, symbol) == [(utc(2024, 2, 1), END)]


def test_candles_of_a_frame_name_their_own_source(combine, connect):
    days = FIRST.date(), END.date()
    found = fetch_daily(combine(), BY_SYMBOL, *days)
    plain = fetch_daily(connect(), BY_SYMBOL, *days)
    assert set(plain.frame["source"]) == {"binance"}
    pd.testing.assert_frame_equal(
        found.frame.drop(columns="source"), plain.frame.drop(columns="source"), check_exact=True
    )
    is_closed_month = found.frame["date"] < "2024-02-01"
    assert set(found.frame.loc[is_closed_month, "source"]) == {"archive"}
    assert set(found.frame.loc[~is_closed_month, "source"]) == {"binance"}
    pd.testing.assert_frame_equal(found.log, plain.log)


def test_a_range_that_begins_within_a_month_costs_the_api_no_call_for_it(market, combine):
    klines = combine().klines("BTCUSDT", "1d", FIRST + 10 * DAY, utc(2024, 1, 20))
    assert sources(klines) == [("archive", 20 + 31 + 19)]
    # One whole month only: the others of the range lie in it in part.
    assert asked(market) == [(FIRST + 10 * DAY, utc(2024, 1, 20))]


@pytest.mark.parametrize(
    ("start", "end", "from_files"),
    [
        (END - 31 * DAY, END, 0),
        (utc(2023, 12, 2), END, 0),
        (utc(2023, 11, 30), utc(2024, 2, 1), 1 + 31 + 31),
        (utc(2023, 12, 1), END, 62),
        (utc(2023, 11, 2), utc(2024, 1, 31), 0),
    ],
)
def test_files_are_read_from_two_whole_months_on(market, combine, start, end, from_files):
    klines = combine().klines("BTCUSDT", "1d", start, end)
    assert len(klines.rows) == (end - start) // DAY
    assert dict(sources(klines)).get("archive", 0) == from_files
    assert len(asked(market)) == (len(klines.rows) > from_files)
