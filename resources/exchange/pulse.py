"""One cheap request to the exchange: is it there, what time is it, how much weight is used.

For those who only look: no python-binance, no retries, short timeouts.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import requests

from autonama_dagster.errors import ExchangeError
from autonama_dagster.settings import Settings

_LONG_SILENCE: Final = timedelta(hours=1)
_SHORT_SILENCE: Final = timedelta(minutes=1)


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


def feel_pulse(settings: Settings, *, timeout: float = 1.5) -> Pulse:
    """Ask the exchange for its time, once.

    Parameters
    ----------
    settings
        Names the exchange; its keys are not used.
    timeout
        Seconds to connect, and to wait for the answer.

    Raises
    ------
    NoPulseError
        No answer, a refusal or nonsense. After a ban every further call would lengthen it, so
        `silence` is then what the exchange asks for, or an hour.
    """
    base = settings.exchange_url or f"https://api.binance.{settings.exchange_tld}"
    parts = urlsplit(base)
    host = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    try:
        answer = requests.get(f"{base.rstrip('/')}/api/v3/time", timeout=timeout)
        if not answer.ok:
            status = answer.status_code
            raise NoPulseError(f"{host} answers HTTP {status}", _silence(answer))
        now = datetime.fromtimestamp(int(answer.json()["serverTime"]) / 1000, UTC)
    except requests.JSONDecodeError:
        raise NoPulseError(f"{host} answers nonsense") from None
    except requests.RequestException as error:
        raise NoPulseError(f"{host} does not answer ({type(error).__name__})") from None
    except (ValueError, TypeError, LookupError, OverflowError, OSError):
        raise NoPulseError(f"{host} answers nonsense") from None
    used = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
    return Pulse(now, int(used) if used.isdigit() else None)


def _silence(answer: requests.Response) -> timedelta:
    after = answer.headers.get("Retry-After", "")
    if after.isdigit():
        return max(timedelta(seconds=int(after)), _SHORT_SILENCE)
    is_ban = answer.status_code == HTTPStatus.IM_A_TEAPOT
    return _LONG_SILENCE if is_ban else _SHORT_SILENCE
