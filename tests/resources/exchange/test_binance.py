import gzip
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from autonama_dagster.analytics.candles.klines import row_hash
from autonama_dagster.errors import (
    BadAnswerError,
    ExchangeBannedError,
    ExchangeError,
    InputError,
    OutageError,
    SymbolFetchError,
)
from autonama_dagster.settings import load_settings
from resources.exchange.base import Klines, KlinesRequest, SymbolInfo, from_ms, to_ms
from resources.exchange.binance.client import SMALL
from resources.exchange.build import build_exchange
from resources.exchange.calls.retry import RetryPolicy
from resources.exchange.calls.throttle import Throttle
from resources.http.headers import LONGEST_SILENCE
from resources.http.session import RequestCancelledError

END = datetime(2024, 1, 1, tzinfo=UTC)  # the server's day: 2023-12-31 is the last closed one
DAY = timedelta(days=1)
DAY_MS = 86_400_000


def requests_for(symbols, days=5):
    return [KlinesRequest(symbol, "1d", END - days * DAY, END) for symbol in symbols]


def open_days(klines):
    return [from_ms(row.open_time).date().isoformat() for row in klines.rows]


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_candles_come_as_printed_with_the_servers_time(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 3, "0.00001230")
    klines = connect().klines("BTCUSDT", "1d", END - 3 * DAY, END)
    assert open_days(klines) == ["2023-12-29", "2023-12-30", "2023-12-31"]
    assert klines.rows[0].close == "0.00001230"
    assert klines.rows[0].trades == "7"
    assert (klines.source, klines.asked_at) == ("binance", server.now)
    assert (klines.start, klines.end) == (END - 3 * DAY, END)


@pytest.mark.parametrize(
    ("last_ms", "closed"), [(-1, False), (0, False), (1, True)], ids=["before", "at", "after"]
)
def test_a_candle_enters_once_its_close_time_has_passed(server, connect, last_ms, closed):
    server.add_days("BTCUSDT", "2023-12-31", 2)
    server.now = from_ms(server.rows["BTCUSDT"][-1][6] + last_ms)
    klines = connect().klines("BTCUSDT", "1d", END - 5 * DAY, END + DAY)
    assert ("2023-12-31" in open_days(klines)) is closed
    assert "2023-12-30" in open_days(klines)


@pytest.mark.parametrize(("days", "calls"), [(999, 1), (1000, 1), (1001, 2), (2000, 2), (2500, 3)])
def test_pages_of_a_thousand(server, connect, days, calls):
    server.add_days("BTCUSDT", "2023-12-31", days)
    klines = connect().klines("BTCUSDT", "1d", END - days * DAY, END)
    assert len(klines.rows) == days
    assert server.count("klines") == calls


def test_a_young_pair_costs_one_call_for_a_long_range(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 300)
    assert len(connect().klines("BTCUSDT", "1d", END - 2500 * DAY, END).rows) == 300
    assert server.count("klines") == 1


def test_the_end_is_exclusive(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 3)
    assert len(connect().klines("BTCUSDT", "1d", END - 3 * DAY, END - DAY).rows) == 2
    asked = server.calls[-1][1]
    assert int(asked["endTime"]) == to_ms(END - DAY) - 1
    assert int(asked["startTime"]) == to_ms(END - 3 * DAY)


def test_a_page_that_repeats_is_no_way_forward(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 2500)
    first = {"symbol": "BTCUSDT", "startTime": 0, "endTime": 10**13, "limit": 1000}
    server.always("klines", server._klines(first))
    with pytest.raises(SymbolFetchError, match="which was not requested"):
        connect().klines("BTCUSDT", "1d", END - 2500 * DAY, END)


def test_our_own_mistakes_are_not_blamed_on_an_earlier_answer(connect):
    exchange = connect(threads=1)
    exchange.server_time()

    def ask(_client):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        exchange._client.get(ask, 1, lambda *_: None, "nothing", threading.Event())


def test_a_batch_costs_one_call_a_symbol_and_two_for_the_time(server, connect):
    symbols = [f"S{n}USDT" for n in range(20)]
    for symbol in symbols:
        server.add_days(symbol, "2023-12-31", 5)
    seen = []
    answers = connect().klines_many(requests_for(symbols), lambda *step: seen.append(step))
    assert list(answers) == symbols
    assert all(len(answer.rows) == 5 for answer in answers.values())
    counts = [server.count(endpoint) for endpoint in ("klines", "time", "24hr")]
    assert (counts, len(server.calls)) == ([20, 1, 1], 22)
    assert seen == [(n, 20) for n in range(1, 21)]


def test_nothing_asked_nothing_sent(server, connect):
    assert connect().klines_many([]) == {}
    assert server.calls == []


