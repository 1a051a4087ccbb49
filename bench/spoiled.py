"""Spoiled answers, through the real client, the candle feed and the warehouse.

Each spoils the answers of one endpoint, or those about one pair, in one of the ways of
`bench.spoiling`, for as long as it is asked. Then the tables are read: `value` counts the stored
rows that are not what the exchange's market holds and are no ERROR of the quality ledger, the rows
that a spoiled answer about something else took away, the exceptions that are no error of ours in
one line, and the batches that did not end. The exit code is 1 unless there are none.
"""

import argparse
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import stamina.instrumentation

from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS
from autonama_dagster.errors import AutonamaError
from bench.report import report
from bench.spoiling import DAYS, FIRST_MS, HARMLESS, SYMBOLS, SpoilingExchange, honest_rows, kinds
from resources.exchange.base import from_ms
from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.calls.retry import RetryPolicy
from resources.exchange.calls.throttle import Throttle
from resources.exchange.feed import fetch_daily
from resources.postgres.migrate import migrate
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse.candle_faults import candle_faults
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

DEADLINE_S = 0.5  # of one answer
HANG_S = 20.0  # of a batch: two attempts of each of its requests, on a busy machine
FIRST, LAST = (from_ms(FIRST_MS + n * 86_400_000).date() for n in (0, DAYS - 1))
TABLES = "trading.ohlcv_1d, trading.ohlcv_1d_revisions, trading.quarantine, trading.fetch_log"
STAMPS = {"run_id": "run", "computed_at": pd.Timestamp("2024-01-01", tz="UTC").as_unit("us")}
COLUMNS = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 7}


@dataclass
class Tally:
    """What went wrong."""

    answers: int = 0
    wrong_rows: int = 0
    lost_rows: int = 0
    crashes: int = 0
    hangs: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        """All together."""
        return self.wrong_rows + self.lost_rows + self.crashes + self.hangs


class QuickClock:
    """Local time that waiting takes no time of."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead

    def sleep(self, _: threading.Event, seconds: float) -> None:
        """Be later."""
        self._ahead += seconds


def market() -> dict[tuple[str, date], tuple[float, ...]]:
    """The numbers of every candle that there is."""
    return {
        (symbol, from_ms(row[0]).date()): tuple(float(row[COLUMNS[n]]) for n in CANDLE_FLOATS)
        for symbol in SYMBOLS
        for row in honest_rows(symbol)
    }


def fetch_and_store(url: str, warehouse: Warehouse) -> None:
    """List the pairs, fetch their candles and store them, as a scan does."""
    clock = QuickClock()
    exchange = BinanceExchange(
        url,
        threads=1,  # a client of python-binance is dear
        timeout=DEADLINE_S,
        deadline=DEADLINE_S,
        retry=RetryPolicy(attempts=2, wait_initial=0, wait_max=0, wait_jitter=0),
        throttle=Throttle(clock=clock, sleep=clock.sleep),
    )
    try:
        names = [pair.symbol for pair in exchange.symbols()]
        fetched = fetch_daily(exchange, names, FIRST, LAST)
        batch = Batch.of(fetched)
        warehouse.write("ohlcv_1d", batch, Scope(tuple(names), FIRST, LAST), STAMPS)
    finally:
        exchange.close()
        warehouse.close()


def attempt(url: str, warehouse: Warehouse) -> str:
    """How fetching and storing ended: "done", "refused", "crash ..." or "hang"."""
    ended: list[str] = []

    def work() -> None:
        try:
            fetch_and_store(url, warehouse)
            ended.append("done")
        except AutonamaError as error:
            text = str(error)
            ended.append("refused" if "\n" not in text and text.isprintable() else f"crash {text}")
        except BaseException as error:  # noqa: BLE001  (that is what is counted)
            ended.append(f"crash {type(error).__name__}: {error}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(HANG_S)
    return ended[0] if ended else "hang"


def stored(warehouse: Warehouse) -> dict[tuple[str, date], tuple[float, ...]]:
    """Numbers of the stored candles that the quality ledger does not call copied."""
    frame = warehouse.read("ohlcv_1d")
    faults = candle_faults(warehouse, sorted(set(frame["symbol"])), FIRST, LAST)
    copied = faults[faults["kind"] == "copied"]
    left = {*zip(copied["symbol"], copied["date"].dt.date, strict=True)}
    keys = zip(frame["symbol"], frame["date"].dt.date, strict=True)
    numbers = frame[[*CANDLE_FLOATS]].itertuples(index=False, name=None)
    return {k: n for k, n in zip(keys, numbers, strict=True) if k not in left}


def spoil_all(count: int, seed: int, exchange: SpoilingExchange, warehouse: Warehouse) -> Tally:
    """So many spoiled answers, every way in turn."""
    truth, ways, tally = market(), kinds(), Tally()
    rng = random.Random(seed)
    order = [ways[n % len(ways)] for n in range(count)]
    rng.shuffle(order)
    for endpoint, way in order:
        with warehouse.transaction() as cursor:
            cursor.execute(f"TRUNCATE {TABLES}")
        symbol = rng.choice(SYMBOLS[1:])
        exchange.spoil(endpoint, way, rng.randrange(1 << 30), symbol)
        ended = attempt(exchange.url, warehouse)
        found = stored(warehouse)
        wrong = sum(truth.get(key) != numbers for key, numbers in found.items())
        expected = set(truth) if way in HARMLESS else set()
        if endpoint == "klines" and ended == "done":
            expected = {key for key in truth if key[0] not in {symbol, "BTCUSDT"}}
        lost = len(expected - set(found))
        tally.answers += 1
        tally.wrong_rows += wrong
        tally.lost_rows += lost
        tally.hangs += ended == "hang"
        tally.crashes += ended.startswith("crash")
        if wrong or lost or ended.startswith(("hang", "crash")):
            tally.kinds[f"{endpoint}: {way}"] += 1
            print(f"{endpoint}: {way}: {wrong} wrong, {lost} lost, {ended:.300}", file=sys.stderr)
    return tally


def measured(count: int, seed: int) -> tuple[Tally, float]:
    """The tally on a server of its own, and the seconds it took."""
    stamina.instrumentation.set_on_retry_hooks(())
    with TemporaryDirectory() as folder, SpoilingExchange() as exchange:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        try:
            url = server.url("trading")
            server.ensure_database("trading")
            migrate(url)
            warehouse = Warehouse(lambda: url)
            begun = time.perf_counter()
            tally = spoil_all(count, seed, exchange, warehouse)
            seconds = time.perf_counter() - begun
            warehouse.close()
        finally:
            server.destroy()
    return tally, seconds


def main() -> int:
    """Measure and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=1000, help="answers (default: 1000)")
    parser.add_argument("--seed", type=int, default=7, help="of the chance (default: 7)")
    given = parser.parse_args()
    tally, seconds = measured(given.answers, given.seed)
    details: dict[str, Any] = {
        "answers": tally.answers,
        "wrong_rows": tally.wrong_rows,
        "lost_rows": tally.lost_rows,
        "crashes": tally.crashes,
        "hangs": tally.hangs,
        "seconds": round(seconds, 1),
        "seed": given.seed,
        "kinds": len(kinds()),
        "failed": dict(tally.kinds),
    }
    met = tally.faults == 0
    report("spoiled", tally.faults, "faults", target=0, met=met, **details)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
