"""The quality ledger in a scan: what it finds in the tables, and what the signals make of it."""

import json
from datetime import date, timedelta
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import psycopg
import pytest
from fault_support import SYMBOLS, candle_lines
from scan_support import DAY, opened_project
from support import STAMPS

from assets.checks.quality import churn_check, coverage_check, ledger_checks
from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import parse, raw_kline
from autonama_dagster.analytics.scan.quality.quality import judge
from autonama_dagster.analytics.scan.quality.rules import RULES
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.schemas.partitions import RANGE_END_TAG, RANGE_START_TAG
from autonama_dagster.services.inputs.evidence import read_evidence
from autonama_dagster.services.inputs.parameters import quality_limits
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.scan.what_if import what_if
from resources.exchange.build import build_exchange
from resources.postgres.urls import libpq_url
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

BAD = date(2023, 12, 5)
ETH, SOL = "ETHUSDT", "SOLUSDT"


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledger")
    with opened_project(folder, postgres) as (found, server):
        server.faults.add(f"bad-values:value=negative,date={BAD},symbol={SOL}")
        found.scanner().scan(DAY)
        server.faults.replace()
        yield found


def execute_sql(opened, statement):
    with psycopg.connect(libpq_url(opened.warehouse.url)) as connection:
        connection.execute(statement)


def compute(opened, job="symbols_job", *assets):
    """Make the day's tables again from the candles that are stored."""
    defs = opened.scanner()._defs
    registered = opened.instance.get_dynamic_partitions("symbol")
    keys = (f"{DAY}|{registered[0]}", f"{DAY}|{registered[-1]}")
    keys = (str(DAY), str(DAY)) if job == "summary_job" else keys
    result = defs.resolve_job_def(job).execute_in_process(
        instance=opened.instance,
        tags=dict(zip((RANGE_START_TAG, RANGE_END_TAG), keys, strict=True)),
        asset_selection=[dg.AssetKey(a) for a in assets] or None,
    )
    assert result.success


def made(opened, first=DAY, last=DAY):
    """Rows of the ledger as a run would make them now."""
    run = WarehouseReader(opened.warehouse).windows(DayScope(SYMBOLS, first, last), 40)
    beside = read_evidence(opened.warehouse, SYMBOLS, first - timedelta(days=39), last)
    frame = judge(run.candles, run.windows, run.known, beside, quality_limits(opened.settings), 40)
    return frame.set_index(["symbol", "date"])


def row(frame, symbol, day=DAY):
    return frame.loc[(symbol, pd.Timestamp(day))]


def of_day(opened, name):
    return opened.warehouse.read(name, Scope(first=DAY, last=DAY)).set_index("symbol")


def test_every_symbol_has_a_row_and_a_candle_kept_out_is_a_warning_of_its_window(opened):
    quality = of_day(opened, "data_quality")
    assert set(quality.index) == set(SYMBOLS)
    assert quality["window_severity"].to_dict() == {"BTCUSDT": "OK", ETH: "OK", SOL: "WARNING"}
    assert quality["severity"].eq("OK").all()
    assert of_day(opened, "signals")["quality"].to_dict() == quality["window_severity"].to_dict()
    bad = row(made(opened, BAD, BAD), SOL, BAD)
    assert bad["findings"] == ["non_positive"]


def test_a_what_if_judges_as_the_stored_scan(opened):
    exchange = build_exchange(opened.settings)
    try:
        found = what_if(
            opened.settings, DAY, SYMBOLS, exchange=exchange, warehouse=opened.warehouse
        )
    finally:
        exchange.close()
    stored = of_day(opened, "signals")
    signals = found.signals.set_index("symbol").loc[stored.index]
    for name in ("quality", "status", "signal", "input_hash", "params_hash"):
        assert signals[name].to_dict() == stored[name].to_dict(), name