def test_out_of_order_and_repeated_rows(server, connect, reply):
    server.add_days("BTCUSDT", "2023-12-31", 5)
    rows = server.rows["BTCUSDT"]
    server.queue("klines", reply(body=[rows[4], rows[0], rows[3], rows[3], rows[1], rows[2]]))
    klines = connect().klines("BTCUSDT", "1d", END - 5 * DAY, END)
    assert open_days(klines) == [f"2023-12-{day}" for day in (27, 28, 29, 30, 31)]


def moved(rows, by):
    return [[row[0] + by, *row[1:6], row[6] + by, *row[7:]] for row in rows]


def hours_of(rows):
    """The days' candles as if each had lasted an hour."""
    return [[*row[:6], row[0] + 3_599_999, *row[7:]] for row in rows]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (hours_of, "candles of 1:00:00 hours, 1d was requested"),
        (lambda rows: [*rows[:-1], *hours_of(rows[-1:])], "candles of 1:00:00 hours, 1d"),
        (
            lambda rows: moved(rows, 5 * DAY_MS),
            "a candle of 2024-01-01 00:00, which was not requested",
        ),
        (
            lambda rows: moved(rows, -DAY_MS),
            "a candle of 2023-12-26 00:00, which was not requested",
        ),
        (lambda rows: moved(rows, DAY_MS), "which was not requested"),
        (lambda rows: rows * 201, "1,005 candles, at most 1,000 were requested"),
    ],
)
def test_an_answer_to_another_question_is_asked_again(server, connect, reply, spoil, says):
    server.add_days("BTCUSDT", "2023-12-31", 5)
    spoiled = reply(body=spoil(server.rows["BTCUSDT"]))
    server.queue("klines", spoiled)
    exchange = connect()
    assert len(exchange.klines("BTCUSDT", "1d", END - 5 * DAY, END).rows) == 5
    assert server.count("klines") == 2
    server.always("BTCUSDT", spoiled)
    with pytest.raises(BadAnswerError, match=says):
        exchange.klines("BTCUSDT", "1d", END - 5 * DAY, END)


def test_a_candle_cut_short_by_an_outage_is_its_own_fault(server, connect):
    """As on 2018-02-08, when hours ended at 00:28:14: the answer is not another interval's."""
    server.add_days("BTCUSDT", "2023-12-31", 5)
    server.rows["BTCUSDT"][2][6] = server.rows["BTCUSDT"][2][0] + 1_694_838
    assert len(connect().klines("BTCUSDT", "1d", END - 5 * DAY, END).rows) == 5


def test_a_close_time_does_not_decide_whether_a_candle_has_closed(server, connect):
    server.add_days("BTCUSDT", "2024-01-01", 3)
    *_, late, forming = server.rows["BTCUSDT"]
    late[6] += 7 * DAY_MS
    forming[6] = forming[0] + 1
    klines = connect().klines("BTCUSDT", "1d", END - 5 * DAY, END + DAY)
    assert open_days(klines) == ["2023-12-30", "2023-12-31"]


def test_pages_shorter_than_asked_for_are_read_to_the_end(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 1200)
    honest = server._klines
    server._honest["klines"] = lambda query: honest({**query, "limit": "500"})
    assert len(connect().klines("BTCUSDT", "1d", END - 1200 * DAY, END).rows) == 1200
    assert server.count("klines") == 3


def test_contradicting_rows_are_asked_for_again(server, connect, reply):
    server.add_days("BTCUSDT", "2023-12-31", 2)
    row = server.rows["BTCUSDT"][0]
    other = [*row[:4], "1.49000000", *row[5:]]
    server.queue("klines", reply(body=[row, other]))
    exchange = connect()
    assert len(exchange.klines("BTCUSDT", "1d", END - 2 * DAY, END).rows) == 2
    assert server.count("klines") == 2
    server.always("BTCUSDT", reply(body=[row, other]))
    with pytest.raises(SymbolFetchError, match="BTCUSDT: two different 1d candles of 2023-12-30"):
        exchange.klines("BTCUSDT", "1d", END - 2 * DAY, END)


def test_microseconds_are_the_same_candles(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 2)
    exchange = connect()
    milli = exchange.klines("BTCUSDT", "1d", END - 2 * DAY, END)
    for row in server.rows["BTCUSDT"]:
        row[0], row[6] = row[0] * 1000, row[6] * 1000 + 999
    server.always(
        "klines",
        server._klines({"symbol": "BTCUSDT", "startTime": 0, "endTime": 10**17, "limit": 9}),
    )
    micro = exchange.klines("BTCUSDT", "1d", END - 2 * DAY, END)
    assert micro.rows == milli.rows
    assert [row_hash(row) for row in micro.rows] == [row_hash(row) for row in milli.rows]


HTML = b"<html><body>Request blocked</body></html>"


