"""Binance's REST API and its bulk archive as one: closed months from files, the rest by request."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Self

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.days import midnight
from autonama_dagster.errors import BadAnswerError, ExchangeError, SymbolFetchError
from autonama_dagster.text.sources import BINANCE, distance
from resources.exchange.archive.archive import SOURCE, ArchiveExchange
from resources.exchange.archive.files import monthly_file, next_month
from resources.exchange.base import (
    Klines,
    KlinesRequest,
    Progress,
    Span,
    SymbolInfo,
    closed_rows,
    to_ms,
)
from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.calls.batch import fetch_many

WHOLE_MONTHS: Final = 2
"""Closed months that a request must hold whole for files to be read: shorter ones of daily candles
are a single call, e.g. each of a ranking's 31 days."""

_QUOTE: Final = "USDT"

logger = logging.getLogger(__name__)


class CombinedExchange:
    """The `Exchange` that reads closed months from the archive and asks the API for all else.

    A month comes from the archive if its file is published, sound and has every candle of the
    month; any other month is asked of the API, so that no file can take a candle away. A pair that
    the API has forgotten is the archive's alone. An archive that is out of reach is left aside, for
    the life of this object, with one warning.

    Parameters
    ----------
    rest
        Gives the time and the candles that are in no file. It is closed with this object.
    archive
        Gives closed months, and pairs that were delisted. It is closed with this object.
    threads
        Symbols at the same time.
    """

    name = BINANCE

    def __init__(
        self, rest: BinanceExchange, archive: ArchiveExchange, *, threads: int = 8
    ) -> None:
        self._rest = rest
        self._archive = archive
        self._threads = threads
        self._is_aside = False
        self._leaving = threading.Lock()
        self._archived: dict[str, dict[str, SymbolInfo]] = {}
        self._listing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def knows_delisted(self) -> bool:
        """True while the archive can be asked, or where the API knows them by itself."""
        self._archived_pairs(_QUOTE)
        return not self._is_aside or self._rest.knows_delisted

    def server_time(self) -> datetime:
        """The API's clock; see `ExchangeClock.server_time`."""
        return self._rest.server_time()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Entries of both lists of pairs that cannot be used; see `PairList.left_out`."""
        return self._rest.left_out + self._archive.left_out

    def symbols(self, quote: str = _QUOTE) -> list[SymbolInfo]:
        """Pairs of the API and of the archive, by name; see `PairList.symbols`."""
        listed = {pair.symbol: pair for pair in self._rest.symbols(quote)}
        known = {**self._archived_pairs(quote), **listed}
        return [known[name] for name in sorted(known)]

    def klines(self, symbol: str, interval: str, start: datetime, end: datetime) -> Klines:
        """Closed candles of one symbol; see `klines_many`."""
        request = KlinesRequest(symbol, interval, start, end)
        return self._fetch(request, self.server_time(), threading.Event())

    def klines_many(
        self, requests: Sequence[KlinesRequest], on_progress: Progress | None = None
    ) -> dict[str, Klines | SymbolFetchError]:
        """Closed candles of many symbols; see `CandleSource.klines_many`."""
        return fetch_many(requests, self.server_time, self._fetch, self._threads, on_progress)

    def close(self) -> None:
        """Close the API and the archive."""
        self._rest.close()
        self._archive.close()

    def _fetch(self, request: KlinesRequest, now: datetime, stop: threading.Event) -> Klines:
        months = [self._month(part, now, stop) for part in _closed_months(request, now)]
        archived = [month for month in months if month is not None]
        try:
            asked = [self._rest.fetch(gap, now, stop) for gap in _gaps(request, archived)]
        except BadAnswerError:
            raise
        except SymbolFetchError as error:
            return self._forgotten(request, now, stop, error)
        return _joined(request, [*archived, *asked], now)

    def _month(self, part: KlinesRequest, now: datetime, stop: threading.Event) -> Klines | None:
        """A month's candles from its file; None where the API must be asked."""
        if self._is_aside:
            return None
        path = monthly_file(part.symbol, part.interval, part.start.date())
        try:
            file = self._archive.read(path, part.symbol, stop)
            rows = closed_rows(file.rows if file else (), part, now)
        except BadAnswerError as error:
            logger.warning("%s; the month is taken from %s", error, self._rest.name)
            return None
        except ExchangeError as error:
            self._leave_aside(error)
            return None
        opens = INTERVALS[part.interval].opens_between(part.start_ms, part.end_ms)
        if file is None or [row.open_time for row in rows] != opens:
            return None
        return Klines(
            part.symbol,
            part.interval,
            part.start,
            part.end,
            rows,
            SOURCE,
            now,
            origins=(file.origin,),
        )

    def _forgotten(
        self, request: KlinesRequest, now: datetime, stop: threading.Event, refusal: Exception
    ) -> Klines:
        """All that the archive has of a pair which the API does not know."""
        if request.symbol not in self._archived_pairs(_QUOTE):
            raise refusal
        try:
            return self._archive.fetch(request, now, stop)
        except SymbolFetchError:
            raise
        except ExchangeError as error:
            self._leave_aside(error)
            raise refusal from None

    def _archived_pairs(self, quote: str) -> Mapping[str, SymbolInfo]:
        """Pairs of the archive by name, listed once; none if it is left aside before that."""
        with self._listing:
            if quote not in self._archived and not self._is_aside:
                try:
                    pairs = self._archive.symbols(quote)
                except ExchangeError as error:
                    self._leave_aside(error)
                else:
                    self._archived[quote] = {pair.symbol: pair for pair in pairs}
            return self._archived.get(quote, {})

    def _leave_aside(self, error: ExchangeError) -> None:
        with self._leaving:
            if not self._is_aside:
                logger.warning("%s; using %s only from now on", error, self._rest.name)
            self._is_aside = True


def _closed_months(request: KlinesRequest, now: datetime) -> list[KlinesRequest]:
    """The request cut into months, as far as they have closed; none if too few of them are whole.

    Nor are there any where candles do not divide the day: those reach across the end of a month.
    """
    if not INTERVALS[request.interval].divides_day:
        return []
    begin, this_month = request.start.astimezone(UTC), now.date().replace(day=1)
    month = begin.date().replace(day=1)
    parts, whole = [], 0
    while month < this_month and midnight(month) < request.end:
        following = next_month(month)
        start, end = max(begin, midnight(month)), min(request.end, midnight(following))
        parts.append(replace(request, start=start, end=end))
        whole += (start, end) == (midnight(month), midnight(following))
        month = following
    return parts if whole >= WHOLE_MONTHS else []


def _gaps(request: KlinesRequest, parts: Sequence[Klines]) -> Iterator[KlinesRequest]:
    """What is left of a request without these parts of it, which are in the order of time."""
    start = request.start
    for part in parts:
        if start < part.start:
            yield replace(request, start=start, end=part.start)
        start = part.end
    if start < request.end:
        yield replace(request, start=start)


def _joined(request: KlinesRequest, parts: Sequence[Klines], now: datetime) -> Klines:
    """One answer made of parts, in any order, that cover the request."""
    source = max((part.source for part in parts), key=distance)
    return Klines(
        request.symbol,
        request.interval,
        request.start,
        request.end,
        tuple(row for part in sorted(parts, key=lambda part: part.start) for row in part.rows),
        source,
        now,
        tuple(
            Span(to_ms(part.start), to_ms(part.end), part.source)
            for part in parts
            if part.source != source
        ),
        tuple(origin for part in parts for origin in part.origins),
    )