def test_an_error_in_a_window_quarantines_the_symbol_until_it_is_mended(opened):
    before = of_day(opened, "signals")
    table = "trading.ohlcv_1d"
    where = f"WHERE symbol = '{ETH}' AND date = '{BAD}'"
    execute_sql(opened, f"UPDATE {table} SET fetched_at = fetched_at - interval '60 days' {where}")
    compute(opened, "symbols_job", *DECIDED)
    compute(opened, "summary_job")
    signals, alerts = of_day(opened, "signals"), of_day(opened, "alerts")
    assert signals["status"].to_dict() == {"BTCUSDT": "OK", ETH: "QUARANTINED", SOL: "OK"}
    assert signals.loc[ETH, "quality"] == "ERROR"
    assert (signals.loc[ETH, "signal"], signals.loc[ETH, "signal_strength"]) == ("HOLD", 0)
    assert signals.loc[ETH, ["z_score", "upper_band", "potential_return_pct"]].isna().all()
    assert alerts["status"].to_dict() == signals["status"].to_dict()
    summary = opened.warehouse.read("analysis_summary", Scope(first=DAY, last=DAY)).iloc[0]
    assert (summary["quarantined"], summary["total_assets_analyzed"]) == (1, 2)
    others = ["BTCUSDT", SOL]
    kept = [c for c in before if c not in {"run_id", "computed_at"}]
    pd.testing.assert_frame_equal(signals.loc[others, kept], before.loc[others, kept])
    execute_sql(opened, f"UPDATE {table} SET fetched_at = fetched_at + interval '60 days' {where}")
    compute(opened, "symbols_job", *DECIDED)
    compute(opened, "summary_job")
    pd.testing.assert_frame_equal(of_day(opened, "signals")[kept], before[kept])


def test_a_candle_of_something_else_is_an_error_from_the_next_day_on(opened):
    numbers = ("open", "high", "low", "close", "quote_volume", "taker_buy_quote_volume")
    before = DAY - timedelta(days=1)
    for times, is_foreign in (("* 128", False), ("/ 128", True)):
        found = row(made(opened), ETH)
        assert found["findings"] == (["foreign"] if is_foreign else [])
        assert found["window_severity"] == ("ERROR" if is_foreign else "OK")
        run = WarehouseReader(opened.warehouse).windows(DayScope((ETH,), DAY, DAY), 40)
        assert run.windows[0].stop - run.windows[0].start == 40, "nothing starts over"
        changed = ", ".join(f"{name} = {name} {times}" for name in numbers)  # exact: a power of two
        execute_sql(
            opened,
            f"UPDATE trading.ohlcv_1d SET {changed} WHERE symbol = '{ETH}' AND date = '{before}'",
        )
    assert row(made(opened), ETH)["findings"] == []


def test_a_failed_answer_with_two_candles_of_a_day_is_found_until_it_is_answered(opened):
    execute_sql(
        opened,
        "INSERT INTO trading.fetch_log (exchange, symbol, interval, from_date, to_date, asked_at, "
        "outcome, candles, message, fault, fault_date, run_id) VALUES ('binance', 'NEWUSDT', '1d', "
        f"'{BAD}', '{DAY}', now(), 'failed', 0, 'NEWUSDT: try again later', 'conflicting', "
        f"'{BAD}', 'r')",
    )
    beside = read_evidence(opened.warehouse, ["NEWUSDT"], BAD, DAY)
    assert [f.rule for f in beside["NEWUSDT"].findings] == ["duplicate"]
    execute_sql(opened, "UPDATE trading.fetch_log SET outcome = 'empty' WHERE symbol = 'NEWUSDT'")
    assert read_evidence(opened.warehouse, ["NEWUSDT"], BAD, DAY) == {}


