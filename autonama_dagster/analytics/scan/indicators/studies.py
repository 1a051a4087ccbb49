"""One function per technical indicator, from a window's candles to the values on its last day.

The parameters are part of the definition, so they stand in the code; `indicators.INDICATORS` gives
each study its column names and warm-up. Numbers come from TA-Lib where it has them. A study is
never called on fewer candles than its warm-up.

A study with a finite memory cuts its warm-up's length off the end of the window before it calls
TA-Lib, whose running sums depend on where they start; a recursive one passes the whole window.

TA-Lib answers 0/0 with 0, which most of these scales read as an extreme. Here it is NaN.
"""

from collections.abc import Callable
from math import nan, sqrt
from typing import Any, NamedTuple, TypeVar

import numpy as np
import talib
from numpy.typing import NDArray
from talib._ta_lib import MA_Type  # the stubs of talib itself do not export it

Floats = NDArray[np.float64]

DAYS_PER_YEAR = 365  # crypto trades every day


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _for_arrays(function: _Function) -> _Function:
    """TA-Lib's function itself: the one around it asks each argument whether it is a Series.

    That takes as long as most of these numbers.
    """
    return getattr(function, "__wrapped__", function)


_ADX = _for_arrays(talib.ADX)
_AROON = _for_arrays(talib.AROON)
_ATR = _for_arrays(talib.ATR)
_BBANDS = _for_arrays(talib.BBANDS)
_CCI = _for_arrays(talib.CCI)
_CMO = _for_arrays(talib.CMO)
_EMA = _for_arrays(talib.EMA)
_MACD = _for_arrays(talib.MACD)
_MFI = _for_arrays(talib.MFI)
_MINUS_DI = _for_arrays(talib.MINUS_DI)
_PLUS_DI = _for_arrays(talib.PLUS_DI)
_PPO = _for_arrays(talib.PPO)
_ROC = _for_arrays(talib.ROC)
_RSI = _for_arrays(talib.RSI)
_SMA = _for_arrays(talib.SMA)
_STOCH = _for_arrays(talib.STOCH)
_TRIX = _for_arrays(talib.TRIX)
_TYPPRICE = _for_arrays(talib.TYPPRICE)
_ULTOSC = _for_arrays(talib.ULTOSC)
_WILLR = _for_arrays(talib.WILLR)


