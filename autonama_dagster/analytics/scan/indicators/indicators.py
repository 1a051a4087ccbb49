"""Technical indicators of a day, each a function of the window W(symbol, D) alone.

A new indicator is one entry in `INDICATORS` and one function in `studies`. Columns, schema
checks and the table in docs/indicators.md follow from the entry.

A study sees W and nothing else: recursive ones start at its first candle, the others read its last
`warm_up` candles only. So a row has the same bits whether it is computed alone or in a range.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, starmap
from math import inf, nan

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles import rows
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import Windows
from autonama_dagster.analytics.scan.indicators import studies
from autonama_dagster.analytics.scan.indicators.studies import Bars, Study


@dataclass(frozen=True, slots=True)
class Indicator:
    """One column of the indicators table.

    Attributes
    ----------
    name
        Column name.
    study
        Function of the window. Consecutive entries that name the same study are its values,
        in order; it runs once per window, and never on fewer than `warm_up` candles.
    warm_up
        Candles in W, D's included, from which the value exists; the same for all of a study.
    description
        Formula, parameters and unit; "NaN" where it is undefined.
    minimum, maximum
        Bounds of every value, inclusive.
    recursive
        True when the value depends on all of W, False when on the last `warm_up` candles only.
        Nothing is computed with it: tests hold every study to it, and docs/indicators.md shows it.
    """

    name: str
    study: Study
    warm_up: int
    description: str
    minimum: float = -inf
    maximum: float = inf
    recursive: bool = False


def compute(candles: Sequence[Candles], windows: Sequence[Windows]) -> pd.DataFrame:
    """Indicators of every (symbol, day) that has a candle.

    Parameters
    ----------
    candles
        One per symbol.
    windows
        The windows of the days wanted, aligned with `candles`.

    Returns
    -------
    pd.DataFrame
        Columns of `rows.keys` and the names of `INDICATORS`, in that order; rows in the order of
        `candles`, then of days. NaN before an indicator's warm-up and where it is undefined (0/0);
        never infinite.

    Raises
    ------
    ValueError
        If `candles` and `windows` differ in length.
    """
    runs = list(_runs())
    values = [
        _row(Bars(series.high[w], series.low[w], series.close[w], series.volume[w]), runs)
        for series, window in zip(candles, windows, strict=True)
        for w in starmap(slice, rows.spans(window))
    ]
    names = [indicator.name for indicator in INDICATORS]
    matrix = np.array(values, dtype=np.float64).reshape(-1, len(names))
    return pd.concat([rows.keys(candles, windows), pd.DataFrame(matrix, columns=names)], axis=1)


def _runs() -> Iterator[tuple[Study, int, tuple[float, ...]]]:
    """Each study once, with its warm-up and what stands in its columns before that."""
    for study, entries in groupby(INDICATORS, key=lambda indicator: indicator.study):
        columns = list(entries)
        yield study, columns[0].warm_up, (nan,) * len(columns)


def _row(bars: Bars, runs: Sequence[tuple[Study, int, tuple[float, ...]]]) -> list[float]:
    count = len(bars.close)
    row: list[float] = []
    for study, warm_up, missing in runs:
        row += study(bars) if count >= warm_up else missing
    return row


INDICATORS: tuple[Indicator, ...] = (
    Indicator(
        "rsi_14",
        studies.rsi,
        15,
        "Relative strength index, 14, Wilder smoothing; NaN if all closes in the window are equal",
        0,
        100,
        recursive=True,
    ),
    Indicator(
        "macd", studies.macd, 34, "EMA 12 - EMA 26 of the close, in price units", recursive=True
    ),
    Indicator("macd_signal", studies.macd, 34, "EMA 9 of macd, in price units", recursive=True),
    Indicator("macd_hist", studies.macd, 34, "macd - macd_signal, in price units", recursive=True),
    Indicator(
        "bb_upper",
        studies.bollinger,
        20,
        "bb_middle + 2 population standard deviations of 20 closes",
        minimum=0,
    ),
    Indicator("bb_middle", studies.bollinger, 20, "Mean of 20 closes, in price units", minimum=0),
    Indicator(
        "bb_lower",
        studies.bollinger,
        20,
        "bb_middle - 2 population standard deviations of 20 closes",
    ),
    Indicator(
        "bb_percent_b",
        studies.bollinger,
        20,
        "(close - bb_lower) / (bb_upper - bb_lower); NaN if 20 closes are equal",
    ),
    Indicator(
        "bb_bandwidth", studies.bollinger, 20, "(bb_upper - bb_lower) / bb_middle", minimum=0
    ),
    Indicator(
        "atr_14",
        studies.atr,
        15,
        "Average true range, 14, Wilder smoothing, in price units",
        minimum=0,
        recursive=True,
    ),
    Indicator(
        "natr_14", studies.atr, 15, "atr_14 in percent of the close", minimum=0, recursive=True
    ),
    Indicator(
        "stoch_k",
        studies.stochastic,
        18,
        "Stochastic %K, 14, smoothed by SMA 3; NaN if a 14-candle range is empty",
        0,
        100,
    ),
    Indicator(
        "stoch_d",
        studies.stochastic,
        18,
        "SMA 3 of stoch_k; NaN if a 14-candle range is empty",
        0,
        100,
    ),
    Indicator(
        "williams_r_14",
        studies.williams_r,
        14,
        "Williams %R, 14; NaN if the 14-candle range is empty",
        -100,
        0,
    ),
    Indicator(
        "ema_9",
        studies.ema(9),
        9,
        "Exponential moving average, 9, of the close, in price units",
        minimum=0,
        recursive=True,
    ),
    Indicator(
        "ema_21",
        studies.ema(21),
        21,
        "Exponential moving average, 21, of the close, in price units",
        minimum=0,
        recursive=True,
    ),
    Indicator(
        "ema_50",
        studies.ema(50),
        50,
        "Exponential moving average, 50, of the close, in price units",
        minimum=0,
        recursive=True,
    ),
    Indicator("sma_20", studies.sma(20), 20, "Mean of 20 closes, in price units", minimum=0),
    Indicator("sma_50", studies.sma(50), 50, "Mean of 50 closes, in price units", minimum=0),
    Indicator("sma_200", studies.sma(200), 200, "Mean of 200 closes, in price units", minimum=0),
    Indicator(
        "adx_14",
        studies.adx,
        28,
        "Average directional index, 14; NaN if the window has no directional movement",
        0,
        100,
        recursive=True,
    ),
    Indicator(
        "plus_di_14",
        studies.plus_di,
        15,
        "Plus directional indicator, 14; NaN if the window has no true range",
        0,
        100,
        recursive=True,
    ),
    Indicator(
        "minus_di_14",
        studies.minus_di,
        15,
        "Minus directional indicator, 14; NaN if the window has no true range",
        0,
        100,
        recursive=True,
    ),
    Indicator("mfi_14", studies.mfi, 15, "Money flow index, 14; NaN if no money flowed", 0, 100),
    Indicator(
        "cci_20", studies.cci, 20, "Commodity channel index, 20; NaN if 20 typical prices are equal"
    ),
    Indicator(
        "roc_10",
        studies.roc(10),
        11,
        "Change of the close over 10 candles, in percent",
        minimum=-100,
    ),
    Indicator(
        "obv_20",
        studies.obv,
        21,
        "Sum of volume signed by the change of the close / sum of volume, 20 candles; NaN if 0 / 0",
        -1,
        1,
    ),
    Indicator(
        "aroon_up_25",
        studies.aroon,
        26,
        "100 x (25 - candles since the highest high of 26) / 25",
        0,
        100,
    ),
    Indicator(
        "aroon_down_25",
        studies.aroon,
        26,
        "100 x (25 - candles since the lowest low of 26) / 25",
        0,
        100,
    ),
    Indicator(
        "ultosc",
        studies.ultosc,
        29,
        "Ultimate oscillator, 7, 14, 28; NaN if 7 candles have no true range",
        0,
        100,
    ),
    Indicator(
        "trix_15",
        studies.trix(15),
        44,
        "Change of the triple EMA 15 of the close, in percent per candle",
        recursive=True,
    ),
    Indicator(
        "ppo",
        studies.ppo,
        26,
        "(EMA 12 - EMA 26) / EMA 26 of the close, in percent",
        recursive=True,
    ),
    Indicator(
        "cmo_14",
        studies.cmo,
        15,
        "Chande momentum oscillator, 14, Wilder smoothing; NaN if all closes in the window "
        "are equal",
        -100,
        100,
        recursive=True,
    ),
    Indicator(
        "volume_ratio_20",
        studies.volume_ratio,
        21,
        "Volume / mean volume of the previous 20 candles; NaN if that mean is 0",
        minimum=0,
    ),
    Indicator(
        "return_1d_pct",
        studies.roc(1),
        2,
        "Change of the close from the previous candle, in percent",
        minimum=-100,
    ),
    Indicator(
        "volatility_30d_pct",
        studies.volatility_30d,
        31,
        "Standard deviation (ddof 1) of 30 log returns x sqrt(365), in percent",
        minimum=0,
    ),
)
