"""How far charts reach, without what draws them."""

from typing import Final

CHART_DAYS: Final = 180
"""Days a symbol's chart shows; each has a channel of its own, so its candles reach further."""