class Bars(NamedTuple):
    """The candles of one window in time order, D's last; 1-D arrays of one length."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats


Study = Callable[[Bars], tuple[float, ...]]


def _is_flat(values: Floats) -> bool:
    # The first comparison answers for nearly every window at a fraction of the cost.
    return bool(values[0] == values[-1] and values.max() == values.min())


def _has_no_range(high: Floats, low: Floats) -> bool:
    """Whether the highest high is the lowest low: no price but one in all these candles."""
    return bool(high[0] == low[-1] and high.max() == low.min())


def _has_no_true_range(bars: Bars, candles: int) -> bool:
    """Whether the true range of each of the last `candles` candles is zero."""
    high, low = bars.high[-candles:], bars.low[-candles:]
    return _has_no_range(high, low) and bool(bars.close[-candles - 1] == bars.close[-1])


def rsi(bars: Bars) -> tuple[float]:
    """Relative strength index; NaN where W holds one close only."""
    # TA-Lib says 0 when nothing moved: that would read as the strongest oversold there is.
    return (nan if _is_flat(bars.close) else _RSI(bars.close, 14)[-1],)


def macd(bars: Bars) -> tuple[float, ...]:
    """MACD line, signal, histogram, in price units."""
    line, signal, histogram = _MACD(bars.close, 12, 26, 9)
    return line[-1], signal[-1], histogram[-1]


def bollinger(bars: Bars) -> tuple[float, ...]:
    """Upper, middle, lower band, %B, bandwidth; %B is NaN where the 20 closes are one price."""
    close = bars.close[-20:]
    uppers, middles, lowers = _BBANDS(close, 20, 2.0, 2.0)
    upper, middle, lower = uppers[-1], middles[-1], lowers[-1]
    width = upper - lower
    percent_b = (close[-1] - lower) / width if width else nan
    return upper, middle, lower, percent_b, width / middle


def atr(bars: Bars) -> tuple[float, ...]:
    """Average true range in price units, and in percent of the close."""
    value = _ATR(bars.high, bars.low, bars.close, 14)[-1]
    return value, value / bars.close[-1] * 100.0


def stochastic(bars: Bars) -> tuple[float, ...]:
    """Slow %K and %D; NaN where a 14-candle range that they average is empty."""
    high, low, close = bars.high[-18:], bars.low[-18:], bars.close[-18:]
    slow_k, slow_d = _STOCH(high, low, close, 14, 3, MA_Type.SMA, 3, MA_Type.SMA)
    # %K averages the raw values of the last 3 days, %D those of the last 5.
    undefined = [_has_no_range(high[i : i + 14], low[i : i + 14]) for i in range(5)]
    # TA-Lib's moving average leaves 0..100 by a rounding error.
    k, d = (min(max(line[-1], 0.0), 100.0) for line in (slow_k, slow_d))
    return nan if any(undefined[2:]) else k, nan if any(undefined) else d


def williams_r(bars: Bars) -> tuple[float]:
    """Williams %R; NaN where the 14 candles hold one price only."""
    high, low, close = bars.high[-14:], bars.low[-14:], bars.close[-14:]
    if _has_no_range(high, low):
        return (nan,)
    return (_WILLR(high, low, close, 14)[-1] + 0.0,)  # turns -0.0 into 0.0


def ema(period: int) -> Study:
    """Exponential moving average of the close over `period` candles, as a study."""
    return lambda bars: (_EMA(bars.close, period)[-1],)


def sma(period: int) -> Study:
    """Simple moving average of the close over `period` candles, as a study."""
    return lambda bars: (_SMA(bars.close[-period:], period)[-1],)


def adx(bars: Bars) -> tuple[float]:
    """Average directional index; NaN where W has no directional movement at all."""
    prices = bars.high, bars.low, bars.close
    value = _ADX(*prices, 14)[-1]
    # 0 is also what TA-Lib says when W has no directional movement: every DX is 0/0 then.
    if value == 0.0 == _PLUS_DI(*prices, 14)[-1] == _MINUS_DI(*prices, 14)[-1]:
        return (nan,)
    return (value,)


def plus_di(bars: Bars) -> tuple[float]:
    """Plus directional indicator; NaN where no candle of W has a true range."""
    if _has_no_true_range(bars, len(bars.close) - 1):
        return (nan,)
    return (_PLUS_DI(bars.high, bars.low, bars.close, 14)[-1],)


def minus_di(bars: Bars) -> tuple[float]:
    """Minus directional indicator; NaN where no candle of W has a true range."""
    if _has_no_true_range(bars, len(bars.close) - 1):
        return (nan,)
    return (_MINUS_DI(bars.high, bars.low, bars.close, 14)[-1],)


def mfi(bars: Bars) -> tuple[float]:
    """Money flow index; NaN where no money flowed: no volume, or no change of typical price."""
    high, low, close, volume = (column[-15:] for column in bars)
    value = _MFI(high, low, close, volume, 14)[-1]
    if value == 0.0:  # all flow negative, or none at all
        moved = np.diff(_TYPPRICE(high, low, close)) != 0
        if not (volume[1:][moved] > 0).any():
            return (nan,)
    return (value,)


def cci(bars: Bars) -> tuple[float]:
    """Commodity channel index; NaN where the 20 typical prices are one."""
    high, low, close = bars.high[-20:], bars.low[-20:], bars.close[-20:]
    if _is_flat(_TYPPRICE(high, low, close)):
        return (nan,)
    return (_CCI(high, low, close, 20)[-1],)


def roc(period: int) -> Study:
    """Change of the close over `period` candles in percent, as a study."""
    return lambda bars: (_ROC(bars.close[-period - 1 :], period)[-1],)


def obv(bars: Bars) -> tuple[float]:
    """Signed volume / volume over 20 candles, -1..1; NaN without volume."""
    volume = bars.volume[-20:]
    total = volume.sum()
    if not total:
        return (nan,)
    return ((np.sign(np.diff(bars.close[-21:])) * volume).sum() / total,)


def aroon(bars: Bars) -> tuple[float, ...]:
    """Aroon up and down: how recent the highest high and lowest low of 26 candles are."""
    down, up = _AROON(bars.high[-26:], bars.low[-26:], 25)
    return up[-1], down[-1]


def ultosc(bars: Bars) -> tuple[float]:
    """Ultimate oscillator; NaN where the last 7 candles have no true range."""
    if _has_no_true_range(bars, 7):
        return (nan,)
    return (_ULTOSC(bars.high[-29:], bars.low[-29:], bars.close[-29:], 7, 14, 28)[-1],)


def trix(period: int) -> Study:
    """Change in percent of the triple EMA of the close over `period` candles, as a study."""
    return lambda bars: (_TRIX(bars.close, period)[-1],)


def ppo(bars: Bars) -> tuple[float]:
    """Percentage price oscillator: (EMA 12 - EMA 26) / EMA 26, in percent."""
    return (_PPO(bars.close, 12, 26, MA_Type.EMA)[-1],)


def cmo(bars: Bars) -> tuple[float]:
    """Chande momentum oscillator, Wilder smoothing; NaN where W holds one close only."""
    return (nan if _is_flat(bars.close) else _CMO(bars.close, 14)[-1],)


def volume_ratio(bars: Bars) -> tuple[float]:
    """Volume / mean volume of the 20 candles before; NaN where they have none."""
    total = bars.volume[-21:-1].sum()
    return (bars.volume[-1] / (total / 20) if total else nan,)


def volatility_30d(bars: Bars) -> tuple[float]:
    """Standard deviation (ddof 1) of 30 log returns, in percent a year."""
    close = bars.close[-31:]
    returns = np.log(close[1:] / close[:-1])
    deviations = returns - returns.sum() / 30
    return (sqrt((deviations * deviations).sum() / 29 * DAYS_PER_YEAR) * 100.0,)
