"""Rows computed again: what is stored is what its day knew; planted leaks and changes are found."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pandas as pd
import psycopg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from scan_support import DAY, DAYS, START, opened_daemon

from assets.checks.point_in_time import NAME
from autonama_dagster.analytics.scan import tables, universe
from autonama_dagster.analytics.scan.channel import fit_channels
from autonama_dagster.analytics.scan.indicators.indicators import compute
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.analytics.scan.universe import rank
from autonama_dagster.errors import AutonamaError, InputError
from autonama_dagster.orchestration.jobs import ANALYTIC
from autonama_dagster.services.inputs import ranking
from autonama_dagster.services.inputs.parameters import OF_DAYS, OF_SYMBOLS
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.inputs.required import Required, read_required
from autonama_dagster.services.verification.parts import Part, _each, parts_of, sample_of, verify
from autonama_dagster.services.verification.verify import KINDS, verify_days, verify_symbols
from bench import canary_leaks as leaks
from resources.warehouse.warehouse import Warehouse

pytestmark = pytest.mark.long

PROGRAM = Path(sys.executable).with_name("autonama")
ONE = timedelta(days=1)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    with opened_daemon(folder, postgres, scanned=DAYS, SOLUSDT=57) as daemon:
        daemon.keep()
        yield daemon


@pytest.fixture
def stored(opened, monkeypatch):
    opened.project.enter(monkeypatch)
    return opened


@pytest.fixture
def leaky(stored, monkeypatch):
    """Store all rows of the days under a leak, and verify them; put back afterwards."""
    with monkeypatch.context() as patch:

        def plant(**changes):
            for name, leak in changes.items():
                patch.setattr(tables, name, leak)
            again(stored)
            kinds = found(stored)
            wrong = {name for name, of in kinds.items() if of}
            # The checks draw the first day and one of the others; the universe's does not run.
            at_first = {name for name, of in found(stored, START, START).items() if of}
            assert at_first - {"universe"}
            assert at_first - {"universe"} <= failed_checks(stored) <= wrong - {"universe"}
            return kinds

        yield plant
    stored.restore()
    assert not any(of.values() for of in found(stored).values())


def again(daemon):
    daemon.step("symbols_job", START, DAY, *daemon.registered, assets=ANALYTIC)
    daemon.step("summary_job", START, DAY)


def found(daemon, first=START, last=DAY):
    """Rows with a difference by kind, by table."""
    project = daemon.project
    parts = verify_symbols(project.warehouse, project.settings, SYMBOLS, first, last)
    parts += verify_days(project.warehouse, project.settings, first, last)
    total = {}
    for part in parts:
        kinds = Counter({kind: part.rows_of(kind) for kind in KINDS if part.rows_of(kind)})
        total[part.table] = total.get(part.table, Counter()) + kinds
    return total


def failed_checks(daemon):
    """Tables whose check of the look-ahead proof failed in the latest run."""
    keys = [dg.AssetCheckKey(dg.AssetKey(name), NAME) for name in (*OF_SYMBOLS, *OF_DAYS)]
    storage = daemon.instance.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key(keys)
    return {
        key.asset_key.path[-1]
        for key, record in latest.items()
        if record.status is AssetCheckExecutionRecordStatus.FAILED
    }


def change(daemon, statement, *values):
    with psycopg.connect(daemon.project.url) as connection:
        return connection.execute(statement, values).rowcount


def test_every_row_of_every_table_is_what_its_day_knew(stored):
    assert set(found(stored)) == {
        "universe", "data_quality", "indicators", "regression_bands", "signals",
        "asset_analytics", "alerts", "correlation_matrix", "analysis_summary",
    }  # fmt: skip
    assert not any(found(stored).values())


# Planted leaks: the stages and the proof follow one recipe, and so the leaky function.


def test_a_centred_window_is_found(leaky):
    kinds = leaky(compute=leaks.centred_window(compute))
    assert kinds["indicators"]["look_ahead"] == 7  # SOLUSDT has no candle on two days


def test_a_row_that_takes_the_next_days_value_is_found(leaky):
    kinds = leaky(compute=leaks.next_days_value(compute))
    assert kinds["indicators"]["look_ahead"] > 0


def test_a_fit_on_the_full_sample_is_found(leaky):
    kinds = leaky(fit_channels=leaks.full_sample_fit(fit_channels))
    assert kinds["regression_bands"]["look_ahead"] == 7
    assert kinds["signals"]["look_ahead"] == 7


def test_parameters_fitted_on_the_future_are_found(leaky):
    kinds = leaky(fit_channels=leaks.fitted_parameters(fit_channels))
    assert kinds["regression_bands"]["look_ahead"] == 7


def test_an_unfinished_weekly_candle_is_found(leaky):
    kinds = leaky(compute=leaks.unfinished_week(compute))
    assert kinds["indicators"]["look_ahead"] > 0


def test_todays_universe_used_for_the_past_is_found(stored, monkeypatch):
    others = failed_checks(stored)  # of the leak before
    assert "universe" not in others
    with monkeypatch.context() as patch:
        patch.setattr(ranking, "rank", leaks.todays_universe(rank))
        stored.step("universe_job", START, DAY)
        kinds = found(stored)["universe"]
        assert failed_checks(stored) == {"universe", *others}
    stored.step("universe_job", START, DAY)
    assert failed_checks(stored) == others
    again(stored)
    assert kinds["look_ahead"] >= 4  # BTCUSDT and ETHUSDT on the two days before
    assert not any(found(stored).values())


# Leaks in what reads: the functions of the recipes are right, and get what was not known.


@pytest.fixture
def leaky_reading(leaky, monkeypatch):
    """Store all rows under a leak in a method of a class that reads, and verify them."""

    def plant(of, name, leak):
        with monkeypatch.context() as patch:
            patch.setattr(of, name, leak(getattr(of, name)))
            return leaky()

    return plant


def test_a_centred_filter_in_the_warehouse_is_found(leaky_reading):
    def smoothed(candles):
        close = pd.Series(candles.close).rolling(3, center=True, min_periods=1).mean().to_numpy()
        return replace(candles, close=np.clip(close, candles.low, candles.high))

    def leak(read):
        def candles(self, symbols, first, last, **options):
            found = read(self, symbols, first, last + timedelta(days=1), **options)
            until = (last - date(1970, 1, 1)).days
            return {s: smoothed(c).until(until) for s, c in found.items()}

        return candles

    kinds = leaky_reading(Warehouse, "candles", leak)
    for name in ("indicators", "regression_bands", "signals", "correlation_matrix"):
        assert kinds[name]["look_ahead"] > 0, name
        assert set(kinds[name]) == {"look_ahead"}, name


def test_windows_that_read_the_next_day_are_found(leaky_reading):
    def leak(read):
        def windows(self, scope, lookback):
            later = DayScope(scope.symbols, scope.first + ONE, scope.last + ONE)
            run = read(self, later, lookback)
            return replace(run, windows=[replace(w, day=w.day - 1) for w in run.windows])

        return windows

    kinds = leaky_reading(WarehouseReader, "windows", leak)
    for name in ("indicators", "regression_bands", "signals", "alerts"):
        assert kinds[name]["look_ahead"] > 0, name


def test_evidence_of_the_next_day_is_found(stored, leaky_reading):
    def leak(read):
        def evidence(self, symbols, first, last):
            found = read(self, symbols, first + ONE, last + ONE)
            return {
                s: replace(e, findings=tuple(f._replace(day=f.day - 1) for f in e.findings))
                for s, e in found.items()
            }

        return evidence

    change(
        stored,
        "INSERT INTO trading.quarantine (table_name, exchange, symbol, date, reason, raw, run_id, "
        "quarantined_at) VALUES ('ohlcv_1d', 'binance', 'BTCUSDT', %s, 'bad', '{}', '', now())",
        DAYS[1],
    )
    kinds = leaky_reading(WarehouseReader, "evidence", leak)
    assert kinds["data_quality"]["look_ahead"] > 0


def test_an_exclusion_that_knows_the_next_day_is_found(stored, monkeypatch):
    def leak(series, days):
        figures = original(series, days)
        at = np.searchsorted(series.day, figures["day"], side="right")
        later = series.close[np.minimum(at, len(series) - 1)]
        is_odd = (series.symbol == "ETHUSDT") & (later != series.close[at - 1])
        return {**figures, "has_volume": figures["has_volume"] & ~is_odd}

    original = universe._figures
    with monkeypatch.context() as patch:
        patch.setattr(universe, "_figures", leak)
        stored.step("universe_job", START, DAY)
        reasons = stored.project.warehouse.read("universe").query("symbol == 'ETHUSDT'")
        kinds = found(stored)["universe"]
    stored.restore()
    assert reasons["exclusion_reason"].dropna().tolist() == ["zero_volume"] * 2
    assert kinds["look_ahead"] >= 2
    assert set(kinds) == {"look_ahead"}
    assert not any(found(stored).values())


def test_rows_of_another_platform_differ_by_rounding_and_their_hashes_fit(stored, monkeypatch):
    def rounded(candles, windows, params):
        frame = fit_channels(candles, windows, params)
        return frame.assign(upper_band=frame["upper_band"] * (1 + 1e-13))

    with monkeypatch.context() as patch:
        patch.setattr(tables, "fit_channels", rounded)
        again(stored)
    kinds = found(stored, DAY, DAY)
    stored.restore()
    assert kinds["regression_bands"] == {"platform": 2}  # SOLUSDT has no candle
    assert {kind for of in kinds.values() for kind in of} == {"platform"}


# Changes of what is stored: each is put down to what it is.


@pytest.mark.parametrize(
    ("statement", "table", "kind"),
    [
        (("UPDATE trading.signals SET z_score = z_score + 0.1 WHERE symbol = 'BTCUSDT' "
         "AND date = '2023-12-29'"), "signals", "row"),
        (("UPDATE trading.alerts SET technical_indicators = jsonb_set(technical_indicators, "
         "'{rsi_14}', '1') WHERE symbol = 'BTCUSDT' AND date = '2023-12-29'"), "alerts", "row"),
        (("UPDATE trading.asset_analytics SET current_price = current_price + 1e-17 "
         "WHERE symbol = 'BTCUSDT' AND date = '2023-12-29'"), "asset_analytics", None),
        (("UPDATE trading.universe SET is_complete = NOT is_complete "
         "WHERE symbol = 'SOLUSDT' AND date = '2023-12-29'"), "universe", "row"),
        (("UPDATE trading.regression_bands SET upper_band = upper_band * (1 + 1e-13) "
         "WHERE symbol = 'BTCUSDT' AND date = '2023-12-29'"), "regression_bands", "row"),
        (("UPDATE trading.indicators SET rsi_14 = rsi_14 + 1, code_version = 'old' "
         "WHERE symbol = 'BTCUSDT' AND date = '2023-12-29'"), "indicators", "code"),
        (("UPDATE trading.indicators SET rsi_14 = rsi_14 + 1, params_hash = repeat('a', 64) "
         "WHERE symbol = 'BTCUSDT' AND date = '2023-12-29'"), "indicators", "parameters"),
        ("DELETE FROM trading.alerts WHERE symbol = 'BTCUSDT' AND date = '2023-12-29'",
         "alerts", "missing"),
        (("UPDATE trading.correlation_matrix SET is_high = NOT is_high "
         "WHERE symbol_a = 'BTCUSDT' AND symbol_b = 'ETHUSDT' AND date = '2023-12-29'"),
         "correlation_matrix", "row"),
        (("UPDATE trading.universe SET exclusion_reason = 'zero_volume', is_eligible = false "
          "WHERE symbol = 'SOLUSDT' AND date = '2023-12-29'"), "universe", "row"),
        ("UPDATE trading.analysis_summary SET hold_signals = 7 WHERE date = '2023-12-29'",
         "analysis_summary", "row"),
    ],
)  # fmt: skip
def test_a_changed_row_is_found_and_told_apart(stored, statement, table, kind):
    assert change(stored, statement) == 1
    kinds = found(stored, DAY, DAY)
    stored.restore()
    expected = {} if kind is None else {kind: 1}
    assert kinds[table] == expected
    others = {name: of for name, of in kinds.items() if name != table and of}
    assert others == {}


def test_a_changed_candle_is_changed_data_in_every_row_that_holds_it(stored):
    price = "UPDATE trading.ohlcv_1d SET close = close * %s WHERE symbol = 'ETHUSDT' AND date = %s"
    with psycopg.connect(stored.project.url) as connection:
        kept = connection.execute(
            "SELECT close FROM trading.ohlcv_1d WHERE symbol = 'ETHUSDT' AND date = %s", (DAYS[1],)
        ).fetchone()[0]
    change(stored, price, 0.999, DAYS[1])
    kinds = found(stored)
    change(stored, "UPDATE trading.ohlcv_1d SET close = %s WHERE symbol = 'ETHUSDT' AND date = %s",
           kept, DAYS[1])  # fmt: skip
    for name in ("indicators", "regression_bands", "signals", "asset_analytics", "alerts"):
        assert kinds[name] == {"data": 2}, name
    assert kinds["correlation_matrix"] == {"data": 2}  # the members' one pair on two days
    assert kinds["analysis_summary"] == {"data": 2}
    assert not any(found(stored).values())


def test_a_rank_that_another_symbols_candles_have_changed_is_changed_data(stored):
    ranked = stored.project.warehouse.read("universe").query("date == @DAY and rank == 1")
    (first,) = ranked["symbol"]
    scale = "UPDATE trading.ohlcv_1d SET quote_volume = quote_volume * %s WHERE symbol = %s"
    change(stored, scale, 2.0**-40, first)
    kinds = found(stored, DAY, DAY)["universe"]
    change(stored, scale, 2.0**40, first)  # exact
    assert kinds == {"data": 2}  # it is second now, and who was second is first
    assert not any(found(stored).values())


# Rows that are gone, and rows that nobody asked for.

FORGED = (
    "INSERT INTO trading.{0} SELECT (jsonb_populate_record(t, %s::jsonb)).* "
    "FROM trading.{0} AS t WHERE t.date = %s LIMIT 1"
)


def follow(count):
    """Rows that are made from such ones have the hashes of others in theirs."""
    return {name: {"data": count} for name in ("asset_analytics", "alerts")}


@pytest.mark.parametrize(
    ("statement", "values", "expected"),
    [
        ("DELETE FROM trading.correlation_matrix WHERE date = %s", (DAY,),
         {"correlation_matrix": {"missing": 1}, "analysis_summary": {"data": 1}}),
        ("DELETE FROM trading.alerts WHERE date = %s", (DAY,), {"alerts": {"missing": 3}}),
        ("DELETE FROM trading.indicators WHERE date = %s", (DAY,),
         {"indicators": {"missing": 2}, "signals": {"data": 2}, **follow(2)}),
        ("DELETE FROM trading.signals WHERE date = %s", (DAY,),
         {"signals": {"missing": 3}, "analysis_summary": {"data": 1}, **follow(3)}),
        ("DELETE FROM trading.signals WHERE date = %s AND symbol = 'BTCUSDT'", (DAY,),
         {"signals": {"missing": 1}, "analysis_summary": {"data": 1}, **follow(1)}),
        ("DELETE FROM trading.analysis_summary WHERE date = %s", (DAY,),
         {"analysis_summary": {"missing": 1}}),
        (FORGED.format("alerts"), ('{"symbol": "FAKEUSDT"}', DAY), {"alerts": {"extra": 1}}),
        (FORGED.format("signals"), ('{"symbol": "FAKEUSDT", "is_member": false}', DAY),
         {"signals": {"extra": 1}}),
        (FORGED.format("indicators"), ('{"symbol": "SOLUSDT"}', DAY),
         {"indicators": {"extra": 1}, "signals": {"data": 1}, **follow(1)}),
        (FORGED.format("correlation_matrix"), ('{"symbol_b": "FAKEUSDT"}', DAY),
         {"correlation_matrix": {"extra": 1}, "analysis_summary": {"data": 1}}),
    ],
)  # fmt: skip
def test_rows_that_are_gone_and_rows_too_many_are_found(stored, statement, values, expected):
    assert change(stored, statement, *values) >= 1
    project = stored.project
    wanted = read_required(project.warehouse, project.settings, START, DAY, stored.registered)
    parts = verify(parts_of(wanted), project.settings, project.warehouse)
    stored.restore()
    kinds = {p.table: {k: p.rows_of(k) for k in KINDS if p.rows_of(k)} for p in parts}
    assert {name: of for name, of in kinds.items() if of} == expected


def test_a_candidate_that_signals_know_a_rank_of_is_missed(stored):
    gone = "DELETE FROM trading.universe WHERE date = %s AND symbol = 'ETHUSDT'"
    assert change(stored, gone, DAY) == 1
    kinds = found(stored, DAY, DAY)
    stored.restore()
    assert kinds["universe"]["missing"] == 1
    assert kinds["signals"]["data"] >= 1


def test_a_day_that_is_gone_altogether_is_missed(stored):
    for name in (*OF_SYMBOLS, *OF_DAYS):
        assert change(stored, f"DELETE FROM trading.{name} WHERE date = %s", DAYS[1])
    kinds = found(stored)
    project = stored.project
    wanted = read_required(project.warehouse, project.settings, START, DAY, stored.registered)
    stored.restore()
    assert {name: dict(of) for name, of in kinds.items() if of} == {
        "analysis_summary": {"missing": 1}
    }
    assert DAYS[1] in wanted.days


def test_an_indicator_whose_candle_is_gone_is_no_extra_row(stored):
    gone = "DELETE FROM trading.ohlcv_1d WHERE date = %s AND symbol = 'ETHUSDT'"
    assert change(stored, gone, DAY) == 1
    kinds = found(stored, DAY, DAY)
    stored.restore()
    assert kinds["indicators"] == kinds["signals"] == {"data": 1}


def test_the_command_verifies_a_day_that_lost_its_signals(stored):
    change(stored, "DELETE FROM trading.signals WHERE date = %s", DAY)
    ended = subprocess.run(
        [PROGRAM, "verify", "--format", "json"], capture_output=True, text=True, check=False
    )
    stored.restore()
    assert ended.returncode == 1, ended.stderr
    said = json.loads(ended.stdout)
    missing = {table["table"]: table["missing"] for table in said["tables"]}
    assert said["last"] == str(DAY)
    assert {name: n for name, n in missing.items() if n} == {"signals": len(SYMBOLS)}


def test_parts_and_samples_name_what_is_stored(stored):
    warehouse, settings = stored.project.warehouse, stored.project.settings
    wanted = read_required(warehouse, settings, START, DAY)
    parts = parts_of(wanted)
    assert [(p.first, p.last, p.symbols) for p in parts] == [
        (START, DAY, SYMBOLS), (START, DAY, ()),
    ]  # fmt: skip
    told = []
    total = verify(parts, settings, warehouse, lambda *done: told.append(done))
    assert {part.table: part.rows for part in total}["signals"] == 9
    assert told[-1] == (2, 2)
    sample = sample_of(wanted, ("BTCUSDT",), 2)
    assert sample == sample_of(wanted, ("BTCUSDT",), 2)
    assert sum(len(part.symbols) for part in sample) == 2
    with pytest.raises(InputError, match="no rows of NOPE are stored on"):
        parts_of(wanted, ("NOPE",))


@pytest.mark.parametrize(
    ("symbols", "days", "parts", "width"),
    [(100, 720, 12, 60), (200, 100, 8, 25), (100, 24, 4, 6), (100, 3, 1, 3), (2, 90, 1, 90)],
)
def test_parts_fit_the_memory_and_are_enough_for_two_cores(
    monkeypatch, symbols, days, parts, width
):
    stored = {START + timedelta(days=d): {f"S{n:03}" for n in range(symbols)} for d in range(days)}
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    wanted = Required(min(stored), max(stored), {}, stored, {}, {}, frozenset())
    made = [part for part in parts_of(wanted) if part.symbols]
    assert len(made) == parts
    assert max((part.last - part.first).days + 1 for part in made) == width
    assert max(len(part.symbols) for part in made) <= 100
    assert sum(((p.last - p.first).days + 1) * len(p.symbols) for p in made) == symbols * days


def test_processes_find_the_same(stored):
    warehouse, settings = stored.project.warehouse, stored.project.settings
    wanted = read_required(warehouse, settings, START, DAY)
    parts = [part for _ in range(2) for part in parts_of(wanted)]
    total = {part.table: (part.rows, part.rows_of()) for part in verify(parts, settings, warehouse)}
    assert total["signals"] == (18, 0)
    assert total["analysis_summary"] == (6, 0)


def die(_part, **_):
    os._exit(1)


def test_a_lost_process_is_said_in_one_line(stored, monkeypatch):
    monkeypatch.setattr("autonama_dagster.services.verification.parts._verify_there", die)
    parts = [Part(DAY, DAY, SYMBOLS)] * 4
    with pytest.raises(AutonamaError, match=r"a process died .* verify again"):
        verify(parts, stored.project.settings, stored.project.warehouse)


def ends_late(part, *, settings, **_):
    if not part.symbols:
        time.sleep(20)
        (settings / "ended").touch()
    return []


def test_processes_end_with_who_stops_asking(tmp_path, monkeypatch):
    monkeypatch.setattr("autonama_dagster.services.verification.parts._verify_there", ends_late)
    parts = [Part(DAY, DAY, SYMBOLS), *[Part(DAY, DAY)] * 4]
    results = _each(parts, tmp_path, SimpleNamespace(url=""))
    assert next(results) == []
    results.close()
    assert multiprocessing.active_children() == []
    assert not (tmp_path / "ended").exists()


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_number_of_threads_of_linear_algebra_changes_no_row(threads):
    variables = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    program = [PROGRAM, "verify", "--format", "json"]
    for span in ([], ["--all"]):  # the day alone, and in a range
        ended = subprocess.run(
            [*program, "--date", DAY.isoformat(), *span],
            env={**os.environ, **dict.fromkeys(variables, threads)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        rows = {table["table"]: table["rows"] for table in json.loads(ended.stdout)["tables"]}
        assert rows["regression_bands"] == len(SYMBOLS) * (len(DAYS) if span else 1)
        assert len(rows) == 10


@pytest.mark.usefixtures("stored")
def test_the_command_verifies_a_sample_of_the_days():
    ended = subprocess.run(
        [PROGRAM, "verify", "--sample", "4", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    rows = {table["table"]: table["rows"] for table in found["tables"]}
    assert rows["signals"] == 4  # symbol-days
    assert rows["analysis_summary"] == 1
    assert found["is_match"]
    assert date.fromisoformat(found["first"]) < DAY


def test_the_command_names_what_differs_and_ends_with_one(stored):
    change(stored, "DELETE FROM trading.verifications")
    change(stored, "UPDATE trading.signals SET z_score = z_score + 0.1 "
           "WHERE symbol = 'BTCUSDT' AND date = %s", DAY)  # fmt: skip
    ended = subprocess.run(
        [PROGRAM, "verify", "--symbols", "BTCUSDT,ETHUSDT"],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    kept = stored.project.warehouse.read("verifications").set_index("table_name")
    stored.restore()
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert lines[-1] == "1 of 14 rows differ"
    (named,) = (line for line in lines if line.startswith("signals: "))
    assert f"symbol BTCUSDT, date {DAY}, column z_score" in named
    assert "kind row" in named
    assert kept["mismatches"].to_dict() == {
        "data_quality": 0, "indicators": 0, "regression_bands": 0, "signals": 1,
        "asset_analytics": 0, "alerts": 0, "ohlcv_1d": 0,
    }  # fmt: skip
