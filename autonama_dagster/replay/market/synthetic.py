"""A made-up market of daily candles from a seed, for demos and tests without recorded data.

Names and listing dates look like a market's and prices start at plausible sizes, but nothing here
happened; the replay exchange says so in every answer.

The model, per day and in logs: a coin's close is its listing price plus beta times a market factor
plus, for some, a sector factor plus a factor of its own. Volume follows volatility. Days are
missing, days have no volume, coins are listed, delisted and redenominated, and a ticker passes to
another coin. Each kind of random draw has a generator of its own and is drawn day by day, so a
candle depends on the seed and on the days before it, never on where the market ends.
"""

import datetime as dt
import json
import math
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.intervals import DAILY
from autonama_dagster.errors import InputError
from autonama_dagster.replay.market.candles import DAY_MS, Candle, Series, SeriesCache, StoredSeries

EPOCH = dt.date(2019, 1, 1)
LAST_DAY = dt.date(2030, 12, 31)
EPOCH_MS = int(dt.datetime.combine(EPOCH, dt.time(), dt.UTC).timestamp() * 1000)
QUOTE = "USDT"
ASSETS_FILE = "synthetic_assets.json"

CALM_DAYS, TURBULENT_DAYS = 50, 18
RISING_DAYS, FALLING_DAYS = 80, 65
TAIL_FREEDOM = 5  # degrees of freedom of the shocks' Student t
LARGEST_STEP = 0.7  # keeps a day's change far inside the ratio of 3 that would be a break
OLDEST_COINS = 40
LISTING_DAYS = 700
LIQUID_COINS = 90
IDLE_PROBABILITY = 0.005
MISSING_PROBABILITY = 0.0004
TOP_QUOTE_VOLUME = 1.5e9
MEAN_TRADE = 900.0

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class FactorModel:
    """How a log level moves from day to day.

    `calm` and `turbulent` are the standard deviations of a day's step in the two regimes, `drift`
    its mean while rising (and minus that while falling), `jump_probability` and `jump_size` say how
    often and how far it jumps, and `memory_days` how slowly it reverts to its mean: without that a
    price would run away within twelve years.
    """

    calm: float
    turbulent: float
    drift: float = 0.0
    jump_probability: float = 0.0
    jump_size: float = 0.0
    memory_days: float = 400.0


@dataclass(frozen=True)
class FactorPath:
    """A factor day by day: its log level and the volatility it had, shape (days,)."""

    level: Floats
    volatility: Floats


MARKET = FactorModel(0.019, 0.048, 0.0015, 0.003, 0.08, 400.0)
SECTOR = FactorModel(0.022, 0.050)
STABLE = FactorModel(0.0003, 0.0008, memory_days=5.0)
FIAT = FactorModel(0.0045, 0.0080)


@dataclass(frozen=True)
class Asset:
    """What one symbol is made of; days count from `EPOCH`.

    `break_day`, `break_missing` and `break_factor`: from that day on prices are multiplied by the
    factor, after so many days without candles.
    """

    name: str
    price: float
    quote_volume: float
    own: FactorModel
    beta: float = 0.0
    sector: str | None = None
    leads: str | None = None
    is_liquid: bool = True
    first_day: int = 0
    last_day: int | None = None
    break_day: int | None = None
    break_missing: int = 0
    break_factor: float = 1.0


def generator(seed: int, name: str, use: str) -> np.random.Generator:
    """The random stream of one name and use: drawing more of it shifts nothing else."""
    return np.random.default_rng([seed, crc32(name.encode()), crc32(use.encode())])


def switching(rng: np.random.Generator, days: int, stays: tuple[float, float]) -> Flags:
    """Whether a two-state Markov chain is in its second state, shape (days,).

    It starts in the first; `stays` are the mean stays in days.
    """
    lengths = rng.geometric(1 / np.asarray(stays), size=(days, 2)).ravel()
    switches = np.searchsorted(np.cumsum(lengths), np.arange(days), side="right")
    in_second: Flags = switches % 2 == 1
    return in_second


def reverting(steps: Floats, memory_days: float) -> Floats:
    """Level that adds each step and forgets with time constant `memory_days`, shape of `steps`."""
    decay = math.exp(-1 / memory_days)
    return np.fromiter(
        accumulate(steps.tolist(), lambda level, step: decay * level + step), float, len(steps)
    )


