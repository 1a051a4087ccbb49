"""Faults: how they are written, when they strike, and what the client gets."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from binance.exceptions import BinanceAPIException, BinanceRequestException

from autonama_dagster.errors import InputError
from autonama_dagster.replay import app
from autonama_dagster.replay.faults import KINDS, Fault, Faults
from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import ReplayServer

DAY_MS = 86_400_000
FIRST_DAY_MS = 1_577_836_800_000
LATE_DAY_MS = FIRST_DAY_MS + 38 * DAY_MS


def klines(client, **params):
    return client.get_klines(symbol="AAAUSDT", interval="1d", **params)


def fetch(server, path="klines", **params):
    params = {"symbol": "AAAUSDT", "interval": "1d"} | params if path == "klines" else params
    return requests.get(
        f"{server.url}/api/v3/{path}", params=params, timeout=10, allow_redirects=False
    )


def test_a_fault_is_read_from_text():
    assert Fault.parse("http-500:symbol=btcusdt,count=2") == Fault("500", symbol="BTCUSDT", count=2)
    assert Fault.parse("429:every=10,retry_after=3,path=/api/v3/klines") == Fault(
        "429", every=10, retry_after=3, path="klines"
    )
    assert Fault.parse("timeout") == Fault("timeout", seconds=30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("teapot", "unknown fault 'teapot': use one of 429, 418, "),
        ("500:symbl=X", "'symbl=X' is not one of symbol=, interval=, path=, every=, "),
        ("500:date=2020-01-01", "'date=2020-01-01' is not one of "),
        ("500:count", "'count' is not one of "),
        ("500:count=two", "cannot read count='two'"),
        ("500:every=0", "every is 1 or more"),
        ("500:probability=2", "probability 0 to 1"),
        ("bad-values:value=odd", "use one of nan, negative, zero, huge, high-below-low"),
        ("missing-days:days=3", "add date="),
        ("late-candle", "add requests=3 or minutes=10"),
    ],
)
def test_an_unusable_fault_is_one_line_that_says_what_is_possible(text, message):
    with pytest.raises(InputError) as raised:
        Fault.parse(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def strikes(text, requests):
    faults = Faults.parse(text)
    return [bool(faults.hit(path, params)) for path, params in requests]


def test_a_fault_strikes_every_nth_request_at_most_so_often():
    ping = [("ping", {})] * 8
    assert strikes("500:every=3", ping) == [False, False, True] * 2 + [False, False]
    assert strikes("500:every=2,count=2", ping) == [False, True, False, True] + [False] * 4


def test_a_probable_fault_is_the_same_for_the_same_seed():
    ping = [("ping", {})] * 100
    first = strikes("500:probability=0.3,seed=5", ping)
    assert 15 < sum(first) < 45
    assert first == strikes("500:probability=0.3,seed=5", ping)
    assert first != strikes("500:probability=0.3,seed=6", ping)


def test_a_fault_strikes_only_what_it_names():
    params = {"symbol": "AAAUSDT", "interval": "1d"}
    calls = [("klines", params), ("klines", params | {"symbol": "B"}), ("ticker/price", params)]
    assert strikes("500:symbol=AAAUSDT", calls) == [True, False, True]
    assert strikes("500:path=klines", calls) == [True, True, False]
    assert strikes("500:interval=1h", calls) == [False, False, False]
    assert strikes("microseconds", calls) == [True, True, False]


def test_a_late_candle_counts_requests_by_symbol():
    calls = [("klines", {"symbol": name}) for name in "ABABAB"]
    assert strikes("late-candle:requests=2", calls) == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("429", 429, -1003), ("418", 418, -1003), ("451", 451, 0), ("500", 500, -1000)],
)
def test_errors_with_binances_body(exchange, client, kind, status, code):
    exchange.faults.add(f"{kind}:count=1")
    with pytest.raises(BinanceAPIException) as raised:
        klines(client)
    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert len(klines(client)) == 40
    assert exchange.requests[0].faults == (kind,)


@pytest.mark.parametrize("kind", ["429", "418"])
def test_limits_say_when_to_come_back(exchange, kind):
    exchange.faults.add(f"{kind}:retry_after=7")
    assert fetch(exchange).headers["Retry-After"] == "7"


def test_a_ban_says_until_when(exchange):
    exchange.faults.add("418:retry_after=60")
    assert f"IP banned until {LATE_DAY_MS + DAY_MS * 3 // 2 + 60_000}." in fetch(exchange).text


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [("403", 403, "Request blocked."), ("502", 502, "502 Bad Gateway"), ("503", 503, "")],
)
def test_errors_that_are_not_json(exchange, client, kind, status, text):
    exchange.faults.add(kind)
    with pytest.raises(BinanceAPIException) as raised:
        klines(client)
    assert raised.value.status_code == status
    assert text in raised.value.response.text


@pytest.mark.parametrize("kind", ["truncated", "garbage", "html"])
def test_answers_that_cannot_be_read(exchange, client, kind):
    exchange.faults.add(kind)
    with pytest.raises(BinanceRequestException, match="Invalid Response"):
        klines(client)
    assert client.response.status_code == 200


def test_a_connection_that_ends_in_the_body(exchange, client):
    exchange.faults.add("reset:count=1")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        klines(client)
    assert len(klines(client)) == 40


def test_an_answer_that_comes_too_late(exchange, connect):
    exchange.faults.add("timeout:seconds=60,path=klines")
    impatient = connect(exchange, timeout=0.2)
    with pytest.raises(requests.exceptions.ReadTimeout):
        klines(impatient)
    assert impatient.ping() == {}


class NoticingFaults(Faults):
    """Says when a request has arrived."""

    def __init__(self, *faults):
        super().__init__(*faults)
        self.noticed = threading.Event()

    def hit(self, endpoint, params):
        self.noticed.set()
        return super().hit(endpoint, params)


def test_a_delayed_answer_does_not_hold_up_the_end_of_the_server(folder, connect):
    faults = NoticingFaults(Fault("timeout", seconds=3600))
    with ThreadPoolExecutor(1) as pool:
        with ReplayServer(RecordedMarket(folder), now="2020-02-09", faults=faults) as server:
            answer = pool.submit(connect(server, timeout=60).ping)
            assert faults.noticed.wait(30)
        with pytest.raises((requests.exceptions.ConnectionError, BinanceAPIException)):
            answer.result(30)


def test_an_empty_answer(exchange, client):
    exchange.faults.add("empty-list")
    assert klines(client) == []


def test_duplicate_rows(exchange, client):
    exchange.faults.add("duplicate-rows")
    rows = klines(client, limit=3)
    assert len(rows) == 6
    assert rows[0] == rows[1] != rows[2]


def test_shuffled_rows(exchange, client):
    ordered = klines(client)
    exchange.faults.add("shuffled-rows:seed=3")
    rows = klines(client)
    assert rows != ordered
    assert sorted(rows) == ordered
    assert rows == klines(client)


def test_missing_days(exchange, client):
    exchange.faults.add("missing-days:date=2020-02-01,days=2")
    days = {(row[0] - FIRST_DAY_MS) // DAY_MS for row in klines(client)}
    assert set(range(40)) - days == {31, 32}


def test_a_late_candle_by_requests(exchange, client):
    exchange.faults.add("late-candle:requests=2")
    exchange.set_now("2020-02-09T00:05:00Z")
    newest = [klines(client)[-1][0] for _ in range(3)]
    assert newest == [LATE_DAY_MS - DAY_MS, LATE_DAY_MS - DAY_MS, LATE_DAY_MS + DAY_MS]


def test_a_late_candle_by_minutes(exchange, client):
    exchange.faults.add("late-candle:minutes=10")
    exchange.set_now("2020-02-09T00:09:59Z")
    assert klines(client)[-1][0] == LATE_DAY_MS - DAY_MS
    exchange.set_now("2020-02-09T00:10:00Z")
    assert [row[0] for row in klines(client)[-2:]] == [LATE_DAY_MS, LATE_DAY_MS + DAY_MS]


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        ("nan", 4, "NaN"),
        ("negative", 3, "-1.00000000"),
        ("zero", 1, "0.00000000"),
        ("huge", 2, "1e30"),
        ("high-below-low", 2, "136.00000000"),
    ],
)
def test_bad_values_in_the_last_closed_candle(exchange, client, value, column, text):
    clean = klines(client, limit=3)
    exchange.faults.add(f"bad-values:value={value}")
    rows = klines(client, limit=3)
    assert rows[1][column] == text
    assert (rows[0], rows[2]) == (clean[0], clean[2])


def test_bad_values_on_one_day(exchange, client):
    exchange.faults.add("bad-values:date=2020-01-03")
    assert [row[0] for row in klines(client) if "NaN" in row] == [FIRST_DAY_MS + 2 * DAY_MS]
    assert not any("NaN" in row for row in klines(client, limit=5))


def test_times_in_microseconds(exchange, client):
    exchange.faults.add("microseconds")
    row = klines(client, limit=1, endTime=LATE_DAY_MS)[0]
    assert (row[0], row[6]) == (1000 * LATE_DAY_MS, 1000 * (LATE_DAY_MS + DAY_MS) - 1)


@pytest.mark.parametrize("seconds", [-90, 90])
def test_a_wrong_server_clock(exchange, client, seconds):
    now = client.get_server_time()["serverTime"]
    exchange.faults.add(f"clock:seconds={seconds}")
    assert client.get_server_time()["serverTime"] == now + 1000 * seconds
    assert client.get_exchange_info()["serverTime"] == now + 1000 * seconds


def test_faults_of_rows_leave_errors_alone(exchange):
    exchange.faults.add("microseconds")
    assert fetch(exchange, symbol="ZZZUSDT").json()["code"] == -1121


def test_several_faults_at_once(exchange, client):
    exchange.faults.add("missing-days:date=2020-02-09")
    exchange.faults.add("duplicate-rows")
    assert [row[0] for row in klines(client, limit=2)] == [LATE_DAY_MS, LATE_DAY_MS]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_changes_something(exchange, kind, monkeypatch):
    monkeypatch.setattr(app, "DRIP_SECONDS", 0.0)
    options = {
        "timeout": ":seconds=0",
        "missing-days": ":date=2020-02-08",
        "late-candle": ":requests=1",
    }
    path = "time" if kind == "clock" else "klines"
    clean = fetch(exchange, path).content
    exchange.faults.add(f"{kind}{options.get(kind, '')}")
    try:
        answer = fetch(exchange, path).content
    except requests.exceptions.ChunkedEncodingError:
        answer = b""
    assert (answer == clean) == (kind in {"timeout", "drip", "absurd-headers"})
    assert exchange.requests[-1].faults == (kind,)
