"""`autonama_dagster.read`, and the page that shows it."""

import re
import subprocess
import sys
from datetime import date, datetime

import matplotlib.pyplot as plt
import pandas as pd
import psycopg
import pytest
from places import DOCS

import autonama_dagster
from autonama_dagster.errors import DatabaseError, InputError, SchemaError
from resources.postgres.urls import libpq_url
from resources.warehouse import warehouse

DAY = date(2024, 3, 10)


def run_page(name):
    """Run a page's blocks of Python, one after the other; their number and what they named."""
    text = (DOCS / name).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, name, "exec"), names)
    return blocks, names


@pytest.mark.usefixtures("day")
def test_the_pages_run_from_top_to_bottom():
    plt.switch_backend("agg")
    assert set(run_page("how-to.md")[1]["signals"].index.levels[0]) == {"BTCUSDT", "ETHUSDT"}
    blocks, names = run_page("notebook.md")
    plt.close("all")
    assert len(blocks) > 5
    assert set(names["latest"]["signal"]) <= {"BUY", "SELL", "HOLD"}
    assert names["closes"].columns.tolist() == ["BTCUSDT", "ETHUSDT"]
    assert len(names["closes"]) > 700
    assert len(names["joined"]) == 6
    assert len(names["pairs"]) == 5
    assert isinstance(names["summary"]["top_buy_signals"].iloc[-1], list)


@pytest.mark.usefixtures("day")
def test_the_frame_has_the_key_as_its_index_and_the_models_types():
    frame = autonama_dagster.read("signals", symbols="ethusdt, BTCUSDT", first=DAY, last=str(DAY))
    assert frame.index.tolist() == [("BTCUSDT", pd.Timestamp(DAY)), ("ETHUSDT", pd.Timestamp(DAY))]
    assert frame.index.names == ["symbol", "date"]
    kinds = {"signal": "str", "z_score": "float64", "universe_rank": "Int64"}
    kinds |= {"is_member": "boolean", "computed_at": "datetime64[us, UTC]"}
    assert {name: str(frame[name].dtype) for name in kinds} == kinds
    assert str(frame.index.levels[1].dtype) == "datetime64[s]"
    alerts = autonama_dagster.read("alerts", columns=["technical_indicators"])
    assert set(map(type, alerts["technical_indicators"])) == {dict}


@pytest.mark.usefixtures("day")
def test_candles_as_of_a_moment_are_those_that_were_known():
    day = pd.Timestamp(DAY)
    assert len(autonama_dagster.read("ohlcv_1d", first=day, as_of="2024-03-11T00:06Z")) == 6
    for moment in (DAY, datetime(2024, 3, 10), pd.Timestamp(DAY, tz="UTC")):  # noqa: DTZ001
        assert autonama_dagster.read("ohlcv_1d", first=day, as_of=moment).empty


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "prices"}, SchemaError, "table 'prices' is unknown; known tables: universe"),
        ({"name": "signals", "columns": ["x"]}, SchemaError, "table signals has no column x"),
        ({"name": "signals", "symbols": ["../x"]}, InputError, "symbols: '../X' may only contain"),
        ({"name": "signals", "first": "soon"}, InputError, "first soon: not a day"),
        ({"name": "signals", "last": "2999-01-01"}, InputError, "last 2999-01-01: is in the"),
        ({"name": "signals", "as_of": "2024-01-01"}, InputError, "table signals does not keep"),
        ({"name": "ohlcv_1d", "as_of": "x"}, InputError, "as_of x: not a time"),
        ({"name": "signals", "symbols": "BTC/USDT"}, InputError, "symbols: 'BTC/USDT' may only"),
        ({"name": "analysis_summary", "symbols": ["A"]}, InputError, "has no symbols; remove"),
        ({"name": "fetch_log", "first": "2024-01-01"}, InputError, "has no days; remove"),
    ],
)
def test_what_cannot_be_read_is_one_line(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)) as raised:
        autonama_dagster.read(**arguments)
    assert "\n" not in str(raised.value)


def test_a_stopped_server_stays_stopped_and_is_named(home):
    with pytest.raises(DatabaseError, match=r"is not running: .*autonama db start"):
        autonama_dagster.read("signals")
    assert not (home / ".autonama").exists()


def test_the_package_alone_is_light():
    code = (
        "import sys, autonama_dagster\n"
        "assert autonama_dagster.__all__ == ['read']\n"
        "found = {'pandas', 'dagster', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    with pytest.raises(AttributeError, match="has no attribute 'write'"):
        autonama_dagster.write  # noqa: B018


def test_a_lock_is_not_waited_for(day, monkeypatch):
    monkeypatch.setattr(warehouse, "IMPATIENT", {"lock_timeout": "100ms"})
    with psycopg.connect(libpq_url(day.url), application_name="someone") as holder:
        holder.execute("LOCK TABLE trading.signals IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError, match=r"signals is locked by process \d+ \(.*someone"):
            autonama_dagster.read("signals")
