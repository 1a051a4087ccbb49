"""A table and its stage, added to a copy of the tree by the files that CONTRIBUTING names.

Nothing else is edited: planned, made, proved, compared, explained and shown follow from the lists.
"""

import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scan_support import DAY, START, opened_project

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("autonama_dagster", "assets", "resources", "migrations", "docs", "tests")
MOST_FILES = 11

FORMULA = '''"""Drawdown: how far a close lies below the highest of its window."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import Windows


def drawdowns(candles: Sequence[Candles], windows: Sequence[Windows]) -> pd.Series:
    """Percent below the highest close of the window, NaN without a candle; day by day."""
    values = [
        100 * (c.close[stop - 1] / c.close[start:stop].max() - 1) if has_candle else np.nan
        for c, w in zip(candles, windows, strict=True)
        for start, stop, has_candle in zip(w.start, w.stop, w.has_candle, strict=True)
    ]
    return pd.Series(values, dtype="float64")
'''
RECIPE = """
def _drawdowns(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    run = reader.windows(scope, params.lookback)
    hashes = _band_hashes(reader, scope, params)
    return hashes.assign(drawdown_pct=drawdowns(run.candles, run.windows))


"""
MODEL = '''class Drawdowns(Provenance):
    """How far the close of each symbol and day lies below the highest of its window."""

    symbol: Text = symbol_column()
    date: Day = day("UTC day.")
    drawdown_pct: Float = column("Percent below the window's highest close.", nullable=True)


DRAWDOWNS = Table(
    "drawdowns", Drawdowns, ("symbol", "date"), "date_symbol", stamped=("run_id", "computed_at")
)
'''
STAGE = '''"""Stage `drawdowns`."""

import dagster as dg
import pandas as pd

from assets.stage import make_rows, stage
from autonama_dagster.schemas.tables.analysis import DRAWDOWNS
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage("analysis", DRAWDOWNS, "date_symbol", job="symbols_job", deps=("ohlcv_1d",))
def drawdowns(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """How far the close of each symbol and day lies below the highest of its window."""
    return make_rows(context, WarehouseReader(warehouse), settings)
'''
TEST = '''"""Drawdowns against numbers made by hand."""
'''
PAGE = "| `drawdowns` | `drawdowns` | date x symbol | `ohlcv_1d` | analysis |\n"

