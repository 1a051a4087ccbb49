"""UTC days and ranges of them, and days as users write them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Final

from autonama_dagster.errors import InputError

DAY: Final = timedelta(days=1)
FIRST_DAY = date(2017, 1, 1)  # no exchange that we can ask has older candles
# A day later than this is a slip of the pen. It is judged by this machine's clock, which may be
# wrong; what has closed is judged by the exchange's.
AHEAD = timedelta(days=31)
DUE: Final = time(0, 5)
"""When the exchange has published the candles of the day before, and the daily schedule ticks."""
CHART_DAYS: Final = 180
"""Days a symbol's chart shows; each has a channel of its own, so its candles reach further."""


def midnight(day: date) -> datetime:
    """00:00 UTC of a day."""
    return datetime.combine(day, time(), UTC)


def last_closed_day(now: datetime) -> date:
    """The latest UTC day that has closed at `now`."""
    return now.date() - DAY


def due_day(now: datetime) -> date:
    """The latest day whose candles the exchange has published."""
    return last_closed_day(now - timedelta(hours=DUE.hour, minutes=DUE.minute))


def days_of(first: date, last: date) -> list[date]:
    """Every day from `first` to `last`, both included."""
    return [first + n * DAY for n in range((last - first).days + 1)]


def chunks(first: date, last: date, size: int) -> list[tuple[date, date]]:
    """Divide `first` to `last` into ranges of `size` days; the last may be shorter."""
    starts = [first + n * size * DAY for n in range((last - first).days // size + 1)]
    return [(s, min(s + (size - 1) * DAY, last)) for s in starts]


def stretches(days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """First and last of neighbouring days, in ascending order."""
    for _, group in groupby(enumerate(sorted(days)), key=lambda pair: pair[1] - pair[0] * DAY):
        run = [day for _, day in group]
        yield run[0], run[-1]


def uncovered(
    ranges: Sequence[tuple[date, date]], first: date, last: date
) -> tuple[date, date] | None:
    """The smallest range that holds every day of first..last that no range covers."""
    missing_first = missing_last = None
    cursor = first
    for begin, end in sorted(ranges):
        if begin > cursor and cursor <= last:
            missing_first = missing_first or cursor
            missing_last = min(begin - DAY, last)
        cursor = max(cursor, end + DAY)
    if cursor <= last:
        missing_first = missing_first or cursor
        missing_last = last
    return (missing_first, missing_last) if missing_first and missing_last else None


def parse_day(text: str, flag: str = "--date") -> date:
    """The day of a flag or an argument.

    Raises
    ------
    InputError
        The text is no day, or a day before `FIRST_DAY` or far in the future.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{flag} {text}: not a day; write it like 2023-12-29") from None
    return _possible(day, flag, text)


def parse_moment(flag: str, text: str) -> datetime:
    """The moment of a flag, aware: a day begins at 00:00, and a time without a zone is in UTC.

    Raises
    ------
    InputError
        The text is neither a day nor a time, or lies before `FIRST_DAY` or far in the future.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{flag} {text}: not a time; write it like 2023-12-29 or 2023-12-29T00:05:00Z"
        ) from None
    _possible(moment.date(), flag, text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _possible(day: date, flag: str, text: str) -> date:
    if day < FIRST_DAY:
        raise InputError(f"{flag} {text}: no candle is that old; use {FIRST_DAY} or later")
    today = datetime.now(UTC).date()
    if day > today + AHEAD:
        raise InputError(f"{flag} {text}: is in the future; today is {today}")
    return day
