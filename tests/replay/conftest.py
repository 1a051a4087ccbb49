"""A small recorded market with every column, and clients for a running exchange."""

import asyncio
import gzip
import warnings
from pathlib import Path

import pytest

from autonama_dagster.replay.market.recorded import HEADER, RecordedMarket
from autonama_dagster.replay.server import ReplayServer

with warnings.catch_warnings():  # python-binance imports a deprecated name of websockets
    warnings.simplefilter("ignore", DeprecationWarning)
    import binance

DAY_MS = 86_400_000
FIRST_DAY_MS = 1_577_836_800_000  # 2020-01-01, a Wednesday
DAYS = 40


def candle_line(index: int, *, quote_volume: str = "1000.5", step_ms: int = DAY_MS) -> str:
    open_time = FIRST_DAY_MS + index * step_ms
    base = 100 + index
    prices = f"{base},{base + 4},{base - 2},{base + 1}"
    return f"{open_time},{prices},10.25,{open_time + step_ms - 1},{quote_volume},7,5.5,550.25,0"


def write_candles(folder: Path, interval: str, symbol: str, lines: list[str]) -> None:
    path = folder / interval / f"{symbol}.csv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join([HEADER.decode(), *lines, ""]).encode()))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Forty days of AAA, twenty of BBB without quote volume, ten of CCC before it was delisted."""
    folder = tmp_path_factory.mktemp("klines")
    write_candles(folder, "1d", "AAAUSDT", [candle_line(i) for i in range(DAYS)])
    estimated = [candle_line(i, quote_volume="") for i in range(20, DAYS)]
    write_candles(folder, "1d", "BBBUSDT", estimated)
    write_candles(folder, "1d", "CCCUSDT", [candle_line(i) for i in range(10)])
    hours = [candle_line(i, step_ms=DAY_MS // 24) for i in range(48)]
    write_candles(folder, "1h", "AAAUSDT", hours)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """An exchange at noon of the fortieth day."""
    with ReplayServer(RecordedMarket(folder), now="2020-02-09T12:00:00Z") as running:
        yield running


@pytest.fixture
def exchange(server):
    """The running exchange without faults, requests or a moved clock from another test."""
    server.faults.replace()
    server.clear_requests()
    server.set_now("2020-02-09T12:00:00Z")
    return server


@pytest.fixture
def connect():
    """Makes real python-binance clients for a replay exchange."""
    clients = []

    def connect_to(server: ReplayServer, timeout: float = 10) -> binance.Client:
        client = binance.Client(ping=False, requests_params={"timeout": timeout})
        client.API_URL = f"{server.url}/api"
        clients.append(client)
        return client

    yield connect_to
    for client in clients:
        client.close_connection()
        client.loop.close()  # the constructor makes one for this thread and never closes it
    asyncio.set_event_loop(None)


@pytest.fixture
def client(exchange, connect):
    """A client of the running exchange."""
    return connect(exchange)
