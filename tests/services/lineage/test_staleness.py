"""Which rows a replaced candle makes stale: exactly those that come out with another hash."""

import itertools
from datetime import date, timedelta

import pandas as pd
import pytest
from scan_support import DAY, DAYS, START, opened_daemon

from autonama_dagster.orchestration.jobs import ANALYTIC, SUMMARY
from autonama_dagster.services.inputs.parameters import ANALYTIC as TABLES_MADE
from autonama_dagster.services.inputs.parameters import OF_DAYS, OF_SYMBOLS
from autonama_dagster.services.lineage import staleness
from autonama_dagster.services.lineage.staleness import Comparison

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
LOOKBACK = 40


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    """Three days of three symbols, all scanned, and a copy of all tables."""
    with opened_daemon(tmp_path_factory.mktemp("stale"), postgres, scanned=DAYS) as daemon:
        daemon.keep()
        yield daemon


@pytest.fixture
def daemon(opened, monkeypatch):
    """The tables as they were after the scans."""
    opened.project.enter(monkeypatch)
    opened.server.faults.replace()
    opened.restore()
    return opened


def revise(daemon, symbol, day):
    """Fetch the day's candle again, which the exchange has corrected."""
    daemon.server.faults.add(f"revised-candle:date={day},symbol={symbol}")
    if day < START:
        daemon.step("history_job", day, day, symbol)
    else:
        daemon.step("symbols_job", day, day, symbol, assets=("ohlcv_1d",))
    assert len(daemon.project.warehouse.read("ohlcv_1d_revisions")) == 1


def compared(daemon, symbols=SYMBOLS, first=date(2023, 11, 1), last=DAY):
    found = Comparison(
        daemon.project.warehouse, daemon.project.settings, symbols, first, last
    ).all_tables()
    return {name: keys_of(keys) for name, keys in found.rows.items()}


def keys_of(frame):
    """Keys as (day, symbols) in no order."""
    days = frame["date"].dt.strftime("%Y-%m-%d")
    others = [frame[c] for c in ("symbol", "symbol_a", "symbol_b") if c in frame]
    return set(zip(days, *others, strict=True))


def hashes(daemon):
    """Input hash of every analytic row by table and key."""
    found = {}
    for name in TABLES_MADE:
        frame = daemon.project.warehouse.read(name)
        keys = [c for c in ("date", "symbol", "symbol_a", "symbol_b") if c in frame]
        days = frame.assign(date=frame["date"].dt.strftime("%Y-%m-%d"))
        for row in days[[*keys, "input_hash"]].itertuples(index=False):
            found[name, tuple(row[:-1])] = row[-1]
    return found


def make_again(daemon):
    """Everything computed anew from the stored candles, but the ranking, which asks for its own."""
    order = daemon.instance.get_dynamic_partitions("symbol")
    daemon.step("universe_job", START, DAY)
    daemon.step("symbols_job", START, DAY, *order, assets=ANALYTIC)
    daemon.step("summary_job", START, DAY, assets=SUMMARY)


def test_no_table_by_date_is_left_out():
    """Each has a comparison of its own, because of what all pairs of a day cost."""
    assert {"universe", *staleness._OF_DAYS} == set(OF_DAYS)


def test_nothing_is_stale_where_nothing_changed(daemon):
    assert compared(daemon) == {}


@pytest.mark.parametrize(
    ("day", "universe_from"),
    [(DAYS[1], 1), (START - timedelta(days=3), 0), (START - timedelta(days=29), 0)],
)
def test_one_changed_candle_makes_exactly_its_symbols_rows_stale(daemon, day, universe_from):
    revise(daemon, "ETHUSDT", day)
    dates = [str(d) for d in DAYS if d >= day]
    ranked = [str(d) for d in DAYS[universe_from:] if (d - day).days <= 30]
    of_symbol = {(d, "ETHUSDT") for d in dates}
    pairs = {(d, *p) for d in dates for p in itertools.combinations(SYMBOLS, 2)}
    expected = {
        **dict.fromkeys(OF_SYMBOLS, of_symbol),
        "universe": {(d, "ETHUSDT") for d in ranked},
        "correlation_matrix": pairs,
        "analysis_summary": {(d,) for d in dates},
    }
    assert compared(daemon) == expected


