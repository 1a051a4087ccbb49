"""How many signals and high correlations chance alone would bring: a null for the day's counts.

The null of a signal is a symbol whose daily returns are those of its own window in an order that
means nothing. Circular blocks of 20 consecutive returns are drawn with replacement and laid end to
end (Politis and Romano, "A circular block-resampling procedure for stationary data", 1992). Size,
skew and fat tails of the returns stay, and so does volatility that comes in clusters of up to 20
days; the path, and with it every trend and every return to a mean that lasts longer, is gone.

Every drawing is used twice, as it is and mirrored about the mean return (antithetic pairs), which
costs nothing and makes the null one without a direction: on the log scale a BUY is as likely as a
SELL. That gives away the skew of the returns, and nothing is lost with it: docs/decisions/017.
Drift needs no removal: on the log scale a line belongs to the fitted polynomial, so that no signal
depends on it; on the linear scale it is part of what a channel meets, and kept.

The null of a correlation is a market without anything in common: each member's returns are drawn
in blocks of their own, so that no day is shared. It is not what a high correlation is rare under in
practice: prices move with the market, so nearly every high correlation is more than chance.

Draws are seeded with the hash of what the market said in the window, so that they are the same
whichever way the candles came, alone, in a range, and with any number of BLAS threads.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import combine, market_hashes
from autonama_dagster.analytics.candles.windows import Windows, windows
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.correlation import (
    HIGH_PEARSON,
    LINKED_RESIDUAL_PEARSON,
    correlate,
    daily_returns,
    window_days,
)
from autonama_dagster.analytics.scan.polynomial import Days, Floats, last_z_scores

N_SURROGATES: Final = 64  # 32 drawings, each with its mirror image
BLOCK_CANDLES: Final = 20
N_PAIR_SURROGATES: Final = 4
PAIR_BLOCK_DAYS: Final = 10  # divides the 90 days; with longer ones few orders are left


def null_params(params: ChannelParams) -> dict[str, str | int | float]:
    """What the chance of a signal follows from, beside its window."""
    return {
        "degree": params.degree,
        "kstd": params.kstd,
        "price_scale": params.price_scale,
        "n_surrogates": N_SURROGATES,
        "block_candles": BLOCK_CANDLES,
    }


def signal_chances(
    candles: Sequence[Candles],
    of_symbols: Sequence[Windows],
    seeds: Iterable[str],
    params: ChannelParams,
) -> pd.DataFrame:
    """Chance of a BUY and of a SELL for each window that has a channel.

    Parameters
    ----------
    candles
        One per symbol.
    of_symbols
        Windows of the same symbols in the same order.
    seeds
        Hash of every window (`hashing.market_hashes`), symbol by symbol, day by day.
    params
        Those of the channel.

    Returns
    -------
    pandas.DataFrame
        seed (str), p_buy and p_sell (share of 64 surrogates, 0 to 1), one row per seed. Windows
        without a channel (status not OK) and those with fewer than 20 returns between consecutive
        days have no row.

    Raises
    ------
    ValueError
        If the three differ in length.
    """
    of_window = iter(seeds)
    found: dict[str, tuple[float, float]] = {}
    for series, spans in zip(candles, of_symbols, strict=True):
        ok = spans.has_candle & (spans.stop - spans.start >= params.min_candles)
        bounds = zip(spans.start.tolist(), spans.stop.tolist(), ok.tolist(), strict=True)
        for start, stop, has_channel in bounds:
            seed = next(of_window, None)
            if seed is None:
                raise ValueError("there are fewer seeds than windows: pass one of each")
            if has_channel and seed not in found:
                close, day = series.close[start:stop], series.day[start:stop]
                chance = _chance(close, day, seed, params)
                if chance is not None:
                    found[seed] = chance
    if next(of_window, None) is not None:
        raise ValueError("there are more seeds than windows: pass one of each")
    chances = np.array(list(found.values()), dtype=np.float64).reshape(-1, 2)
    names = pd.Series(list(found), dtype="str")
    return pd.DataFrame({"seed": names, "p_buy": chances[:, 0], "p_sell": chances[:, 1]})


def surrogate_paths(close: Floats, day: Days, seed: str) -> Floats | None:
    """Log prices on the days of a window, as a shuffled past would have made them.

    Parameters
    ----------
    close, day
        Of the window's candles, length n.
    seed
        Hash of what the market said in the window, hexadecimal.

    Returns
    -------
    numpy.ndarray or None
        Shape (32, n), without the mirror images; their level means nothing. Across missing days a
        path goes on in daily returns. None with fewer than 20 returns between consecutive days.
    """
    returns = np.diff(np.log(close))
    span = int(day[-1] - day[0]) + 1
    if span > len(day):
        returns = returns[np.diff(day) == 1]
    if len(returns) < BLOCK_CANDLES:
        return None
    n_blocks = -(-span // BLOCK_CANDLES)
    starts = _drawn(seed, (N_SURROGATES // 2, n_blocks)) % len(returns)
    # The circle of returns as one path: a block is a stretch of it, moved to where the last ended.
    circle = np.concatenate([[0.0], returns, returns[:BLOCK_CANDLES]]).cumsum()
    before = circle[starts]
    ends = np.cumsum(circle[starts + BLOCK_CANDLES] - before, axis=1)
    shift = -before
    shift[:, 1:] += ends[:, :-1]
    stretches = sliding_window_view(circle[1:], BLOCK_CANDLES)
    paths: Floats = np.ascontiguousarray(stretches).take(starts, axis=0)
    paths += shift[:, :, None]
    paths = paths.reshape(len(starts), -1)
    return paths[:, :span] if span == len(day) else paths[:, day - day[0]]


def pair_chances(
    members: Sequence[str], candles: Mapping[str, Candles], day: int, *, lookback: int
) -> NDArray[np.int64] | None:
    """Pairs with a high correlation among members that have nothing in common, 4 times.

    Each member's returns of the 90 days are drawn again from themselves in circular blocks of 10,
    on the days on which it has one, independent of the other members'.

    Parameters
    ----------
    members, candles, day, lookback
        As for `correlation.pairs`.

    Returns
    -------
    numpy.ndarray or None
        Shape (4, 2): in each drawing, pairs with |pearson| >= 0.7, and with |residual_pearson|
        >= 0.5. None where no two members have 60 returns in common.
    """
    returns, _ = daily_returns(members, candles, day, lookback=lookback)
    n, n_days = returns.shape
    known = ~np.isnan(returns)
    n_known = known.sum(axis=1)
    is_filled = np.arange(n_days) < n_known[:, None]
    filled = np.zeros_like(returns)
    filled[is_filled] = returns[known]
    n_blocks = n_days // PAIR_BLOCK_DAYS
    seed = _seed_of_pairs(members, candles, day, lookback)
    starts = _drawn(seed, (N_PAIR_SURROGATES, n, n_blocks))
    order = starts[..., None] + np.arange(PAIR_BLOCK_DAYS)
    order %= np.maximum(n_known, 1)[:, None, None]
    order = order.reshape(N_PAIR_SURROGATES, n, n_days)
    shuffled = np.take_along_axis(filled[None], order, 2)
    drawn = np.full_like(shuffled, np.nan)
    drawn[:, known] = shuffled[:, is_filled]
    upper = np.triu_indices(n, k=1)
    counts = np.zeros((N_PAIR_SURROGATES, 2), dtype=np.int64)
    is_known = False
    for surrogate, values in enumerate(drawn):
        found = correlate(values, ("pearson", "residual_pearson"))
        pearson, residual = found["pearson"][upper], found["residual_pearson"][upper]
        is_known = is_known or bool((~np.isnan(pearson)).any())
        counts[surrogate] = (
            (np.abs(pearson) >= HIGH_PEARSON).sum(),
            (np.abs(residual) >= LINKED_RESIDUAL_PEARSON).sum(),
        )
    return counts if is_known else None


def expectations(chances: pd.DataFrame, pair_counts: NDArray[np.int64] | None) -> dict[str, Any]:
    """The day's expected counts, for `summary.analysis_summary`.

    Parameters
    ----------
    chances
        p_buy and p_sell of the day's members with status OK, those that have them.
    pair_counts
        What `pair_chances` returned for the day.

    Returns
    -------
    dict
        expected_buy_signals, expected_sell_signals (sum of the members' chances; None without
        any), expected_high_correlations, expected_linked_pairs (mean of the drawings; None without
        any), and chance_analysis: n_members with a chance, the sizes of the null, and
        `..._standard_error` of each expected count: that of drawing so often, mirror images taken
        for drawings of their own (they stray a little less), and not how far a day's count strays.
        None where all drawings agree: so few that agree tell nothing of how far others would lie.
    """
    found: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for side in ("buy", "sell"):
        p = chances[f"p_{side}"].to_numpy(np.float64)
        name = f"expected_{side}_signals"
        found[name] = float(p.sum()) if len(p) else None
        errors[f"{name}_standard_error"] = (
            float(np.sqrt((p * (1 - p)).sum() / N_SURROGATES)) or None
        )
    for column, name in enumerate(("expected_high_correlations", "expected_linked_pairs")):
        found[name] = errors[f"{name}_standard_error"] = None
        if pair_counts is not None:
            counts = pair_counts[:, column]
            found[name] = float(counts.mean())
            error = float(counts.std(ddof=1) / np.sqrt(len(counts)))
            errors[f"{name}_standard_error"] = error or None
    sizes = {
        "n_members": len(chances),
        "n_surrogates": N_SURROGATES,
        "block_candles": BLOCK_CANDLES,
        "n_pair_surrogates": N_PAIR_SURROGATES,
        "pair_block_days": PAIR_BLOCK_DAYS,
    }
    return {**found, "chance_analysis": {**sizes, **errors}}


def _chance(
    close: Floats, day: Days, seed: str, params: ChannelParams
) -> tuple[float, float] | None:
    paths = surrogate_paths(close, day, seed)
    if paths is None:
        return None
    if params.price_scale == "log":
        z_score = last_z_scores(paths, day, params.degree)
        z_score = np.concatenate([z_score, -z_score])  # the mirror image differs by a line
    else:
        drift = 2 * np.log(close[-1] / close[0]) / (day[-1] - day[0]) * (day - day[0])
        both = np.exp(np.concatenate([paths, drift - paths]))
        z_score = last_z_scores(both, day, params.degree)
    buys = np.count_nonzero(z_score < -params.kstd)
    sells = np.count_nonzero(z_score > params.kstd)
    return buys / N_SURROGATES, sells / N_SURROGATES


def _seed_of_pairs(
    members: Sequence[str], candles: Mapping[str, Candles], day: int, lookback: int
) -> str:
    """Hash of the members' names and of what the market said on the days of their returns."""
    found = []
    for name in sorted(set(members)):
        used = ""
        if name in candles:
            window = windows(candles[name], np.array([day]), window_days(lookback))
            (used,) = market_hashes(candles[name], window)
        found.append(combine(name, used))
    return combine(*found)


def _drawn(seed: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Whole numbers from 0 to 2^63 - 1 that follow from a hash (hexadecimal)."""
    # The raw stream of PCG64 is the same in every version of numpy, that of a Generator is not.
    raw = np.random.PCG64(int(seed, 16)).random_raw(int(np.prod(shape)))
    return (raw >> np.uint64(1)).astype(np.int64).reshape(shape)
