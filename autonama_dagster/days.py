"""Days and moments as the user writes them, at every door that takes one."""

from datetime import UTC, date, datetime, timedelta

from autonama_dagster.errors import InputError

FIRST_DAY = date(2017, 1, 1)  # no exchange that we can ask has older candles
# A day later than this is a slip of the pen. It is judged by this machine's clock, which may be
# wrong; what has closed is judged by the exchange's.
AHEAD = timedelta(days=31)


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
