"""A market from a folder of recorded candles: `FOLDER/<interval>/<SYMBOL>.csv.gz`."""

import logging
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM, Interval
from autonama_dagster.errors import InputError
from autonama_dagster.replay.market.candles import (
    Candle,
    Series,
    SeriesCache,
    StoredSeries,
)
from autonama_dagster.text.pair_names import pair_name

SUFFIX = ".csv.gz"
HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore"
)
GZIP_WINDOW = 31  # zlib's code for a gzip header and the largest window

logger = logging.getLogger(__name__)


class RecordedMarket:
    """Candles in Binance's twelve columns, one compressed file per symbol and interval.

    Files are read when a symbol is first asked for, and kept. An empty quote volume is served as
    volume x (open + high + low + close) / 4 and marked as an estimate; empty counts and taker
    volumes are served as 0.

    Raises
    ------
    InputError
        If the folder holds no daily candles, or a file is not what its name says.
    """

    label: Literal["recorded"] = "recorded"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._symbols: list[str] = []
        for path in sorted((folder / "1d").glob(f"*{SUFFIX}")):
            try:
                self._symbols.append(pair_name(path.name.removesuffix(SUFFIX)))
            except ValueError as error:
                logger.warning("%s: ignored: %s", folder, error)
        self._symbols.sort()
        if not self._symbols:
            raise InputError(
                f"no daily candles in {folder}: use the folder with 1d/<SYMBOL>{SUFFIX}"
            )
        stored = {name for name in INTERVALS if (folder / name).is_dir()}
        self.intervals = tuple(name for name in INTERVALS if MADE_FROM.get(name, name) in stored)
        self._cache = SeriesCache(self._load)

    def symbols(self) -> list[str]:
        """Every symbol with a daily file, sorted."""
        return self._symbols

    def series(self, symbol: str, interval: str) -> Series | None:
        """The symbol's candles, None where there is no file."""
        return self._cache.get(symbol, interval)

    def _load(self, symbol: str, interval: str) -> Series | None:
        path = self._folder / interval / f"{symbol}{SUFFIX}"
        if not path.is_file():
            return None
        try:
            header, *lines = zlib.decompress(path.read_bytes(), GZIP_WINDOW).splitlines()
            opens = [int(line[: line.index(b",")]) for line in lines]
            times = np.array(opens, dtype=np.int64)
        except (zlib.error, ValueError, OverflowError) as error:
            raise InputError(f"{path} is not a readable {SUFFIX} of candles: {error}") from error
        if header != HEADER:
            raise InputError(f"{path} does not start with the columns {HEADER.decode()}")
        grid = INTERVALS[interval]
        is_wrong = ~grid.on_grid(times)
        is_wrong[1:] |= np.diff(times) <= 0
        if is_wrong.any():
            raise InputError(
                f"{path}: open time {opens[is_wrong.argmax()]} is out of order or not on the "
                f"{interval} grid: sort the file and drop duplicates"
            )
        return StoredSeries(opens, grid, lambda index: _parse(lines[index], grid, path))


def _parse(line: bytes, grid: Interval, path: Path) -> Candle:
    cells = line.split(b",")
    try:
        open_, high, low, close, volume = map(float, cells[1:6])
        open_time = int(cells[0])
        is_estimated = not cells[7]
        mean_price = (open_ + high + low + close) / 4
        return Candle(
            open_time=open_time,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            close_time=grid.end_ms(open_time) - 1,
            quote_volume=volume * mean_price if is_estimated else float(cells[7]),
            trades=int(cells[8] or 0),
            taker_buy_volume=float(cells[9] or 0),
            taker_buy_quote_volume=float(cells[10] or 0),
            is_estimated=is_estimated,
        )
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: cannot read the candle {line!r}: {error}") from error