@pytest.fixture
def store_hours(opened):
    """Stores the hours of ETHUSDT's day, a 24th of it each."""
    daily = [line.split(",") for line in candle_lines(SYMBOLS.index(ETH))]
    (day,) = [line for line in daily if int(line[0]) == pd.Timestamp(DAY).value // 1_000_000]

    def store(count=24, factor=1.0):
        hours = []
        for hour in range(count):
            begin = int(day[0]) + hour * 3_600_000
            amounts = [f"{float(v) / count:.8f}" for v in (day[5], day[7])]
            rest = [amounts[1], "1", "0.1", "0.1", "0"]
            hours.append([str(begin), *day[1:5], amounts[0], str(begin + 3_599_999), *rest])
        hours[3][2] = str(factor * float(day[2]))  # the high
        frame, bad = parse([raw_kline(h) for h in hours], ETH, INTERVALS["1h"])
        assert bad.empty
        candles = opened.warehouse.read("ohlcv_1d", Scope((ETH,), DAY, DAY))
        said = {c: candles[c].iloc[0] for c in ("source", "exchange", "fetched_at")}
        batch = Batch(frame.assign(**said).astype({"source": "str", "exchange": "str"}))
        execute_sql(opened, "DELETE FROM trading.ohlcv_1h")
        opened.warehouse.write("ohlcv_1h", batch, Scope((ETH,), DAY, DAY), STAMPS)

    yield store
    execute_sql(opened, "DELETE FROM trading.ohlcv_1h")
    execute_sql(opened, "DELETE FROM trading.fetch_log WHERE interval = '1h'")


def test_hours_count_by_what_they_say_where_they_were_answered(opened, store_hours):
    before = row(made(opened), ETH)
    store_hours(factor=2)  # a high that the day does not have
    assert row(made(opened), ETH)["findings"] == [], "nobody knows whether all hours are there"
    execute_sql(
        opened,
        "INSERT INTO trading.fetch_log (exchange, symbol, interval, from_date, to_date, asked_at, "
        "outcome, candles, run_id) "
        f"VALUES ('binance', '{ETH}', '1h', '{DAY}', '{DAY}', now(), 'ok', 24, 'r')",
    )
    found = row(made(opened), ETH)
    assert (found["findings"], found["severity"]) == (["daily_vs_hourly"], "ERROR")
    assert found["input_hash"] != before["input_hash"]
    store_hours()
    pd.testing.assert_series_equal(row(made(opened), ETH), before)
    store_hours(count=20)
    found = row(made(opened), ETH)
    assert (found["findings"], found["severity"]) == (["gap"], "INFO")
    assert json.loads(found["details"]) == {"gap": {"severity": "INFO", "missing_hours": 4}}


def test_a_replaced_candle_of_another_source_is_compared(opened):
    candles = opened.warehouse.read("ohlcv_1d", Scope((ETH,), DAY, DAY))
    other = candles.drop(columns="run_id").assign(
        source="archive", close=candles["close"] * 1.001, high=candles["high"] * 1.1,
        row_hash="f" * 64,
    )  # fmt: skip
    original = candles.drop(columns="run_id")
    scope = Scope((ETH,), DAY, DAY)
    typed = other.astype({"source": "str", "row_hash": "str"})
    opened.warehouse.write("ohlcv_1d", Batch(typed), scope, STAMPS)
    found = row(made(opened), ETH)
    assert (found["findings"], found["severity"]) == (["rest_vs_archive"], "ERROR")
    opened.warehouse.write("ohlcv_1d", Batch(original), scope, STAMPS)
    execute_sql(opened, "DELETE FROM trading.ohlcv_1d_revisions")
    assert row(made(opened), ETH)["findings"] == []


def evaluate(check, opened, *run, **settings):
    """What a check says in a run of these partitions, or of none."""
    given = {
        "context": SimpleNamespace(
            run=SimpleNamespace(
                tags=dict(zip((RANGE_START_TAG, RANGE_END_TAG), run, strict=False))
            ),
            instance=opened.instance,
        ),
        "warehouse": opened.warehouse,
        "settings": opened.settings.model_copy(update=settings),
    }
    function = check.op.compute_fn.decorated_fn
    wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
    return function(**{name: given[name] for name in wanted})


def test_a_check_a_rule_names_the_bad_partitions(opened):
    results = {r.check_name: r for r in evaluate(ledger_checks(), opened)}
    assert list(results) == list(RULES)
    assert all(r.passed for r in results.values())
    execute_sql(
        opened,
        "UPDATE trading.data_quality SET findings = '{stale,break}', details = "
        """'{"stale": {"severity": "WARNING"}, "break": {"severity": "INFO"}}' """
        f"WHERE symbol = '{ETH}' AND date = '{DAY}'",
    )
    results = {r.check_name: r for r in evaluate(ledger_checks(), opened)}
    assert [name for name, r in results.items() if not r.passed] == ["stale"]
    assert results["stale"].metadata["bad"].value == f"{DAY}|{ETH}"
    assert results["break"].metadata["findings"].value == 1
    compute(opened, "symbols_job", "data_quality")


def test_the_checks_judge_the_days_of_their_run_too(opened):
    """Days that are long over: a run that fills them says what is wrong with them."""
    past = DAY - timedelta(days=100)
    later = past + timedelta(days=1)
    ends = f"{past}|BTCUSDT", f"{later}|BTCUSDT"
    copied = "SELECT (jsonb_populate_record(r, jsonb_build_object('date', '{day}'{more}))).*"
    for name in ("data_quality", "signals", "universe"):
        for day in (past, later):
            more = ", 'symbol', r.symbol || 'X'" if (name, day) == ("universe", later) else ""
            execute_sql(opened, f"INSERT INTO trading.{name} "
                        + copied.format(day=day, more=more)
                        + f" FROM trading.{name} AS r WHERE date = '{DAY}'")  # fmt: skip
    execute_sql(
        opened,
        "UPDATE trading.data_quality SET findings = '{stale}', details = "
        """'{"stale": {"severity": "WARNING"}}' """
        f"WHERE symbol = '{ETH}' AND date = '{past}'",
    )
    execute_sql(opened, f"UPDATE trading.signals SET status = 'NO_DATA' WHERE date = '{later}'")
    verdicts = {}
    for run in ((), ends):
        found = {r.check_name: r for r in evaluate(ledger_checks(), opened, *run)}
        found["churn"] = evaluate(churn_check(), opened, *run)
        found["coverage"] = evaluate(coverage_check(), opened, *run)
        verdicts[run] = {name for name, result in found.items() if not result.passed}
    assert verdicts == {(): set(), ends: {"stale", "churn", "coverage"}}
    assert found["stale"].metadata["bad"].value == f"{past}|{ETH}"
    assert found["stale"].metadata["days_of_run"].value == f"{past} .. {later}"
    # A run of the later day alone sees the change to it.
    assert not evaluate(churn_check(), opened, str(later), str(later)).passed
    for name in ("data_quality", "signals", "universe"):
        execute_sql(opened, f"DELETE FROM trading.{name} WHERE date < '{DAY}'")


def test_the_checks_of_a_day_see_members_that_leave_and_members_without_data(opened):
    assert evaluate(churn_check(), opened).passed
    assert evaluate(coverage_check(), opened).passed
    for days in (2, 1):  # members of two days before say nothing of a day
        assert evaluate(churn_check(), opened).passed
        execute_sql(
            opened,
            "INSERT INTO trading.universe SELECT (jsonb_populate_record(u, jsonb_build_object("
            f"'date', '{DAY - timedelta(days=days)}', 'symbol', u.symbol || 'X{days}'))).* "
            f"FROM trading.universe AS u WHERE date = '{DAY}'",
        )
    execute_sql(opened, f"UPDATE trading.signals SET status = 'NO_DATA' WHERE symbol = '{ETH}'")
    churn, coverage = evaluate(churn_check(), opened), evaluate(coverage_check(), opened)
    assert not churn.passed
    assert "100.0 %" in churn.metadata["bad"].value
    assert evaluate(churn_check(), opened, quality_churn_pct=100).passed
    assert not coverage.passed
    assert coverage.metadata["bad"].value == f"{DAY}: 66.7 %, missing {ETH}"
    assert evaluate(coverage_check(), opened, quality_coverage_pct=60).passed


DECIDED = (
    "data_quality", "indicators", "regression_bands", "signals", "asset_analytics", "alerts",
)  # fmt: skip


def test_a_candle_of_another_pair_is_an_error_for_both(opened):
    before = made(opened)
    day = BAD + timedelta(days=2)
    hash_of = f"SELECT row_hash FROM trading.ohlcv_1d WHERE date = '{day}' AND symbol = "
    rows = f"WHERE date = '{day}' AND symbol = '{ETH}'"
    original = opened.warehouse.query(f"{hash_of} '{ETH}'").column(0)[0].as_py()
    execute_sql(opened, f"UPDATE trading.ohlcv_1d SET row_hash = ({hash_of} 'BTCUSDT') {rows}")
    found = made(opened, day, day)
    assert row(found, SOL, day)["findings"] == []
    for symbol in ("BTCUSDT", ETH):
        assert row(found, symbol, day)["findings"] == ["copied"]
        seen = json.loads(row(found, symbol, day)["details"])["copied"]
        assert seen == {"severity": "ERROR", "pairs": 2, "first": ["BTCUSDT", ETH]}
        assert row(made(opened), symbol)["window_severity"] == "ERROR"
        assert row(made(opened), symbol)["input_hash"] != row(before, symbol)["input_hash"]
    assert row(made(opened), SOL)["input_hash"] == row(before, SOL)["input_hash"]
    signals = {}
    exchange = build_exchange(opened.settings)
    try:
        for symbols in (SYMBOLS, (ETH,)):
            done = what_if(
                opened.settings, DAY, symbols, exchange=exchange, warehouse=opened.warehouse
            )
            signals[symbols] = done.signals.set_index("symbol")["status"].to_dict()
    finally:
        exchange.close()
    assert signals[SYMBOLS] == {"BTCUSDT": "QUARANTINED", ETH: "QUARANTINED", SOL: "OK"}
    assert signals[ETH,] == {ETH: "QUARANTINED"}
    execute_sql(opened, f"UPDATE trading.ohlcv_1d SET row_hash = '{original}' {rows}")
    execute_sql(opened, "DELETE FROM trading.ohlcv_1d_revisions")
    pd.testing.assert_frame_equal(made(opened), before)
