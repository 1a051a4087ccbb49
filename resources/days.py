"""UTC days: when the one before is scanned."""

from datetime import time
from typing import Final

DUE: Final = time(0, 5)
"""When the exchange has published the candles of the day before, and the daily schedule ticks."""
