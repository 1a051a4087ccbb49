"""What the headers of an answer say, as far as it can be believed."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

Headers = Mapping[str, str]

LONGEST_SILENCE: Final = timedelta(days=3)
"""The longest ban of Binance: no answer keeps us silent for longer."""

_DATE: Final = "%a, %d %b %Y %H:%M:%S GMT"
_WHOLE: Final = re.compile(r"[0-9]{1,9}")


def whole_number(headers: Headers, name: str) -> int | None:
    """Number of a header with up to nine ASCII digits; None where it is absent or anything else."""
    text = headers.get(name, "")
    return int(text) if _WHOLE.fullmatch(text) else None


def date_of(headers: Headers, name: str = "Date") -> datetime | None:
    """Time of a header with an HTTP date; None where it is absent or unreadable."""
    try:
        return datetime.strptime(headers.get(name, ""), _DATE).replace(tzinfo=UTC)
    except ValueError:
        return None


def retry_after(headers: Headers) -> timedelta | None:
    """How long not to ask again, given in seconds or as a date; None where there is no such wish.

    It is never longer than `LONGEST_SILENCE`.
    """
    seconds = whole_number(headers, "Retry-After")
    if seconds is not None:
        asked = timedelta(seconds=seconds)
    elif until := date_of(headers, "Retry-After"):
        asked = until - (date_of(headers) or datetime.now(UTC))
    else:
        return None
    return min(asked, LONGEST_SILENCE) if asked > timedelta(0) else None
