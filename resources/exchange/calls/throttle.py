"""When a request may leave: the weight budget of the minute, pauses after a 429, bans.

One throttle is shared by all threads of an exchange. The used weight comes from the exchange's
own counter, which counts the requests of every process behind the same address.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from autonama_dagster.errors import ExchangeBannedError
from resources.http.session import RequestCancelledError

MINUTE = 60.0
# The Date header has whole seconds: a minute is surely over one second after its end.
_DATE_PRECISION = 1.0


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)


class Throttle:
    """Holds requests back so that the address keeps within the exchange's limits.

    Parameters
    ----------
    weight_per_minute
        Weight that may be used in one minute of the exchange's clock.
    clock
        Local time in seconds since 1970.
    sleep
        Waits for so many seconds, or until the event is set.
    """

    def __init__(
        self,
        weight_per_minute: int = 4800,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[threading.Event, float], None] = _wait,
    ) -> None:
        self._budget = weight_per_minute
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._offset = 0.0  # seconds the exchange's clock is ahead of the local one
        self._minute = 0
        self._used = 0
        self._in_flight = 0
        self._silent_until = 0.0  # local seconds
        self._ban: str | None = None
        self._banned_until = 0.0  # local seconds

    def acquire(self, weight: int, stop: threading.Event) -> None:
        """Wait until a request of this weight may leave, and reserve the weight.

        Every acquired weight is given back by one `settle`.

        Raises
        ------
        ExchangeBannedError
            If the exchange banned us, also while waiting.
        RequestCancelledError
            If `stop` is set, also while waiting.
        """
        while True:
            with self._lock:
                seconds = self._seconds_to_wait(weight)
                if stop.is_set():
                    raise RequestCancelledError
                if seconds <= 0:
                    self._in_flight += weight
                    return
            self._sleep(stop, seconds)

    def settle(self, weight: int, used: int | None = None, date: datetime | None = None) -> None:
        """Account for an acquired request that has ended.

        Parameters
        ----------
        weight
            What was acquired.
        used
            The exchange's count for the current minute; None: the request got no such answer, and
            is taken to have cost its weight.
        date
            The exchange's clock when it answered.
        """
        with self._lock:
            self._in_flight -= weight
            if date is not None:
                self._offset = date.timestamp() - self._clock()
            self._roll_over()
            if used is None:
                self._used += weight
            elif date is None or date.timestamp() >= self._minute * MINUTE:
                self._used = max(self._used, used)

    def pause(self, seconds: float) -> None:
        """Send nothing for so long, from any thread."""
        with self._lock:
            self._silent_until = max(self._silent_until, self._clock() + seconds)

    def ban(self, message: str, until: datetime | None) -> None:
        """Send nothing until the ban's end; None: nothing any more."""
        with self._lock:
            self._ban = message
            self._banned_until = until.timestamp() if until else float("inf")

    def seconds_to_next_minute(self) -> float:
        """Seconds until the exchange surely counts a new minute."""
        with self._lock:
            return self._rest_of_minute()

    def _seconds_to_wait(self, weight: int) -> float:
        now = self._clock()
        if self._ban is not None:
            if now < self._banned_until:
                raise ExchangeBannedError(self._ban)
            self._ban = None
        if now < self._silent_until:
            return self._silent_until - now
        self._roll_over()
        expected = self._used + self._in_flight
        # A request heavier than the whole budget may leave alone, or it never would.
        if expected == 0 or expected + weight <= self._budget:
            return 0.0
        return self._rest_of_minute()

    def _roll_over(self) -> None:
        minute = int((self._clock() + self._offset) // MINUTE)
        # Answers overtake each other by less than a minute; more means the clock was corrected.
        if minute > self._minute or minute < self._minute - 1:
            self._minute, self._used = minute, 0

    def _rest_of_minute(self) -> float:
        return MINUTE - (self._clock() + self._offset) % MINUTE + _DATE_PRECISION
