"""Days as the user writes them."""

from datetime import date

from autonama_dagster.errors import InputError

FIRST_DAY = date(2017, 1, 1)  # no exchange that we can ask has older candles


def parse_day(text: str) -> date:
    """The day of a `--date` flag.

    Raises
    ------
    InputError
        The text is no day, or a day before `FIRST_DAY`.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--date {text}: not a day; write it like 2023-12-29") from None
    if day < FIRST_DAY:
        raise InputError(f"--date {day}: no candle is that old; give a day from {FIRST_DAY} on")
    return day
