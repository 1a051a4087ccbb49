"""Result hashes: one definition in Python and in SQL, of every kind of value, and of the chain."""

import hashlib
import json
import struct
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scan_support import DAY, DAYS, kept, opened_project
from sqlalchemy.dialects import postgresql

from autonama_dagster.analytics.candles.results import result_hashes
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.schemas import base
from autonama_dagster.schemas.base import Table, column
from autonama_dagster.schemas.ddl import sql_type
from autonama_dagster.schemas.result_sql import result_sql
from autonama_dagster.services.inputs.parameters import ANALYTIC, OF_SYMBOLS
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.inputs.results import other_results
from resources.warehouse.frames import to_arrow, to_frame
from resources.warehouse.statements import EVERYTHING, Scope, replace_rows, select_list


class EveryKind(base.TableModel):
    """A column of each kind."""

    number: base.Integer = column("Key.")
    a_float: base.Float = column("Float.", nullable=True)
    a_price: base.Float = column("Money.", nullable=True, sql="money")
    an_integer: base.NullableInteger = column("Int.", nullable=True)
    a_flag: base.NullableFlag = column("Bool.", nullable=True)
    a_truth: base.Flag = column("Bool.")
    a_day: base.Day = base.day("Date.", nullable=True)
    a_time: base.Instant = base.instant("Timestamptz.")
    a_text: base.Text = column("Text.", nullable=True)
    a_list: base.TextList = column("Text[].", sql="text[]")
    a_document: base.Text = column("Jsonb.", nullable=True, sql="jsonb")


SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
EVERY_KIND = Table("every_kind", EveryKind, ("number",))
DIALECT = postgresql.dialect()
NUMBERS = st.floats(-1e300, 1e300)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TIMES = (pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01"))
ROWS = st.fixed_dictionaries(
    {
        "a_float": NUMBERS | st.just(np.nan),
        "a_price": st.floats(-1e15, 1e15).filter(lambda x: x == 0 or abs(x) > 1e-19)
        | st.floats(1e-19, 0.1) | st.just(np.nan),
        "an_integer": st.none() | st.integers(-(2**63), 2**63 - 1),
        "a_flag": st.none() | st.booleans(),
        "a_truth": st.booleans(),
        "a_day": st.none() | st.dates(date(1900, 1, 1), date(2200, 1, 1)),
        "a_time": st.datetimes(*TIMES),
        "a_text": st.none() | st.text(),
        "a_list": st.lists(st.text(), max_size=3),
        "a_document": st.none() | DOCUMENTS.map(json.dumps),
    }
)  # fmt: skip


def typed(rows):
    frame = pd.DataFrame(rows).assign(number=range(len(rows)))
    return frame.assign(
        number=frame["number"].astype("int64"),
        an_integer=pd.Series([r["an_integer"] for r in rows], dtype="Int64"),
        a_flag=pd.Series([r["a_flag"] for r in rows], dtype="boolean"),
        a_day=pd.to_datetime(frame["a_day"]).astype("datetime64[s]"),
        a_time=pd.to_datetime(frame["a_time"], utc=True).dt.as_unit("us"),
        a_text=pd.Series([r["a_text"] for r in rows], dtype="str"),
        a_document=pd.Series([r["a_document"] for r in rows], dtype="str"),
    )


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(ROWS, min_size=1, max_size=40))
def test_a_row_has_the_same_hash_made_read_back_and_in_sql(warehouse, rows):
    of, frame = EVERY_KIND, typed(rows)
    types = ", ".join(f"{n} {sql_type(of, n).compile(dialect=DIALECT)}" for n in of.columns)
    with warehouse.transaction() as cursor:
        cursor.execute("DROP TABLE IF EXISTS trading.every_kind")
        cursor.execute(f"CREATE TABLE trading.every_kind ({types}, PRIMARY KEY (number))")
        replace_rows(cursor, of, to_arrow(of, frame), EVERYTHING)
    made = result_hashes("every_kind", frame, of.result_kinds)
    in_sql = result_sql(of, "t", "''")
    arrow = warehouse.query(
        f"SELECT {select_list(of, of.columns)}, {in_sql} AS found "
        "FROM trading.every_kind AS t ORDER BY number"
    )
    stored = to_frame(of, arrow.drop_columns("found"))
    assert arrow.column("found").to_pylist() == made
    assert result_hashes("every_kind", stored, of.result_kinds) == made


def test_a_hash_is_of_the_table_the_values_and_the_chain():
    frame = pd.DataFrame(
        {
            "symbol": pd.Series(["A", "B"], dtype="str"),
            "date": pd.to_datetime(["2024-01-01", "2024-01-01"]).as_unit("s"),
            "x": [1.5, np.nan],
        }
    )
    kinds = {"symbol": "text", "date": "date", "x": "float"}
    upstream = frame.iloc[:1].assign(result_hash="ab" * 32)
    fixed = struct.pack(">bqd", 1, 19_723, 1.5)
    for chain, text in (((), b""), ((upstream, upstream.iloc[:0]), b"ab" * 32 + b"\n")):
        packed = b"t\n" + fixed + struct.pack(">i", 1) + b"A" + struct.pack(">i", len(text)) + text
        assert result_hashes("t", frame, kinds, chain)[0] == hashlib.sha256(packed).hexdigest()
    of_day = pd.concat([upstream, upstream])[["date", "result_hash"]]
    whole, part = (result_hashes("t", frame, kinds, [of_day[:n]]) for n in (2, 1))
    assert not {*whole} & {*part}  # every row of the day counts