@pytest.mark.parametrize(
    ("body", "breaks_off"),
    [
        (b'[[1703808000000,"1.5","1.', False),
        (b'[[1703808000000,"1.5"', True),
        (HTML, False),
        (b"", False),
        (b"\xff\xfe\x00", False),
        (b"null", False),
        ({"code": 0}, False),
        ([[1703808000000, "1.5"]], False),
        ([["abc", *["1.5"] * 5, 1703894399999, "1", 1, "1", "1", "0"]], False),
        ([[1703808000000.5, *["1.5"] * 5, 1703894399999, "1", 1, "1", "1", "0"]], False),
        ([[1703808000000, *["1.5"] * 4, None, 1703894399999, "1", 1, "1", "1", "0"]], False),
        ([7], False),
    ],
    ids=[
        "cut",
        "was cut off",
        "html",
        "empty",
        "bytes",
        "null",
        "object",
        "short row",
        "time is text",
        "time is a fraction",
        "missing value",
        "no row",
    ],
)
class TestGarbage:
    def test_once_is_repeated(self, server, connect, reply, body, breaks_off):
        server.add_days("BTCUSDT", "2023-12-31", 3)
        server.queue("klines", reply(body=body, breaks_off=breaks_off))
        assert len(connect().klines("BTCUSDT", "1d", END - 3 * DAY, END).rows) == 3
        assert server.count("klines") == 2

    def test_for_ever_costs_only_its_symbol(self, server, connect, reply, body, breaks_off):
        server.add_days("ETHUSDT", "2023-12-31", 3)
        server.always("BTCUSDT", reply(body=body, breaks_off=breaks_off))
        answers = connect().klines_many(requests_for(["BTCUSDT", "ETHUSDT"]))
        assert isinstance(answers["BTCUSDT"], SymbolFetchError)
        assert "BTCUSDT 1d" in str(answers["BTCUSDT"])
        assert "\n" not in str(answers["BTCUSDT"])
        assert len(answers["ETHUSDT"].rows) == 3
        assert server.count("klines") == 4


def test_garbage_for_everything_is_the_exchanges_fault(server, connect, reply):
    server.always("klines", reply(body=HTML))
    with pytest.raises(ExchangeError, match="all 3 responses were unusable") as error:
        connect().klines_many(requests_for(["AUSDT", "BUSDT", "CUSDT"]))
    assert not isinstance(error.value, SymbolFetchError)


@pytest.mark.parametrize("endpoint", ["time", "exchangeInfo"])
@pytest.mark.parametrize("body", [HTML, b"[]", {"symbols": [7], "serverTime": "x"}])
def test_garbage_about_the_exchange_is_no_symbols_fault(server, connect, reply, endpoint, body):
    server.always(endpoint, reply(body=body))
    exchange = connect()
    with pytest.raises(ExchangeError, match="unusable") as error:
        exchange.server_time() if endpoint == "time" else exchange.symbols()
    assert not isinstance(error.value, SymbolFetchError)
    assert server.count(endpoint) == 3


def test_an_unknown_source_is_not_believed(server, connect):
    server.headers = {"X-Autonama-Source": "dream"}
    with pytest.raises(SymbolFetchError, match="source 'dream' is unknown"):
        connect().klines("BTCUSDT", "1d", END - DAY, END)


def test_source_farthest_from_the_market_wins_over_pages(server, connect, reply):
    server.add_days("BTCUSDT", "2023-12-31", 1500)
    page = server._klines({"symbol": "BTCUSDT", "startTime": 0, "endTime": 10**13, "limit": 1000})
    server.queue("klines", reply(body=page.body, headers={"X-Autonama-Source": "replay-estimated"}))
    server.headers = {"X-Autonama-Source": "replay-recorded"}
    exchange = connect()
    assert exchange.klines("BTCUSDT", "1d", END - 1500 * DAY, END).source == "replay-estimated"
    assert exchange.klines("BTCUSDT", "1d", END - 5 * DAY, END).source == "replay-recorded"


def test_server_errors_are_repeated(server, connect, reply):
    server.add_days("BTCUSDT", "2023-12-31", 3)
    server.queue("klines", reply(502, HTML), reply(503, b"[]"))
    assert len(connect().klines("BTCUSDT", "1d", END - 3 * DAY, END).rows) == 3
    assert server.count("klines") == 3


@pytest.mark.timeout(15)  # the default timeout would take 40 s
def test_timeouts_are_repeated(server, connect, reply):
    server.add_days("BTCUSDT", "2023-12-31", 3)
    server.queue("klines", reply(hangs=True))
    exchange = connect(timeout=0.3)
    assert len(exchange.klines("BTCUSDT", "1d", END - 3 * DAY, END).rows) == 3
    server.always("klines", reply(hangs=True))
    with pytest.raises(OutageError, match=r"cannot reach .* \(ReadTimeout\)"):
        exchange.klines("BTCUSDT", "1d", END - 3 * DAY, END)
    assert server.count("klines") == 2 + 3


