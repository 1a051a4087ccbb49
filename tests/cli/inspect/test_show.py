"""`autonama show`: what the tables hold, filtered, as a table or as JSON."""

import csv
import io
import json

import pytest

from autonama_dagster.cli.inspect.show import NAMES
from autonama_dagster.schemas.registry import TABLES
from resources.warehouse.statements import Scope


def test_signals_are_all_shown_as_a_table_with_the_label_of_made_up_data(run, day):
    ended = run("show", "signals")
    assert ended.code == 0
    assert "SYNTHETIC MARKET" in ended.out
    assert "Signals of 2024-03-10" in ended.out
    for symbol in day.warehouse.read("signals")["symbol"]:
        assert symbol in ended.out


def test_json_holds_the_stored_rows(run, day):
    rows = json.loads(run("show", "signals", "--format", "json").out)
    stored = day.warehouse.read("signals").set_index("symbol")
    assert {r["symbol"]: r["z_score"] for r in rows} == stored["z_score"].to_dict()


@pytest.mark.parametrize(
    ("what", "column"),
    [("signals", "potential_return_pct"), ("alerts", "potential_return")],
)
@pytest.mark.usefixtures("day")
def test_rows_are_chosen_by_signal_and_return(run, what, column):
    def shown(*arguments):
        return json.loads(run("show", what, "--format", "json", *arguments).out)

    hold = ("--all",) if what == "alerts" else ()
    everything = shown(*hold)
    for signal in ("BUY", "SELL", "HOLD"):
        expected = [r for r in everything if r["signal"] == signal]
        assert shown("--signal", signal.lower()) == expected
    limit = max(r[column] for r in everything)
    assert shown("--min-return", limit, *hold) == [r for r in everything if r[column] >= limit]
    assert shown("--min-return", 10_000) == []


def test_alerts_as_json_hold_their_documents(run, day):
    row = json.loads(run("show", "alerts", "--all", "--format", "json").out)[0]
    assert isinstance(row["technical_indicators"]["rsi_14"], float)
    bands = day.warehouse.read("regression_bands").set_index("symbol")
    assert row["polynomial_regression"]["n_obs"] == bands.loc[row["symbol"], "n_obs"]
    assert row["symbol"] in run("show", "alerts", "--all").out


@pytest.mark.usefixtures("day")
def test_the_summary_and_the_correlations(run):
    summary = json.loads(run("show", "summary", "--format", "json").out)
    assert summary["total_assets_analyzed"] == 6
    assert summary["correlation_analysis"]["n_pairs"] == 15
    shown = run("show", "summary").out
    assert "\nanalysed: 6\n" in shown
    assert f"\n  mean pearson: {summary['correlation_analysis']['mean_pearson']:+.3f}\n" in shown
    assert "_" not in shown
    assert "created at" not in shown
    pairs = json.loads(run("show", "correlation", "--format", "json").out)
    assert len(pairs) == 15
    strongest = max(pairs, key=lambda p: abs(p["pearson"]))
    table = run("show", "correlation").out
    assert "15 pairs of 2024-03-10" in table
    first = next(line for line in table.splitlines() if "USDT" in line)
    assert strongest["symbol_a"] in first
    assert strongest["symbol_b"] in first


@pytest.mark.usefixtures("day")
def test_nothing_that_fits_is_said(run):
    ended = run("show", "signals", "--min-return", "10000")
    assert ended.code == 0
    assert "no signals of 2024-03-10 match; try without --signal or --min-return" in ended.out


def test_a_day_that_is_not_stored_is_refused(run, day):
    stored = run("show", "signals", "--date", "2024-03-10", "--format", "json")
    assert len(json.loads(stored.out)) == len(
        day.warehouse.read("signals", Scope(first=None, last=None))
    )
    ended = run("show", "signals", "--date", "2024-03-09")
    assert ended.code == 2
    assert "--date 2024-03-09: nothing stored; the latest day is 2024-03-10" in ended.error


@pytest.mark.parametrize("what", ["signals", "alerts", "summary", "correlation"])
def test_an_empty_database_says_what_to_run(run, monkeypatch, database, what):
    monkeypatch.setenv("DATABASE_URL", database)
    ended = run("show", what)
    assert ended.code == 2
    assert "is empty: run `autonama scan` first" in ended.error


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize("what", TABLES)
def test_every_table_of_the_registry_is_shown_in_each_form(run, day, what):
    stored = day.warehouse.read(what)
    if "date" in stored and what != "quarantine":
        stored = stored[stored["date"] == stored["date"].max()]
    everything = ("--all",) if what == "alerts" else ()
    table = run("show", what, *everything)
    assert table.code == 0, table.err
    rows = list(csv.DictReader(io.StringIO(run("show", what, *everything, "--format", "csv").out)))
    assert len(rows) == len(stored)
    assert all(list(row) == list(TABLES[what].columns) for row in rows)
    found = json.loads(run("show", what, *everything, "--format", "json").out)
    found = [found] if isinstance(found, dict) else found
    assert [set(row) for row in found] == [set(TABLES[what].columns)] * len(stored)
    if stored.empty:
        assert f"{what} is empty" in table.out


