"""Posts a message to a webhook. The address may hold a token, so no message names it."""

import json
from collections.abc import Mapping
from typing import Any, Final

import requests
import stamina

from autonama_dagster.errors import AutonamaError
from resources.http.session import HttpSession, Limits

TIMEOUT_S: Final = 5.0
ATTEMPTS: Final = 4
_LIMITS: Final = Limits(size=1 << 20, seconds=4 * TIMEOUT_S)
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class NotificationError(AutonamaError):
    """The webhook did not take the message."""


class _TryAgainError(NotificationError):
    """Perhaps it will take it a little later."""


def post(url: str, message: Mapping[str, Any]) -> None:
    """Post the message as JSON; three times more where the webhook is out of reach or busy.

    Redirects are not followed: the message is for this address.

    Raises
    ------
    NotificationError
        It was not taken; the text says why without the address.
    """
    body = json.dumps(message, default=str).encode()
    for attempt in stamina.retry_context(
        on=_TryAgainError, attempts=ATTEMPTS, timeout=None, wait_initial=0.5, wait_max=5.0
    ):
        with attempt:
            _post_once(url, body)


def _post_once(url: str, body: bytes) -> None:
    try:
        with HttpSession(timeout=TIMEOUT_S, limits=_LIMITS) as session:
            response = session.post(url, data=body, headers={"Content-Type": "application/json"})
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _TryAgainError(_unreachable(error)) from None
    except (requests.RequestException, UnicodeError, ValueError) as error:
        raise NotificationError(_unreachable(error)) from None
    if response.status_code in _RETRIED:
        raise _TryAgainError(_refused(response.status_code))
    if not response.ok or response.is_redirect:
        raise NotificationError(_refused(response.status_code))


def _unreachable(error: Exception) -> str:
    # The text of the library's errors holds the address.
    return (
        f"cannot reach the webhook ({type(error).__name__}): check AUTONAMA_ALERT_WEBHOOK and "
        "the network"
    )


def _refused(status: int) -> str:
    return f"the webhook returned HTTP {status}: check AUTONAMA_ALERT_WEBHOOK"
