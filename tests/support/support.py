"""For tests: frames that fit the project's tables, a free port, a process that holds a lock."""

import socket

import pandas as pd
import psycopg

NOW = pd.Timestamp("2024-01-02 00:05:00", tz="UTC").as_unit("us")
HOLD = """
import sys
from resources.instance.locks import held
with held(*sys.argv[1:]):
    print("held", flush=True)
    sys.stdin.read()
"""  # a process that holds the lock of a run: arguments database and run id
STAMPS = {"run_id": "run-1", "computed_at": NOW, "created_at": NOW, "updated_at": NOW}


def as_users_own(server):
    """Let the everyday role of an embedded server do what a user's on a server of their own can."""
    server.ensure_database("tests")
    with psycopg.connect(server.admin_url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER ROLE autonama CREATEDB CREATEROLE")


def drop_databases(server, *names):
    """Drop databases of an embedded server, whoever is connected.

    As the superuser: nobody else may end a session of the server's own, such as autovacuum's.
    """
    with psycopg.connect(server.admin_url("postgres"), autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def bands(symbols: list[str], days: list[str], close: float = 10.0) -> pd.DataFrame:
    """Rows of `regression_bands`, without what the write stamps."""
    rows = [
        {
            "symbol": symbol,
            "date": pd.Timestamp(day).as_unit("s"),
            "status": "OK",
            "close": close,
            "fitted_price": 10.0,
            "upper_band": 12.0,
            "lower_band": 8.0,
            "resid_std": 0.1,
            "z_score": 0.0,
            "slope_pct_per_day": 0.1,
            "n_obs": 720,
            "r_squared": 0.9,
            "window_start": pd.Timestamp("2022-01-01").as_unit("s"),
            "input_hash": "a" * 64,
            "params_hash": "b" * 64,
            "code_version": "0.1.0",
            "result_hash": "c" * 64,
        }
        for symbol in symbols
        for day in days
    ]
    frame = pd.DataFrame(rows)
    return frame.astype(
        dict.fromkeys(("symbol", "status", "input_hash", "params_hash", "result_hash"), "str")
    )


def candles(symbols: list[str], days: list[str], close: float = 10.0) -> pd.DataFrame:
    """Rows of `ohlcv_1d`, without what the write stamps."""
    rows = [
        {
            "symbol": symbol,
            "date": pd.Timestamp(day).as_unit("s"),
            "open": close,
            "high": close + 1,
            "low": close / 2,
            "close": close,
            "volume": 5.0,
            "quote_volume": 50.0,
            "trades": 3,
            "taker_buy_volume": 1.0,
            "taker_buy_quote_volume": 2.0,
            "row_hash": f"{int(close * 1000):064x}",
            "raw": None,
            "source": "binance",
            "exchange": "binance",
            "fetched_at": NOW,
        }
        for symbol in symbols
        for day in days
    ]
    return pd.DataFrame(rows).astype(
        dict.fromkeys(("symbol", "row_hash", "raw", "source", "exchange"), "str")
    )


def free_port():
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
