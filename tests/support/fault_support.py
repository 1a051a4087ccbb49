"""A small market, and a project whose scans of it are compared with an undisturbed one."""

import gzip
import math
from dataclasses import dataclass
from datetime import date

import pandas as pd
import pytest
from projects import Project

from autonama_dagster.errors import AutonamaError
from autonama_dagster.orchestration.scanner import Scanner
from autonama_dagster.replay.market.recorded import HEADER, RecordedMarket
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.schemas.registry import TABLES
from resources.exchange.memo import MemoExchange

DAY = date(2023, 12, 29)
NOW = "2023-12-30T00:05:00Z"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SETTINGS = {"start_date": str(DAY), "universe_size": "3", "lookback": "40", "degree": "2"}
FIRST_MS, DAYS, DAY_MS = 1_698_796_800_000, 60, 86_400_000  # 2023-11-01 to 2023-12-30, which forms


def close_at(number, day):
    return 10 * (number + 1) * math.exp(0.1 * math.sin(0.7 * day + number) + 0.002 * day)


def candle_lines(number, days=DAYS):
    """Lines of one symbol in Binance's twelve columns."""
    lines = []
    for day in range(days):
        opened, closed = close_at(number, day - 1), close_at(number, day)
        high, low = 1.01 * max(opened, closed), 0.99 * min(opened, closed)
        prices = ",".join(f"{price:.8f}" for price in (opened, high, low, closed))
        volume = 1000 * (number + 1)
        time = FIRST_MS + day * DAY_MS
        close_time = time + DAY_MS - 1
        rest = f"{volume * closed:.8f},7,1.00000000,{closed:.8f},0"
        lines.append(f"{time},{prices},{volume}.00000000,{close_time},{rest}")
    return lines


def small_market(folder, **days):
    """The candles of all symbols as files in `folder`, as many days as told."""
    (folder / "1d").mkdir()
    for number, symbol in enumerate(SYMBOLS):
        text = "\n".join([HEADER.decode(), *candle_lines(number, days.get(symbol, DAYS)), ""])
        (folder / "1d" / f"{symbol}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return RecordedMarket(folder)


@dataclass
class Stage:
    """An open project, the exchange it asks, and the tables of an undisturbed scan."""

    project: Project
    server: ReplayServer
    expected: dict

    @property
    def warehouse(self):
        return self.project.warehouse

    def scan(self, exchange=None, day=DAY):
        """One scan, as a tick would run it: with nothing remembered of earlier ones."""
        scanner = self.project.scanner()
        if exchange is not None:
            memo = MemoExchange(exchange)
            self.project.exchanges.append(memo)
            scanner = Scanner(
                self.project.settings,
                instance=self.project.instance,
                exchange=memo,
                warehouse=self.warehouse,
            )
        return scanner.scan(day)

    def fails(self, says, kind=AutonamaError, exchange=None):
        """A scan that ends in one line which says so."""
        with pytest.raises(kind, match=says) as raised:
            self.scan(exchange)
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 600

    def holds_nothing(self):
        return all(self.warehouse.read(name).empty for name in TABLES)

    def check_complete(self, *but):
        """The tables are those of an undisturbed scan, and there is nothing left to do."""
        found = self.project.tables()
        for name, expected in self.expected.items():
            if name not in but:
                pd.testing.assert_frame_equal(found[name], expected, check_exact=True, obj=name)
        assert self.scan() == []

    def status(self):
        """Status of each symbol's signal of the day."""
        return self.warehouse.read("signals").set_index("symbol")["status"].to_dict()

    def clear(self):
        """Nothing stored, nobody registered, no fault and the clock where it was."""
        self.server.faults.replace()
        self.server.set_now(NOW)
        self.server.clear_requests()
        with self.warehouse.transaction() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(f'trading.{name}' for name in TABLES)}")
        for symbol in self.project.instance.get_dynamic_partitions("symbol"):
            self.project.instance.delete_dynamic_partition("symbol", symbol)
