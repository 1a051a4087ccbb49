import hashlib
import itertools
import json
import logging
from datetime import timedelta

import pandas as pd
import pytest
from archive_support import ArchiveServer, Mirror, damage_checksum, damage_content, packed, put, utc
from fault_support import DAY_MS, FIRST_MS, candle_lines, small_market

from autonama_dagster.errors import (
    BadAnswerError,
    ExchangeBannedError,
    InputError,
    SymbolFetchError,
)
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.settings import load_settings
from resources.exchange.archive.archive import ArchiveExchange
from resources.exchange.base import KlinesRequest, from_ms
from resources.exchange.build import build_exchange
from resources.exchange.combined import CombinedExchange
from resources.exchange.feed import fetch_candles, fetch_daily
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
    pd.testing.assert_frame_equal(
        found.log.drop(columns="origins"), plain.log.drop(columns="origins")
    )


def test_the_log_says_which_files_and_calls_the_candles_came_from(combine, mirror):
    found = fetch_daily(combine(), BY_SYMBOL, FIRST.date(), END.date()).log.set_index("symbol")
    *files, call = json.loads(found.loc["BTCUSDT", "origins"])
    assert [(f["source"], f["first"], f["last"]) for f in files] == [
        ("archive", "2023-11-01", "2023-11-30"),
        ("archive", "2023-12-01", "2023-12-31"),
        ("archive", "2024-01-01", "2024-01-31"),
    ]
    for file in files:
        content = (mirror.folder / file["file"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert call["source"] == "binance"
    assert call["call"].startswith("GET /api/v3/klines?symbol=BTCUSDT&interval=1d&startTime=17067")
    assert (call["first"], call["last"]) == ("2024-02-01", "2024-02-09")


@pytest.mark.parametrize(
    ("start", "end", "from_files"),
    [
        (END - 31 * DAY, END, 0),
        (utc(2023, 12, 2), END, 0),
        (utc(2023, 11, 30), utc(2024, 2, 1), 1 + 31 + 31),
        (utc(2023, 11, 11), utc(2024, 2, 5), 20 + 62),
        (utc(2023, 12, 1), END, 62),
        (utc(2023, 11, 2), utc(2024, 1, 31), 0),
    ],
)
def test_files_are_read_from_two_whole_months_on(market, combine, start, end, from_files):
    klines = combine().klines("BTCUSDT", "1d", start, end)
    assert len(klines.rows) == (end - start) // DAY
    assert dict(sources(klines)).get("archive", 0) == from_files
    assert len(asked(market)) == (len(klines.rows) > from_files)


def test_an_hour_of_three_months_costs_one_call_and_not_three(market, combine, mirror):
    hours = [
        f"{FIRST_MS + n * HOUR_MS},1.5,1.6,1.4,1.55,9,{FIRST_MS + (n + 1) * HOUR_MS - 1},13,7,4,6,0"
        for n in range(DAYS * 24)
    ]
    market.rows["BTCUSDT"] = [rest_row(line) for line in hours]
    for month in MONTHS:
        mirror.add("BTCUSDT", month, by_month(hours)[month], interval="1h")
    klines = combine().klines("BTCUSDT", "1h", FIRST, END)
    assert sources(klines) == [("archive", 92 * 24), ("binance", 9 * 24)]
    assert len(asked(market)) == 1


def test_a_month_that_is_not_published_yet_is_asked_of_the_api(market, combine, mirror):
    for path in mirror.folder.rglob("BTCUSDT-1d-2024-01.zip*"):
        path.unlink()
    klines = combine().klines("BTCUSDT", "1d", FIRST, END)
    assert sources(klines) == [("archive", 61), ("binance", 40)]
    assert asked(market) == [(utc(2024, 1, 1), END)]


@pytest.mark.parametrize("absent", [0, 14, 30])
def test_a_file_that_lacks_a_candle_takes_none_away(combine, mirror, absent):
    rows = by_month(candle_lines(0, DAYS))["2023-12"]
    mirror.add("BTCUSDT", "2023-12", rows[:absent] + rows[absent + 1 :])
    klines = combine().klines("BTCUSDT", "1d", FIRST, END)
    assert sources(klines) == [("archive", 30), ("binance", 31), ("archive", 31), ("binance", 9)]
    assert [row.open_time for row in klines.rows] == [FIRST_MS + n * DAY_MS for n in range(DAYS)]


def corrupt(path):
    put(path, path.read_bytes()[:-40])


def contradict(path):
    months = [by_month(candle_lines(number, DAYS))["2023-12"] for number in range(2)]
    put(path, packed(path.stem, [*months[0], months[1][0]]))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_content, "does not match its CHECKSUM"),
        (damage_checksum, "does not match its CHECKSUM"),
        (corrupt, "cannot be read"),
        (contradict, "two different 1d candles"),
    ],
)
def test_a_damaged_file_costs_a_call_and_a_warning(combine, connect, mirror, caplog, damage, says):
    damage(mirror.folder / "data/spot/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2023-12.zip")
    answers = combine().klines_many(both())
    plain = connect().klines_many(both())
    assert {s: k.rows for s, k in answers.items()} == {s: k.rows for s, k in plain.items()}
    assert ("binance", 31) in sources(answers["BTCUSDT"])
    assert sources(answers["ETHUSDT"]) == [("archive", 92), ("binance", 9)]
    (warning,) = warnings(caplog)
    assert says in warning
    assert "BTCUSDT" in warning
    assert warning.endswith("the month is taken from binance")


