"""`autonama show`: what the tables hold, filtered, as a table or as JSON."""

import json

import pytest

from resources.statements import Scope


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

    everything = shown(*(("--all",) if what == "alerts" else ()))
    for signal in ("BUY", "SELL", "HOLD"):
        expected = [r for r in everything if r["signal"] == signal]
        assert shown("--signal", signal.lower()) == expected
    limit = max(r[column] for r in everything)
    assert shown("--min-return", limit) == [r for r in everything if r[column] >= limit]
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
    assert "total_assets_analyzed: 6" in run("show", "summary").out
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
    assert "no signals of 2024-03-10 fit; try without --signal or --min-return" in ended.out


def test_a_day_that_is_not_stored_is_refused(run, day):
    stored = run("show", "signals", "--date", "2024-03-10", "--format", "json")
    assert len(json.loads(stored.out)) == len(
        day.warehouse.read("signals", Scope(first=None, last=None))
    )
    ended = run("show", "signals", "--date", "2024-03-09")
    assert ended.code == 2
    assert "--date 2024-03-09: nothing is stored; the latest day is 2024-03-10" in ended.error


@pytest.mark.parametrize("what", ["signals", "alerts", "summary", "correlation"])
def test_an_empty_database_says_what_to_run(run, monkeypatch, database, what):
    monkeypatch.setenv("DATABASE_URL", database)
    ended = run("show", what)
    assert ended.code == 2
    assert "is empty: run `autonama scan` first" in ended.error
