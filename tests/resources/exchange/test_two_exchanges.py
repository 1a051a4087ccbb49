"""Two exchanges in one process: nothing that one says counts as the other's."""

import gzip
from contextlib import ExitStack
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest
from fault_support import DAY, NOW, candle_lines, small_market
from support import STAMPS

from autonama_dagster.errors import ExchangeBannedError, InputError
from autonama_dagster.replay.faults import Fault
from autonama_dagster.replay.market.recorded import HEADER, RecordedMarket
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.services.monitoring.metrics import ProjectCollector
from autonama_dagster.settings import load_settings
from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.build import PROBES
from resources.exchange.feed import fetch_daily
from resources.exchange.memo import MemoExchange
from resources.exchange.pulse import check_exchange
from resources.warehouse.candle_queries import (
    failed_fetches,
    fetched_ranges,
    quarantined_candles,
)
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

FIRST = date(2023, 12, 20)
LATEST = date(2023, 12, 27)  # that has closed on both
BTC, ETH = "BTCUSDT", "ETHUSDT"
SCOPE = Scope((BTC,), FIRST, DAY)
NOWHERE = "postgresql://u@127.0.0.1:9/nothing"
OTHERS_NOW = "2023-12-28T12:00:00Z"


class OtherExchange(BinanceExchange):
    """A second exchange that speaks the same protocol."""

    name = "other"


def other_market(folder):
    """Its own prices of a pair of the same name; one candle is bad."""
    (folder / "1d").mkdir(parents=True)
    lines = candle_lines(2)
    cells = lines[-5].split(",")
    cells[2], cells[3] = cells[3], cells[2]  # the high below the low
    lines[-5] = ",".join(cells)
    text = "\n".join([HEADER.decode(), *lines, ""])
    (folder / "1d" / f"{BTC}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return RecordedMarket(folder)


@pytest.fixture
def servers(tmp_path):
    (tmp_path / "first").mkdir()
    with (
        ReplayServer(small_market(tmp_path / "first"), now=NOW) as first,
        ReplayServer(other_market(tmp_path / "second"), now=OTHERS_NOW) as second,
    ):
        yield first, second


@pytest.fixture
def exchanges(servers):
    first, second = servers
    with ExitStack() as stack:
        yield tuple(
            MemoExchange(stack.enter_context(kind(server.url)))
            for kind, server in ((BinanceExchange, first), (OtherExchange, second))
        )


def batch(fetched, *, frame=None, asked=SCOPE):
    stored = fetched.frame if frame is None else frame
    return Batch(stored, fetched.rejected, fetched.log, fetched.failed, asked, fetched.exchange)


def test_answers_of_a_pair_of_the_same_name_stay_apart(exchanges, warehouse):
    ours, theirs = (fetch_daily(exchange, [BTC], FIRST, DAY) for exchange in exchanges)
    assert (set(ours.frame["exchange"]), set(theirs.frame["exchange"])) == ({"binance"}, {"other"})
    both = ours.frame.merge(theirs.frame, on="date")
    assert len(both) == 7  # theirs has closed two days less, and one candle is bad
    assert (both["close_x"] != both["close_y"]).all()

    warehouse.write("ohlcv_1d", batch(ours), SCOPE, STAMPS)
    with pytest.raises(InputError, match="table ohlcv_1d: candles of binance and other must not"):
        warehouse.write("ohlcv_1d", batch(theirs), SCOPE, STAMPS)
    assert fetched_ranges(warehouse, "1d", [BTC], "other") == {}
    warehouse.write("ohlcv_1d", batch(theirs, frame=theirs.frame.iloc[:0]), SCOPE, STAMPS)

    assert fetched_ranges(warehouse, "1d", [BTC]) == {BTC: [(FIRST, DAY)]}
    assert fetched_ranges(warehouse, "1d", [BTC], "other") == {BTC: [(FIRST, LATEST)]}
    assert quarantined_candles(warehouse, [BTC], DAY) == 0
    assert quarantined_candles(warehouse, [BTC], DAY, exchange="other") == 1
    warehouse.write("ohlcv_1d", batch(ours), SCOPE, STAMPS)
    assert quarantined_candles(warehouse, [BTC], DAY, exchange="other") == 1
    stored = warehouse.read("ohlcv_1d").drop(columns="run_id")
    pd.testing.assert_frame_equal(
        stored, ours.frame[list(stored.columns)], check_dtype=False, check_exact=True
    )


def test_a_failure_of_one_is_none_of_the_other(exchanges, warehouse):
    ours, theirs = (fetch_daily(exchange, [ETH], FIRST, DAY) for exchange in exchanges)
    assert (ours.failed, theirs.failed) == ((), (ETH,))  # theirs does not list the pair
    scope = Scope((ETH,), FIRST, DAY)
    warehouse.write("ohlcv_1d", batch(theirs, asked=scope), scope, STAMPS)
    assert failed_fetches(warehouse, LATEST, exchange="other") == [ETH]
    assert failed_fetches(warehouse, LATEST) == []
    warehouse.write("ohlcv_1d", batch(ours, asked=scope), scope, STAMPS)
    assert failed_fetches(warehouse, LATEST, exchange="other") == [ETH]


def test_a_ban_by_one_does_not_silence_the_other(exchanges, servers):
    servers[1].faults.replace(Fault.parse("418"))
    ours, theirs = exchanges
    for _ in range(2):
        with pytest.raises(ExchangeBannedError):
            theirs.server_time()
    servers[1].faults.replace()
    with pytest.raises(ExchangeBannedError):  # its throttle remembers
        theirs.server_time()
    assert len(fetch_daily(ours, [BTC], FIRST, DAY).frame) == 10


def test_each_has_its_own_pulse(servers, monkeypatch):
    first, second = servers
    probes = {**PROBES, "other": replace(PROBES["binance"], url=lambda _: second.url)}
    for module in ("build", "pulse"):
        monkeypatch.setattr(f"resources.exchange.{module}.PROBES", probes)
    settings = load_settings(DATABASE_URL=NOWHERE, exchange_url=first.url)
    assert [f"{check_exchange(settings, name).now:%d %H:%M}" for name in ("binance", "other")] == [
        "30 00:05", "28 12:00",
    ]  # fmt: skip
    second.faults.replace(Fault.parse("418"))
    found = {
        (s.name, *s.labels.values()): s.value
        for family in ProjectCollector(settings).collect()
        for s in family.samples
    }
    assert found["autonama_exchange_up", "binance"] == 1
    assert found["autonama_exchange_up", "other"] == 0
    assert found["autonama_exchange_used_weight", "binance"] >= 1
    assert ("autonama_exchange_used_weight", "other") not in found
