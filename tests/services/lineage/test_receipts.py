"""Receipts of signals: what they are made of, and that one changed digit shows where it counts."""

from datetime import date, timedelta

import psycopg
import pytest
from scan_support import DAY, DAYS, kept, opened_project

from autonama_dagster.analytics.candles.candles import NUMBERS
from autonama_dagster.errors import InputError
from autonama_dagster.services.inputs.parameters import OF_SYMBOLS
from autonama_dagster.services.lineage.receipts import read_receipt

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
LINEAGE = "SELECT symbol, date, is_window_match, is_match FROM trading.signal_lineage"


@pytest.fixture(scope="module")
def scanned(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("receipts")
    # The last three weeks of SOLUSDT are missing five days.
    with opened_project(folder, postgres, scanned=DAYS, SOLUSDT=57) as (found, _):
        yield found


@pytest.fixture
def changing(scanned):
    """Execute a statement for the time of a test."""
    with kept(scanned.url, ("ohlcv_1d", "universe", *OF_SYMBOLS)) as execute:
        yield execute


def lineage(scanned):
    with psycopg.connect(scanned.url) as connection:
        return {(s, d): (w, m) for s, d, w, m in connection.execute(LINEAGE)}


def test_a_receipt_holds_the_rows_and_the_window_of_a_signal(scanned):
    receipt = read_receipt(scanned.warehouse, scanned.settings, "BTCUSDT", DAY)
    assert receipt.is_match
    assert [k.table for k in receipt.links] == [
        "indicators", "regression_bands", "data_quality", "universe", "signals",
        "asset_analytics", "alerts",
    ]  # fmt: skip
    assert (receipt.window.last, receipt.window.candles) == (DAY, 40)
    assert len(receipt.candles) == 40
    assert receipt.candles["date"].iloc[0].date() == receipt.window.first
    assert receipt.parameters == {
        "degree": 2, "kstd": 2.0, "price_scale": "log", "lookback": 40,
    }  # fmt: skip
    assert receipt.stored == receipt.present
    assert receipt.rows["signals"]["close"] == receipt.candles["close"].iloc[-1]
    assert receipt.suspects is None


def test_every_stored_signal_matches_in_the_view_too(scanned):
    assert set(lineage(scanned).values()) == {(True, True)}
    assert set(lineage(scanned)) == {(s, d) for s in SYMBOLS for d in DAYS}
    with psycopg.connect(scanned.url) as connection:
        rows = connection.execute(
            "SELECT symbol, date, window_start, window_end, candles, missing_days, window_hash, "
            "input_hash FROM trading.signal_lineage"
        ).fetchall()
    for symbol, day, *facts, window_hash, input_hash in rows:
        receipt = read_receipt(scanned.warehouse, scanned.settings, symbol, day)
        window = receipt.window
        assert facts == [window.first, window.last, window.candles, window.missing_days]
        found = {k.table: k.recomputed for k in receipt.links}
        assert (found["regression_bands"], found["signals"]) == (window_hash, input_hash)


@pytest.mark.parametrize("column", NUMBERS)
def test_one_changed_digit_is_seen_by_exactly_the_rows_that_hold_the_candle(
    scanned, changing, column
):
    changing(
        f"UPDATE trading.ohlcv_1d SET {column} = {column} * (1 + 1e-15) "
        "WHERE symbol = 'ETHUSDT' AND date = %s",
        (DAYS[1],),
    )
    touched = {("ETHUSDT", DAYS[1]), ("ETHUSDT", DAYS[2])}
    found = lineage(scanned)
    assert {key for key, value in found.items() if value == (False, False)} == touched
    assert {key for key, value in found.items() if value == (True, True)} == set(found) - touched
    for symbol, day in found:
        receipt = read_receipt(scanned.warehouse, scanned.settings, symbol, day)
        assert receipt.is_match == ((symbol, day) not in touched)
        assert receipt.suspects == (
            None if receipt.is_match else (DAYS[1], DAYS[1])
        )  # the day before is stored and matches


@pytest.mark.parametrize(
    "change", ["trades = trades + 1", "source = 'archive'", "date = date + 1", "symbol = 'XUSDT'"]
)
def test_a_candle_that_was_moved_or_said_to_be_another_is_seen(scanned, changing, change):
    changing(f"UPDATE trading.ohlcv_1d SET {change} WHERE symbol = 'ETHUSDT' AND date = %s", (DAY,))
    found = lineage(scanned)
    assert {key for key, value in found.items() if value != (True, True)} == {("ETHUSDT", DAY)}
    assert not read_receipt(scanned.warehouse, scanned.settings, "ETHUSDT", DAY).is_match


def test_a_changed_row_hash_a_removed_and_an_added_candle_are_seen(scanned, changing):
    changing("UPDATE trading.ohlcv_1d SET row_hash = repeat('a', 64) WHERE symbol = 'BTCUSDT' "
             "AND date = %s", (DAY,))  # fmt: skip
    changing("DELETE FROM trading.ohlcv_1d WHERE symbol = 'ETHUSDT' AND date = %s",
             (DAYS[0] - timedelta(days=9),))  # fmt: skip
    found = lineage(scanned)
    differing = {key for key, value in found.items() if value == (False, False)}
    assert differing == {("BTCUSDT", DAY), *(("ETHUSDT", d) for d in DAYS)}
    receipt = read_receipt(scanned.warehouse, scanned.settings, "ETHUSDT", DAY)
    assert (receipt.window.missing_days, len(receipt.window.gaps)) == (1, 1)
    first, last = receipt.suspects
    assert (first, last) == (DAY - timedelta(days=39), DAYS[0])  # no earlier row can tell


FORGED = "WHERE symbol = 'BTCUSDT' AND date = %s"


def links_that_differ(scanned, symbol="BTCUSDT"):
    receipt = read_receipt(scanned.warehouse, scanned.settings, symbol, DAY)
    return receipt, {link.table: link for link in receipt.links if link.is_match is False}


def test_a_forged_decision_is_not_vouched_for(scanned, changing):
    changing(f"UPDATE trading.signals SET signal = 'BUY', signal_strength = 100 {FORGED}", (DAY,))
    receipt, found = links_that_differ(scanned)
    assert receipt.fault == "a row was changed after it was computed: signals"
    (link,) = found.values()
    assert [(c.column, c.stored, c.expected) for c in link.differences] == [
        ("signal", "BUY", "HOLD"), ("signal_strength", "100.0", "0.0"),
    ]  # fmt: skip
    assert (link.is_input_match, link.is_result_match) == (True, False)
    view = lineage(scanned)
    assert {key for key, value in view.items() if value == (True, False)} == {("BTCUSDT", DAY)}
    assert links_that_differ(scanned, "ETHUSDT")[1] == {}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("universe", "rank = 9"),
        ("data_quality", "severity = 'ERROR'"),
        ("indicators", "rsi_14 = rsi_14 + 1"),
        ("regression_bands", "upper_band = upper_band * 2"),
        ("asset_analytics", "support_level = 1"),
        ("alerts", "risk_level = 'LOW'"),
    ],
)
def test_a_forged_row_of_each_table_is_named_with_its_values(scanned, changing, name, change):
    changing(f"UPDATE trading.{name} SET {change} {FORGED}", (DAY,))
    _, found = links_that_differ(scanned)
    link = found[name]
    assert not link.is_result_match
    assert change.split()[0] in {cell.column for cell in link.differences}
    is_used = name in {"universe", "data_quality", "indicators", "regression_bands"}
    assert lineage(scanned)["BTCUSDT", DAY][1] is not is_used


