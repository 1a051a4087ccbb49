"""Days as the user writes them."""

from datetime import UTC, date, datetime

from autonama_dagster.errors import InputError

FIRST_DAY = date(2017, 1, 1)  # no exchange that we can ask has older candles


def parse_day(text: str, flag: str = "--date") -> date:
    """The day of a flag or an argument.

    Raises
    ------
    InputError
        The text is no day, or a day before `FIRST_DAY`.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{flag} {text}: not a day; write it like 2023-12-29") from None
    if day < FIRST_DAY:
        raise InputError(f"{flag} {day}: no candle is that old; give a day from {FIRST_DAY} on")
    return day


def parse_moment(flag: str, text: str) -> datetime:
    """The moment of a flag, aware: a day begins at 00:00, and a time without a zone is in UTC.

    Raises
    ------
    InputError
        The text is neither a day nor a time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{flag} {text}: not a time; write it like 2023-12-29 or 2023-12-29T00:05:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