@pytest.fixture
def archive_server(mirror):
    served = ArchiveServer(mirror.folder)
    yield served
    served.close()


def test_candles_that_reach_across_the_end_of_a_month_are_asked_of_the_api(
    market, combine, archive_server
):
    market.rows["BTCUSDT"] = []
    combine(archive_server.url).klines("BTCUSDT", "1w", FIRST, END)
    assert asked(market) == [(FIRST, END)]
    assert archive_server.calls == []


def refuse_all(served, reply):
    served.answer = lambda *_: reply


@pytest.mark.parametrize("status", [503, 403])
def test_an_archive_that_is_down_is_left_aside_with_one_warning(
    market, combine, archive_server, caplog, status
):
    refuse_all(archive_server, (status, b""))
    exchange = combine(archive_server.url)
    answers = exchange.klines_many(both())
    assert {s: sources(k) for s, k in answers.items()} == {s: [("binance", DAYS)] for s in answers}
    assert asked(market) == [(FIRST, END)]
    (warning,) = warnings(caplog)
    assert f"HTTP {status}" in warning
    assert warning.endswith("using binance only from now on")
    calls = len(archive_server.calls)
    exchange.klines_many(both())
    assert not exchange.knows_delisted
    assert [pair.symbol for pair in exchange.symbols()] == list(BY_SYMBOL)
    assert len(archive_server.calls) == calls
    assert len(warnings(caplog)) == 1


def test_pairs_of_both_are_known(combine, mirror):
    mirror.add("LUNAUSDT", "2023-11", [])
    mirror.add("LUNABUSD", "2023-11", [])
    exchange = combine()
    assert exchange.knows_delisted
    assert [pair.symbol for pair in exchange.symbols()] == [*BY_SYMBOL, "LUNAUSDT"]
    assert [pair.symbol for pair in exchange.symbols("BUSD")] == ["LUNABUSD"]


def test_an_archive_without_a_list_leaves_the_delisted_unknown(
    combine, archive_server, mirror, caplog
):
    mirror.add("LUNAUSDT", "2023-11", [])
    refuse_all(archive_server, (200, b"<html>"))
    exchange = combine(archive_server.url)
    assert [pair.symbol for pair in exchange.symbols()] == list(BY_SYMBOL)
    assert not exchange.knows_delisted
    assert len(warnings(caplog)) == 1


@pytest.fixture
def forgotten(market, mirror, reply):
    """A pair that the API knows no more: two months, and days of a third."""
    months = by_month(candle_lines(0, 80))
    for month in MONTHS[:2]:
        mirror.add("LUNAUSDT", month, months[month])
    for line in months["2024-01"]:
        day = from_ms(int(line.partition(",")[0]))
        mirror.add("LUNAUSDT", f"{day:%Y-%m-%d}", [line])
    market.always("LUNAUSDT", reply(400, {"code": -1121, "msg": "Invalid symbol."}))


