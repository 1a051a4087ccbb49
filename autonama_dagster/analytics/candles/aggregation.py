"""Candles of a longer interval made from those of a shorter one."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import AMOUNTS, Candles, as_instants, opens
from autonama_dagster.analytics.candles.digests import hash_ranges
from autonama_dagster.analytics.candles.intervals import Interval
from autonama_dagster.analytics.candles.windows import is_jump


def aggregate(
    frame: pd.DataFrame, of: Interval, to: Interval, sources: Collection[str]
) -> pd.DataFrame:
    """One candle for each step of `to` in which the frame has candles.

    open is the first candle's, high and low the extremes, close the last candle's; volumes and
    trades are sums. A candle that is missing is simply not part of it, as on the exchange. Where a
    break lies inside a step (open / previous close outside [1/3, 3]), the candle begins after it:
    prices of two coins, or before and after a redenomination, are not one range.

    Whether a step is over, and whether all of it is known, is the caller's to say.

    Parameters
    ----------
    frame
        Candles of any symbols of one exchange in any order, in the columns of their table; run_id
        is not read.
    of, to
        Intervals of the frame and of the result; a step of `to` is a whole number of steps of `of`.
    sources
        All sources, from the market itself to made-up ones.

    Returns
    -------
    pandas.DataFrame
        symbol, date (UTC day on which the candle closes), open_time, the prices, amounts (NaN where
        a part's is) and trades, row_hash (over the digests of the parts in their order), source
        (of the parts', the one farthest from the market), exchange (the parts') and fetched_at (the
        parts' latest), by symbol and time.
    """
    codes, names = pd.factorize(frame["symbol"], sort=True)
    time = opens(frame, of)
    order = np.lexsort((time, codes))
    codes, steps, sorted_frame = codes[order], to.steps(time[order]), frame.iloc[order]
    starts = _starts(codes, steps, sorted_frame)
    stops = np.append(starts[1:], len(order))[: len(starts)]
    # Of the segments of one step, which a break divides, the last one is its candle.
    is_last = _is_new(codes[starts], steps[starts])[1:]
    kept = np.flatnonzero(np.append(is_last, True)[: len(starts)])
    first, stop = starts[kept], stops[kept]

    def reduced(how: np.ufunc, name: str) -> NDArray[Any]:
        return np.asarray(_reduceat(how, sorted_frame[name].to_numpy(), starts)[kept])

    rank = {source: number for number, source in enumerate(sources)}
    ranks = sorted_frame["source"].map(rank).to_numpy(np.int64)
    fetched = sorted_frame["fetched_at"].dt.tz_localize(None).to_numpy().astype("M8[us]")
    # Of every symbol in the order of its steps, which is that of the sorted frame.
    parts = [c.digest for c in Candles.by_symbol(frame, of).values()]
    digest = np.concatenate([np.empty((0, 32), np.uint8), *parts])
    opened = to.open_ms(steps[first])
    closed = to.close_ms(steps[first]).view("M8[ms]")
    return pd.DataFrame(
        {
            "symbol": pd.array(list(names), dtype="str").take(codes[first]),
            "date": closed.astype("M8[D]").astype("M8[s]"),
            "open_time": as_instants(opened),
            "open": sorted_frame["open"].to_numpy()[first],
            "high": reduced(np.maximum, "high"),
            "low": reduced(np.minimum, "low"),
            "close": sorted_frame["close"].to_numpy()[stop - 1],
            **{name: reduced(np.add, name) for name in (*AMOUNTS[:2], "trades", *AMOUNTS[2:])},
            "row_hash": pd.Series(hash_ranges(digest, first, stop), dtype="str"),
            "source": pd.array(list(sources), dtype="str").take(
                _reduceat(np.maximum, ranks, starts)[kept]
            ),
            "exchange": sorted_frame["exchange"].iloc[first].reset_index(drop=True),
            "fetched_at": pd.Series(
                _reduceat(np.maximum, fetched.astype(np.int64), starts)[kept].view("M8[us]")
            ).dt.tz_localize("UTC"),
        }
    )


def _starts(
    codes: NDArray[np.intp], steps: NDArray[np.int64], frame: pd.DataFrame
) -> NDArray[np.intp]:
    """Positions where a symbol, a step, or prices of another coin begin."""
    is_start = _is_new(codes, steps)
    is_start[1:] |= is_jump(frame["open"].to_numpy(), frame["close"].to_numpy())
    return np.flatnonzero(is_start)


def _is_new(codes: NDArray[np.intp], steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where the symbol or the step is not that of the row before."""
    is_new = np.ones(len(codes), dtype=bool)
    is_new[1:] = (np.diff(codes) != 0) | (np.diff(steps) != 0)
    return is_new


def _reduceat(how: np.ufunc, values: NDArray[Any], starts: NDArray[np.intp]) -> NDArray[Any]:
    """Reduce the stretches that begin at `starts`; none where there are no values."""
    return np.asarray(how.reduceat(values, starts)) if len(starts) else values[:0]