def factor_path(model: FactorModel, seed: int, name: str, days: int) -> FactorPath:
    """Draw a factor: Student t steps, two volatility regimes, trends and jumps."""
    turbulent = switching(generator(seed, name, "regime"), days, (CALM_DAYS, TURBULENT_DAYS))
    falling = switching(generator(seed, name, "trend"), days, (RISING_DAYS, FALLING_DAYS))
    volatility = np.where(turbulent, model.turbulent, model.calm)
    shocks = generator(seed, name, "shock").standard_t(TAIL_FREEDOM, days)
    shocks /= math.sqrt(TAIL_FREEDOM / (TAIL_FREEDOM - 2))
    is_jump = generator(seed, name, "jump").random(days) < model.jump_probability
    jumps = np.where(is_jump, generator(seed, name, "jump size").normal(0, 1, days), 0.0)
    drift = np.where(falling, -model.drift, model.drift)
    steps = drift + volatility * shocks + model.jump_size * jumps
    return FactorPath(
        reverting(np.clip(steps, -LARGEST_STEP, LARGEST_STEP), model.memory_days), volatility
    )


class SyntheticMarket:
    """About 130 USDT pairs from 2019 to 2030, the same for the same seed.

    Core movers, sectors, stable, fiat and leveraged tokens are in `synthetic_assets.json`. Only
    daily candles are made; weeks are aggregated from them.

    Parameters
    ----------
    seed
        Whole number, 0 or more.
    last_day
        Last day to make; earlier days do not depend on it.

    Raises
    ------
    InputError
        If the seed is negative or the last day is before the first.
    """

    label: Literal["synthetic"] = "synthetic"
    intervals = ("1d", "1w")

    def __init__(self, seed: int, *, last_day: dt.date = LAST_DAY) -> None:
        if seed < 0:
            raise InputError(f"the synthetic market's seed is {seed}: use 0 or more")
        if last_day < EPOCH:
            raise InputError(f"the synthetic market starts on {EPOCH}, after {last_day}")
        self._seed = seed
        self._days = _day_number(last_day) + 1
        self._assets = {asset.name + QUOTE: asset for asset in read_assets(seed)}
        self._symbols = sorted(self._assets)
        self._factors: dict[str, FactorPath] = {}
        self._cache = SeriesCache(self._make)

    def symbols(self) -> list[str]:
        """Every symbol, sorted, those listed later and delisted since included."""
        return self._symbols

    def series(self, symbol: str, interval: str) -> Series | None:
        """The symbol's candles of `1d` or `1w`; None for others."""
        return self._cache.get(symbol, interval)

    def _factor(self, name: str, model: FactorModel) -> FactorPath:
        if name not in self._factors:
            self._factors[name] = factor_path(model, self._seed, name, self._days)
        return self._factors[name]

    def _make(self, symbol: str, interval: str) -> Series | None:
        asset = self._assets.get(symbol)
        if asset is None or interval != "1d":
            return None
        path = self._path(asset)
        days = self._present_days(asset)
        table = candle_table(asset, path, self._seed)[days]

        def read(index: int) -> Candle:
            open_time = opens[index]
            row = table[index].tolist()
            open_, high, low, close, volume, quote_volume, taker, taker_quote = row
            return Candle(
                open_time=open_time,
                open=open_,
                high=high,
                low=low,
                close=close,
                volume=volume,
                close_time=open_time + DAY_MS - 1,
                quote_volume=quote_volume,
                trades=int(quote_volume / MEAN_TRADE),
                taker_buy_volume=taker,
                taker_buy_quote_volume=taker_quote,
                is_estimated=False,
            )

        opens: list[int] = (EPOCH_MS + days * DAY_MS).tolist()
        return StoredSeries(opens, DAILY, read)

    def _path(self, asset: Asset) -> FactorPath:
        """The asset's log level and total volatility, from all of its factors."""
        if asset.leads is not None:
            lead = self._path(self._assets[asset.leads + QUOTE])
            return FactorPath(asset.beta * lead.level, abs(asset.beta) * lead.volatility)
        parts = [(1.0, self._factor(asset.name, asset.own))]
        if asset.beta:
            parts.append((asset.beta, self._factor("market", MARKET)))
        if asset.sector is not None:
            parts.append((1.0, self._factor(asset.sector, SECTOR)))
        level = np.zeros(self._days)
        variance = np.zeros(self._days)
        for load, part in parts:
            level += load * part.level
            variance += (load * part.volatility) ** 2
        return FactorPath(level, np.sqrt(variance))

    def _present_days(self, asset: Asset) -> NDArray[np.int64]:
        days = np.arange(self._days)
        is_missing = generator(self._seed, asset.name, "missing").random(self._days)
        present = is_missing >= MISSING_PROBABILITY
        present &= days >= asset.first_day
        if asset.last_day is not None:
            present &= days <= asset.last_day
        if asset.break_day is not None:
            present &= (days < asset.break_day - asset.break_missing) | (days >= asset.break_day)
        return np.flatnonzero(present)


