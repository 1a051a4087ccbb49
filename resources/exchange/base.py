"""The interface of an exchange and what it answers with; no source's own knowledge lives here."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final, Protocol

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import RawKline
from autonama_dagster.days import FIRST_DAY
from autonama_dagster.errors import ConflictingCandlesError, InputError, SymbolFetchError
from autonama_dagster.settings import Settings
from autonama_dagster.text.labels import counted

logger = logging.getLogger(__name__)

_ENTRIES_SHOWN: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_LAST_TIME: Final = datetime(2200, 1, 1, tzinfo=UTC)  # a replay's clock may stand in the future
NOTHING_LISTED: Final = "the exchange lists no USDT pair; check AUTONAMA_EXCHANGE_URL"
_NO_CLOCK: Final = "cannot be the current time: expected milliseconds since 1970"

# Candles of these lengths are another interval's, and no candle cut short by an outage.
_NEVER_ASKED_FOR: Final = (
    timedelta(seconds=1),
    timedelta(minutes=3),
    *(timedelta(hours=hours) for hours in (2, 6)),
    timedelta(days=3),
)
_LENGTHS_MS: Final = frozenset(
    length // _MS
    for length in (*_NEVER_ASKED_FOR, *(n for i in INTERVALS.values() for n in i.lengths))
)


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """One spot pair."""

    symbol: str
    base: str
    quote: str


@dataclass(frozen=True, slots=True)
class KlinesRequest:
    """Candles of one symbol whose open time lies in [start, end), both aware.

    Raises
    ------
    InputError
        If the interval is unknown, a time has no zone, or the range is empty.
    """

    symbol: str
    interval: str
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.interval not in INTERVALS:
            raise InputError(
                f"interval {self.interval!r} is unknown: use one of {', '.join(INTERVALS)}"
            )
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise InputError(f"{self.symbol}: the times of a range need a time zone: use UTC")
        if self.start >= self.end:
            raise InputError(
                f"{self.symbol}: the range {self.start} to {self.end} is empty: "
                "end is exclusive and must be later than start"
            )

    @property
    def start_ms(self) -> int:
        """Start in milliseconds since 1970."""
        return to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """End (exclusive) in milliseconds since 1970."""
        return to_ms(self.end)


@dataclass(frozen=True, slots=True)
class Span:
    """The range [start_ms, end_ms) of open times whose candles come from `source`."""

    start_ms: int
    end_ms: int
    source: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the candles with open time in [start_ms, end_ms) came from: a call, or a file.

    Attributes
    ----------
    source
        One of `sources.SOURCES`.
    call
        The call without its host; empty for a file.
    file, sha256
        Path within the archive and the checksum it was checked against; empty for a call.
    """

    start_ms: int
    end_ms: int
    source: str
    call: str = ""
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Klines:
    """One answer: the closed candles of a range, as the exchange printed them.

    Attributes
    ----------
    symbol, interval, start, end
        What was asked: open time in [start, end), aware.
    rows
        Closed candles only (close time < the exchange's server time), by open time, each once.
    source
        One of `sources.SOURCES`; over several pages the one farthest from the market.
    asked_at
        The exchange's server time at the request, never the local clock.
    exceptions
        Ranges whose candles come from another source than `source`, where an answer is put
        together from several.
    origins
        Calls and files the candles came from.
    """

    symbol: str
    interval: str
    start: datetime
    end: datetime
    rows: tuple[RawKline, ...]
    source: str
    asked_at: datetime
    exceptions: tuple[Span, ...] = ()
    origins: tuple[Origin, ...] = ()

    def within(self, start: datetime, end: datetime) -> "Klines":
        """The part of this answer with open time in [start, end)."""
        first, stop = to_ms(start), to_ms(end)
        rows = tuple(row for row in self.rows if first <= row.open_time < stop)
        return replace(self, start=start, end=end, rows=rows)

    def by_source(self) -> Iterator[tuple[str, tuple[RawKline, ...]]]:
        """The rows in their order, cut where the source changes, each part with its source."""
        for source, rows in groupby(self.rows, self._source_of):
            yield source, tuple(rows)

    def _source_of(self, row: RawKline) -> str:
        found = (s.source for s in self.exceptions if s.start_ms <= row.open_time < s.end_ms)
        return next(found, self.source)


Progress = Callable[[int, int], None]
"""Called with (requests done, requests in all) in the caller's thread."""


@dataclass(frozen=True)
class Probe:
    """How one exchange is asked for its time.

    Attributes
    ----------
    url
        The server's base URL by the settings; None: these settings have no server asked.
    setting
        The setting that names the server, for messages.
    path
        Of the request.
    read_time
        The time that the JSON body holds; raises ValueError or OverflowError on nonsense.
    weight_header
        Header with the used request weight.
    """

    url: Callable[[Settings], str | None]
    setting: str
    path: str
    read_time: Callable[[Any], datetime]
    weight_header: str


class ExchangeClock(Protocol):
    """An exchange as far as it says what time it is. Its name is that of its resource and pool."""

    @property
    def name(self) -> str:
        """Name of the exchange in tables, the same for every way to its candles."""
        ...

    def server_time(self) -> datetime:
        """The exchange's clock, in UTC: "now" for everything that comes from it.

        Raises
        ------
        ExchangeError
            If the exchange is out of reach, bans us or answers nonsense.
        """
        ...


