import json
import threading
from datetime import date

import numpy as np
import pandas as pd
import psycopg
import pytest
from support import NOW, STAMPS, bands, candles

from autonama_dagster.errors import DatabaseError, SchemaError, SymbolFetchError
from autonama_dagster.schemas.registry import TABLES, table
from resources.postgres.urls import libpq_url
from resources.warehouse.candle_queries import (
    candle_gaps,
    failed_fetches,
    fetched_ranges,
    quarantined_candles,
)
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

DAYS = ["2024-01-01", "2024-01-02"]
BOTH = Scope(("AAA", "BBB"), date(2024, 1, 1), date(2024, 1, 2))


def count(url: str, name: str) -> int:
    with psycopg.connect(libpq_url(url)) as connection:
        return connection.execute(f"SELECT count(*) FROM trading.{name}").fetchone()[0]


def test_what_is_written_is_read_back(warehouse):
    frame = bands(["AAA", "BBB"], DAYS)
    written = warehouse.write("regression_bands", Batch(frame), BOTH, STAMPS)
    assert (written.rows, written.symbols, written.quarantined) == (4, 2, 0)
    assert (written.first, written.last) == (date(2024, 1, 1), date(2024, 1, 2))
    found = warehouse.read("regression_bands")
    expected = frame.assign(run_id="run-1", computed_at=NOW)[list(found.columns)]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_a_write_replaces_exactly_its_partitions(warehouse):
    warehouse.write("regression_bands", Batch(bands(["AAA", "BBB"], DAYS)), BOTH, STAMPS)
    narrow = Scope(("AAA",), date(2024, 1, 2), date(2024, 1, 2))
    again = bands(["AAA"], DAYS[1:], close=11.0)
    warehouse.write("regression_bands", Batch(again), narrow, STAMPS)
    closes = warehouse.read("regression_bands").set_index(["symbol", "date"])["close"]
    assert len(closes) == 4
    assert closes["AAA", "2024-01-02"] == 11.0
    assert closes.drop(("AAA", pd.Timestamp("2024-01-02"))).eq(10.0).all()


def test_rows_that_are_gone_leave_their_partition(warehouse):
    warehouse.write("regression_bands", Batch(bands(["AAA", "BBB"], DAYS)), BOTH, STAMPS)
    warehouse.write("regression_bands", Batch(bands(["AAA"], DAYS)), BOTH, STAMPS)
    assert warehouse.read("regression_bands")["symbol"].unique().tolist() == ["AAA"]


def test_missing_values_become_null(warehouse, database):
    frame = bands(["AAA"], DAYS[:1]).assign(close=np.nan, z_score=np.nan, window_start=pd.NaT)
    frame["window_start"] = frame["window_start"].astype("datetime64[s]")
    warehouse.write("regression_bands", Batch(frame), BOTH, STAMPS)
    with psycopg.connect(libpq_url(database)) as connection:
        row = connection.execute(
            "SELECT close, z_score, window_start FROM trading.regression_bands"
        ).fetchone()
    assert row == (None, None, None)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("close", -1.0, "close: -1.0 violates greater_than(0)"),
        ("resid_std", -0.5, "resid_std: -0.5 violates greater_than_or_equal_to(0)"),
        ("status", "WHAT", "status: WHAT violates isin"),
        ("input_hash", "xyz", "input_hash: xyz violates str_matches"),
        ("upper_band", np.inf, "upper_band: infinite"),
        ("run_id", None, "run_id: None violates not_nullable"),
    ],
)
def test_a_bad_row_goes_to_quarantine_and_the_others_go_on(warehouse, column, value, reason):
    frame = bands(["AAA", "BBB"], DAYS[:1])
    stamps = dict(STAMPS)
    if column == "run_id":
        frame = frame.assign(code_version=pd.Series(["0.1.0", None], dtype="str"))
        reason = "code_version"
    else:
        frame.loc[1, column] = value
    written = warehouse.write("regression_bands", Batch(frame), BOTH, stamps)
    assert (written.rows, written.quarantined) == (1, 1)
    kept = warehouse.read("quarantine").iloc[0]
    assert kept["symbol"] == "BBB"
    assert kept["table_name"] == "regression_bands"
    assert kept["reason"].startswith(reason.split(" violates isin")[0])
    assert '"symbol": "BBB"' in kept["raw"]


