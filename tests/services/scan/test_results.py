import csv
import json
from datetime import UTC, date, datetime

import pandas as pd
import pytest

from autonama_dagster.errors import InputError
from autonama_dagster.services.scan.results import (
    EXPORTED,
    ScanResult,
    as_json,
    by_strength,
    export,
    plain_records,
    plain_summary,
    results_folder,
)

NOW = datetime(2024, 3, 11, 0, 6, 59, tzinfo=UTC)


def signals(*rows):
    """Rows of (symbol, signal, strength, z_score, is_member)."""
    names = ["symbol", "signal", "signal_strength", "z_score", "is_member"]
    frame = pd.DataFrame(rows, columns=names).astype({"is_member": "boolean"})
    frame["date"] = pd.Series([pd.Timestamp("2024-03-10")] * len(frame)).astype("datetime64[s]")
    frame["confirmations"] = [["RSI_OVERSOLD", "HIGH_VOLUME"]] * len(frame)
    return frame.reindex(columns=list(EXPORTED))


def result(frame, **changes):
    values = {
        "day": date(2024, 3, 10),
        "signals": frame,
        "summary": {"total_assets_analyzed": len(frame)},
        "parameters": {"degree": 4},
        "source": "synthetic",
        "stored": False,
        **changes,
    }
    return ScanResult(**values)


def test_members_come_first_then_buy_sell_hold_each_by_strength_distance_and_symbol():
    frame = signals(
        ("H", "HOLD", 0.0, 0.5, True),
        ("S", "SELL", 90.0, 3.0, True),
        ("B2", "BUY", 40.0, -2.5, True),
        ("B1", "BUY", 40.0, -3.5, True),
        ("B0", "BUY", 40.0, -2.5, True),
        ("X", "BUY", 99.0, -9.0, False),
        ("Y", "HOLD", 0.0, None, None),
    )
    assert by_strength(frame)["symbol"].tolist() == ["B1", "B0", "B2", "S", "H", "X", "Y"]


def test_an_export_reads_back_with_nulls_for_what_is_missing(tmp_path):
    frame = signals(("AAAUSDT", "BUY", 60.5, float("nan"), True), ("B", "HOLD", 0.0, 0.1, None))
    document, table = export(result(frame), tmp_path / "new", NOW)
    assert document == tmp_path / "new" / "backtest_results_20240311_000659.json"
    assert table == tmp_path / "new" / "backtest_results_20240311_000659.csv"
    text = document.read_text()
    assert "NaN" not in text
    found = json.loads(text)
    assert found == as_json(result(frame))
    assert (found["is_synthetic"], found["stored"]) == (True, False)
    first = found["signals"][0]
    assert (first["z_score"], first["date"], first["is_member"]) == (None, "2024-03-10", True)
    assert first["confirmations"] == ["RSI_OVERSOLD", "HIGH_VOLUME"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert list(rows[0]) == [*EXPORTED, "interval", "source", "is_stored"]
    assert rows[0]["confirmations"] == "RSI_OVERSOLD;HIGH_VOLUME"
    assert (rows[0]["z_score"], rows[0]["source"], rows[0]["is_stored"]) == (
        *("", "synthetic", "False"),
    )
    assert float(rows[1]["z_score"]) == 0.1
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [table.name, document.name]


def test_an_exported_name_is_no_formula(tmp_path):
    frame = signals().assign(symbol=["=1+1USDT", *signals()["symbol"][1:]])
    _, table = export(result(frame), tmp_path, NOW)
    assert "'=1+1USDT" in {row["symbol"] for row in csv.DictReader(table.read_text().splitlines())}


def test_an_export_of_the_same_second_takes_the_next_free_one(tmp_path):
    for name in ("000659.json", "000700.csv"):
        (tmp_path / f"backtest_results_20240311_{name}").write_text("mine")
    document, table = export(result(signals()), tmp_path, NOW)
    assert document.name == "backtest_results_20240311_000701.json"
    assert table.name == "backtest_results_20240311_000701.csv"
    assert (tmp_path / "backtest_results_20240311_000659.json").read_text() == "mine"
    assert (tmp_path / "backtest_results_20240311_000700.csv").read_text() == "mine"


def test_real_candles_are_not_labelled_synthetic():
    found = as_json(result(signals(), source="binance", stored=True))
    assert (found["is_synthetic"], found["stored"], found["source"]) == (False, True, "binance")


def test_times_and_missing_values_become_plain():
    frame = pd.DataFrame(
        {
            "at": [pd.Timestamp("2024-03-11", tz="UTC")],
            "rank": pd.array([pd.NA], dtype="Int64"),
            "trend": [None],
        }
    )
    assert plain_records(frame) == [
        {"at": "2024-03-11T00:00:00+00:00", "rank": None, "trend": None}
    ]


def test_a_day_without_a_summary_has_an_empty_one():
    assert plain_summary(pd.DataFrame()) == {}


def test_a_results_folder_is_made_and_one_that_cannot_be_is_refused(tmp_path):
    folder = tmp_path / "a" / "b"
    assert results_folder(folder).is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another --output"):
        results_folder(tmp_path / "file")
