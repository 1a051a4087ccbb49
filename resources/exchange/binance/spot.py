"""Binance's public spot market over REST; the replay exchange speaks the same protocol."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import RawKline, raw_kline
from autonama_dagster.errors import (
    BadAnswerError,
    ExchangeError,
    SymbolFetchError,
)
from autonama_dagster.text.pair_names import pair_name
from autonama_dagster.text.sources import BINANCE, SOURCES, distance
from resources.exchange.base import (
    Klines,
    KlinesRequest,
    Origin,
    Progress,
    SymbolInfo,
    check_rows,
    clock_time,
    closed_rows,
    json_field,
    to_ms,
    warn_left_out,
)
from resources.exchange.binance.client import LARGE, BinanceClient
from resources.exchange.calls.batch import fetch_many
from resources.exchange.calls.retry import RetryPolicy
from resources.exchange.calls.throttle import Throttle
from resources.http.headers import Headers

PAGE: Final = 1000
_TIME_WEIGHT: Final = 1
_SYMBOLS_WEIGHT: Final = 20
_KLINES_WEIGHT: Final = 2
_TICKER_WEIGHT: Final = 2
_MARKET: Final = "BTCUSDT"  # trades every second: its statistics say how far the market is


class BinanceExchange:
    """The `Exchange` of Binance, Binance.US, and the replay exchange behind `url`.

    Each batch asks for the server time first: a candle is closed only if it was closed before
    the batch began.

    Parameters
    ----------
    url
        Base URL to use instead of Binance's own, e.g. the replay exchange's.
    tld
        "com", or "us" for Binance.US.
    threads
        Requests at the same time.
    weight_per_minute
        Request weight to use per minute, of the exchange's 6000; ignored with a `throttle`.
    timeout, deadline
        Seconds to connect, and to wait for the next bytes of an answer; seconds for all of it.
    retry, throttle
        How often to repeat a request and when one may leave; None: the defaults.
    """

    name = BINANCE

    def __init__(
        self,
        url: str | None = None,
        *,
        tld: str = "com",
        threads: int = 8,
        weight_per_minute: int = 4800,
        timeout: float = 10.0,
        deadline: float = 60.0,
        retry: RetryPolicy | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self._client = BinanceClient(
            url=url,
            tld=tld,
            timeout=timeout,
            deadline=deadline,
            throttle=throttle or Throttle(weight_per_minute),
            retry=retry or RetryPolicy(),
        )
        self._threads = threads
        self._never = threading.Event()
        self._knows_delisted: bool | None = None
        self._trading: frozenset[str] | None = None
        self._left_out: tuple[str, ...] = ()
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BinanceExchange({self._client.host})"

    @property
    def knows_delisted(self) -> bool:
        """True for the replay exchange only; Binance forgets pairs. May ask for the symbols."""
        if self._knows_delisted is None:
            self.symbols()
        return bool(self._knows_delisted)

    def server_time(self) -> datetime:
        """The exchange's clock, but not ahead of its market; see `ExchangeClock.server_time`.

        A clock that runs ahead would make a closed candle of the one that still forms.
        """
        with _exchange_wide():
            clock = self._client.get(
                lambda client: client.get_server_time(),
                _TIME_WEIGHT,
                lambda body, _: clock_time(body, "serverTime"),
                "server time",
                self._never,
            )
        return min(clock, self._market_time() or clock)

    def _market_time(self) -> datetime | None:
        """When the statistics of `_MARKET` end; None where it is not traded."""
        try:
            return self._client.get(
                lambda client: client.get_ticker(symbol=_MARKET),
                _TICKER_WEIGHT,
                lambda body, _: clock_time(body, "closeTime"),
                f"{_MARKET} ticker",
                self._never,
            )
        except BadAnswerError as error:
            raise ExchangeError(str(error)) from None
        except SymbolFetchError:
            return None

    @property
    def left_out(self) -> tuple[str, ...]:
        """Entries of the latest list of pairs that cannot be used; see `PairList.left_out`."""
        return self._left_out

    def symbols(self, quote: str = "USDT") -> list[SymbolInfo]:
        """All spot pairs with this quote, by name; see `PairList.symbols`."""
        wanted = (pair for pair in self._pairs(self._never) if pair.quote == quote)
        return sorted(wanted, key=lambda pair: pair.symbol)

    def _pairs(self, stop: threading.Event) -> list[SymbolInfo]:
        """All spot pairs; remembers which of them trade, and whether it knows delisted ones."""

        def read(body: Any, headers: Headers) -> tuple[_Listed, bool]:
            return _listed(json_field(body, "symbols")), "X-Autonama-Market" in headers

        with _exchange_wide():
            listed, self._knows_delisted = self._client.get(
                lambda client: client.get_exchange_info(),
                _SYMBOLS_WEIGHT,
                read,
                "symbols",
                stop,
                LARGE,
            )
        warn_left_out(listed.left_out, self._left_out)
        self._trading, self._left_out = listed.trading, listed.left_out
        return listed.pairs

    def klines(self, symbol: str, interval: str, start: datetime, end: datetime) -> Klines:
        """Closed candles of one symbol; see `klines_many`."""
        request = KlinesRequest(symbol, interval, start, end)
        return self.fetch(request, self.server_time(), self._never)

    def klines_many(
        self, requests: Sequence[KlinesRequest], on_progress: Progress | None = None
    ) -> dict[str, Klines | SymbolFetchError]:
        """Closed candles of many symbols; see `CandleSource.klines_many`."""
        return fetch_many(requests, self.server_time, self.fetch, self._threads, on_progress)

    def close(self) -> None:
        """Release the connections."""
        self._client.close()

    def fetch(self, request: KlinesRequest, now: datetime, stop: threading.Event) -> Klines:
        """Answer to one request of a batch that began at `now`, given up once `stop` is set.

        Raises
        ------
        SymbolFetchError, ExchangeError
            As `CandleSource.klines_many`.
        RequestCancelledError
            `stop` was set before the answer was complete.
        """
        rows: list[RawKline] = []
        origins: list[Origin] = []
        cursor: int | None = request.start_ms
        while cursor is not None:
            page, source, following = self._page(request, cursor, now, stop)
            rows += page
            origins.append(
                Origin(
                    cursor,
                    following or request.end_ms,
                    source,
                    call=f"GET /api/v3/klines?{urlencode(_page_parameters(request, cursor))}",
                )
            )
            cursor = following
        if not rows and self._trades(request.symbol, stop):
            self._confirm_empty(request, now, stop)
        return Klines(
            request.symbol,
            request.interval,
            request.start,
            request.end,
            closed_rows(rows, request, now),
            max((origin.source for origin in origins), key=distance),
            now,
            origins=tuple(origins),
        )

    def _trades(self, symbol: str, stop: threading.Event) -> bool:
        with self._asking:
            if self._trading is None:
                self._pairs(stop)
        return symbol in (self._trading or ())

    def _confirm_empty(self, request: KlinesRequest, now: datetime, stop: threading.Event) -> None:
        """Refuse to believe that a pair that trades has no candles, unless they begin later."""

        def read(body: Any, _: Headers) -> None:
            rows = _rows(body)
            check_rows(rows, request.interval, request.start_ms, None, PAGE)
            if not rows or closed_rows(rows, request, now):
                raise ValueError("an empty list for a pair that trades")

        self._client.get(
            lambda client: client.get_klines(
                symbol=request.symbol,
                interval=request.interval,
                startTime=request.start_ms,
                limit=PAGE,
            ),
            _KLINES_WEIGHT,
            read,
            f"{request.symbol} {request.interval}",
            stop,
        )

    def _page(
        self, request: KlinesRequest, cursor: int, now: datetime, stop: threading.Event
    ) -> tuple[tuple[RawKline, ...], str, int | None]:
        """Closed candles of a page from `cursor` on, its source, and where the next one begins."""

        def read(body: Any, headers: Headers) -> tuple[tuple[RawKline, ...], str, int | None]:
            source = headers.get("X-Autonama-Source", "binance")
            if source not in SOURCES:
                raise ValueError(f"source {source!r} is unknown")
            rows = _rows(body)
            check_rows(rows, request.interval, cursor, request.end_ms, PAGE)
            closed = closed_rows(rows, request, now)
            # A page that ends early may be a short one, whatever the limit: only an empty one says
            # that there is no more.
            following = grid.end_ms(max((row.open_time for row in rows), default=last))
            return closed, source, following if following <= last else None

        grid = INTERVALS[request.interval]
        last = min(request.end_ms - 1, grid.newest_closed_ms(to_ms(now)))

        return self._client.get(
            lambda client: client.get_klines(**_page_parameters(request, cursor)),
            _KLINES_WEIGHT,
            read,
            f"{request.symbol} {request.interval}",
            stop,
        )


def _page_parameters(request: KlinesRequest, cursor: int) -> dict[str, str | int]:
    """What a page of candles from `cursor` on is asked with."""
    return {
        "symbol": request.symbol,
        "interval": request.interval,
        "startTime": cursor,
        "endTime": request.end_ms - 1,
        "limit": PAGE,
    }


@contextmanager
def _exchange_wide() -> Iterator[None]:
    """A failure here is not one symbol's: without it nothing can be asked."""
    try:
        yield
    except SymbolFetchError as error:
        raise ExchangeError(str(error)) from None


