"""An exchange that remembers its answers, for programs that run several steps in one process."""

import json
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import RawKline
from autonama_dagster.errors import OutageError, SymbolFetchError, UnusableAnswersError
from resources.exchange.base import (
    Exchange,
    Klines,
    KlinesRequest,
    Progress,
    SymbolInfo,
    to_ms,
)
from resources.exchange.calls.batch import check_one_a_symbol


@dataclass(frozen=True, slots=True)
class _Block:
    """An answer with its rows packed: as tuples of strings they take three times the memory."""

    answer: Klines  # without rows
    open_times: tuple[int, ...]
    rows: tuple[bytes, ...]

    @classmethod
    def pack(cls, answer: Klines) -> "_Block":
        return cls(
            replace(answer, rows=()),
            tuple(row.open_time for row in answer.rows),
            tuple(json.dumps(row, separators=(",", ":")).encode() for row in answer.rows),
        )

    def contains(self, request: KlinesRequest) -> bool:
        """Whether the range lies in this block and all its candles had closed."""
        is_inside = self.answer.start <= request.start and request.end <= self.answer.end
        return is_inside and _all_closed_by(self.answer.asked_at, request)

    def part(self, request: KlinesRequest) -> Klines:
        first = bisect_left(self.open_times, request.start_ms)
        stop = bisect_left(self.open_times, request.end_ms)
        rows = tuple(RawKline(*json.loads(row)) for row in self.rows[first:stop])
        return replace(self.answer, start=request.start, end=request.end, rows=rows)


class MemoExchange:
    """Serves a range that lies in an earlier answer from memory, and fetches announced spans whole.

    An answer speaks only for candles that had closed when it was given; a range that reaches
    beyond is asked for again. Time and symbols are never remembered, nor are failures. Blocks are
    kept until `close`, packed: a scan's 600 of up to 1,000 candles take
    150 MB at most.

    Parameters
    ----------
    exchange
        Where answers come from; it is closed with this object.
    on_progress
        Reports of every batch whose caller gives none of its own.
    """

    def __init__(self, exchange: Exchange, on_progress: Progress | None = None) -> None:
        self._exchange = exchange
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._blocks: defaultdict[tuple[str, str], list[_Block]] = defaultdict(list)
        self._expected: defaultdict[tuple[str, str], list[KlinesRequest]] = defaultdict(list)

    @property
    def name(self) -> str:
        """Name of the exchange behind."""
        return self._exchange.name

    @property
    def source(self) -> Exchange:
        """The exchange behind, for who wants its answer of today."""
        return self._exchange

    @property
    def knows_delisted(self) -> bool:
        """What the exchange behind knows."""
        return self._exchange.knows_delisted

    def server_time(self) -> datetime:
        """The exchange's clock, asked anew each time."""
        return self._exchange.server_time()

    def symbols(self, quote: str = "USDT") -> list[SymbolInfo]:
        """The exchange's pairs, asked anew each time."""
        return self._exchange.symbols(quote)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the exchange behind left out of its latest list of pairs."""
        return self._exchange.left_out

    def expect(self, symbol: str, interval: str, start: datetime, end: datetime) -> None:
        """Announce that parts of [start, end) will be asked for.

        The first request inside the span fetches all of it; the others are served from memory.
        """
        span = KlinesRequest(symbol, interval, start, end)
        with self._lock:
            self._expected[symbol, interval].append(span)

    def klines_many(
        self, requests: Sequence[KlinesRequest], on_progress: Progress | None = None
    ) -> dict[str, Klines | SymbolFetchError]:
        """Closed candles of many symbols; see `CandleSource.klines_many`."""
        check_one_a_symbol(requests)
        on_progress = on_progress or self._on_progress
        answers: dict[str, Klines | SymbolFetchError] = {}
        missing = []
        for request in requests:
            if known := self._recall(request):
                answers[request.symbol] = known
            else:
                missing.append(request)
        served = len(answers)
        if on_progress is not None and served:
            on_progress(served, len(requests))

        def report(done: int, _: int) -> None:
            if on_progress is not None:
                on_progress(served + done, len(requests))

        spans = [self._widen(request) for request in missing]
        fetched = self._fetch(spans, report, served)
        for request in missing:
            answer = fetched[request.symbol]
            if isinstance(answer, Klines):
                self._keep(answer)
                answer = answer.within(request.start, request.end)
            answers[request.symbol] = answer
        return {request.symbol: answers[request.symbol] for request in requests}

    def _fetch(
        self, spans: Sequence[KlinesRequest], report: Progress, served: int
    ) -> Mapping[str, Klines | SymbolFetchError]:
        """Answers of the exchange behind.

        What fails for a minority of a batch, the rest of which was answered before, is theirs and
        not the exchange's: the others go on.
        """
        try:
            return self._exchange.klines_many(spans, report)
        except (OutageError, UnusableAnswersError) as error:
            if len(spans) > served:
                raise
            return {span.symbol: SymbolFetchError(str(error)) for span in spans}

    def close(self) -> None:
        """Forget everything and close the exchange behind."""
        with self._lock:
            self._blocks.clear()
            self._expected.clear()
        self._exchange.close()

    def _recall(self, request: KlinesRequest) -> Klines | None:
        with self._lock:
            blocks = self._blocks[request.symbol, request.interval]
            block = next((block for block in blocks if block.contains(request)), None)
        return block.part(request) if block else None

    def _widen(self, request: KlinesRequest) -> KlinesRequest:
        """The announced span the request lies in, which is used up by that, or the request."""
        with self._lock:
            spans = self._expected[request.symbol, request.interval]
            for span in spans:
                if span.start <= request.start and request.end <= span.end:
                    spans.remove(span)
                    return span
        return request

    def _keep(self, answer: Klines) -> None:
        new = _Block.pack(answer)
        with self._lock:
            blocks = self._blocks[answer.symbol, answer.interval]
            blocks[:] = [
                block
                for block in blocks
                if block.answer.start < answer.start or answer.end < block.answer.end
            ]
            blocks.append(new)


def _all_closed_by(time: datetime, request: KlinesRequest) -> bool:
    """Whether every candle that opens in the request's range had closed before `time`."""
    grid = INTERVALS[request.interval]
    forming = max(request.start_ms, grid.newest_closed_ms(to_ms(time)) + 1)
    return not grid.opens_between(forming, request.end_ms)
