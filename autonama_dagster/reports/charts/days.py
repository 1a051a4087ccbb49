"""How far charts reach and what they are called, without what draws them."""

from typing import Final

CHART_DAYS: Final = 180
"""Days a symbol's chart shows; each has a channel of its own, so its candles reach further."""

SCAN_PICTURE: Final = "scan.png"
"""The picture of a scan, beside the charts of its symbols."""
