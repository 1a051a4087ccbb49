"""Channels of 100 symbols x 720 days against a loop of `numpy.polyfit`.

The loop only fits: it gets the log closes and makes no residuals, bands or frame, all of which the
kernel's time contains.
"""

import argparse
from statistics import median
from time import perf_counter

import numpy as np

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import Windows, windows
from autonama_dagster.analytics.scan.channel import ChannelParams, fit_channels
from bench.report import report

SYMBOLS = 100
DAYS = 720
TARGET = 100
EVERY = 20  # the loop fits every 20th window, and its time is scaled to all of them
FIRST_DAY = 18_000


def market(lookback: int) -> list[Candles]:
    """Random walks with 4 % daily volatility, with a full window on each of the days."""
    rng = np.random.default_rng(20231229)
    n = DAYS + lookback - 1
    day = np.arange(FIRST_DAY, FIRST_DAY + n)
    row_hash = np.full(n, b"0" * 64, dtype="S64")
    symbols = []
    for i in range(SYMBOLS):
        log_close = rng.uniform(-10, 10) + np.cumsum(rng.normal(0, 0.04, n))
        close = np.exp(log_close)
        open_ = np.concatenate([close[:1], close[:-1]])
        high, low = np.maximum(open_, close), np.minimum(open_, close)
        volume = np.ones(n)
        symbols.append(Candles(f"S{i}USDT", day, open_, high, low, close, volume, volume, row_hash))
    return symbols


def polyfit_seconds(candles: list[Candles], asked: list[Windows], degree: int) -> float:
    """Seconds a loop of `numpy.polyfit` would take for all windows, from every 20th."""
    logs = [np.log(c.close) for c in candles]
    begun = perf_counter()
    for y, w in zip(logs, asked, strict=True):
        for start, stop in zip(w.start[::EVERY], w.stop[::EVERY], strict=True):
            np.polyfit(np.arange(stop - start), y[start:stop], degree)
    return (perf_counter() - begun) * EVERY


def main() -> None:
    """Measure both, in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7, help="measurements of each (default: 7)")
    repeat = parser.parse_args().repeat
    params = ChannelParams()
    candles = market(params.lookback)
    days = np.arange(FIRST_DAY + params.lookback - 1, FIRST_DAY + params.lookback - 1 + DAYS)
    asked = [windows(c, days, params.lookback) for c in candles]
    fit_channels(candles, asked, params)
    kernel, loop = [], []
    for _ in range(repeat):
        begun = perf_counter()
        fit_channels(candles, asked, params)
        kernel.append(perf_counter() - begun)
        loop.append(polyfit_seconds(candles, asked, params.degree))
    count = SYMBOLS * DAYS
    value = median(loop) / median(kernel)
    report(
        "channel_kernel",
        round(value, 1),
        "x numpy.polyfit loop",
        target=TARGET,
        met=value >= TARGET,
        median_seconds=round(median(kernel), 4),
        polyfit_seconds=round(median(loop), 3),
        polyfit_windows=count // EVERY,
        windows=count,
        us_per_window=round(median(kernel) / count * 1e6, 3),
        degree=params.degree,
        lookback=params.lookback,
        repeat=repeat,
    )


if __name__ == "__main__":
    main()
