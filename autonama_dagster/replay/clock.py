"""The replay exchange's clock: frozen at an instant, ticking from one, or the machine's own."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from autonama_dagster.errors import InputError


def parse_instant(text: str) -> datetime:
    """Instant in UTC from ISO 8601 text; a text without an offset is taken as UTC.

    Raises
    ------
    InputError
        If the text is no ISO 8601 date or time.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"cannot read the time {text!r}: write it like 2023-12-30T00:05:00Z"
        ) from error
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


class Clock:
    """What time the exchange believes it is, in milliseconds since the epoch.

    Parameters
    ----------
    now
        Instant (or ISO 8601 text) to start from; None follows the machine's clock.
    ticking
        Whether time passes after `now`; a frozen clock makes a run reproducible.
    wall
        Source of the machine's time in seconds.
    """

    def __init__(
        self,
        now: datetime | str | None = None,
        *,
        ticking: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wall = wall
        self._ticking = ticking
        self._start_ms: int | None = None
        self._wall_at_start = wall()
        if now is not None:
            self.set(now)

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        if self._start_ms is None:
            return int(self._wall() * 1000)
        if not self._ticking:
            return self._start_ms
        return self._start_ms + int((self._wall() - self._wall_at_start) * 1000)

    def set(self, now: datetime | str) -> None:
        """Move the clock to `now`; a ticking clock goes on from there, any other is frozen."""
        instant = parse_instant(now) if isinstance(now, str) else now
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        self._wall_at_start = self._wall()
        self._start_ms = round(instant.timestamp() * 1000)
