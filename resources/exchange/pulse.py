"""One cheap request to an exchange: is it there, what time is it, how much weight is used.

For those who only look: no python-binance, no retries, short timeouts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

import requests

from autonama_dagster.errors import ExchangeError
from autonama_dagster.settings import Settings
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.exchange.build import PROBES
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
    """The exchange did not answer as it should; `wait` says how long not to ask again."""

    def __init__(self, message: str, wait: timedelta = _SHORT_SILENCE) -> None:
        super().__init__(message)
        self.wait = wait


def check_exchange(
    settings: Settings, exchange: str = SCAN_EXCHANGE, *, seconds: float = 3.0
) -> Pulse:
    """Ask an exchange for its time, once.

    Parameters
    ----------
    settings
        Say where its server is.
    exchange
        One of `build.asked_exchanges`.
    seconds
        How long it may take in all.

    Raises
    ------
    NoPulseError
        No answer, a refusal or nonsense. After a ban every further call would lengthen it, so
        `wait` is then what the exchange asks for, or an hour.
    ValueError
        Nothing is asked of the exchange under these settings.
    """
    probe = PROBES[exchange]
    base = probe.url(settings)
    if base is None:
        raise ValueError(f"{exchange} has no server under these settings")
    who, limits = asked(base), Limits(_LONGEST, seconds)
    try:
        with (
            HttpSession(timeout=seconds, limits=limits) as session,
            failures("", who, probe.setting, limits),
        ):
            answer = session.get(f"{base.rstrip('/')}{probe.path}")
    except ExchangeError as error:
        raise NoPulseError(str(error)) from None
    if answer.status_code != HTTPStatus.OK:
        raise NoPulseError(f"{who} returned HTTP {answer.status_code}", _wait(answer))
    try:
        now = probe.read_time(answer.json())
    except (ValueError, OverflowError, RecursionError) as error:
        raise NoPulseError(f"{who} sent an unusable response ({error})") from None
    return Pulse(now, whole_number(answer.headers, probe.weight_header))


def _wait(answer: requests.Response) -> timedelta:
    if after := retry_after(answer.headers):
        return max(after, _SHORT_SILENCE)
    is_ban = answer.status_code == HTTPStatus.IM_A_TEAPOT
    return _LONG_SILENCE if is_ban else _SHORT_SILENCE