def test_writing_again_does_not_pile_up_quarantined_rows(warehouse):
    frame = bands(["AAA"], DAYS[:1]).assign(close=-1.0)
    for _ in range(2):
        warehouse.write("regression_bands", Batch(frame), BOTH, STAMPS)
    assert len(warehouse.read("quarantine")) == 1


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (bands(["AAA"], DAYS).drop(columns="z_score"), "missing column z_score"),
        (bands(["AAA"], DAYS).assign(extra=1), "unknown column extra"),
        (bands(["AAA"], DAYS).astype({"n_obs": "float64"}), "column n_obs"),
        (pd.concat([bands(["AAA"], DAYS)] * 2), "AAA, date=2024-01-01 occurs twice"),
        (bands(["CCC"], DAYS), "outside the partitions"),
        (bands(["AAA"], ["2024-01-03"]), "outside the partitions"),
    ],
)
def test_a_frame_that_does_not_fit_names_what_is_wrong_and_writes_nothing(
    warehouse, database, frame, message
):
    warehouse.write("regression_bands", Batch(bands(["AAA"], DAYS[:1])), BOTH, STAMPS)
    with pytest.raises(SchemaError, match=message):
        warehouse.write("regression_bands", Batch(frame), BOTH, STAMPS)
    assert count(database, "regression_bands") == 1


def test_an_unknown_table_or_column_is_named(warehouse):
    with pytest.raises(SchemaError, match="'nonsense' is unknown; known tables: universe"):
        warehouse.read("nonsense")
    with pytest.raises(SchemaError, match="no column nope"):
        warehouse.read("signals", columns=["nope"])


def test_a_database_out_of_reach_is_one_line():
    lost = Warehouse(lambda: "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(DatabaseError, match="cannot be reached") as caught:
        lost.read("signals")
    assert "\n" not in str(caught.value)


def test_a_lost_connection_leaves_the_old_rows(warehouse, database, monkeypatch):
    warehouse.write("regression_bands", Batch(bands(["AAA"], DAYS)), BOTH, STAMPS)

    def cut(cursor, *_):
        with psycopg.connect(libpq_url(database), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        cursor.execute("SELECT 1")

    monkeypatch.setattr("resources.warehouse.statements._append", cut)
    with pytest.raises(DatabaseError):
        warehouse.write("regression_bands", Batch(bands(["AAA"], DAYS, 11.0)), BOTH, STAMPS)
    assert warehouse.read("regression_bands")["close"].tolist() == [10.0, 10.0]


def test_two_writers_of_the_same_partitions_end_with_one_complete_result(warehouse):
    failures: list[Exception] = []

    def write(close: float) -> None:
        try:
            for _ in range(5):
                frame = bands([f"S{i:03}" for i in range(100)], DAYS, close)
                scope = Scope(tuple(frame["symbol"].unique()), date(2024, 1, 1), date(2024, 1, 2))
                warehouse.write("regression_bands", Batch(frame), scope, STAMPS)
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        finally:
            warehouse.close()

    threads = [threading.Thread(target=write, args=(c,)) for c in (10.0, 11.0, 12.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    closes = warehouse.read("regression_bands")["close"]
    assert len(closes) == 200
    assert closes.eq(closes.iloc[0]).all()


def test_candles_the_exchange_forgot_stay(warehouse):
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], DAYS)), BOTH, STAMPS)
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], DAYS[:1], 11.0)), BOTH, STAMPS)
    assert warehouse.read("ohlcv_1d")["close"].tolist() == [11.0, 10.0]


def test_the_same_candle_again_changes_nothing(warehouse):
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], DAYS)), BOTH, STAMPS)
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], DAYS)), BOTH, STAMPS | {"run_id": "run-2"})
    assert warehouse.read("ohlcv_1d")["run_id"].unique().tolist() == ["run-1"]


def test_fetches_and_rejected_rows_are_written_with_the_candles(warehouse):
    fetches = pd.DataFrame(
        {
            "exchange": pd.Series(["binance", "binance"], dtype="str"),
            "symbol": pd.Series(["AAA", "BBB"], dtype="str"),
            "interval": pd.Series(["1d", "1d"], dtype="str"),
            "from_date": pd.to_datetime(["2024-01-01"] * 2).astype("datetime64[s]"),
            "to_date": pd.to_datetime(["2024-01-02"] * 2).astype("datetime64[s]"),
            "asked_at": [NOW] * 2,
            "outcome": pd.Series(["ok", "failed"], dtype="str"),
            "candles": [2, 0],
            "message": pd.Series([None, "timed out"], dtype="str"),
            "fault": pd.Series([None, None], dtype="str"),
            "fault_date": pd.to_datetime([None, None]).astype("datetime64[s]"),
            "origins": pd.Series([None, None], dtype="str"),
        }
    )
    rejected = pd.DataFrame(
        {
            "symbol": pd.Series(["AAA"], dtype="str"),
            "date": pd.to_datetime(["2024-01-02"]).astype("datetime64[s]"),
            "reason": pd.Series(["close above high"], dtype="str"),
            "raw": pd.Series(['["1"]'], dtype="str"),
        }
    )
    batch = Batch(
        candles(["AAA"], DAYS[:1]), rejected, fetches, failed=("BBB",), exchange="binance"
    )
    written = warehouse.write("ohlcv_1d", batch, BOTH, STAMPS)
    assert written.quarantined == 1
    assert fetched_ranges(warehouse, "1d", ["AAA", "BBB"]) == {
        "AAA": [(date(2024, 1, 1), date(2024, 1, 2))]
    }
    assert failed_fetches(warehouse, date(2024, 1, 2)) == ["BBB"]
    assert quarantined_candles(warehouse, ["AAA"], date(2024, 1, 2)) == 1


