"""UTC days: when one begins, and when the one before it is scanned."""

from datetime import UTC, date, datetime, time
from typing import Final

DUE: Final = time(0, 5)
"""When the exchange has published the candles of the day before, and the daily schedule ticks."""


def midnight(day: date) -> datetime:
    """00:00 UTC of a day."""
    return datetime.combine(day, time(), UTC)
