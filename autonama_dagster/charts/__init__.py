"""Charts: pure functions from numbers to PNG bytes.

Each is imported where it is drawn: matplotlib takes half a second to load, and most of what runs
draws nothing.
"""

from typing import Final

CHART_DAYS: Final = 180
"""Days a symbol's chart shows; each has a channel of its own, so its candles reach further."""
