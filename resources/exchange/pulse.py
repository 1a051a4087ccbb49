"""One cheap request to the exchange: is it there, what time is it, how much weight is used.

For those who only look: no python-binance, no retries, short timeouts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

import requests

from autonama_dagster.errors import ExchangeError
from autonama_dagster.settings import Settings
from resources.exchange.base import clock_time
from resources.http.headers import retry_after, whole_number
from resources.http.session import HttpSession, Limits, asked, failures

_LONG_SILENCE: Final = timedelta(hours=1)
_SHORT_SILENCE: Final = timedelta(minutes=1)
_LONGEST: Final = 64 << 10  # bytes


@dataclass(frozen=True)
class Pulse:
    """What the exchange said.

    Attributes
    ----------
    now
        The exchange's clock.
    used_weight
        Request weight of the running minute, of all processes behind this address; None where
        the exchange does not say.
    """

    now: datetime
    used_weight: int | None


class NoPulseError(ExchangeError):
    """The exchange did not answer as it should; `silence` says how long not to ask again."""

    def __init__(self, message: str, silence: timedelta = _SHORT_SILENCE) -> None:
        super().__init__(message)
        self.silence = silence


def feel_pulse(settings: Settings, *, seconds: float = 3.0) -> Pulse:
    """Ask the exchange for its time, once.

    Parameters
    ----------
    settings
        Names the exchange.
    seconds
        How long it may take in all.

    Raises
    ------
    NoPulseError
        No answer, a refusal or nonsense. After a ban every further call would lengthen it, so
        `silence` is then what the exchange asks for, or an hour.
    """
    base = settings.exchange_url or f"https://api.binance.{settings.exchange_tld}"
    who, limits = asked(base), Limits(_LONGEST, seconds)
    try:
        with (
            HttpSession(timeout=seconds, limits=limits) as session,
            failures("", who, "AUTONAMA_EXCHANGE_URL", limits),
        ):
            answer = session.get(f"{base.rstrip('/')}/api/v3/time")
    except ExchangeError as error:
        raise NoPulseError(str(error)) from None
    if answer.status_code != HTTPStatus.OK:
        raise NoPulseError(f"{who} returned HTTP {answer.status_code}", _silence(answer))
    try:
        now = clock_time(answer.json(), "serverTime")
    except (ValueError, OverflowError, RecursionError) as error:
        raise NoPulseError(f"{who} sent an unusable response ({error})") from None
    return Pulse(now, whole_number(answer.headers, "X-MBX-USED-WEIGHT-1M"))


def _silence(answer: requests.Response) -> timedelta:
    if after := retry_after(answer.headers):
        return max(after, _SHORT_SILENCE)
    is_ban = answer.status_code == HTTPStatus.IM_A_TEAPOT
    return _LONG_SILENCE if is_ban else _SHORT_SILENCE
