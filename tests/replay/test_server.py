"""The server around the protocol: weight, log, control, start and end."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import requests

from autonama_dagster.errors import InputError
from autonama_dagster.replay.limits import WeightLimiter
from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import ReplayServer

DAY_MS = 86_400_000
FIRST_DAY_MS = 1_577_836_800_000


def get(server, path, **params):
    response = requests.get(f"{server.url}/api/v3/{path}", params=params, timeout=10)
    return SimpleNamespace(status=response.status_code, json=response.json())


def test_an_unreadable_file_is_an_error_of_the_server(tmp_path, caplog):
    (tmp_path / "1d").mkdir()
    (tmp_path / "1d" / "AAAUSDT.csv.gz").write_text("plain")
    with ReplayServer(RecordedMarket(tmp_path), now="2020-01-01") as server:
        answer = get(server, "klines", symbol="AAAUSDT", interval="1d")
    assert answer.status == 500
    assert "AAAUSDT.csv.gz is not a readable" in answer.json["msg"]
    assert "cannot answer klines" in caplog.text


def test_weight_is_counted_and_refused_beyond_the_limit(folder, connect):
    limiter = WeightLimiter(limit=24, patience=1, wall=lambda: 6_015.0)
    with ReplayServer(RecordedMarket(folder), now="2020-02-09", limiter=limiter) as server:
        client = connect(server)
        client.get_exchange_info()
        client.get_klines(symbol="AAAUSDT", interval="1d")
        assert client.response.headers["X-MBX-USED-WEIGHT-1M"] == "22"
        refused = requests.get(f"{server.url}/api/v3/ticker/price", timeout=10)
        banned = requests.get(f"{server.url}/api/v3/ping", timeout=10)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "46"
    assert refused.headers["X-MBX-USED-WEIGHT-1M"] == "26"
    assert refused.json() == {
        "code": -1003,
        "msg": "Too much request weight used; current limit is 24 request weight per 1 MINUTE."
        " Please use the websocket for live updates to avoid polling the API.",
    }
    assert banned.status_code == 418
    assert banned.headers["Retry-After"] == "121"
    assert banned.json() == {
        "code": -1003,
        "msg": "Way too much request weight used; IP banned until 6135000."
        " Please use the websocket for live updates to avoid bans.",
    }


def test_requests_are_logged(exchange, client):
    client.get_klines(symbol="AAAUSDT", interval="1d", limit=5)
    get(exchange, "klines", symbol="ZZZUSDT", interval="1d")
    first, second = exchange.requests
    assert first.path == "/api/v3/klines"
    assert first.params == {"symbol": "AAAUSDT", "interval": "1d", "limit": "5"}
    assert (first.status, first.weight) == (200, 2)
    assert second.status == 400


def test_another_process_can_read_the_log_and_set_the_clock_and_the_faults(exchange, client):
    def post(path, **payload):
        return requests.post(f"{exchange.url}/replay/{path}", json=payload, timeout=10)

    assert post("clock", now="2020-01-05").json() == {"serverTime": FIRST_DAY_MS + 4 * DAY_MS}
    assert client.get_server_time() == {"serverTime": FIRST_DAY_MS + 4 * DAY_MS}
    assert post("faults", faults=["500:path=klines"]).status_code == 200
    assert get(exchange, "klines", symbol="AAAUSDT", interval="1d").status == 500
    assert post("faults", faults=[]).status_code == 200
    assert get(exchange, "klines", symbol="AAAUSDT", interval="1d").status == 200
    log = requests.get(f"{exchange.url}/replay/requests", params={"last": 1}, timeout=10).json()
    assert log["requests"] == 3
    assert log["weight"] == 5
    assert log["by_status"] == {"200": 2, "500": 1}
    assert [record["status"] for record in log["last"]] == [200]
    assert "unknown fault 'x'" in post("faults", faults=["x"]).json()["error"]
    assert post("faults").status_code == 400
    assert "'noon'" in post("clock", now="noon").json()["error"]


def test_many_clients_at_once_get_the_same_answer(exchange, connect):
    clients = [connect(exchange) for _ in range(8)]

    def fetch(client):
        return [client.get_klines(symbol="AAAUSDT", interval="1d") for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        answers = [rows for answer in pool.map(fetch, clients) for rows in answer]
    assert all(rows == answers[0] for rows in answers)
    assert len(exchange.requests) == 40


def test_a_port_in_use_is_one_line(exchange, folder):
    port = int(exchange.url.rpartition(":")[2])
    second = ReplayServer(RecordedMarket(folder), port=port)
    with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1 port {port}: ") as raised:
        second.__enter__()
    assert "\n" not in str(raised.value)


def test_a_server_can_be_left_and_its_port_used_again(folder):
    with ReplayServer(RecordedMarket(folder), now="2020-02-09") as server:
        port = int(server.url.rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    with ReplayServer(RecordedMarket(folder), now="2020-02-09", port=port) as server:
        assert get(server, "ping").json == {}


def test_serving_in_the_foreground_ends_with_an_interrupt(folder):
    program = """
import sys
from pathlib import Path
from autonama_dagster.replay.clock import Clock
from autonama_dagster.replay.faults import Faults
from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import serve
market = RecordedMarket(Path(sys.argv[1]))
serve(market, clock=Clock("2020-02-09"), faults=Faults(),
      on_ready=lambda url: print(url, flush=True))
print("bye")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        url = process.stdout.readline().strip()
        answer = requests.get(f"{url}/api/v3/time", timeout=10)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert answer.json() == {"serverTime": FIRST_DAY_MS + 39 * DAY_MS}
    assert (stdout, stderr, process.returncode) == ("bye\n", "", 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "rebound.example"}, 403),
    ],
)
def test_no_page_of_another_server_changes_the_clock(folder, headers, status):
    with ReplayServer(RecordedMarket(folder), now="2020-02-09") as server:
        body = {"now": "2020-02-10T00:00:00Z"}
        answer = requests.post(f"{server.url}/replay/clock", json=body, headers=headers, timeout=10)
        assert answer.status_code == status