def test_nobody_listens(connect):
    with pytest.raises(OutageError, match=r"cannot reach 127.0.0.1:.*check the connection"):
        connect(url=f"http://127.0.0.1:{unused_port()}").klines_many(requests_for(["BTCUSDT"]))


def test_one_symbol_out_of_order_does_not_end_the_batch(server, connect, reply):
    server.always("S0USDT", reply(500))
    answers = connect().klines_many(requests_for(f"S{n}USDT" for n in range(10)))
    assert isinstance(answers["S0USDT"], SymbolFetchError)
    assert all(isinstance(answers[f"S{n}USDT"], Klines) for n in range(1, 10))


def test_an_exchange_that_is_down_ends_the_batch(server, connect, reply):
    server.always("klines", reply(503))
    with pytest.raises(OutageError, match="gave up"):
        connect().klines_many(requests_for(f"S{n}USDT" for n in range(200)))
    # 8 in a row give up; as many again may have begun.
    assert server.count("klines") <= 2 * 8 * 3


def test_many_scattered_outages_do_not_end_the_batch(server, connect, reply):
    for n in range(0, 27, 3):
        server.always(f"S{n}USDT", reply(503))
    answers = connect(threads=1).klines_many(requests_for(f"S{n}USDT" for n in range(27)))
    assert sum(isinstance(answer, SymbolFetchError) for answer in answers.values()) == 9


def test_more_than_half_in_outages_ends_the_batch(server, connect, reply):
    for n in range(4):
        server.always(f"S{n}USDT", reply(503))
    symbols = [f"S{n}USDT" for n in (4, 0, 5, 1, 6, 2, 3)]
    with pytest.raises(OutageError, match="gave up: 4 of 7"):
        connect(threads=1).klines_many(requests_for(symbols))
    answers = connect(threads=1).klines_many(requests_for([*symbols, "S7USDT"]))
    assert sum(isinstance(answer, SymbolFetchError) for answer in answers.values()) == 4


@pytest.mark.parametrize(
    ("body", "end"),
    [
        ({"code": -1121, "msg": "Invalid symbol."}, "(-1121: Invalid symbol.): check the symbol"),
        ({"code": -1003, "msg": "Too much weight."}, "(-1003: Too much weight.)"),
        (b"<html>", "HTTP 400: check AUTONAMA_EXCHANGE_URL"),
    ],
)
def test_only_a_refused_symbol_is_to_be_checked(server, connect, reply, body, end):
    server.always("BTCUSDT", reply(400, body))
    with pytest.raises(SymbolFetchError) as error:
        connect().klines("BTCUSDT", "1d", END - DAY, END)
    assert str(error.value).endswith(end)


@pytest.mark.parametrize("row", [{str(n): "1" for n in range(12)}, 7, None, "123456789012"])
def test_a_row_that_is_no_list_is_named(server, connect, reply, row):
    server.always("BTCUSDT", reply(200, [row]))
    with pytest.raises(SymbolFetchError, match=f"a candle's fields, got {type(row).__name__}"):
        connect().klines("BTCUSDT", "1d", END - DAY, END)


def test_an_invalid_symbol_is_not_asked_for_again(server, connect, reply):
    server.add_days("ETHUSDT", "2023-12-31", 3)
    server.always("BTCUSDT", reply(400, {"code": -1121, "msg": "Invalid symbol."}))
    answers = connect().klines_many(requests_for(["BTCUSDT", "ETHUSDT"]))
    assert "BTCUSDT" in str(answers["BTCUSDT"])
    assert "-1121: Invalid symbol." in str(answers["BTCUSDT"])
    assert len(answers["ETHUSDT"].rows) == 3
    assert server.count("klines") == 2


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (302, "a redirect"),
        (401, "EXCHANGE_URL"),
        (403, "blocked"),
        (404, "EXCHANGE_URL"),
        (451, "EXCHANGE_TLD=us"),
    ],
)
def test_a_refusal_ends_the_batch_at_once(server, connect, reply, status, hint):
    server.always("klines", reply(status, HTML, {"Location": "/elsewhere"}))
    with pytest.raises(ExchangeError, match=f"HTTP {status}.*{hint}") as error:
        connect(threads=1).klines_many(requests_for(f"S{n}USDT" for n in range(20)))
    assert not isinstance(error.value, SymbolFetchError)
    assert server.count("klines") == 1


def test_recorded_error_bodies(server, connect, reply, market_data):
    recorded = json.loads((market_data / "payloads" / "binance_errors.json").read_text())
    for case in recorded:
        body = case["body"]
        server.queue(
            "klines",
            *[
                reply(
                    case["http_status"],
                    body.encode() if isinstance(body, str) else body,
                    {"Retry-After": "1"},
                )
            ]
            * 3,
        )
        clock = _NoWait()
        exchange = connect(throttle=Throttle(clock=clock, sleep=clock.sleep))
        with pytest.raises(ExchangeError) as error:
            exchange.klines("BTCUSDT", "1d", END - DAY, END)
        expected = {400: SymbolFetchError, 418: ExchangeBannedError}
        wanted = expected.get(case["http_status"], ExchangeError)
        assert isinstance(error.value, wanted)
        assert isinstance(error.value, SymbolFetchError) == (wanted is SymbolFetchError)
        assert str(case["http_status"]) in str(error.value)
        assert "\n" not in str(error.value)
        server._queued.clear()


