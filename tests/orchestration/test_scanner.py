import gzip
from datetime import date

import pytest
from projects import project

from autonama_dagster.errors import AutonamaError, InputError
from autonama_dagster.orchestration.scanner import Scanner
from autonama_dagster.replay.market.recorded import HEADER, RecordedMarket
from autonama_dagster.replay.market.synthetic import SyntheticMarket
from autonama_dagster.replay.server import ReplayServer
from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.memo import MemoExchange
from resources.warehouse.candle_queries import RANKING, failed_fetches

SETTINGS = {"start_date": "2024-02-25", "universe_size": "4", "lookback": "200"}


@pytest.fixture
def opened(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with (
        ReplayServer(SyntheticMarket(5), now="2024-03-01T00:05:00Z") as server,
        project(folder, postgres, server.url, **SETTINGS) as found,
    ):
        found.server = server
        yield found


DAY = date(2024, 2, 29)


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
    assert len(opened.warehouse.read("signals")) == 4


def test_a_symbol_that_fails_is_reported_and_tried_again(opened):
    # The ranking knows the symbol; what comes after it fails.
    scanner = opened.scanner()
    scanner._run_all(scanner._plan(DAY, scanner._state(DAY), 0))
    opened.server.faults.add("garbage:symbol=ETHUSDT,path=klines")
    opened.scanner().scan(DAY)
    signals = opened.warehouse.read("signals").set_index("symbol")
    assert signals.loc["ETHUSDT", "status"] == "NO_DATA"
    assert (signals["status"] == "OK").sum() == 3
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
    assert signals["is_member"].sum() == 4
    assert opened.scanner().scan(DAY) == []


def test_another_universe_size_is_ranked_and_decided_again(opened):
    opened.scanner().scan(DAY)
    opened.settings = opened.settings.model_copy(update={"universe_size": 3})
    opened.scanner().scan(DAY)
    assert opened.warehouse.read("universe")["is_member"].sum() == 3
    assert opened.warehouse.read("signals")["is_member"].sum() == 3


def test_tables_left_behind_by_a_killed_run_are_made_again(opened):
    opened.scanner().scan(DAY)
    with opened.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.alerts SET params_hash = repeat('0', 64)")
    reports = opened.scanner().scan(DAY)
    assert [r.step.job for r in reports] == ["symbols_job", "summary_job"]
    assert opened.warehouse.read("alerts")["params_hash"].ne("0" * 64).all()


def test_real_candles_are_refused_in_a_synthetic_database(opened, tmp_path):
    opened.scanner().scan(DAY)
    first = 1_700_000_000_000 // 86_400_000 * 86_400_000
    lines = [
        f"{t},1,2,0.5,1,10,{t + 86_399_999},15,3,4,6,0"
        for t in range(first, first + 110 * 86_400_000, 86_400_000)
    ]
    (tmp_path / "1d").mkdir()
    text = "\n".join([HEADER.decode(), *lines, ""])
    (tmp_path / "1d" / "BTCUSDT.csv.gz").write_bytes(gzip.compress(text.encode()))
    with ReplayServer(RecordedMarket(tmp_path), now="2024-03-02T00:05:00Z") as server:
        opened.exchanges.append(MemoExchange(BinanceExchange(server.url)))
        scanner = Scanner(
            opened.settings,
            instance=opened.instance,
            exchange=opened.exchanges[-1],
            warehouse=opened.warehouse,
        )
        with pytest.raises(InputError, match="synthetic and real candles must not be mixed"):
            scanner.scan(date(2024, 3, 1))