@pytest.mark.usefixtures("forgotten")
def test_a_pair_the_api_has_forgotten_is_the_archives(combine, market, reply):
    exchange = combine()
    assert sources(exchange.klines("LUNAUSDT", "1d", FIRST, END)) == [("archive", 80)]
    assert exchange.klines("LUNAUSDT", "1d", END - 9 * DAY, END).rows == ()
    market.always("NOSUCHUSDT", reply(400, {"code": -1121, "msg": "Invalid symbol."}))
    with pytest.raises(SymbolFetchError, match=r"NOSUCHUSDT.*Invalid symbol"):
        exchange.klines("NOSUCHUSDT", "1d", FIRST, END)


@pytest.mark.usefixtures("forgotten")
def test_a_forgotten_pair_fails_while_the_archive_is_down(combine, archive_server):
    exchange = combine(archive_server.url)
    assert "LUNAUSDT" in {pair.symbol for pair in exchange.symbols()}
    refuse_all(archive_server, (503, b""))
    answers = exchange.klines_many([*both(), KlinesRequest("LUNAUSDT", "1d", FIRST, END)])
    assert "Invalid symbol" in str(answers["LUNAUSDT"])
    assert len(answers["BTCUSDT"].rows) == DAYS
    assert not exchange.knows_delisted


def test_garbage_of_the_api_is_not_taken_for_a_forgotten_pair(market, combine, reply):
    market.always("BTCUSDT", reply(200, b"<html>"))
    answers = combine().klines_many(both())
    assert isinstance(answers["BTCUSDT"], BadAnswerError)
    assert len(answers["ETHUSDT"].rows) == DAYS


def test_a_ban_ends_the_batch(market, combine, reply):
    market.always("klines", reply(418))
    with pytest.raises(ExchangeBannedError):
        combine().klines_many(both())


def test_answers_that_are_remembered_keep_their_sources(market, combine):
    memo = MemoExchange(combine())
    memo.expect("BTCUSDT", "1d", FIRST, END)
    memo.klines_many([KlinesRequest("BTCUSDT", "1d", FIRST, FIRST + DAY)])
    part = KlinesRequest("BTCUSDT", "1d", utc(2024, 1, 30), utc(2024, 2, 3))
    part = memo.klines_many([part])["BTCUSDT"]
    assert sources(part) == [("archive", 2), ("binance", 2)]
    assert len(asked(market)) == 1


def test_nothing_is_asked_for_no_symbol(market, combine):
    assert combine().klines_many([]) == {}
    assert market.calls == []


class TestAsSettingsNameIt:
    @pytest.fixture
    def replay(self, tmp_path):
        (tmp_path / "market").mkdir()
        market = small_market(tmp_path / "market", BTCUSDT=DAYS + 1, ETHUSDT=DAYS + 1)
        with ReplayServer(market, now="2024-02-10T00:05:00Z") as running:
            yield running

    def fetch(self, replay, exchange, mirror):
        settings = load_settings(
            exchange=exchange, exchange_url=replay.url, archive_location=str(mirror.folder)
        )
        opened = build_exchange(settings)
        replay.clear_requests()
        try:
            return fetch_candles(opened, BY_SYMBOL, "1d", FIRST.date(), END.date()), opened
        finally:
            opened.close()

    @pytest.mark.usefixtures("market")
    def test_the_same_candles_as_with_the_api_alone(self, replay, mirror):
        plain, _ = self.fetch(replay, "binance", mirror)
        found, opened = self.fetch(replay, "binance+archive", mirror)
        assert isinstance(opened, CombinedExchange)
        assert set(found.frame["source"]) == {"archive", "replay-recorded"}
        assert len(found.frame) == 2 * DAYS
        pd.testing.assert_frame_equal(
            found.frame.drop(columns="source"), plain.frame.drop(columns="source"), check_exact=True
        )

    def test_a_folder_that_is_no_mirror_is_named_at_once(self, tmp_path):
        settings = load_settings(exchange="binance+archive", archive_location=str(tmp_path))
        with pytest.raises(InputError, match="not a mirror of the archive"):
            build_exchange(settings)
