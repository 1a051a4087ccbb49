import threading
from datetime import UTC, datetime, timedelta

import pytest

from autonama_dagster.errors import ExchangeError, OutageError, SymbolFetchError
from resources.exchange.base import Klines, KlinesRequest
from resources.exchange.memo import MemoExchange

END = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def memo(server, connect):
    server.add_days("BTCUSDT", "2023-12-31", 720)
    server.add_days("ETHUSDT", "2023-12-31", 720)
    return MemoExchange(connect())


def ask(memo, first, last, symbol="BTCUSDT"):
    """Days before the end: from `first` days to `last` days."""
    answer = ask_many(memo, first, last, [symbol])[symbol]
    if isinstance(answer, SymbolFetchError):
        raise answer
    return answer


def ask_many(memo, first, last, symbols=("BTCUSDT", "ETHUSDT"), on_progress=None):
    requests = [KlinesRequest(s, "1d", END - first * DAY, END - last * DAY) for s in symbols]
    return memo.klines_many(requests, on_progress)


def test_a_range_inside_an_answer_costs_no_call(server, memo):
    whole = ask(memo, 30, 0)
    calls = len(server.calls)
    part = ask(memo, 20, 10)
    assert part.rows == whole.rows[10:20]
    assert (part.start, part.end) == (END - 20 * DAY, END - 10 * DAY)
    assert (part.source, part.asked_at) == (whole.source, whole.asked_at)
    assert ask_many(memo, 5, 1, ["BTCUSDT"])["BTCUSDT"].rows == whole.rows[25:29]
    assert len(server.calls) == calls


def test_a_range_beyond_an_answer_costs_a_call(server, memo):
    ask(memo, 30, 10)
    assert len(ask(memo, 30, 9).rows) == 21
    assert len(ask(memo, 31, 10).rows) == 21
    assert server.count("klines") == 3


def test_history_and_later_days_cost_one_call_when_announced(server, memo):
    for symbol in ("BTCUSDT", "ETHUSDT"):
        memo.expect(symbol, "1d", END - 720 * DAY, END)
    history = ask_many(memo, 720, 365)
    later = ask_many(memo, 365, 0)
    assert {len(answer.rows) for answer in history.values()} == {355}
    assert {len(answer.rows) for answer in later.values()} == {365}
    assert history["BTCUSDT"].rows[-1].open_time < later["BTCUSDT"].rows[0].open_time
    assert server.count("klines") == 2


def test_what_lies_outside_the_announced_span_is_asked_for_itself(server, memo):
    memo.expect("BTCUSDT", "1d", END - 20 * DAY, END)
    assert len(ask(memo, 25, 15).rows) == 10
    assert len(ask(memo, 15, 10).rows) == 5
    assert len(ask(memo, 20, 0).rows) == 20
    assert server.count("klines") == 2
    asked = [query for endpoint, query in server.calls if endpoint == "klines"]
    spans = [int(query["endTime"]) - int(query["startTime"]) for query in asked]
    assert [round(span / 86_400_000) for span in spans] == [10, 20]


def test_candles_that_had_not_closed_are_asked_for_again(server, memo):
    server.now = END - timedelta(hours=1)
    assert len(ask(memo, 3, 0).rows) == 2
    server.now = END + timedelta(minutes=5)
    assert len(ask(memo, 3, 0).rows) == 3
    assert len(ask(memo, 3, 1).rows) == 2
    assert server.count("klines") == 2


def test_an_announcement_is_used_up(server, memo):
    memo.expect("BTCUSDT", "1d", END - 20 * DAY, END)
    server.now = END - timedelta(hours=1)
    ask(memo, 20, 10)
    server.now = END + timedelta(minutes=5)
    assert len(ask(memo, 1, 0).rows) == 1
    asked = server.calls[-1][1]
    assert int(asked["endTime"]) - int(asked["startTime"]) == 86_400_000 - 1


def test_an_end_within_a_candle_waits_for_that_candle(server, memo):
    server.now = END - timedelta(hours=1)
    ask(memo, 3, 0.5)
    server.now = END + timedelta(minutes=5)
    assert len(ask(memo, 3, 0.5).rows) == 3
    assert server.count("klines") == 2


def test_an_empty_answer_is_an_answer(server, memo):
    assert ask(memo, 9, 3, "NEWUSDT").rows == ()
    assert ask(memo, 8, 4, "NEWUSDT").rows == ()
    assert server.count("klines") == 1


def test_failures_are_not_remembered(server, memo, reply):
    server.queue("BTCUSDT", reply(400, {"code": -1121, "msg": "Invalid symbol."}))
    answers = ask_many(memo, 3, 0)
    assert isinstance(answers["BTCUSDT"], SymbolFetchError)
    assert isinstance(ask_many(memo, 3, 0)["BTCUSDT"], Klines)
    assert server.count("klines") == 3


def test_an_exchange_that_is_down_is_not_hidden(server, memo, reply):
    server.always("klines", reply(503))
    with pytest.raises(ExchangeError):
        ask_many(memo, 3, 0)


def test_progress_counts_what_is_remembered(memo):
    ask(memo, 9, 0)
    seen = []
    ask_many(memo, 5, 0, on_progress=lambda *step: seen.append(step))
    assert seen == [(1, 2), (2, 2)]
    seen.clear()
    ask_many(memo, 5, 0, on_progress=lambda *step: seen.append(step))
    assert seen == [(2, 2)]


def test_order_of_the_answer_is_the_order_of_the_question(memo):
    ask(memo, 9, 0, "ETHUSDT")
    assert list(ask_many(memo, 5, 0)) == ["BTCUSDT", "ETHUSDT"]


def test_one_request_a_symbol(memo):
    ask(memo, 9, 0)
    with pytest.raises(ValueError, match="one request per symbol"):
        ask_many(memo, 5, 0, ["BTCUSDT", "BTCUSDT"])


def test_a_larger_answer_replaces_the_smaller_ones(memo):
    for days in (3, 5, 9):
        ask(memo, days, 0)
    assert [len(block.rows) for block in memo._blocks["BTCUSDT", "1d"]] == [9]


def test_the_rest_is_the_exchanges(server, memo):
    assert memo.name == "binance"
    assert memo.knows_delisted is False
    assert [pair.symbol for pair in memo.symbols()] == ["BTCUSDT", "ETHUSDT"]
    assert memo.server_time() == server.now
    server.now += DAY
    assert memo.server_time() == server.now


def test_threads_share_it(memo):
    memo.expect("BTCUSDT", "1d", END - 720 * DAY, END)
    lengths = []
    threads = [
        threading.Thread(target=lambda n=n: lengths.append(len(ask(memo, n + 9, n).rows)))
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [9] * 16


def test_closing_forgets(server, memo):
    ask(memo, 5, 0)
    memo.close()
    ask(memo, 5, 0)
    assert server.count("klines") == 2


def test_what_fails_for_a_minority_is_theirs_and_the_others_go_on(server, memo, reply):
    for symbol in ("AUSDT", "BUSDT", "CUSDT"):
        server.add_days(symbol, "2023-12-31", 5)
    requests = [KlinesRequest(s, "1d", END - 3 * DAY, END) for s in ("AUSDT", "BUSDT", "CUSDT")]
    memo.klines_many(requests[1:])
    server.always("AUSDT", reply(500, {}))
    answers = memo.klines_many(requests)
    assert isinstance(answers["AUSDT"], SymbolFetchError)
    assert len(answers["BUSDT"].rows) == len(answers["CUSDT"].rows) == 3
    with pytest.raises(OutageError):
        memo.klines_many(requests[:1])
