"""A small project to plant canaries in: its tables, its runs, and everything that may notice.

The project is scanned once by the command line. Tables are put back after every canary from a copy
in another schema, and the log of anchors from a copy beside it. Leaks are planted in this process,
where the steps run as the scan runs them; what is proved afterwards is proved under the same leak,
since a leak that is in the code when rows are made is there when they are proved.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import psycopg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.checks.point_in_time import NAME as POINT_IN_TIME
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.errors import AutonamaError
from autonama_dagster.orchestration.jobs import ANALYTIC, run_step
from autonama_dagster.orchestration.pipeline import build_pipeline
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.replay.market.synthetic import SyntheticMarket
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.schemas.partitions import SYMBOL_DIMENSION
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.services.inputs.parameters import OF_DAYS, OF_SYMBOLS
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.inputs.required import read_required, registered_symbols
from autonama_dagster.services.inputs.results import chain_of, with_results
from autonama_dagster.services.lineage.receipts import read_receipt
from autonama_dagster.services.verification.parts import parts_of, verify
from autonama_dagster.services.verification.verify import KINDS
from autonama_dagster.settings import Settings, load_settings
from bench.command import PROGRAM, environment
from resources.exchange.build import build_exchange
from resources.exchange.memo import MemoExchange
from resources.instance.home import open_instance
from resources.postgres.migrate import ready_url
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse.warehouse import Warehouse

SYMBOL = "BTCUSDT"
FIRST = date(2024, 3, 13)
LAST = date(2024, 3, 19)
SETTINGS = {
    "start_date": FIRST,
    "universe_size": 5,
    "lookback": 100,
    "degree": 2,
    "intraday_symbols": SYMBOL,
}
DAYS = ("--from", FIRST.isoformat(), "--to", LAST.isoformat())
KEPT = "kept"
DETECTORS = ("verify", "check", "explain", "view", "anchor")

Found = dict[str, set[str]]
"""What noticed, and what it called it."""


class Lab:
    """The project, open in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.warehouse = Warehouse(lambda: ready_url(settings))
        self._exchange = MemoExchange(build_exchange(settings))
        self._definitions = build_pipeline(
            settings, binance=self._exchange, warehouse=self.warehouse
        )
        if settings.anchor_path is None:
            raise SystemExit("no anchors are made")
        self._log = settings.anchor_path
        self._kept_log = self._log.read_bytes()
        self.step("intraday_job", ("ohlcv_1w",))
        with self.warehouse.transaction() as cursor:
            cursor.execute(f"CREATE SCHEMA {KEPT}")
            for name in TABLES:
                cursor.execute(f"CREATE TABLE {KEPT}.{name} AS TABLE trading.{name}")

    def close(self) -> None:
        """Close what is open."""
        self._exchange.close()
        self.warehouse.close()

    @property
    def symbols(self) -> list[str]:
        """Registered symbols, in the order of a run's range."""
        return [*self.instance.get_dynamic_partitions(SYMBOL_DIMENSION)]

    def restore(self) -> None:
        """All tables and the log as they were scanned."""
        self._log.write_bytes(self._kept_log)
        with self.warehouse.transaction() as cursor:
            for name in TABLES:
                cursor.execute(f"DELETE FROM trading.{name}")
                cursor.execute(f"INSERT INTO trading.{name} SELECT * FROM {KEPT}.{name}")

    def change(self, *statements: str) -> None:
        """Change the tables by hand, as somebody with a password can."""
        with psycopg.connect(self.warehouse.url) as connection:
            for statement in statements:
                if connection.execute(statement).rowcount == 0:
                    raise SystemExit(f"the canary changed nothing: {statement}")

    def forge_decision(self) -> None:
        """Change the last day's decision, and give the row the result hash that goes with it."""
        scope = DayScope((SYMBOL,), LAST, LAST)
        reader = WarehouseReader(self.warehouse)
        forged = reader.rows("signals", scope).assign(signal="BUY", signal_strength=100.0)
        made = with_results(forged, "signals", chain_of(reader, "signals", scope))
        self.change(
            "UPDATE trading.signals SET signal = 'BUY', signal_strength = 100, "
            f"result_hash = '{made['result_hash'].item()}' "
            f"WHERE symbol = '{SYMBOL}' AND date = '{LAST}'"
        )

    def change_and_make_again(self, *statements: str) -> None:
        """Change the tables, then make everything that follows from them, as a user can."""
        self.change(*statements)
        subprocess.run([PROGRAM, "backfill", *DAYS, "--again"], stdout=sys.stderr, check=True)

    def edit_log(self, edit: Callable[[list[str]], list[str]]) -> None:
        """Change the lines of the anchor log by hand."""
        lines = self._log.read_text(encoding="utf-8").splitlines(keepends=True)
        self._log.write_text("".join(edit(lines)), encoding="utf-8")

    def step(self, job: str, assets: Sequence[str] | None = None) -> None:
        """Run a job over all days as the scan does."""
        symbols = tuple(self.symbols) if job in {"symbols_job", "intraday_job"} else ()
        chosen = None if assets is None else tuple(assets)
        run_step(self._definitions, self.instance, Step(job, FIRST, LAST, symbols, chosen), {})

    def again(self) -> None:
        """Make every row again, from the stored candles."""
        self.step("universe_job")
        self.step("symbols_job", ANALYTIC)
        self.step("summary_job")

    def verify(self) -> set[str]:
        """Table and kind of every difference that `verify` finds."""
        registered = registered_symbols(self.settings)
        last = LAST + timedelta(days=1)  # a day that was never scanned
        wanted = read_required(self.warehouse, self.settings, FIRST, last, registered)
        parts = parts_of(wanted)
        return {
            f"{found.table} {kind}"
            for found in verify(parts, self.settings, self.warehouse, registered=registered)
            for kind in KINDS
            if found.rows_of(kind)
        }

    def explain(self) -> set[str]:
        """Tables whose row does not hold in the receipt of the last day's signal."""
        try:
            receipt = read_receipt(self.warehouse, self.settings, SYMBOL, LAST)
        except AutonamaError as error:
            return {str(error)}
        return {link.table for link in receipt.links if link.is_match is False}

    def view(self) -> set[str]:
        """Signals that the view of their lineage calls another than they were."""
        arrow = self.warehouse.query(
            "SELECT symbol, date FROM trading.signal_lineage "
            "WHERE symbol = $1 AND date BETWEEN $2 AND $3 AND NOT is_match",
            (SYMBOL, LAST - timedelta(days=1), LAST),
        )
        return {f"{symbol} {day}" for symbol, day in zip(*arrow.to_pydict().values(), strict=True)}

    def check(self) -> set[str]:
        """Tables whose check in their own run failed."""
        keys = [dg.AssetCheckKey(dg.AssetKey(n), POINT_IN_TIME) for n in (*OF_SYMBOLS, *OF_DAYS)]
        latest = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        failed = AssetCheckExecutionRecordStatus.FAILED
        return {k.asset_key.path[-1] for k, record in latest.items() if record.status is failed}

    def anchor(self) -> set[str]:
        """What differs from what was anchored."""
        ended = subprocess.run(
            [PROGRAM, "anchor", "check", "--format", "json"],
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return {json.dumps(of) for of in json.loads(ended.stdout)["findings"]}

    def ask(self, detectors: Sequence[str] = DETECTORS) -> Found:
        """What each detector says."""
        return {name: getattr(self, name)() for name in detectors}


@contextmanager
def opened() -> Iterator[Lab]:
    """The lab, scanned and anchored, with nothing planted."""
    before = dict(os.environ)
    now = datetime.combine(LAST + timedelta(days=1), time(0, 10), UTC)
    with TemporaryDirectory() as folder, ReplayServer(SyntheticMarket(7), now=now) as server:
        home = Path(folder)
        os.environ.clear()
        os.environ.update(environment(home, exchange_url=server.url, **SETTINGS))
        try:
            subprocess.run([PROGRAM, "backfill", *DAYS], stdout=sys.stderr, check=True)
            server.set_now(now + timedelta(hours=1))
            with open_instance() as instance:
                lab = Lab(load_settings(), instance)
                try:
                    yield lab
                finally:
                    lab.close()
        finally:
            EmbeddedPostgres(home).destroy()
            os.environ.clear()
            os.environ.update(before)
