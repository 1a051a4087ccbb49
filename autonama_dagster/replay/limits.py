"""Request weight as Binance counts it: a budget per minute, then 429, then 418."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

DEFAULT_LIMIT = 6000
WINDOW_SECONDS = 60
KLINES_WEIGHT = 2

# Weight of a request: with a symbol, without one.
WEIGHTS = {
    "ping": (1, 1),
    "time": (1, 1),
    "exchangeInfo": (20, 20),
    "klines": (KLINES_WEIGHT, KLINES_WEIGHT),
    "ticker/24hr": (2, 80),
    "ticker/price": (2, 4),
}


def request_weight(endpoint: str, *, has_symbol: bool) -> int:
    """Weight of one request; an unknown endpoint costs 1."""
    one, every = WEIGHTS.get(endpoint, (1, 1))
    return one if has_symbol else every


@dataclass(frozen=True)
class Verdict:
    """What the limiter says to a request: 200, 429 or 418."""

    status: HTTPStatus
    used: int
    retry_after: int = 0
    banned_until_ms: int = 0


@dataclass
class WeightLimiter:
    """Counts weight in windows that begin with each minute of the wall clock.

    The replay clock is often frozen, and a client waits in real seconds: so the wall clock.

    Parameters
    ----------
    limit
        Weight allowed per minute.
    patience
        Refusals within one minute before the address is banned.
    ban_seconds
        Length of a ban.
    wall
        Source of the time in seconds.
    """

    limit: int = DEFAULT_LIMIT
    patience: int = 20
    ban_seconds: int = 120
    wall: Callable[[], float] = time.time
    _window: int = field(default=-1, init=False)
    _used: int = field(default=0, init=False)
    _refusals: int = field(default=0, init=False)
    _banned_until: float = field(default=0.0, init=False)

    def charge(self, weight: int) -> Verdict:
        """Count a request of this weight and say whether it may pass; refused ones count too."""
        now = self.wall()
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._window, self._used, self._refusals = window, 0, 0
        self._used += weight
        if now < self._banned_until:
            return self._ban(now)
        if self._used <= self.limit:
            return Verdict(HTTPStatus.OK, self._used)
        self._refusals += 1
        if self._refusals > self.patience:
            self._banned_until = now + self.ban_seconds
            return self._ban(now)
        seconds_left = int((window + 1) * WINDOW_SECONDS - now) + 1
        return Verdict(HTTPStatus.TOO_MANY_REQUESTS, self._used, seconds_left)

    def _ban(self, now: float) -> Verdict:
        seconds_left = int(self._banned_until - now) + 1
        banned_until_ms = int(self._banned_until * 1000)
        return Verdict(HTTPStatus.IM_A_TEAPOT, self._used, seconds_left, banned_until_ms)