def test_a_forged_row_with_its_hash_made_anew_is_told_by_its_values(scanned, changing):
    changing(f"UPDATE trading.alerts SET signal_strength = 100 {FORGED}", (DAY,))
    again = links_that_differ(scanned)[1]["alerts"].recomputed_result
    changing(f"UPDATE trading.alerts SET result_hash = %s {FORGED}", (again, DAY))
    _, found = links_that_differ(scanned)
    assert found["alerts"].is_result_match
    assert [cell.column for cell in found["alerts"].differences] == ["signal_strength"]


def test_values_that_other_settings_made_are_not_compared(scanned, changing):
    other = scanned.settings.model_copy(update={"quality_stale_days": 9})
    receipt = read_receipt(scanned.warehouse, other, "BTCUSDT", DAY)
    assert receipt.is_match
    found = {link.table: link.differences for link in receipt.links}
    assert {name for name, cells in found.items() if cells is None} == {
        "data_quality", "signals", "asset_analytics", "alerts",
    }  # fmt: skip
    changing(f"UPDATE trading.signals SET signal = 'BUY' {FORGED}", (DAY,))
    assert not read_receipt(scanned.warehouse, other, "BTCUSDT", DAY).is_match  # by its result hash


def test_rounding_of_another_platform_is_no_forgery(scanned, changing):
    changing(f"UPDATE trading.signals SET z_score = z_score * (1 + 1e-14) {FORGED}", (DAY,))
    again = links_that_differ(scanned)[1]["signals"].recomputed_result
    changing(f"UPDATE trading.signals SET result_hash = %s {FORGED}", (again, DAY))
    _, found = links_that_differ(scanned)
    assert "signals" not in found
    assert {*found} == {"asset_analytics", "alerts"}  # chained to the other hash