def test_money_counts_as_its_eighteen_decimals():
    made = pd.DataFrame({"x": [1.2345678901234567e-5, -4e-19, 0.1 + 0.2]})
    kept = pd.DataFrame({"x": [1.2345678901235e-5, 0.0, 0.1 + 0.2]})
    assert result_hashes("t", made, {"x": "money"}) == result_hashes("t", kept, {"x": "money"})
    assert result_hashes("t", made, {"x": "float"}) != result_hashes("t", kept, {"x": "float"})


@pytest.fixture(scope="module")
def scanned(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    with opened_project(folder, postgres, scanned=DAYS) as (found, _):
        yield found


@pytest.fixture
def forging(scanned):
    """Execute statements for the time of a test."""
    with kept(scanned.url, ANALYTIC) as execute:
        yield execute


def others(scanned):
    """Rows by table that are not the ones that were made."""
    reader = WarehouseReader(scanned.warehouse)
    scopes = {
        name: DayScope(SYMBOLS if name in OF_SYMBOLS else None, DAYS[0], DAYS[-1])
        for name in ANALYTIC
    }
    found = {name: other_results(reader, name, scope) for name, scope in scopes.items()}
    return {name: rows for name, rows in found.items() if len(rows)}


def test_every_row_of_a_scan_is_the_one_that_was_made(scanned):
    for name in ANALYTIC:
        hashes = scanned.warehouse.read(name)["result_hash"]
        assert hashes.is_unique
        assert hashes.notna().all()
    assert others(scanned) == {}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("universe", "rank = rank + 1"),
        ("data_quality", "details = '{}'"),
        ("indicators", "rsi_14 = rsi_14 + 1e-13"),
        ("regression_bands", "input_hash = repeat('a', 64)"),
        ("signals", "signal = 'BUY', signal_strength = 100"),
        ("signals", "confirmations = confirmations || '{rsi_oversold}'"),
        ("signals", "params_hash = repeat('a', 64)"),
        ("asset_analytics", "current_price = current_price * 1.000001"),
        ("alerts", "code_version = 'mine'"),
        ("correlation_matrix", "is_linked = NOT is_linked"),
        ("analysis_summary", "analysis_date = analysis_date + interval '1 second'"),
    ],
)
def test_a_forged_row_is_not_the_one_that_was_made(scanned, forging, name, change):
    forging(f"UPDATE trading.{name} SET {change} WHERE date = %s", (DAY,))
    found = others(scanned)
    (rows,) = found.values()
    assert [*found] == [name]
    assert set(rows["date"].dt.date) == {DAY}
    assert len(rows) == len(scanned.warehouse.read(name, Scope(first=DAY, last=DAY)))


def test_whoever_makes_the_hash_anew_breaks_the_chain(scanned, forging):
    """The forger knows how the hash is made; what was made from the row says otherwise."""
    one = "WHERE symbol = 'BTCUSDT' AND date = %s"
    forging(f"UPDATE trading.regression_bands SET z_score = 9 {one}", (DAY,))
    (rows,) = others(scanned).values()
    forging(
        f"UPDATE trading.regression_bands SET result_hash = %s {one}", (rows["expected"][0], DAY)
    )
    found = others(scanned)
    assert [*found] == ["signals", "asset_analytics", "alerts"]
    for rows in found.values():
        assert rows[["symbol", "date"]].to_numpy().tolist() == [["BTCUSDT", pd.Timestamp(DAY)]]


@pytest.mark.parametrize(
    ("name", "chained"),
    [
        ("universe", ["signals"]),
        ("data_quality", ["signals"]),
        ("indicators", ["signals", "asset_analytics", "alerts"]),
        ("regression_bands", ["signals", "asset_analytics", "alerts"]),
        ("signals", ["asset_analytics", "alerts", "analysis_summary"]),
        ("correlation_matrix", ["analysis_summary"]),
    ],
)
def test_rows_are_chained_to_those_that_they_were_made_from(scanned, forging, name, chained):
    forging(f"UPDATE trading.{name} SET result_hash = repeat('a', 64) WHERE date = %s", (DAY,))
    assert [*others(scanned)] == [n for n in ANALYTIC if n in {name, *chained}]


def test_a_summary_is_chained_to_its_members_and_pairs(scanned, forging):
    for name in ("signals", "correlation_matrix"):
        forging(f"UPDATE trading.{name} SET result_hash = repeat('a', 64) WHERE date = %s", (DAY,))
        assert others(scanned)["analysis_summary"]["date"].dt.date.tolist() == [DAY]
        forging("UPDATE trading.analysis_summary SET result_hash = %s WHERE date = %s",
                (others(scanned)["analysis_summary"]["expected"][0], DAY))  # fmt: skip
        assert "analysis_summary" not in others(scanned)


def test_a_row_of_the_present_version_has_a_result_hash(scanned, forging):
    forging("UPDATE trading.alerts SET signal = 'BUY', result_hash = NULL WHERE date = %s", (DAY,))
    assert len(others(scanned)["alerts"]) == len(SYMBOLS)


def test_rows_of_before_result_hashes_are_no_findings(scanned, forging):
    forging("UPDATE trading.alerts SET result_hash = NULL, code_version = 'old'")
    assert others(scanned) == {}