class _NoWait:
    """The machine's clock, put forward by sleeping instead of waiting."""

    def __init__(self):
        self.ahead = 0.0
        self.slept = []

    def __call__(self):
        return time.time() + self.ahead

    def sleep(self, _stop, seconds):
        assert len(self.slept) < 100, "the throttle waits for ever"
        self.slept.append(seconds)
        self.ahead += seconds


@pytest.mark.parametrize(("retry_after", "least", "most"), [("7", 6.9, 7), (None, 1, 61.1)])
def test_429_pauses_and_then_goes_on(server, connect, reply, retry_after, least, most):
    server.add_days("BTCUSDT", "2023-12-31", 3)
    headers = {"Retry-After": retry_after} if retry_after else {}
    server.queue("klines", reply(429, {"code": -1003, "msg": "Too many requests"}, headers))
    clock = _NoWait()
    exchange = connect(throttle=Throttle(clock=clock, sleep=clock.sleep))
    assert len(exchange.klines("BTCUSDT", "1d", END - 3 * DAY, END).rows) == 3
    assert least <= sum(clock.slept) <= most
    assert server.count("klines") == 2


def test_429_holds_every_request_back(server, connect, reply):
    server.queue("klines", reply(429, b"", {"Retry-After": "9"}))
    clock = _NoWait()
    once = RetryPolicy(attempts=1)
    exchange = connect(retry=once, throttle=Throttle(clock=clock, sleep=clock.sleep))
    with pytest.raises(ExchangeError, match="HTTP 429"):
        exchange.klines("BTCUSDT", "1d", END - DAY, END)
    assert clock.slept == []
    exchange.symbols()
    assert 8.9 <= sum(clock.slept) <= 9


def test_429_without_end_gives_up(server, connect, reply):
    server.always("klines", reply(429, b"", {"Retry-After": "1"}))
    clock = _NoWait()
    exchange = connect(threads=1, throttle=Throttle(clock=clock, sleep=clock.sleep))
    with pytest.raises(ExchangeError, match="WEIGHT_PER_MINUTE"):
        exchange.klines_many(requests_for(["AUSDT", "BUSDT", "CUSDT"]))
    assert server.count("klines") == 3


def test_429_for_an_hour_is_the_users_decision(server, connect, reply):
    server.always("klines", reply(429, b"", {"Retry-After": "3600"}))
    with pytest.raises(ExchangeError, match="try again in 60 minutes"):
        connect().klines("BTCUSDT", "1d", END - DAY, END)
    assert server.count("klines") == 1


def test_418_stops_everything_at_once(server, connect, reply):
    until = datetime.now(UTC) + timedelta(hours=30)
    ban = reply(418, {"code": -1003, "msg": f"IP banned until {to_ms(until)}."})
    server.queue("S2USDT", ban)
    exchange = connect(threads=1)
    with pytest.raises(ExchangeBannedError, match=f"until {until:%Y-%m-%d %H:%M:%S} UTC"):
        exchange.klines_many(requests_for(f"S{n}USDT" for n in range(50)))
    calls = len(server.calls)
    assert server.count("klines") == 3
    for ask in (exchange.server_time, exchange.symbols):
        with pytest.raises(ExchangeBannedError):
            ask()
    assert len(server.calls) == calls


def test_418_with_threads_sends_no_more_than_is_under_way(server, connect, reply):
    server.always("klines", reply(418, b"", {"Retry-After": "600"}))
    with pytest.raises(ExchangeBannedError):
        connect(threads=4).klines_many(requests_for(f"S{n}USDT" for n in range(50)))
    assert server.count("klines") <= 4


def test_a_ban_ends(server, connect, reply):
    server.queue("time", reply(418, b"", {"Retry-After": "600"}))
    clock = _NoWait()
    exchange = connect(throttle=Throttle(clock=clock, sleep=clock.sleep))
    with pytest.raises(ExchangeBannedError):
        exchange.server_time()
    clock.ahead = 601.0
    assert exchange.server_time() == server.now


def test_used_weight_near_the_budget_waits_for_the_next_minute(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 3)
    clock = _NoWait()
    exchange = connect(throttle=Throttle(100, clock=clock, sleep=clock.sleep))
    server.headers = {"X-MBX-USED-WEIGHT-1M": "97"}
    exchange.klines("BTCUSDT", "1d", END - DAY, END)
    assert clock.slept == []
    server.headers = {"X-MBX-USED-WEIGHT-1M": "99"}
    exchange.klines("BTCUSDT", "1d", END - DAY, END)
    assert len(clock.slept) == 1
    assert clock.slept[0] <= 61