def test_a_break_cuts_the_window_in_the_view_as_in_the_receipt(scanned, changing):
    at = DAY - timedelta(days=20)
    changing("UPDATE trading.ohlcv_1d SET open = open * 100 WHERE symbol = 'BTCUSDT' AND date = %s",
             (at,))  # fmt: skip
    receipt = read_receipt(scanned.warehouse, scanned.settings, "BTCUSDT", DAY)
    assert (receipt.window.first, receipt.window.candles) == (at, 21)
    (found,) = receipt.window.breaks
    assert (found.date, found.is_jump, found.missing_days) == (at, True, 0)
    assert found.ratio == pytest.approx(100, rel=0.2)
    with psycopg.connect(scanned.url) as connection:
        row = connection.execute(
            "SELECT window_start, candles, last_break, window_hash FROM trading.signal_lineage "
            "WHERE symbol = 'BTCUSDT' AND date = %s",
            (DAY,),
        ).fetchone()
    recomputed = {k.table: k.recomputed for k in receipt.links}["regression_bands"]
    assert row == (at, 21, at, recomputed)


def test_a_break_that_is_undone_the_next_day_cuts_the_window_of_its_own_day_alone(
    scanned, changing
):
    for column in ("open", "high", "low", "close"):
        changing(f"UPDATE trading.ohlcv_1d SET {column} = {column} * 100 "
                 "WHERE symbol = 'BTCUSDT' AND date = %s", (DAYS[1],))  # fmt: skip
    with psycopg.connect(scanned.url) as connection:
        rows = connection.execute(
            "SELECT date, window_start, candles, last_break, window_hash "
            "FROM trading.signal_lineage WHERE symbol = 'BTCUSDT' ORDER BY date"
        ).fetchall()
    assert [(row[0], row[3]) for row in rows] == [
        (day, day if day == DAYS[1] else None) for day in DAYS
    ]
    for row in rows:
        receipt = read_receipt(scanned.warehouse, scanned.settings, "BTCUSDT", row[0])
        recomputed = {k.table: k.recomputed for k in receipt.links}["regression_bands"]
        breaks = [found.date for found in receipt.window.breaks]
        assert breaks == ([row[0]] if row[0] == DAYS[1] else [])
        assert row[1:] == (receipt.window.first, receipt.window.candles, row[3], recomputed)


def test_a_signal_that_is_not_stored_names_the_latest(scanned):
    with pytest.raises(
        InputError, match=rf"no signal of BTCUSDT on 2023-12-01 .*latest is of {DAY}"
    ):
        read_receipt(scanned.warehouse, scanned.settings, "BTCUSDT", date(2023, 12, 1))
    with pytest.raises(InputError, match="no signal of NOPEUSDT is stored; did you mean"):
        read_receipt(scanned.warehouse, scanned.settings, "NOPEUSDT", DAY)


def test_other_settings_are_told_and_are_no_mismatch(scanned):
    other = scanned.settings.model_copy(update={"kstd": 1.5})
    receipt = read_receipt(scanned.warehouse, other, "SOLUSDT", DAY)
    assert receipt.is_match
    assert receipt.parameters["kstd"] == 2.0
    assert receipt.stored.params_hash != receipt.present.params_hash
    assert receipt.stored.code_version == receipt.present.code_version