def candle_table(asset: Asset, path: FactorPath, seed: int) -> Floats:
    """Every day's candle of an asset, shape (days, 8).

    Columns: open, high, low, close, volume, quote volume, taker buy volume, taker buy quote volume.
    A day opens at the close before. On an idle day nothing is traded and the price stands still.
    """
    days = len(path.level)
    closes, opens, idle = _closes_and_opens(asset, path.level, seed)
    reach = np.abs(generator(seed, asset.name, "wick").normal(size=(days, 2)))
    wicks = 0.4 * path.volatility * reach.T
    wicks[:, idle] = 0.0
    digits = min(8, max(2, 5 - math.floor(math.log10(asset.price))))
    prices = np.column_stack(
        (
            opens,
            np.maximum(opens, closes) * np.exp(wicks[0]),
            np.minimum(opens, closes) * np.exp(-wicks[1]),
            closes,
        )
    )
    prices = np.maximum(np.round(prices, digits), 10.0**-digits)
    volume, taker = _volumes(asset, path, np.log(closes / opens), prices.mean(axis=1), seed)
    volume[idle] = taker[idle] = 0.0
    # Two digits hide the last bits of the floats, in which processors may differ.
    quotes = np.round(np.column_stack((volume, taker)) * prices.mean(axis=1, keepdims=True), 2)
    return np.column_stack((prices, volume, quotes[:, 0], taker, quotes[:, 1]))


def _closes_and_opens(asset: Asset, level: Floats, seed: int) -> tuple[Floats, Floats, Flags]:
    days = len(level)
    day = np.arange(days)
    idle = generator(seed, asset.name, "idle").random(days) < IDLE_PROBABILITY
    idle &= (not asset.is_liquid) & (day > asset.first_day)
    last_traded = np.maximum.accumulate(np.where(idle, 0, day))
    anchor = level[min(asset.first_day, days - 1)]
    closes = asset.price * np.exp(level - anchor)[last_traded]
    opens = np.concatenate((closes[:1], closes[:-1]))
    if asset.break_day is not None:
        scale = np.where(day >= asset.break_day, asset.break_factor, 1.0)
        closes, opens = closes * scale, opens * scale
    return closes, opens, idle


def _volumes(
    asset: Asset, path: FactorPath, returns: Floats, mean_price: Floats, seed: int
) -> tuple[Floats, Floats]:
    """Volume and taker buy volume in coins: more of it on volatile and on eventful days."""
    rng = generator(seed, asset.name, "volume")
    mood = reverting(0.2 * rng.standard_normal(len(returns)), 15.0)
    surprise = np.minimum(np.abs(returns) / path.volatility, 4.0)
    stress = np.log(path.volatility / path.volatility.min())
    quote_volume = asset.quote_volume * np.exp(mood + 0.7 * stress + 0.25 * surprise)
    digits = min(5, max(0, math.floor(math.log10(asset.price)) + 1))
    volume = np.round(quote_volume / mean_price, digits)
    share = 0.5 + 0.08 * np.tanh(returns / path.volatility)
    return volume, np.round(share * volume, digits)


def _day_number(day: dt.date) -> int:
    return (day - EPOCH).days


def read_assets(seed: int) -> list[Asset]:
    """The market's assets, their betas and volatilities drawn from the seed."""
    data = json.loads(Path(__file__).with_name(ASSETS_FILE).read_text(encoding="utf-8"))
    assets = [_coin(rank, name, data, seed) for rank, name in enumerate(data["coins"])]
    assets += [Asset(name, price, 3e8, STABLE) for name, price in data["stable"].items()]
    assets += [Asset(name, price, 2e7, FIAT) for name, price in data["fiat"].items()]
    assets += [
        Asset(name, token["price"], 5e6, FIAT, beta=token["leverage"], leads=token["base"])
        for name, token in data["leveraged"].items()
    ]
    return assets


def _coin(rank: int, name: str, data: dict[str, Any], seed: int) -> Asset:
    rng = generator(seed, name, "asset")
    beta, calm, memory_days = rng.uniform((0.7, 0.012, 100.0), (1.4, 0.026, 400.0)).tolist()
    listing_day = int(rng.integers(1, LISTING_DAYS))
    if name in data["listed"]:
        listing_day = _day_number(dt.date.fromisoformat(data["listed"][name]))
    delisted = data["delisted"].get(name)
    rupture = data["breaks"].get(name)
    return Asset(
        name=name,
        price=data["coins"][name],
        quote_volume=TOP_QUOTE_VOLUME / (rank + 1) ** 1.1,
        own=FactorModel(calm, 2.4 * calm, 0.0005, 0.006, 0.15, memory_days),
        beta=beta,
        sector=next((key for key, names in data["sectors"].items() if name in names), None),
        is_liquid=rank < LIQUID_COINS,
        first_day=0 if rank < OLDEST_COINS else listing_day,
        last_day=None if delisted is None else _day_number(dt.date.fromisoformat(delisted)),
        break_day=None if rupture is None else _day_number(dt.date.fromisoformat(rupture["date"])),
        break_missing=0 if rupture is None else rupture["missing_days"],
        break_factor=1.0 if rupture is None else rupture["factor"],
    )