class CandleSource(ExchangeClock, Protocol):
    """An exchange as far as it gives candles. Implementations are safe to share by threads."""

    def klines_many(
        self, requests: Sequence[KlinesRequest], on_progress: Progress | None = None
    ) -> dict[str, Klines | SymbolFetchError]:
        """Several requests at once, one a symbol; a symbol that fails is an error in the answer.

        Raises
        ------
        ExchangeError
            If the exchange as a whole fails: see `resources.exchange.calls.batch`.
        """
        ...

    def close(self) -> None:
        """Release the connections; the object cannot be used afterwards."""
        ...


class PairList(Protocol):
    """An exchange as far as it says which pairs it has."""

    @property
    def knows_delisted(self) -> bool:
        """Whether `symbols` also names pairs that were delisted (`universe.is_complete`)."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the latest list of pairs held that is no usable pair: each in a few words."""
        ...

    def symbols(self, quote: str = "USDT") -> list[SymbolInfo]:
        """All known spot pairs with this quote, by name, whatever their present status.

        An entry that cannot be used, by its name for one, is left out: see `left_out`.

        Raises
        ------
        ExchangeError
            If the exchange is out of reach, bans us or answers nonsense.
        """
        ...


class Exchange(CandleSource, PairList, Protocol):
    """All that the daily scan asks of its exchange."""


def to_ms(time: datetime) -> int:
    """Milliseconds since 1970, exact (a float timestamp is not)."""
    return (time - _EPOCH) // _MS


def from_ms(milliseconds: int) -> datetime:
    """UTC time of milliseconds since 1970."""
    return _EPOCH + milliseconds * _MS


def warn_left_out(entries: Sequence[str], told: Sequence[str]) -> None:
    """Say that a list of pairs holds what cannot be used, unless that was told before."""
    if entries and entries != told:
        more = "; ..." if len(entries) > _ENTRIES_SHOWN else ""
        shown = "; ".join(entries[:_ENTRIES_SHOWN]) + more
        logger.warning("%d of the listed pairs ignored: %s", len(entries), shown)


def plausible(time: datetime) -> datetime:
    """A clock's time, if it can be one, whatever this machine's clock says.

    A replay's clock is set on purpose; but seconds read as milliseconds are a day of 1970.

    Raises
    ------
    ValueError
        It lies before the first candles or centuries ahead.
    """
    if time.date() >= FIRST_DAY and time < _LAST_TIME:
        return time
    raise ValueError(f"{time:%Y-%m-%d %H:%M} {_NO_CLOCK}")


def json_field(body: object, name: str) -> Any:
    """The field of a JSON object.

    Raises
    ------
    ValueError
        There is no object, or it has no such field.
    """
    if isinstance(body, dict) and name in body:
        return body[name]
    raise ValueError(f"expected an object with {name}, got {body!a:.40}")


def clock_time(body: object, name: str) -> datetime:
    """The time that a clock's answer holds, in milliseconds since 1970.

    Raises
    ------
    ValueError
        There is none, or it cannot be the time.
    """
    value = json_field(body, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {value!a:.40}")  # noqa: TRY004
    try:
        return plausible(from_ms(value))
    except OverflowError:
        raise ValueError(f"{value!s:.40} {_NO_CLOCK}") from None


def check_rows(
    rows: Sequence[RawKline],
    interval: str,
    start_ms: int,
    end_ms: int | None,
    most: int | None = None,
) -> None:
    """Make sure that rows answer what was asked: the interval, open times in [start, end), a count.

    A single row may still be off the grid or cut short, as candles of old outages are: that is for
    `candles.parse` to say. A row as long as another interval's candle shows that the whole answer
    is of that interval.

    Raises
    ------
    ValueError
        The answer is another question's.
    """
    if most is not None and len(rows) > most:
        raise ValueError(f"{counted(len(rows), 'candle')}, at most {most:,} were requested")
    lengths = {row.close_time - row.open_time + 1 for row in rows}
    ours = {length // _MS for length in INTERVALS[interval].lengths}
    if of_others := lengths & _LENGTHS_MS - ours:
        length = timedelta(milliseconds=min(of_others))
        raise ValueError(f"candles of {length} hours, {interval} was requested")
    for time in (f(row.open_time for row in rows) for f in (min, max) if rows):
        if time < start_ms or (end_ms is not None and time >= end_ms):
            raise ValueError(f"a candle of {from_ms(time):%Y-%m-%d %H:%M}, which was not requested")


def closed_rows(
    rows: Iterable[RawKline], request: KlinesRequest, server_time: datetime
) -> tuple[RawKline, ...]:
    """The rows a request asked for: closed, in range, by open time, each once.

    Raises
    ------
    ConflictingCandlesError
        If two rows of one open time differ.
    """
    start_ms, end_ms = request.start_ms, request.end_ms
    # Its own close time is not believed.
    latest = INTERVALS[request.interval].newest_closed_ms(to_ms(server_time))
    kept: dict[int, RawKline] = {}
    for row in rows:
        if row.open_time > latest or not start_ms <= row.open_time < end_ms:
            continue
        if kept.setdefault(row.open_time, row) != row:
            opens = from_ms(row.open_time)
            raise ConflictingCandlesError(
                f"{request.symbol}: two different {request.interval} candles of "
                f"{opens:%Y-%m-%d %H:%M} in one answer: try again later",
                opens.date(),
            )
    return tuple(kept[time] for time in sorted(kept))
