"""How often and how patiently a request is repeated; what may be repeated is decided here too."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina

from autonama_dagster.errors import (
    BadAnswerError,
    OutageError,
    RateLimitedError,
    SlowAnswerError,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential waits with jitter between the attempts of one request.

    Attributes
    ----------
    attempts
        Attempts in all, the first included.
    wait_initial, wait_max, wait_jitter
        Seconds: wait before the second attempt, longest wait, random addition at most.
    """

    attempts: int = 5
    wait_initial: float = 0.5
    wait_max: float = 10.0
    wait_jitter: float = 1.0

    def run(self, request: Callable[[], T], stop: threading.Event) -> T:
        """Result of `request`, repeated while it fails in a way that may pass.

        Outages, garbage and HTTP 429 may pass; any other error is raised at once. No wait lasts
        longer than until `stop` is set, which is then the request's to see.
        """
        for attempt in stamina.retry_context(
            on=_wait_or_stop,
            attempts=self.attempts,
            timeout=None,
            wait_initial=self.wait_initial,
            wait_max=self.wait_max,
            wait_jitter=self.wait_jitter,
        ):
            # stamina itself offers no way to end its waits.
            attempt._t_attempt.retry_state.retry_object.sleep = stop.wait  # type: ignore[assignment] # noqa: SLF001
            with attempt:
                return request()
        raise AssertionError("stamina returns or raises")


def _wait_or_stop(error: Exception) -> bool | float:
    """Whether to repeat; after a 429 at once, because the throttle holds all threads back."""
    if isinstance(error, RateLimitedError):
        return 0.0
    if isinstance(error, SlowAnswerError):
        return False
    return isinstance(error, OutageError | BadAnswerError)