class _Listed(NamedTuple):
    """A list of pairs: those that can be used, which of them trade, and what was left out."""

    pairs: list[SymbolInfo]
    trading: frozenset[str]
    left_out: tuple[str, ...]


def _listed(entries: object) -> _Listed:
    """The pairs of a list, each once; an entry that cannot be used costs itself alone.

    Raises
    ------
    ValueError, TypeError
        If there is no list, or nothing in it can be used.
    """
    if not isinstance(entries, list):
        raise TypeError(f"expected a list of pairs, got {type(entries).__name__}")
    pairs: dict[str, SymbolInfo] = {}
    trading: set[str] = set()
    left_out = []
    for entry in entries:
        try:
            pair, is_trading = _pair(entry)
        except (ValueError, TypeError, KeyError) as error:
            left_out.append(_in_words(entry, error))
            continue
        if pairs.setdefault(pair.symbol, pair) != pair:
            left_out.append(f"{pair.symbol} (listed twice, as different pairs)")
        elif is_trading:
            trading.add(pair.symbol)
    if left_out and not pairs:
        raise ValueError(f"no usable entry in the list of pairs: {left_out[0]}")
    return _Listed([*pairs.values()], frozenset(trading), tuple(left_out))


def _pair(entry: object) -> tuple[SymbolInfo, bool]:
    """A pair, and whether it trades."""
    if not isinstance(entry, dict):
        raise TypeError("expected an object")
    names = (pair_name(entry[k]) for k in ("symbol", "baseAsset", "quoteAsset"))
    return SymbolInfo(*names), entry["status"] == "TRADING"


def _in_words(entry: object, error: Exception) -> str:
    """What is wrong with an entry, in ASCII."""
    name = entry.get("symbol") if isinstance(entry, dict) else entry
    said = f"no {error}" if isinstance(error, KeyError) else str(error)
    return f"{name!a:.40} ({said})"


def _rows(body: object) -> list[RawKline]:
    if not isinstance(body, list):
        raise TypeError(f"expected a list of candles, got {type(body).__name__}")
    for row in body:
        if not isinstance(row, list):
            raise TypeError(f"expected a list of a candle's fields, got {type(row).__name__}")
    return [raw_kline(row) for row in body]