# What the copy says of its new table, as one JSON object; the last candle of a symbol is changed.
SCRIPT = """
import json, sys
from datetime import date
import psycopg
from autonama_dagster.services.lineage.receipts import read_receipt
from autonama_dagster.services.lineage.staleness import Comparison
from autonama_dagster.services.verification.verify import verify_symbols
from autonama_dagster.settings import load_settings
from docs.generate import main as write_pages
from resources.postgres.migrate import ready_url
from resources.warehouse.table_facts import read_tables
from resources.warehouse.warehouse import Warehouse
from tests.test_graph import SNAPSHOT, as_text, definitions, snapshot

first, last, symbol = date.fromisoformat(sys.argv[1]), date.fromisoformat(sys.argv[2]), sys.argv[3]
settings = load_settings()
warehouse = Warehouse(lambda: ready_url(settings))
proved = verify_symbols(warehouse, settings, (symbol,), first, last)
receipt = read_receipt(warehouse, settings, symbol, last)
with psycopg.connect(warehouse.url) as connection:
    facts = read_tables(connection, (symbol,), last)
    connection.execute("UPDATE trading.ohlcv_1d SET close = close * 1.01 WHERE date = %s", (last,))
stale = Comparison(warehouse, settings, (symbol,), last, last).all_tables()
write_pages()
graph = snapshot(definitions())
SNAPSHOT.write_text(as_text(graph), encoding="utf-8")
print(json.dumps({
    "rows": len(warehouse.read("drawdowns")),
    "proved": {p.table: [p.rows, p.rows_of()] for p in proved}["drawdowns"],
    "explained": {k.table: k.is_match for k in receipt.links}["drawdowns"],
    "status": {t.name: str(t.complete_day) for t in facts.tables}["drawdowns"],
    "stale": len(stale.rows["drawdowns"]),
    "graph": graph["assets"]["drawdowns"],
    "job": graph["jobs"]["symbols_job"]["assets"],
}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the tree with the table in it."""
    folder = tmp_path_factory.mktemp("tree") / "copy"
    for name in FOLDERS:
        left_out = shutil.ignore_patterns("__pycache__", "images", "node_modules")
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    shutil.copy(ROOT / "dagster.yaml", folder)
    code, scan = folder / "autonama_dagster", folder / "autonama_dagster" / "analytics" / "scan"
    (scan / "drawdown.py").write_text(FORMULA)
    insert(scan / "tables.py", "from autonama_dagster.analytics.scan.indicators import levels",
           "from autonama_dagster.analytics.scan.drawdown import drawdowns\n")  # fmt: skip
    insert(scan / "tables.py", "RECIPES = (", RECIPE)
    insert(scan / "tables.py", '    Recipe("indicators",',
           '    Recipe("drawdowns", _of_window, _drawdowns, _band_hashes),\n')  # fmt: skip
    models, registry = code / "schemas" / "tables" / "analysis.py", code / "schemas" / "registry.py"
    insert(models, "INDICATORS_TABLE = Table(", MODEL)
    insert(registry, "    INDICATORS_TABLE,\n    REGRESSION_BANDS,\n)", "    DRAWDOWNS,\n")
    insert(registry, "        INDICATORS_TABLE,\n", "        DRAWDOWNS,\n")
    insert(registry, '    "indicators": (("date",),),', '    "drawdowns": (("date",),),\n')
    (folder / "assets" / "analysis" / "drawdowns.py").write_text(STAGE)
    stages = folder / "assets" / "stages.py"
    insert(stages, "from assets.analysis.indicators",
           "from assets.analysis.drawdowns import drawdowns\n")  # fmt: skip
    insert(stages, "    indicators,\n", "    drawdowns,\n")
    insert(folder / "docs" / "architecture.md", "| `regression_bands` |", PAGE)
    (folder / "tests" / "analytics" / "scan" / "test_drawdown.py").write_text(TEST)
    run(folder, "migrations/new.py", "Drawdowns of closes")
    return folder


def insert(file, anchor, text):
    """Put text before the one place where the anchor stands."""
    before = file.read_text(encoding="utf-8")
    assert before.count(anchor) == 1, f"{file.name}: {anchor!r}"
    file.write_text(before.replace(anchor, text + anchor), encoding="utf-8")


def run(folder, *arguments):
    """What Python prints in the copy, whose modules go before those of the checkout."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def touched(copy):
    """Files that are new or other than in the checkout."""
    files = [p.relative_to(copy) for name in FOLDERS for p in (copy / name).rglob("*")]
    return {
        str(f)
        for f in files
        if (copy / f).is_file() and "__pycache__" not in f.parts and not same(copy / f, ROOT / f)
    }


def same(one, other):
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def test_a_table_and_its_stage_need_no_other_edit(copy, postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawdowns")
    with opened_project(folder, postgres) as (found, _):
        found.scanner().scan(DAY)  # by the checkout, which has no such table
        days = ("--from", str(START), "--to", str(DAY))
        program = "from autonama_dagster.cli.main import program; program()"
        run(copy, "-c", program, "backfill", *days)
        said = json.loads(run(copy, "-c", SCRIPT, str(START), str(DAY), "BTCUSDT").splitlines()[-1])
    n_days = (DAY - START).days + 1
    assert said.pop("rows") == 3 * n_days
    assert said.pop("proved") == [n_days, 0]
    assert said.pop("explained") is True
    assert said.pop("status") == str(DAY)
    assert said.pop("stale") == 1
    assert "drawdowns" in said.pop("job")
    assert said.pop("graph")["deps"] == ["ohlcv_1d"]
    assert said == {}
    assert "## `drawdowns`" in (copy / "docs" / "data-dictionary.md").read_text()
    files = touched(copy)
    assert len(files) <= MOST_FILES, sorted(files)
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [f for f in files if not any(place in told for place in places(f))]
    assert named == []


def places(file):
    """The file, and the folders it lies in, as CONTRIBUTING may name them."""
    path = Path(file)
    return [f"`{path}`", f"({path})", *(f"`{folder}/`" for folder in list(path.parents)[:-1])]
