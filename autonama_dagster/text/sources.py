"""Exchanges and the sources of their candles, by the names that tables hold."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

BINANCE: Final = "binance"
SCAN_EXCHANGE: Final = BINANCE
"""The exchange whose pairs the daily scan ranks: candles of another one never enter its tables."""

SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "binance": "Binance API",
        "archive": "Binance public archive",
        "replay-recorded": "replay of recorded candles",
        "replay-estimated": "replay of recorded candles, quote volume estimated",
        "synthetic": "made-up candles",
    }
)
"""Where a candle can come from, in words for people.

The order goes from a market itself to what is made up. Another exchange's sources belong before
the replays, which stand in for every exchange.
"""

_DISTANCES: Final = {source: place for place, source in enumerate(SOURCES)}


def distance(source: str) -> int:
    """How far a source is from the market itself: its place in `SOURCES`.

    What is made from several sources counts as coming from the farthest one.

    Raises
    ------
    KeyError
        The source is unknown.
    """
    return _DISTANCES[source]