@pytest.mark.parametrize("bad", ["1\0", "\ud800", "1\udc00\0", r"\u0000", r"\ud800"])
def test_text_that_postgres_refuses_spoils_nothing_but_itself(warehouse, bad):
    """Half a surrogate pair or NUL: in a candle, in what the exchange says, in an origin."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in bad)
    rejected = one_row(
        symbol="AAA", date=DAYS[1], reason=f"close {bad!r} is no price", raw=json.dumps([bad])
    )
    fetches = one_row(
        exchange="binance",
        symbol="BBB",
        interval="1d",
        from_date=DAYS[0],
        to_date=DAYS[1],
        asked_at=NOW,
        outcome="failed",
        candles=0,
        message=str(SymbolFetchError(f"BBB: the exchange says {bad}")),
        fault="conflicting",
        fault_date=DAYS[0],
        origins=json.dumps([{"call": bad}]),
    )
    batch = Batch(candles(["AAA"], DAYS[:1]), rejected, fetches, failed=("BBB",))
    written = warehouse.write("ohlcv_1d", batch, BOTH, STAMPS)
    assert (written.rows, written.quarantined) == (1, 1)
    kept = warehouse.read("quarantine")
    assert json.loads(kept["raw"][0]) == [shown]
    said = warehouse.read("fetch_log")
    assert json.loads(said["origins"][0]) == [{"call": shown}]
    assert said["message"][0].startswith("BBB: the exchange says ")
    assert said["message"][0].isprintable()


def test_nul_in_a_column_of_text_is_escaped(warehouse):
    frame = one_row(symbol="AAA", date=DAYS[0], reason="1\0", raw="[]")
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], DAYS[:1]), frame), BOTH, STAMPS)
    assert warehouse.read("quarantine")["reason"].tolist() == [r"1\u0000"]


def one_row(**values):
    """A frame of one row, in the dtypes of the tables."""
    frame = pd.DataFrame({name: [value] for name, value in values.items()})
    texts = [name for name, value in values.items() if isinstance(value, str)]
    frame = frame.astype(dict.fromkeys(texts, "str"))
    days = {n: pd.to_datetime(frame[n]).astype("datetime64[s]") for n in frame if "date" in n}
    return frame.assign(**days)


def test_gaps_know_whether_the_exchange_has_them_too(warehouse):
    days = ["2024-01-01", "2024-01-05"]
    scope = Scope(("AAA", "BBB"), date(2024, 1, 1), date(2024, 1, 5))
    warehouse.write("ohlcv_1d", Batch(candles(["AAA", "BBB"], days)), scope, STAMPS)
    gaps = candle_gaps(warehouse, ["AAA", "BBB"])
    assert gaps["days"].tolist() == [3, 3]
    assert not gaps["is_answered"].any()


def test_the_quarantine_of_what_was_asked_is_replaced_and_no_other(warehouse):
    rejected = pd.DataFrame(
        {
            "symbol": pd.Series(["AAA", "AAA"], dtype="str"),
            "date": pd.to_datetime(["2023-12-20", "2023-12-21"]).astype("datetime64[s]"),
            "reason": pd.Series(["bad", "bad"], dtype="str"),
            "raw": pd.Series(["[]", "[]"], dtype="str"),
        }
    )
    wide = Scope(("AAA",), date(2023, 12, 1), date(2024, 1, 2))
    for _ in range(2):
        batch = Batch(candles(["AAA"], DAYS), rejected, asked=wide)
        warehouse.write("ohlcv_1d", batch, BOTH, STAMPS)
    assert len(warehouse.read("quarantine")) == 2
    narrow = Scope(("AAA",), date(2023, 12, 21), date(2024, 1, 2))
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], DAYS), asked=narrow), BOTH, STAMPS)
    assert warehouse.read("quarantine")["date"].dt.day.tolist() == [20]


def test_every_table_takes_an_empty_frame_and_gives_its_dtypes_back(warehouse):
    for name in TABLES:
        frame = warehouse.read(name)
        assert list(frame.columns) == list(table(name).columns)
        table(name).schema.validate(frame)
