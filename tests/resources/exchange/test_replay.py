"""The whole way: python-binance against the replay exchange, faults included."""

from datetime import UTC, datetime, timedelta

import pytest
from servers import synthetic_market

from autonama_dagster.analytics.candles.klines import parse
from autonama_dagster.errors import ExchangeBannedError, SymbolFetchError
from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import ReplayServer
from resources.exchange.base import KlinesRequest
from resources.exchange.memo import MemoExchange

END = datetime(2022, 9, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "AUDUSDT")


@pytest.fixture(scope="module")
def replay(market_data):
    market = RecordedMarket(market_data / "klines")
    with ReplayServer(market, now=END + timedelta(minutes=5)) as running:
        yield running


@pytest.fixture
def exchange(replay, connect):
    replay.faults.replace()
    replay.clear_requests()
    return connect(url=replay.url)


def requests_for(days):
    return [KlinesRequest(symbol, "1d", END - days * DAY, END + DAY) for symbol in SYMBOLS]


def test_a_scan_of_real_candles(exchange):
    answers = exchange.klines_many(requests_for(720))
    assert exchange.server_time() == END + timedelta(minutes=5)
    for symbol, klines in answers.items():
        good, bad = parse(klines.rows, symbol)
        assert len(good) + len(bad) == 720
        assert max(good["date"]) == (END - DAY).replace(tzinfo=None)
        assert klines.source in {"replay-recorded", "replay-estimated"}
    audusdt = parse(answers["AUDUSDT"].rows, "AUDUSDT")[1]
    assert audusdt["reason"].tolist() == ["close 0.72216000 above high 0.72033000"]


def test_delisted_pairs_are_known(exchange):
    assert exchange.knows_delisted
    assert {"LUNAUSDT", *SYMBOLS} <= {pair.symbol for pair in exchange.symbols()}


def test_announced_spans_cost_one_call_a_symbol(replay, exchange):
    memo = MemoExchange(exchange)
    for request in requests_for(720):
        memo.expect(request.symbol, "1d", request.start, END)
    for first, last in ((720, 365), (365, 0)):
        asked = [
            KlinesRequest(symbol, "1d", END - first * DAY, END - last * DAY) for symbol in SYMBOLS
        ]
        assert all(len(answer.rows) == first - last for answer in memo.klines_many(asked).values())
    assert sum(record.path.endswith("klines") for record in replay.requests) == len(SYMBOLS)


@pytest.mark.parametrize(
    "fault",
    [
        *("500:count=2", "502:count=2", "503:count=2", "truncated:count=2,path=klines"),
        *("reset:count=2", "garbage:count=2", "html:count=2", "duplicate-rows", "shuffled-rows"),
        "microseconds",
    ],
)
def test_faults_that_pass_change_nothing(replay, exchange, fault):
    honest = exchange.klines_many(requests_for(30))
    replay.faults.add(fault)
    replay.clear_requests()
    assert exchange.klines_many(requests_for(30)) == honest
    assert replay.requests


def test_a_spoilt_candle_is_quarantined(replay, exchange):
    replay.faults.add("bad-values:symbol=ETHUSDT,value=nan,date=2022-08-20")
    good, bad = parse(exchange.klines_many(requests_for(30))["ETHUSDT"].rows, "ETHUSDT")
    assert [str(day.date()) for day in bad["date"]] == ["2022-08-20"]
    assert len(good) == 29


def test_one_symbol_of_garbage(replay, exchange):
    replay.faults.add("garbage:symbol=ETHUSDT")
    answers = exchange.klines_many(requests_for(30))
    failed = [symbol for symbol, got in answers.items() if isinstance(got, SymbolFetchError)]
    assert failed == ["ETHUSDT"]


def test_a_ban_is_the_last_request(replay, exchange):
    replay.faults.add("418:path=klines,symbol=ETHUSDT,retry_after=60")
    with pytest.raises(ExchangeBannedError, match="banned this address until"):
        exchange.klines_many(requests_for(30))
    sent = len(replay.requests)
    with pytest.raises(ExchangeBannedError):
        exchange.klines_many(requests_for(30))
    assert len(replay.requests) == sent


def test_made_up_candles_say_so(connect):
    with ReplayServer(synthetic_market(7), now=END) as synthetic:
        exchange = connect(url=synthetic.url)
        assert exchange.klines("BTCUSDT", "1d", END - 5 * DAY, END).source == "synthetic"
        exchange.close()