@pytest.mark.parametrize("day", [DAYS[1], START - timedelta(days=30), START - timedelta(days=38)])
def test_stale_are_the_rows_that_come_out_with_another_hash(daemon, day):
    before = hashes(daemon)
    revise(daemon, "BTCUSDT", day)
    stale = {(name, key) for name, keys in compared(daemon).items() for key in keys}
    make_again(daemon)
    after = hashes(daemon)
    assert stale == {key for key in before if before[key] != after[key]}
    assert stale
    assert compared(daemon) == {}


def test_a_candle_that_no_window_holds_makes_nothing_stale(daemon):
    day = START - timedelta(days=LOOKBACK)
    daemon.server.faults.add(f"revised-candle:date={day},symbol=ETHUSDT")
    assert compared(daemon, ("ETHUSDT",), day, day) == {}


def test_other_symbols_and_later_candles_are_left_out(daemon):
    revise(daemon, "ETHUSDT", DAYS[1])
    assert compared(daemon, ("BTCUSDT",)) == {
        "correlation_matrix": {
            (str(d), *p) for d in DAYS[1:] for p in itertools.combinations(SYMBOLS, 2)
        },
        "analysis_summary": {(str(d),) for d in DAYS[1:]},
    }
    assert compared(daemon, ("ETHUSDT",), DAYS[2], DAYS[2])["signals"] == {
        (str(DAYS[2]), "ETHUSDT")
    }


def test_rows_of_other_versions_are_counted_and_not_compared(daemon):
    revise(daemon, "ETHUSDT", DAYS[2])
    with daemon.project.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.alerts SET code_version = 'older'")
    comparison = Comparison(
        daemon.project.warehouse, daemon.project.settings, ("ETHUSDT",), DAYS[2], DAYS[2]
    )
    found = comparison.all_tables()
    assert "alerts" not in found.rows
    assert found.n_outdated == 1


def test_rankings_of_candles_that_were_not_asked_for_are_left_out(daemon):
    with daemon.project.warehouse.transaction() as cursor:
        cursor.execute("DELETE FROM trading.fetch_log WHERE symbol = 'SOLUSDT'")
    found = Comparison(
        daemon.project.warehouse, daemon.project.settings, ("SOLUSDT",), DAYS[0], DAYS[0]
    ).all_tables()
    assert found.n_unanswered == 3
    assert "universe" not in found.rows


def test_a_stale_answer_knows_its_days_and_symbols(daemon):
    revise(daemon, "ETHUSDT", DAYS[1])
    found = Comparison(
        daemon.project.warehouse, daemon.project.settings, SYMBOLS, DAYS[1], DAYS[1]
    ).all_tables()
    assert found.days == (DAYS[1], DAYS[2])
    assert found.symbols("signals") == ["ETHUSDT"]
    assert found.symbols("correlation_matrix") == list(SYMBOLS)
    assert found.symbols("analysis_summary") == []
    assert found.symbols_by_day() == dict.fromkeys(DAYS[1:], frozenset({"ETHUSDT"}))
    assert pd.concat(found.rows.values())["date"].min() == pd.Timestamp(DAYS[1])


def test_summaries_beyond_the_pairs_reach_are_compared_where_an_input_is_newer(daemon, monkeypatch):
    # The pairs are out of reach.
    monkeypatch.setattr("autonama_dagster.services.lineage.staleness.window_days", lambda _: 2)
    day = START - timedelta(days=10)
    revise(daemon, "ETHUSDT", day)
    summaries = {(str(d),) for d in DAYS}

    def found():
        return compared(daemon, ("ETHUSDT",), day, day)

    assert found()["analysis_summary"] == summaries
    order = daemon.instance.get_dynamic_partitions("symbol")
    daemon.step("symbols_job", START, DAY, *order, assets=ANALYTIC)
    assert found() == {"universe": {(str(d), "ETHUSDT") for d in DAYS}} | {
        "analysis_summary": summaries
    }
    daemon.step("summary_job", START, DAY, assets=SUMMARY)
    assert set(found()) == {"universe"}
    with daemon.project.warehouse.transaction() as cursor:
        cursor.execute(
            "UPDATE trading.correlation_matrix SET input_hash = repeat('0', 64), "
            "computed_at = computed_at + interval '1 hour' WHERE date = $1",
            (DAY,),
        )
    assert found()["analysis_summary"] == {(str(DAY),)}
