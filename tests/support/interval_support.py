"""Candles of other intervals as frames of their tables, made up or recorded."""

from pathlib import Path

import numpy as np
import pandas as pd
from support import NOW

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import parse, raw_kline
from autonama_dagster.schemas.registry import table


def frame_of(symbol: str, interval: str, first: str, closes: list[float]) -> pd.DataFrame:
    """Candles without a gap that open at the close before, in the columns of their table."""
    grid = INTERVALS[interval]
    start = np.array([int(pd.Timestamp(first, tz="UTC").timestamp()) * 1000])
    steps = grid.steps(start) + np.arange(len(closes))
    opens, ends = grid.open_ms(steps).tolist(), grid.close_ms(steps).tolist()
    rows = []
    for n, close in enumerate(closes):
        opened = closes[n - 1] if n else close
        prices = [opened, max(opened, close) + 1, min(opened, close) / 2, close]
        texts = map(repr, (*prices, 2.0))
        rows.append(raw_kline([opens[n], *texts, ends[n], "3.0", n + 1, "1.0", "1.5", "0"]))
    return complete(parse(rows, symbol, grid)[0])


def recorded(market_data: Path, symbol: str, interval: str) -> pd.DataFrame:
    """Recorded candles as an exchange would give them."""
    file = market_data / "klines" / interval / f"{symbol}.csv.gz"
    cells = pd.read_csv(file, dtype="str").fillna("0")
    rows = [
        raw_kline([int(row[0]), *row[1:6], int(row[6]), *row[7:]])
        for row in cells.to_numpy(dtype=object).tolist()
    ]
    return complete(parse(rows, symbol, INTERVALS[interval])[0])


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """With what the feed adds."""
    names = pd.Series(["binance"] * len(frame), dtype="str")
    return frame.assign(source=names, exchange=names, fetched_at=[NOW] * len(frame)).astype(
        {"fetched_at": "datetime64[us, UTC]"}
    )


def assert_fits(name: str, frame: pd.DataFrame) -> None:
    """The frame satisfies the table's model."""
    of = table(name)
    stored = frame.assign(run_id=pd.Series(["x"] * len(frame), dtype="str"))
    of.schema.validate(stored[list(of.columns)])


def days(frame: pd.DataFrame) -> np.ndarray:
    """The column date as days."""
    return frame["date"].to_numpy().astype("datetime64[D]")
