"""Scans that are stopped, refused, or find something else than they left."""

import gzip
from contextlib import contextmanager
from datetime import date

import pytest
from scan_support import DAY, opened_project

from autonama_dagster.errors import AutonamaError, InputError
from autonama_dagster.orchestration.scanner import Scanner
from autonama_dagster.replay.market.recorded import HEADER, RecordedMarket
from autonama_dagster.replay.server import ReplayServer
from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.memo import MemoExchange
from resources.warehouse.candle_queries import RANKING, failed_fetches

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("impatient")]
SYMBOLS = 3


@contextmanager
def opened_here(postgres, tmp_path_factory, **how):
    with opened_project(tmp_path_factory.mktemp("run"), postgres, **how) as (found, server):
        found.server = server
        yield found


@pytest.fixture
def opened(postgres, tmp_path_factory):
    with opened_here(postgres, tmp_path_factory) as found:
        yield found


@pytest.fixture
def scanned(postgres, tmp_path_factory):
    """A project whose day is complete."""
    with opened_here(postgres, tmp_path_factory, scanned=[DAY]) as found:
        yield found


def test_an_exchange_that_bans_ends_the_scan_with_one_line_and_nothing_half_written(opened):
    opened.server.faults.add("418:path=klines")
    with pytest.raises(
        AutonamaError, match=r"rank the universe: .*ban.* \(run [0-9a-f-]{36}\)"
    ) as e:
        opened.scanner().scan(DAY)
    assert "\n" not in str(e.value)
    for name in ("universe", "ohlcv_1d", "fetch_log"):
        assert opened.warehouse.read(name).empty


def test_a_scan_goes_on_where_the_one_before_was_stopped(opened, monkeypatch):
    real = Scanner._run

    def stop_at_the_day(self, step):
        if step.job == "symbols_job" and step.assets is None:
            raise KeyboardInterrupt
        return real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Scanner, "_run", stop_at_the_day)
        with pytest.raises(KeyboardInterrupt):
            opened.scanner().scan(DAY)
    assert opened.warehouse.read("signals").empty
    reports = opened.scanner().scan(DAY)
    assert [r.step.job for r in reports] == ["symbols_job", "summary_job"]
    assert len(opened.warehouse.read("signals")) == SYMBOLS


def test_a_symbol_that_fails_is_reported_and_tried_again(opened):
    # The ranking knows the symbol; what comes after it fails.
    scanner = opened.scanner()
    scanner._run_all(scanner._plan(DAY, scanner._state(DAY), 0))
    opened.server.faults.add("garbage:symbol=ETHUSDT,path=klines")
    opened.scanner().scan(DAY)
    signals = opened.warehouse.read("signals").set_index("symbol")
    assert signals.loc["ETHUSDT", "status"] == "NO_DATA"
    assert (signals["status"] == "OK").sum() == SYMBOLS - 1
    assert failed_fetches(opened.warehouse, DAY) == ["ETHUSDT"]
    opened.server.faults.replace()
    opened.scanner().scan(DAY)
    signals = opened.warehouse.read("signals").set_index("symbol")
    assert signals.loc["ETHUSDT", "status"] == "OK"
    assert failed_fetches(opened.warehouse, DAY) == []


def test_a_candidate_that_fails_in_the_ranking_is_ranked_by_the_next_scan(opened):
    opened.server.faults.add("garbage:symbol=BTCUSDT,path=klines")
    opened.scanner().scan(DAY)
    assert "BTCUSDT" not in set(opened.warehouse.read("universe")["symbol"])
    assert failed_fetches(opened.warehouse, DAY, RANKING) == ["BTCUSDT"]
    opened.server.faults.replace()
    opened.scanner().scan(DAY)
    universe = opened.warehouse.read("universe").set_index("symbol")
    assert bool(universe.loc["BTCUSDT", "is_member"])
    assert failed_fetches(opened.warehouse, DAY, RANKING) == []
    signals = opened.warehouse.read("signals").set_index("symbol")
    assert bool(signals.loc["BTCUSDT", "is_member"])
    assert signals["is_member"].sum() == SYMBOLS
    assert opened.scanner().scan(DAY) == []


def test_another_universe_size_is_ranked_and_decided_again(scanned):
    scanned.settings = scanned.settings.model_copy(update={"universe_size": 2})
    scanned.scanner().scan(DAY)
    assert scanned.warehouse.read("universe")["is_member"].sum() == 2
    assert scanned.warehouse.read("signals")["is_member"].sum() == 2


def test_tables_left_behind_by_a_killed_run_are_made_again(scanned):
    with scanned.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.alerts SET params_hash = repeat('0', 64)")
    reports = scanned.scanner().scan(DAY)
    assert [r.step.assets for r in reports] == [("alerts",)]
    assert scanned.warehouse.read("alerts")["params_hash"].ne("0" * 64).all()


def test_real_candles_are_refused_in_a_synthetic_database(scanned, tmp_path):
    with scanned.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.ohlcv_1d SET source = 'synthetic'")
    first = 1_700_000_000_000 // 86_400_000 * 86_400_000
    lines = [
        f"{t},1,2,0.5,1,10,{t + 86_399_999},15,3,4,6,0"
        for t in range(first, first + 110 * 86_400_000, 86_400_000)
    ]
    (tmp_path / "1d").mkdir()
    text = "\n".join([HEADER.decode(), *lines, ""])
    (tmp_path / "1d" / "BTCUSDT.csv.gz").write_bytes(gzip.compress(text.encode()))
    with ReplayServer(RecordedMarket(tmp_path), now="2024-03-02T00:05:00Z") as server:
        scanned.exchanges.append(MemoExchange(BinanceExchange(server.url)))
        scanner = Scanner(
            scanned.settings,
            instance=scanned.instance,
            exchange=scanned.exchanges[-1],
            warehouse=scanned.warehouse,
        )
        with pytest.raises(InputError, match="synthetic and real candles must not be mixed"):
            scanner.scan(date(2024, 3, 1))
