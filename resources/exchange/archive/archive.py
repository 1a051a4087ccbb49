"""Binance's public bulk archive of zip files, over HTTP or from a local mirror."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self, TypeVar

from autonama_dagster.errors import ExchangeError, SymbolFetchError
from autonama_dagster.text.pair_names import pair_name
from autonama_dagster.text.sources import BINANCE
from resources.exchange.archive.files import (
    DAILY,
    MONTHLY,
    CandleFile,
    HttpStore,
    LocalStore,
    candle_files,
    missing_days,
    read_candles,
)
from resources.exchange.base import (
    Klines,
    KlinesRequest,
    Progress,
    SymbolInfo,
    closed_rows,
    plausible,
    warn_left_out,
)
from resources.exchange.calls.batch import fetch_many
from resources.exchange.calls.retry import RetryPolicy
from resources.http.session import RequestCancelledError

T = TypeVar("T")

SOURCE: Final = "archive"
PUBLICATION_LAG = timedelta(days=1)


def _local_clock() -> datetime:
    return datetime.now(UTC)


class ArchiveExchange:
    """The `Exchange` of the archive: closed months and days, of delisted pairs too.

    A month's file counts for the days of which it has every candle; the others are looked up in
    their daily files. A missing file means that the pair had no candles then. Yesterday's files
    appear in the course of the day: a candle that is not published yet looks like one that never
    was.

    Parameters
    ----------
    location
        Base URL, or the folder of a local mirror that holds `data/spot/...`.
    threads
        Files read at the same time.
    timeout, deadline
        Seconds to connect, and to wait for the next bytes of an answer; seconds for all of it.
    retry
        How often to repeat a request over HTTP; None: the default. A local file is read once.
    clock
        The machine's clock: the archive has none of its own.
    """

    name = BINANCE
    knows_delisted = True

    def __init__(
        self,
        location: str | Path,
        *,
        threads: int = 8,
        timeout: float = 30.0,
        deadline: float = 300.0,
        retry: RetryPolicy | None = None,
        clock: Callable[[], datetime] = _local_clock,
    ) -> None:
        is_url = str(location).startswith(("http://", "https://"))
        self._store = (
            HttpStore(str(location), timeout, deadline) if is_url else LocalStore(Path(location))
        )
        self._retry = (retry or RetryPolicy()) if is_url else RetryPolicy(attempts=1)
        self._threads = threads
        self._clock = clock
        self._left_out: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def server_time(self) -> datetime:
        """Up to when the archive is complete: a day is published in the course of the next.

        Raises
        ------
        ExchangeError
            The clock of this machine cannot be right.
        """
        try:
            return plausible(self._clock()) - PUBLICATION_LAG
        except ValueError as error:
            raise ExchangeError(
                f"the clock of this machine is wrong ({error}): set the clock"
            ) from None

    @property
    def left_out(self) -> tuple[str, ...]:
        """Folders of the latest list of pairs whose names are none; see `PairList.left_out`."""
        return self._left_out

    def symbols(self, quote: str = "USDT") -> list[SymbolInfo]:
        """Every pair the archive has a folder for, by name; see `PairList.symbols`."""
        never = threading.Event()
        try:
            names = {
                name
                for prefix in (MONTHLY, DAILY)
                for name in self._retry.run(
                    lambda prefix=prefix: self._store.folders(prefix, never),  # type: ignore[misc]
                    never,
                )
            }
        except SymbolFetchError as error:
            raise ExchangeError(str(error)) from None
        pairs, left_out = [], []
        for name in sorted(n for n in names if n.endswith(quote) and n != quote):
            try:
                pairs.append(SymbolInfo(pair_name(name), name.removesuffix(quote), quote))
            except ValueError as error:
                left_out.append(str(error))
        warn_left_out(tuple(left_out), self._left_out)
        self._left_out = tuple(left_out)
        return pairs

    def klines(self, symbol: str, interval: str, start: datetime, end: datetime) -> Klines:
        """Closed candles of one symbol; see `klines_many`."""
        request = KlinesRequest(symbol, interval, start, end)
        return self.fetch(request, self.server_time(), threading.Event())

    def klines_many(
        self, requests: Sequence[KlinesRequest], on_progress: Progress | None = None
    ) -> dict[str, Klines | SymbolFetchError]:
        """Closed candles of many symbols; see `CandleSource.klines_many`."""
        return fetch_many(requests, self.server_time, self.fetch, self._threads, on_progress)

    def close(self) -> None:
        """Release the connections."""
        self._store.close()

    def fetch(self, request: KlinesRequest, now: datetime, stop: threading.Event) -> Klines:
        """Answer to one request as of `now`, given up once `stop` is set.

        Raises
        ------
        SymbolFetchError, ExchangeError
            As `CandleSource.klines_many`.
        RequestCancelledError
            `stop` was set before the answer was complete.
        """
        read: list[CandleFile] = []
        for files in candle_files(request, now):
            month = self.read(files.monthly, request.symbol, stop) if files.monthly else None
            read += [month] if month else []
            if month is None and not files.is_recent:
                continue
            # A file of a month that lacks a candle may be cut short: the days' own files say.
            rows = month.rows if month else ()
            for day in missing_days(rows, files.daily, request.interval):
                found = self.read(files.daily[day], request.symbol, stop)
                read += [found] if found else []
        return Klines(
            request.symbol,
            request.interval,
            request.start,
            request.end,
            closed_rows([row for file in read for row in file.rows], request, now),
            SOURCE,
            now,
            origins=tuple(file.origin for file in read),
        )

    def read(self, path: str, symbol: str, stop: threading.Event) -> CandleFile | None:
        """Rows of one file, checked against its checksum; None where the archive has no such file.

        Raises
        ------
        BadAnswerError
            The file is damaged: see `read_candles`.
        ExchangeError
            The archive is out of reach or refuses us.
        RequestCancelledError
            `stop` is set.
        """
        if stop.is_set():
            raise RequestCancelledError
        return self._retry.run(lambda: read_candles(self._store, path, symbol, stop), stop)
