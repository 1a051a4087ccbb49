"""One request to Binance: python-binance clients, request weight, and what each failure means."""

import queue
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeVar

import requests

from autonama_dagster.errors import (
    BadAnswerError,
    ExchangeBannedError,
    ExchangeError,
    OutageError,
    RateLimitedError,
    SymbolFetchError,
)
from resources.exchange.base import from_ms
from resources.exchange.calls.retry import RetryPolicy
from resources.exchange.calls.throttle import Throttle
from resources.http.headers import LONGEST_SILENCE, Headers, date_of, retry_after, whole_number
from resources.http.session import HttpSession, Limits, asked, failures, host_of

T = TypeVar("T")

SMALL: Final = 2 << 20
"""Bytes that any answer may have; a thousand candles have some 200,000."""
LARGE: Final = 32 << 20
"""Bytes that the list of all pairs may have, which grows with them."""

# Waiting longer than this for the end of a 429 is the user's decision.
_LONGEST_PAUSE: Final = timedelta(minutes=5)
_BANNED_UNTIL: Final = re.compile(r"banned until ([0-9]{13})")
_MINUTE: Final = timedelta(minutes=1)
_LONGEST_QUOTE: Final = 160
_SETTING: Final = "AUTONAMA_EXCHANGE_URL"
_SYMBOL_FAULTS: Final = ("-1121:", "-1100:")  # no such symbol; characters that no symbol has
_HINTS: Final[dict[int, str]] = {
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "put the proxy's login into its URL",
    HTTPStatus.FORBIDDEN: "this address is blocked: wait, or set AUTONAMA_EXCHANGE_URL",
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: (
        "restricted location: set AUTONAMA_EXCHANGE_TLD=us or AUTONAMA_EXCHANGE_URL"
    ),
}


