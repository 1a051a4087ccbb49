"""Faults that are planted in recorded candles, each a kind that the quality ledger should find."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from autonama_dagster.analytics.candles.candles import PRICES, Candles
from autonama_dagster.analytics.scan.quality.beside import (
    conflicting,
    copied,
    copies,
    forming,
)
from autonama_dagster.analytics.scan.quality.quality import Evidence

SHIFTED_DAYS: Final = 10
NUMBERS: Final = (*PRICES, "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume",
                  "trades")  # fmt: skip


@dataclass(frozen=True)
class Spoiled:
    """Candles with a fault, and what is known beside them."""

    candles: Candles
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Fault:
    """A kind of fault: `plant(candles, i)` puts it at position i, 40 or more from both ends.

    `shows` says how many days later it is known for certain.
    """

    name: str
    plant: Callable[[Candles, int], Spoiled]
    shows: int = 0


def with_values(candles: Candles, at: int | slice, **values: Any) -> Candles:
    """The candles with other numbers in some of them."""
    columns = {name: getattr(candles, name).copy() for name in values}
    for name, value in values.items():
        columns[name][at] = value
    return replace(candles, **columns)


def _times(candles: Candles, at: int | slice, factor: float, *names: str) -> Candles:
    return with_values(candles, at, **{n: getattr(candles, n)[at] * factor for n in names})


def _from_day(candles: Candles, at: int | slice, of: int | slice) -> Candles:
    """The numbers of some days under the dates of others."""
    return with_values(candles, at, **{name: getattr(candles, name)[of].copy() for name in NUMBERS})


def _without(candles: Candles, first: int, stop: int) -> Candles:
    kept = np.ones(len(candles), dtype=bool)
    kept[first:stop] = False
    return candles.part(kept)


def _values(**factors: Callable[[Candles, int], float]) -> Callable[[Candles, int], Spoiled]:
    def plant(candles: Candles, i: int) -> Spoiled:
        found = {name: value(candles, i) for name, value in factors.items()}
        return Spoiled(with_values(candles, i, **found))

    return plant


def _scaled(factor: float, *names: str, days: int | None = 1) -> Callable[[Candles, int], Spoiled]:
    def plant(candles: Candles, i: int) -> Spoiled:
        at = slice(i, None if days is None else i + days)
        return Spoiled(_times(candles, at, factor, *names))

    return plant


def _of_day(distance: int, days: int = 1) -> Callable[[Candles, int], Spoiled]:
    def plant(candles: Candles, i: int) -> Spoiled:
        of = slice(i + distance, i + distance + days)
        return Spoiled(_from_day(candles, slice(i, i + days), of))

    return plant


def _missing(days: int) -> Callable[[Candles, int], Spoiled]:
    return lambda candles, i: Spoiled(_without(candles, i, i + days))


def _swapped(*pairs: tuple[str, str]) -> Callable[[Candles, int], Spoiled]:
    def plant(candles: Candles, i: int) -> Spoiled:
        both = [(a, b) for pair in pairs for a, b in (pair, pair[::-1])]
        return Spoiled(with_values(candles, i, **{a: getattr(candles, b)[i] for a, b in both}))

    return plant


def _open_off(pct: float) -> Callable[[Candles, int], Spoiled]:
    def plant(candles: Candles, i: int) -> Spoiled:
        opened = candles.close[i - 1] * (1 + pct / 100)
        high, low = max(opened, candles.high[i]), min(opened, candles.low[i])
        return Spoiled(with_values(candles, i, open=opened, high=high, low=low))

    return plant


def _still(candles: Candles, i: int) -> Spoiled:
    close = candles.close[i - 1]
    for at in range(i, i + 4):
        amounts = {
            "quote_volume": close * candles.volume[at],
            "taker_buy_quote_volume": close * candles.taker_buy_volume[at],
        }
        candles = with_values(candles, at, **dict.fromkeys(PRICES, close), **amounts)
    return Spoiled(candles)


def _of_other_pair(candles: Candles, i: int) -> Spoiled:
    """The pair has the candle that is stored for another one too."""
    other = replace(candles.part(slice(i, i + 1)), symbol="OTHERUSDT")
    found = copies([candles, other])[candles.symbol]
    return Spoiled(candles, Evidence(tuple(copied(found))))


def _early(candles: Candles, i: int) -> Spoiled:
    return Spoiled(candles, Evidence(tuple(forming({int(candles.day[i]): "before its close"}))))


def _two_versions(candles: Candles, i: int) -> Spoiled:
    return Spoiled(candles, Evidence(tuple(conflicting({int(candles.day[i]): "two candles"}))))


def _hours_differ(candles: Candles, i: int) -> Spoiled:
    day = candles.part(slice(i, i + 1))
    return Spoiled(candles, Evidence(hours=_times(day, 0, 0.999, "low")))


def _source_differs(candles: Candles, i: int) -> Spoiled:
    day = candles.part(slice(i, i + 1))
    return Spoiled(candles, Evidence(others={"archive": _times(day, 0, 1.001, "high")}))


_OF_TAKERS = ("taker_buy_volume", "taker_buy_quote_volume")
_COIN = (*PRICES, "quote_volume", "taker_buy_quote_volume")

FAULTS: Final = (
    Fault("taker volume above volume", _values(taker_buy_volume=lambda c, i: c.volume[i] * 1.01)),
    Fault("taker quote volume above quote volume",
          _values(taker_buy_quote_volume=lambda c, i: c.quote_volume[i] * 1.01)),
    Fault("volume without trades", _values(trades=lambda _c, _i: 0)),
    Fault("trades without volume", _scaled(0.0, "volume", "quote_volume", *_OF_TAKERS)),
    Fault("an open 4 % off the close before", _open_off(4.0)),
    Fault("an open 4 % below it", _open_off(-4.0)),
    Fault("the candle of the day before", _of_day(-1)),
    Fault("the candle of 30 days before", _of_day(-30)),
    Fault("one day of another coin", _scaled(50.0, *_COIN), shows=1),
    Fault("one day of a coin at 1.2 times the price", _scaled(1.2, *_COIN), shows=1),
    Fault("days shifted by one, each the one before", _of_day(-1, SHIFTED_DAYS)),
    Fault("days shifted by one, each the one after", _of_day(1, SHIFTED_DAYS)),
    Fault("a day missing", _missing(1)),
    Fault("another pair's candle", _of_other_pair),
    Fault("an open above the high", _values(open=lambda c, i: c.high[i] * 1.01)),
    Fault("a close below the low", _values(close=lambda c, i: c.low[i] * 0.99)),
    Fault("a negative price", _values(low=lambda c, i: -c.low[i])),
    Fault("a close that is no number", _values(close=lambda _c, _i: np.nan)),
    Fault("a negative volume", _values(volume=lambda c, i: -c.volume[i])),
    Fault("fetched before its close", _early),
    Fault("two candles in one answer", _two_versions),
    # Of our own.
    Fault("a close ten times too high", _scaled(10.0, "close", "high")),
    Fault("a wick five times too long", _scaled(0.2, "low")),
    Fault("another denomination from a day on", _scaled(1000.0, *_COIN, days=None)),
    Fault("prices stand still, volumes do not", _still, shows=2),
    Fault("quote volume in another unit", _scaled(10.0, "quote_volume", "taker_buy_quote_volume")),
    Fault("volume and quote volume swapped",
          _swapped(("volume", "quote_volume"), ("taker_buy_volume", "taker_buy_quote_volume"))),
    Fault("open and close swapped", _swapped(("open", "close")), shows=1),
    Fault("hours that say otherwise", _hours_differ),
    Fault("another source that says otherwise", _source_differs),
    Fault("40 days missing", _missing(40), shows=40),
)  # fmt: skip