def test_the_budget_is_a_setting(server, connect):
    server.headers = {"X-MBX-USED-WEIGHT-1M": "50"}
    exchange = connect(weight_per_minute=52)
    exchange.server_time()
    exchange.server_time()
    with pytest.raises(RequestCancelledError):  # where it would wait for the minute's end
        exchange._client._throttle.acquire(3, _SetOnceAsked())


class _SetOnceAsked(threading.Event):
    """Not set at first, so that the throttle begins to wait, and set from then on."""

    def is_set(self):
        was = super().is_set()
        self.set()
        return was


def test_an_interrupted_batch_sends_no_more(server, connect, reply):
    server.always("klines", reply(body=[], headers={"X-MBX-USED-WEIGHT-1M": "4800"}))
    exchange = connect(threads=1, throttle=Throttle(clock=lambda: 0.0))
    exchange.symbols()  # else asked for at the first empty answer: does the pair trade?

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exchange.klines_many(requests_for(f"S{n}USDT" for n in range(50)), interrupt)
    # The second request was waiting for the next minute.
    assert server.count("klines") == 1


def test_symbols_of_a_quote_by_name_whatever_their_status(server, connect):
    for symbol in ("ETHUSDT", "BTCUSDT", "BTCBUSD"):
        server.rows[symbol] = []
    exchange = connect()
    assert exchange.symbols() == [
        SymbolInfo("BTCUSDT", "BTC", "USDT"),
        SymbolInfo("ETHUSDT", "ETH", "USDT"),
    ]
    assert exchange.symbols("BUSD") == [SymbolInfo("BTCBUSD", "BTC", "BUSD")]


def entry(symbol="NEWUSDT", base="NEW", quote="USDT", **more):
    return {"symbol": symbol, "baseAsset": base, "quoteAsset": quote, "status": "BREAK", **more}


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (entry(quote=""), "'NEWUSDT' (expected a name, got '')"),
        (entry(quote=None), "expected a name, got None"),
        ({"symbol": "NEWUSDT", "baseAsset": "NEW", "quoteAsset": "USDT"}, "(no 'status')"),
        (entry("../../../PWNUSDT"), "may only contain letters and digits"),
        (entry("A\x00USDT"), r"'A\x00USDT' may only contain letters and digits"),
        (entry("\ud800USDT"), r"'\ud800USDT' may only contain letters"),
        (entry(base="<b>"), "'<b>' may only contain letters and digits"),
        (entry("BTCUSDT", "BT", "CUSDT"), "BTCUSDT (listed twice, as different pairs"),
        (entry("N" * 33), "is longer than 32 characters"),
        (["NEWUSDT"], "['NEWUSDT'] (expected an object)"),
        (None, "None (expected an object)"),
        (7, "7 (expected an object)"),
    ],
)
def test_an_odd_entry_costs_itself_alone_and_is_counted(server, connect, reply, caplog, odd, says):
    good = [entry("BTCUSDT", "BTC"), entry("\u5e01\u5b89USDT", "\u5e01\u5b89")]
    server.always("exchangeInfo", reply(body={"symbols": [good[0], odd, good[1], good[1]]}))
    exchange = connect()
    assert [pair.symbol for pair in exchange.symbols()] == ["BTCUSDT", "\u5e01\u5b89USDT"]
    assert len(exchange.left_out) == 1
    assert says in exchange.left_out[0]
    assert exchange.left_out[0].isascii()
    exchange.symbols()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [f"1 of the listed pairs ignored: {exchange.left_out[0]}"]


@pytest.mark.parametrize("entries", [[entry("A/B")], [None], [{}], {"BTCUSDT": {}}, None, "BTC"])
def test_a_list_of_nothing_but_odd_entries_is_garbage(server, connect, reply, entries):
    server.always("exchangeInfo", reply(body={"symbols": entries}))
    with pytest.raises(ExchangeError, match="sent an unusable response"):
        connect().symbols()


@pytest.mark.parametrize("endpoint", ["time", "24hr"])
@pytest.mark.parametrize(
    "value",
    [
        1_703_894_700,
        0,
        -1,
        10_413_792_000_000,
        1_703_894_700_000_000,
        10**18,
        10**30,
        "1703894700000",
        1.7e12,
    ],
)
def test_a_clock_that_cannot_be_one_is_refused(server, connect, reply, endpoint, value):
    key = "serverTime" if endpoint == "time" else "closeTime"
    server.always(endpoint, reply(body={key: value}))
    with pytest.raises(ExchangeError, match="sent an unusable response") as raised:
        connect().server_time()
    assert "\n" not in str(raised.value)
    assert ("expected milliseconds since 1970" in str(raised.value)) == isinstance(value, int)


