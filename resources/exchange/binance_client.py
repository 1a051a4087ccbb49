"""One request to Binance: python-binance clients, request weight, and what each failure means."""

import queue
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

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
from resources.exchange.retry import RetryPolicy
from resources.exchange.throttle import Throttle, parse_date

T = TypeVar("T")
Headers = Mapping[str, str]

# Waiting longer than this for the end of a 429 is the user's decision.
_LONGEST_PAUSE: Final = 300.0
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})")
_LONGEST_QUOTE: Final = 160
_HINTS: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "check BINANCE_API_KEY or unset it, public data needs none",
    HTTPStatus.FORBIDDEN: "this address is blocked: wait, or set AUTONAMA_EXCHANGE_URL",
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: (
        "restricted location: set AUTONAMA_EXCHANGE_TLD=us or AUTONAMA_EXCHANGE_URL"
    ),
}


class BinanceClient:
    """Sends one request at a time per thread, within the throttle, and repeats what may pass.

    A python-binance client holds its last response and one session, so each request borrows a
    client of its own; connections stay open between requests. Keys are handed to python-binance
    and never appear in `repr`, messages or logs.

    Parameters
    ----------
    url
        Base URL; None: Binance's own for `tld`.
    tld
        "com", or "us" for Binance.US.
    api_key, api_secret
        Optional.
    timeout
        Seconds to connect, and to wait for the next bytes of an answer.
    throttle, retry
        Shared by all requests.
    """

    def __init__(
        self,
        *,
        url: str | None,
        tld: str,
        api_key: str | None,
        api_secret: str | None,
        timeout: float,
        throttle: Throttle,
        retry: RetryPolicy,
    ) -> None:
        with warnings.catch_warnings():
            # python-binance imports deprecated names of websockets.
            warnings.simplefilter("ignore", DeprecationWarning)
            from binance.client import Client  # noqa: PLC0415  (0.8 s that only a fetch needs)

        def connect() -> Any:
            client = Client(
                api_key, api_secret, {"timeout": (timeout, timeout)}, tld=tld, ping=False
            )
            client.loop.close()  # made by the constructor, needed for websockets only
            if url is not None:
                client.API_URL = f"{url.rstrip('/')}/api"
            return client

        def redact(text: str) -> str:
            for secret in filter(None, (api_key, api_secret)):
                text = text.replace(secret, "***")
            return text

        self._connect, self._redact = connect, redact
        self._throttle, self._retry = throttle, retry
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        parts = urlsplit(url or f"https://api.binance.{tld}")
        # Without user and password, which a proxy's URL may hold.
        self.host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    def get(
        self,
        ask: Callable[[Any], object],
        weight: int,
        read: Callable[[Any, Headers], T],
        about: str,
        stop: threading.Event,
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

        Raises
        ------
        ExchangeError
            Banned, refused, rate limited or out of reach (`OutageError`), after the retries.
        SymbolFetchError
            HTTP 400, or garbage after the retries.
        """
        return self._retry.run(lambda: self._attempt(ask, weight, read, about, stop))

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
    ) -> T:
        self._throttle.acquire(weight, stop)
        response: requests.Response | None = None
        try:
            with self._borrowed() as client:
                body, response = self._exchange(client, ask, about)
        finally:
            headers: Headers = {} if response is None else response.headers
            used = headers.get("X-MBX-USED-WEIGHT-1M", "")
            self._throttle.settle(
                weight, int(used) if used.isdigit() else None, parse_date(headers.get("Date"))
            )
        if not response.ok:
            self._refuse(response, about)
        try:
            return read(body, response.headers)
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            text = self._quote(f"{error}")
            raise BadAnswerError(f"{about}: {self.host} answers nonsense ({text})") from None

    def _exchange(
        self, client: Any, ask: Callable[[Any], object], about: str
    ) -> tuple[object, requests.Response]:
        """Body and response; the body is None where the answer is no JSON or an error."""
        client.response = None
        try:
            return ask(client), client.response
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            raise BadAnswerError(f"{about}: the answer of {self.host} breaks off") from None
        except (requests.Timeout, requests.ConnectionError) as error:
            raise OutageError(
                f"{about}: {self.host} does not answer ({type(error).__name__}): "
                "check the connection and AUTONAMA_EXCHANGE_URL"
            ) from None
        except requests.RequestException as error:
            raise ExchangeError(
                f"{about}: {self.host} cannot be asked ({type(error).__name__}): "
                "check AUTONAMA_EXCHANGE_URL"
            ) from None
        except Exception:
            # python-binance's own errors, and those it makes of unexpected bodies, hold the
            # request with its headers: only the response is looked at.
            if client.response is None:
                raise
            return None, client.response

    def _refuse(self, response: requests.Response, about: str) -> NoReturn:
        """Raise what an HTTP error means: wait, try again, this symbol, or the whole exchange."""
        status, said = response.status_code, self._quote(_message(response))
        answer = f"{about}: {self.host} answers HTTP {status}{said and f' ({said})'}"
        if status == HTTPStatus.IM_A_TEAPOT:
            self._ban(response, said)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            seconds = _retry_after(response) or self._throttle.seconds_to_next_minute()
            if seconds > _LONGEST_PAUSE:
                raise ExchangeError(f"{answer}: try again in {seconds / 60:.0f} minutes")
            self._throttle.pause(seconds)
            raise RateLimitedError(f"{answer}: lower AUTONAMA_EXCHANGE_WEIGHT_PER_MINUTE")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            raise OutageError(f"{answer}: try again later")
        if status == HTTPStatus.BAD_REQUEST:
            raise SymbolFetchError(f"{answer}: check the symbol")
        raise ExchangeError(f"{answer}: {_HINTS.get(status, 'check AUTONAMA_EXCHANGE_URL')}")

    def _ban(self, response: requests.Response, said: str) -> NoReturn:
        until = None
        if seconds := _retry_after(response):
            until = datetime.now(UTC) + timedelta(seconds=seconds)
        elif found := _BANNED_UNTIL.search(said):
            until = from_ms(int(found[1]))
        when = f"until {until:%Y-%m-%d %H:%M:%S} UTC" if until else "without saying how long"
        message = (
            f"{self.host} banned this address {when} (HTTP 418): wait, "
            "then lower AUTONAMA_EXCHANGE_WEIGHT_PER_MINUTE"
        )
        self._throttle.ban(message, until)
        raise ExchangeBannedError(message)

    def _quote(self, text: str) -> str:
        """The exchange's own words on one short line, without our keys."""
        return self._redact(" ".join(text.split()))[:_LONGEST_QUOTE]

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
        finally:
            self._idle.put(client)


def _message(response: requests.Response) -> str:
    """Code and message of Binance's error body; empty for anything else."""
    try:
        body = response.json()
        return f"{body['code']}: {body['msg']}"
    except (ValueError, TypeError, LookupError):
        return ""


def _retry_after(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
