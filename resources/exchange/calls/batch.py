"""Several requests at once, and the rule for when a batch is given up as a whole."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import datetime

from autonama_dagster.errors import (
    BadAnswerError,
    OutageError,
    SymbolFetchError,
    UnusableAnswersError,
)
from autonama_dagster.text.labels import counted
from resources.exchange.base import (
    Klines,
    KlinesRequest,
    Progress,
)
from resources.http.session import RequestCancelledError

OUTAGES_IN_A_ROW = 8

Fetch = Callable[[KlinesRequest, datetime, threading.Event], Klines]


def fetch_many(
    requests: Sequence[KlinesRequest],
    clock: Callable[[], datetime],
    fetch: Fetch,
    threads: int,
    on_progress: Progress | None = None,
) -> dict[str, Klines | SymbolFetchError]:
    """Answers by symbol; a symbol that failed for good has a `SymbolFetchError` in its place.

    The batch is given up, what has not started is not sent, and an error is raised

    - at once for a ban, a refusal of this address or key, and a rate limit that does not end;
    - after 8 outages without an answer between them (or as many as there are requests, if fewer),
      and when more than half of the batch ended in outages;
    - at the end, when two or more requests all brought garbage.

    Parameters
    ----------
    requests
        One a symbol.
    clock
        Gives the time of the batch; asked once, and not at all without requests.
    fetch
        Answers one request as of that time, its retries included; stops waiting when the event is
        set.
    threads
        Requests at the same time.
    on_progress
        Called in this thread after each answer.

    Raises
    ------
    ExchangeError
        By the rule above, or as `clock` raises it.
    ValueError
        If two requests name the same symbol.
    """
    check_one_a_symbol(requests)
    if not requests:
        return {}
    now = clock()
    stop = threading.Event()
    tally = _Tally(len(requests))
    answers: dict[str, Klines | SymbolFetchError] = {}

    def work(request: KlinesRequest) -> Klines:
        try:
            return fetch(request, now, stop)
        except (SymbolFetchError, OutageError):
            raise
        except Exception:
            stop.set()  # here, before this thread takes the next request
            raise

    pool = ThreadPoolExecutor(min(threads, len(requests)), thread_name_prefix="exchange")
    try:
        futures = {pool.submit(work, request): request.symbol for request in requests}
        for future in as_completed(futures):
            if isinstance(future.exception(), RequestCancelledError):
                continue  # the error that stopped the others is still to come
            answers[futures[future]] = tally.count(future)
            if on_progress is not None:
                on_progress(len(answers), len(requests))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    tally.close()
    return {request.symbol: answers[request.symbol] for request in requests}


def check_one_a_symbol(requests: Sequence[KlinesRequest]) -> None:
    """Raise ValueError if two requests name the same symbol: answers are kept by symbol."""
    if len({request.symbol for request in requests}) != len(requests):
        raise ValueError("a batch has one request per symbol: split it")


class _Tally:
    """Counts how the requests of a batch ended, and raises when the batch is to be given up."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._outages = self._outages_in_a_row = self._garbage = 0
        self._last_garbage = ""

    def count(self, future: Future[Klines]) -> Klines | SymbolFetchError:
        try:
            answer: Klines | SymbolFetchError = future.result()
        except OutageError as error:
            return self._count_outage(error)
        except BadAnswerError as error:
            self._garbage += 1
            self._last_garbage = str(error)
            return error
        except SymbolFetchError as error:
            answer = error
        self._outages_in_a_row = 0
        return answer

    def _count_outage(self, error: OutageError) -> SymbolFetchError:
        self._outages += 1
        self._outages_in_a_row += 1
        in_a_row = self._outages_in_a_row >= min(OUTAGES_IN_A_ROW, self._total)
        if in_a_row or 2 * self._outages > self._total:
            raise OutageError(
                f"{error} (gave up: {self._outages} of {counted(self._total, 'request')})"
            )
        return SymbolFetchError(str(error))

    def close(self) -> None:
        if self._garbage == self._total > 1:
            raise UnusableAnswersError(
                f"all {self._total} responses were unusable, the last: {self._last_garbage}"
            )