def test_a_table_that_is_named_in_no_registry_is_not_shown():
    assert set(NAMES) == {*TABLES, "summary", "correlation"}


def test_days_and_pairs_are_chosen(run, day):
    def shown(*arguments):
        out = run("show", "ohlcv_1d", "--format", "csv", *arguments).out
        return {(r["symbol"], r["date"]) for r in csv.DictReader(io.StringIO(out))}

    stored = day.warehouse.read("ohlcv_1d")
    keys = {(s, f"{d:%Y-%m-%d}") for s, d in zip(stored["symbol"], stored["date"], strict=True)}
    pairs = sorted(stored["symbol"].unique())[:2]
    few = {k for k in keys if k[0] in pairs and "2024-03-01" <= k[1] <= "2024-03-03"}
    assert len(few) == 6
    names = ",".join(pairs).lower()
    assert shown("--symbols", names, "--from", "2024-03-01", "--to", "2024-03-03") == few
    assert shown("--from", "2024-03-08") == {k for k in keys if k[1] >= "2024-03-08"}
    assert shown("--to", "2023-01-01") == {k for k in keys if k[1] <= "2023-01-01"}
    one = run("show", "signals", "--from", "2024-03-09").out
    assert "date" in one.split("──")[0].split(), "a range of which one day is stored"
    table = run("show", "ohlcv_1d", "--symbols", pairs[0], "--from", "2024-03-09").out
    assert "ohlcv_1d of 2024-03-09 .. 2024-03-10" in table
    assert "2024-03-09" in table.split("──")[-1]


@pytest.mark.usefixtures("day")
def test_correlations_of_a_pair_are_those_on_either_side(run, day):
    name = day.warehouse.read("signals")["symbol"].iloc[2]
    rows = json.loads(run("show", "correlation", "--symbols", name, "--format", "json").out)
    assert len(rows) == 5
    assert all(name in (row["symbol_a"], row["symbol_b"]) for row in rows)
    last = max(day.warehouse.read("signals")["symbol"])  # never the first of a pair
    refused = run("show", "correlation", "--symbols", f"{last[:-1]}X").error
    assert "not among the 6 pairs" in refused
    assert f"did you mean {last}?" in refused


def test_no_pairs_beside_signals_are_no_scan_that_is_missing(run, day):
    warehouse, pairs = day.warehouse, "trading.correlation_matrix"
    with warehouse.transaction() as cursor:
        cursor.execute(f"CREATE TABLE kept AS SELECT * FROM {pairs}")
        cursor.execute(f"DELETE FROM {pairs}")
    try:
        ended = run("show", "correlation")
    finally:
        with warehouse.transaction() as cursor:
            cursor.execute(f"INSERT INTO {pairs} SELECT * FROM kept")
            cursor.execute("DROP TABLE kept")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "correlation is empty")


@pytest.mark.parametrize("what", ["signals", "correlation", "universe"])
def test_a_pair_that_is_not_there_is_refused_with_the_nearest(run, day, what):
    name = day.warehouse.read("signals")["symbol"].iloc[0]
    ended = run("show", what, "--symbols", f"{name[:-1]}X")
    assert ended.code == 2
    assert f"--symbols {name[:-1]}X: not among the" in ended.error
    assert f"did you mean {name}?" in ended.error


@pytest.mark.usefixtures("day")
def test_a_range_without_a_row_is_refused(run):
    ended = run("show", "signals", "--from", "2018-01-01", "--to", "2018-01-02")
    assert ended.code == 2
    assert "--from 2018-01-01 --to 2018-01-02: nothing stored; the latest day is" in ended.error


def test_alerts_leave_hold_out_unless_they_are_asked_for(run, day):
    kinds = day.warehouse.read("alerts")["signal"]

    def shown(*arguments):
        return [
            r["signal"]
            for r in json.loads(run("show", "alerts", "--format", "json", *arguments).out)
        ]

    assert sorted(shown()) == sorted(kinds[kinds != "HOLD"])
    assert sorted(shown("--all")) == sorted(kinds)
    assert shown("--signal", "HOLD") == ["HOLD"] * int((kinds == "HOLD").sum())
    if (kinds == "HOLD").all():
        assert "try --all" in run("show", "alerts").out


def test_what_is_stored_is_shown_as_text(run, day):
    symbol = day.warehouse.read("signals")["symbol"].iloc[0]
    change = "UPDATE trading.signals SET symbol = $2 WHERE symbol = $1"
    for name, shown, cell in (
        ("[/x]USDT", "[/x]USDT", "[/x]USDT"),
        ("=1+1USDT", "=1+1USDT", "'=1+1USDT"),
        ("\x1b[31mX", r"\x1b[31mX", r"\x1b[31mX"),
    ):
        with day.warehouse.transaction() as cursor:
            cursor.execute(change, (symbol, name))
        try:
            table = run("show", "signals")
            rows = list(csv.DictReader(io.StringIO(run("show", "signals", "--format", "csv").out)))
        finally:
            with day.warehouse.transaction() as cursor:
                cursor.execute(change, (name, symbol))
        assert table.code == 0, table.err
        assert shown in table.out
        assert "\x1b" not in table.out
        assert cell in {row["symbol"] for row in rows}
        assert all(float(row["z_score"]) for row in rows if row["z_score"])