class BinanceClient:
    """Sends one request at a time per thread, within the throttle, and repeats what may pass.

    A python-binance client holds its last response and one session, so each request borrows a
    client of its own; connections stay open between requests. Market data is public: no key is
    sent.

    Parameters
    ----------
    url
        Base URL; None: Binance's own for `tld`.
    tld
        "com", or "us" for Binance.US.
    timeout, deadline
        Seconds to connect, and to wait for the next bytes of an answer; seconds for all of it.
    throttle, retry
        Shared by all requests.
    """

    def __init__(
        self,
        *,
        url: str | None,
        tld: str,
        timeout: float,
        deadline: float,
        throttle: Throttle,
        retry: RetryPolicy,
    ) -> None:
        with warnings.catch_warnings():
            # python-binance imports deprecated names of websockets.
            warnings.simplefilter("ignore", DeprecationWarning)
            from binance.client import Client  # noqa: PLC0415  (0.8 s that only a fetch needs)

        def connect() -> Any:
            client = Client(tld=tld, ping=False)
            client.loop.close()  # made by the constructor, needed for websockets only
            headers, client.session = (
                client.session.headers,
                HttpSession(timeout=timeout, limits=Limits(SMALL, deadline)),
            )
            client.session.headers.update(headers)
            if url is not None:
                client.API_URL = f"{url.rstrip('/')}/api"
            return client

        self._connect, self._deadline = connect, deadline
        self._throttle, self._retry = throttle, retry
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        address = url or f"https://api.binance.{tld}"
        self.host, self._who = host_of(address), asked(address)

    def get(
        self,
        ask: Callable[[Any], object],
        weight: int,
        read: Callable[[Any, Headers], T],
        about: str,
        stop: threading.Event,
        most: int = SMALL,
    ) -> T:
        """Answer to one request, its retries included.

        Parameters
        ----------
        ask
            Calls one method of a python-binance client.
        weight
            Request weight of that method.
        read
            Makes the result of the JSON body and the headers; raises ValueError, TypeError,
            LookupError or OverflowError on garbage.
        about
            What is asked, the start of every message.
        stop
            Set when the answer is no longer wanted.
        most
            Bytes that the answer may have.

        Raises
        ------
        ExchangeError
            Banned, refused, rate limited or out of reach (`OutageError`), after the retries.
        SymbolFetchError
            HTTP 400, or garbage after the retries.
        RequestCancelledError
            `stop` was set.
        """
        limits = Limits(most, self._deadline)
        return self._retry.run(lambda: self._attempt(ask, weight, read, about, stop, limits), stop)

    def close(self) -> None:
        """Close the connections that are not in use."""
        while True:
            try:
                self._idle.get_nowait().close_connection()
            except queue.Empty:
                return

    def _attempt(
        self,
        ask: Callable[[Any], object],
        weight: int,
        read: Callable[[Any, Headers], T],
        about: str,
        stop: threading.Event,
        limits: Limits,
    ) -> T:
        self._throttle.acquire(weight, stop)
        headers: Headers = {}
        try:
            with self._borrowed() as client, failures(about, self._who, _SETTING, limits):
                client.session.stop, client.session.limits = stop, limits
                body, response = _exchange(client, ask)
            headers = response.headers
        finally:
            used = whole_number(headers, "X-MBX-USED-WEIGHT-1M")
            self._throttle.settle(weight, used, date_of(headers))
        if not HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            self._refuse(response, about)
        try:
            return read(body, headers)
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
            text = _quote(f"{error}")
            raise BadAnswerError(
                f"{about}: {self._who} sent an unusable response ({text})"
            ) from None

    def _refuse(self, response: requests.Response, about: str) -> NoReturn:
        """Raise what an HTTP error means: wait, try again, this symbol, or the whole exchange."""
        status, said = response.status_code, _quote(_message(response))
        answer = f"{about}: {self._who} returned HTTP {status}{said and f' ({said})'}"
        if status == HTTPStatus.IM_A_TEAPOT:
            self._ban(response, said)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            pause = retry_after(response.headers) or timedelta(
                seconds=self._throttle.seconds_to_next_minute()
            )
            if pause > _LONGEST_PAUSE:
                raise ExchangeError(f"{answer}: try again in {pause / _MINUTE:.0f} minutes")
            self._throttle.pause(pause.total_seconds())
            raise RateLimitedError(f"{answer}: lower AUTONAMA_EXCHANGE_WEIGHT_PER_MINUTE")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            raise OutageError(f"{answer}: try again later")
        if response.is_redirect:
            raise ExchangeError(
                f"{answer}, a redirect, which is not followed: set {_SETTING} to the final address"
            )
        if status == HTTPStatus.BAD_REQUEST:
            if said.startswith(_SYMBOL_FAULTS):
                raise SymbolFetchError(f"{answer}: check the symbol")
            # The exchange's own words say what is wrong; who has none is no such exchange.
            raise SymbolFetchError(answer if said else f"{answer}: check {_SETTING}")
        raise ExchangeError(f"{answer}: {_HINTS.get(status, f'check {_SETTING}')}")

    def _ban(self, response: requests.Response, said: str) -> NoReturn:
        until, now = None, datetime.now(UTC)
        if silence := retry_after(response.headers):
            until = now + silence
        elif found := _BANNED_UNTIL.search(said):
            until = min(from_ms(int(found[1])), now + LONGEST_SILENCE)
        when = f"until {until:%Y-%m-%d %H:%M:%S} UTC" if until else "for an unknown time"
        message = (
            f"{self.host} banned this address {when} (HTTP 418): wait, "
            "then lower AUTONAMA_EXCHANGE_WEIGHT_PER_MINUTE"
        )
        self._throttle.ban(message, until)
        raise ExchangeBannedError(message)

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        try:
            client = self._idle.get_nowait()
        except queue.Empty:
            # The constructor wants the thread's event loop and makes one where none is; in the
            # main thread that is deprecated, and changes the loop of the program around us.
            with ThreadPoolExecutor(1) as thread:
                client = thread.submit(self._connect).result()
        try:
            yield client
        except BaseException:
            client.close_connection()
            raise
        self._idle.put(client)


def _exchange(client: Any, ask: Callable[[Any], object]) -> tuple[object, requests.Response]:
    """Body and response; the body is None where the answer is no JSON or an error."""
    client.response = None
    try:
        return ask(client), client.response
    except Exception:
        # python-binance's own errors, and those it makes of unexpected bodies, hold the request
        # with its headers: only the response is looked at.
        if client.response is None:
            raise
        return None, client.response


def _quote(text: str) -> str:
    """The exchange's own words on one short line."""
    return " ".join(text.split())[:_LONGEST_QUOTE]


def _message(response: requests.Response) -> str:
    """Code and message of Binance's error body; empty for anything else."""
    try:
        body = response.json()
        return f"{body['code']}: {body['msg']}"
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