@pytest.mark.parametrize("body", [HTML, b"[]", b"7", {"time": 1_703_894_700_000}])
def test_an_answer_without_a_clock_says_what_is_wanted(server, connect, reply, body):
    server.always("time", reply(body=body))
    with pytest.raises(ExchangeError, match=r"response \(expected an object with serverTime, got "):
        connect().server_time()


@pytest.mark.parametrize("year", [2017, 2031, 2150])
def test_a_clock_may_stand_in_the_past_or_the_future(server, connect, year):
    server.now = datetime(year, 8, 1, tzinfo=UTC)
    assert connect().server_time() == server.now


@pytest.mark.parametrize(("headers", "knows"), [({}, False), ({"X-Autonama-Market": "x"}, True)])
def test_only_the_replay_exchange_knows_delisted_pairs(server, connect, headers, knows):
    server.headers = headers
    assert connect().knows_delisted is knows


@pytest.mark.parametrize("used", ["²", "9" * 5000, "-5", "1e3", ""])
def test_a_used_weight_that_is_no_number_is_not_believed(server, connect, used):
    server.headers = {"X-MBX-USED-WEIGHT-1M": used.encode().decode("latin-1")}
    exchange = connect()
    assert exchange.server_time() == server.now


@pytest.mark.parametrize("after", ["²", "9" * 5000, "soon", "Fri, 29 Dec 2000 00:05:09 GMT"])
def test_429_for_a_time_that_is_none_waits_for_the_next_minute(server, connect, reply, after):
    server.queue("time", reply(429, b"", {"Retry-After": after.encode().decode("latin-1")}))
    clock = _NoWait()
    exchange = connect(throttle=Throttle(clock=clock, sleep=clock.sleep))
    assert exchange.server_time() == server.now
    assert 1 <= sum(clock.slept) <= 61.1


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("999999999", "until 20"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "until 20"),
        ("99999999999999", "for an unknown time"),
        ("²", "for an unknown time"),
    ],
)
def test_a_ban_for_an_absurd_time_is_a_ban(server, connect, reply, after, said):
    server.queue("time", reply(418, b"", {"Retry-After": after.encode().decode("latin-1")}))
    clock = _NoWait()
    exchange = connect(throttle=Throttle(clock=clock, sleep=clock.sleep))
    with pytest.raises(ExchangeBannedError, match=said):
        exchange.server_time()
    with pytest.raises(ExchangeBannedError):
        exchange.server_time()
    clock.ahead = LONGEST_SILENCE.total_seconds() + 1
    if said == "until 20":
        assert exchange.server_time() == server.now


def test_a_ban_in_words_lasts_no_longer_than_any_other(server, connect, reply):
    server.queue("time", reply(418, {"code": -1003, "msg": "banned until 9990423228000."}))
    latest = datetime.now(UTC) + LONGEST_SILENCE
    with pytest.raises(ExchangeBannedError, match=f"until {latest:%Y-%m-%d}"):
        connect().server_time()


NESTED = b"[" * 200_000


@pytest.mark.parametrize("status", [200, 400, 429, 418, 500])
def test_bodies_nested_too_deep_are_no_bodies(server, connect, reply, status):
    server.always("klines", reply(status, NESTED, {"Retry-After": "1"}))
    with pytest.raises(ExchangeError, match="unusable" if status == 200 else f"HTTP {status}"):
        connect(retry=RetryPolicy(attempts=1)).klines("BTCUSDT", "1d", END - DAY, END)


def test_more_candles_than_asked_for_are_garbage(server, connect, reply):
    server.add_days("BTCUSDT", "2023-12-31", 1001)
    server.always("klines", reply(body=server.rows["BTCUSDT"]))
    with pytest.raises(BadAnswerError, match="1,001 candles, at most 1,000 were requested"):
        connect().klines("BTCUSDT", "1d", END - 1000 * DAY, END)


def test_an_answer_without_measure_is_garbage(server, connect, reply):
    body = gzip.compress(b" " * (SMALL + 1))
    server.always("BTCUSDT", reply(body=body, headers={"Content-Encoding": "gzip"}))
    server.add_days("ETHUSDT", "2023-12-31", 3)
    answers = connect().klines_many(requests_for(["BTCUSDT", "ETHUSDT"]))
    assert "larger than 2,097,152 bytes" in str(answers["BTCUSDT"])
    assert isinstance(answers["ETHUSDT"], Klines)
    assert server.count("klines") == 3 + 1


def test_the_list_of_pairs_may_be_larger(server, connect, reply):
    padded = json.dumps({"symbols": []}).encode() + b" " * (2 * SMALL)
    server.queue("exchangeInfo", reply(body=padded))
    assert connect().symbols() == []


def test_an_answer_that_drips_is_an_outage_and_not_asked_for_again(server, connect, reply):
    server.always("S0USDT", reply(body=[], drips=0.05))
    for n in range(1, 4):
        server.add_days(f"S{n}USDT", "2023-12-31", 5)
    answers = connect(deadline=0.5).klines_many(requests_for(f"S{n}USDT" for n in range(4)))
    assert "took longer than 0.5 s" in str(answers["S0USDT"])
    assert all(isinstance(answers[f"S{n}USDT"], Klines) for n in range(1, 4))
    assert [q["symbol"] for call, q in server.calls if call == "klines"].count("S0USDT") == 1


def test_an_exchange_that_drips_is_an_outage(server, connect, reply):
    server.always("klines", reply(body=[], drips=0.05))
    with pytest.raises(OutageError, match=r"took longer than 0.3 s.*gave up: 2 of 2"):
        connect(deadline=0.3).klines_many(requests_for(["AUSDT", "BUSDT"]))


@pytest.mark.parametrize("wait", ["drips", "retries"])
@pytest.mark.timeout(30)  # less than what is waited for
def test_a_batch_ends_at_once_whatever_its_requests_wait_for(server, connect, reply, wait):
    server.always("S0USDT", reply(body=[], drips=0.05))
    server.always("S1USDT", reply(503))
    patient = RetryPolicy(attempts=2, wait_initial=60, wait_max=60)
    exchange = connect(retry=patient)

    def interrupt(*_):
        raise KeyboardInterrupt

    server.add_days("S2USDT", "2023-12-31", 5)
    names = ["S0USDT" if wait == "drips" else "S1USDT", "S2USDT"]
    with pytest.raises(KeyboardInterrupt):
        exchange.klines_many(requests_for(names), interrupt)


def test_no_key_is_sent_though_one_is_set(server, monkeypatch):
    monkeypatch.setenv("BINANCE_API_KEY", "planted-key")
    monkeypatch.setenv("BINANCE_API_SECRET", "planted-secret")
    server.add_days("BTCUSDT", "2023-12-31", 3)
    exchange = build_exchange(load_settings(exchange_url=server.url))
    exchange.symbols()
    exchange.klines("BTCUSDT", "1d", END - DAY, END)
    exchange.close()
    assert len(server.sent) == len(server.calls) > 3
    assert "planted" not in "".join(map(str, server.sent))
    assert not [h for h in server.sent if "X-MBX-APIKEY" in h]


def test_password_of_a_proxy_is_not_shown(connect):
    exchange = connect(url=f"http://user:hunter2@127.0.0.1:{unused_port()}")
    with pytest.raises(OutageError) as error:
        exchange.server_time()
    assert "hunter2" not in str(error.value) + repr(exchange)


def test_default_addresses(connect):
    assert "api.binance.com" in repr(connect(url=None))
    assert "api.binance.us" in repr(connect(url=None, tld="us"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interval": "7d"}, "interval '7d' is unknown"),
        ({"start": datetime(2024, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"end": END - DAY}, "is empty"),
    ],
)
def test_requests_that_cannot_be_meant(change, message):
    asked = {"symbol": "BTCUSDT", "interval": "1d", "start": END - DAY, "end": END, **change}
    with pytest.raises(InputError, match=message):
        KlinesRequest(**asked)


def test_one_request_a_symbol(connect):
    with pytest.raises(ValueError, match="one request per symbol"):
        connect().klines_many(requests_for(["BTCUSDT", "BTCUSDT"]))


def test_an_empty_answer_is_not_believed_of_a_pair_that_trades(server, connect, reply):
    server.add_days("BTCUSDT", "2023-12-31", 5)
    server.statuses["BTCUSDT"] = "TRADING"
    server.queue("BTCUSDT", reply(body=[]))
    ((request),) = requests_for(["BTCUSDT"])
    with pytest.raises(SymbolFetchError, match="an empty list for a pair that trades"):
        connect().klines("BTCUSDT", "1d", request.start, request.end)


def test_an_empty_answer_is_believed_of_a_pair_whose_candles_begin_later(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 1)
    server.statuses["BTCUSDT"] = "TRADING"
    start = datetime(2023, 12, 1, tzinfo=UTC)
    assert connect().klines("BTCUSDT", "1d", start, start + timedelta(days=5)).rows == ()


def test_a_clock_ahead_of_its_market_does_not_close_a_candle(server, connect, reply):
    server.add_days("BTCUSDT", "2023-12-31", 5)
    server.now = datetime(2023, 12, 31, 23, 30, tzinfo=UTC)
    ahead = datetime(2024, 1, 1, 0, 30, tzinfo=UTC)
    server.always("time", reply(body={"serverTime": round(ahead.timestamp() * 1000)}))
    exchange = connect()
    assert exchange.server_time() == server.now
    ((request),) = requests_for(["BTCUSDT"])
    answer = exchange.klines("BTCUSDT", "1d", request.start, request.end)
    assert len(answer.rows) == 4
