"""HTTP to other programs: the one session that asks, and what an answer may cost.

The exchange, its archive and the webhook are all asked through `HttpSession`, python-binance's
requests too. What an answer means is up to those who ask; see `resources.http.headers` for numbers
in headers.
"""

import os
import threading
import time
import weakref
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy

from autonama_dagster.errors import BadAnswerError, ExchangeError, OutageError, SlowAnswerError
from autonama_dagster.system.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK: Final = 1 << 16  # bytes
_LOOK: Final = 0.2  # seconds between two looks at whether the answer is still wanted


@dataclass(frozen=True, slots=True)
class Limits:
    """What one answer may cost.

    Attributes
    ----------
    size
        Bytes, decompressed.
    seconds
        From the request to the last byte of the answer.
    """

    size: int
    seconds: float


class RequestCancelledError(Exception):
    """The answer is no longer wanted."""


class _AnswerTooLongError(requests.RequestException):
    """The answer has more bytes than it may have."""


class _AnswerTooSlowError(requests.RequestException):
    """The answer was not complete in time."""


class HttpSession(requests.Session):
    """A session whose answers are read whole, within limits, from the host that was asked alone.

    - An answer ends at `limits`, however it is compressed and however slowly it drips.
    - A request is given up as soon as `stop` is set, or an exception is raised in the thread that
      waits, as Ctrl-C does: the connection is closed, whatever it is doing.
    - No redirect is followed, no cookie is kept, and no password is looked up in `.netrc`.
    - This machine is never asked through a proxy; for others, the environment's proxies apply.
    - Text is UTF-8, whatever the answer says.

    To be used by one thread at a time; one that has raised is closed and not used again.

    Parameters
    ----------
    timeout
        Seconds to connect, and to wait for the next bytes of an answer.
    limits
        What an answer may cost; may be replaced before a request.
    """

    def __init__(self, *, timeout: float, limits: Limits) -> None:
        super().__init__()
        self.timeout = timeout
        self.limits = limits
        self.stop = threading.Event()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._adapter = _Adapter()
        for scheme in ("http://", "https://"):
            self.mount(scheme, self._adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        """None: no redirect is followed."""
        return

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request and read its answer, from a thread that can be left alone.

        Raises
        ------
        requests.RequestException
            As `requests` does, and where the answer exceeds its limits.
        RequestCancelledError
            `stop` was set.
        """
        if self.stop.is_set():
            raise RequestCancelledError
        options |= {"stream": True, "timeout": self.timeout, **_environment(request.url or "")}
        ends = time.monotonic() + self.limits.seconds
        answer: Future[requests.Response] = Future()
        receive = partial(super().send, request, **options)
        try:
            threading.Thread(
                target=_fulfil, args=(answer, receive, self.limits.size), daemon=True
            ).start()
            self._wait_for(answer, ends)
            return answer.result()
        except BaseException:
            self._adapter.hang_up()
            raise

    def _wait_for(self, answer: "Future[requests.Response]", ends: float) -> None:
        while not answer.done():
            if self.stop.is_set():
                raise RequestCancelledError
            left = ends - time.monotonic()
            if left <= 0:
                raise _AnswerTooSlowError
            wait([answer], min(left, _LOOK))
        # The wait for the next bytes may end in the same moment as all of it: the limit has passed.
        if time.monotonic() >= ends and isinstance(answer.exception(), requests.ReadTimeout):
            raise _AnswerTooSlowError


def _fulfil(
    answer: "Future[requests.Response]",
    receive: "Callable[[], requests.Response]",
    most: int,
) -> None:
    try:
        response = receive()
        response._content = _body(response, most)  # noqa: SLF001  (read whole, as unstreamed)
        response.encoding = "utf-8-sig"
        answer.set_result(response)
    except requests.RequestException as error:
        answer.set_exception(error)
    except BaseException as error:  # noqa: BLE001 - of urllib3, PySocks, ssl: no more is known
        failed = requests.RequestException(type(error).__name__)
        failed.__cause__ = error
        answer.set_exception(failed)


def _body(response: requests.Response, most: int) -> bytes:
    parts, size = [], 0
    with response:  # an answer that is not read to its end takes its connection along
        for part in response.iter_content(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > most:
                raise _AnswerTooLongError
    return b"".join(parts)


class _Adapter(HTTPAdapter):
    """Knows its connections, so that another thread can end what they are doing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._sockets: weakref.WeakSet[Any] = weakref.WeakSet()
        self._is_left = False
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool of a host, direct or through a proxy, whose connections we get to know."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if "ConnectionCls" not in vars(pool):
            pool.ConnectionCls = partial(self._known, pool.ConnectionCls)
        return pool

    def _known(self, kind: "Callable[..., Any]", *args: Any, **kwargs: Any) -> Any:
        connection = kind(*args, **kwargs)
        connection.connect = partial(self._connect, connection, connection.connect)
        with self._lock:
            self._connections.add(connection)
        return connection

    def _connect(self, connection: Any, connect: "Callable[[], None]") -> None:
        connect()
        with self._lock:
            self._sockets.add(connection.sock)
        if self._is_left:  # while it connected
            self.hang_up()

    def hang_up(self) -> None:
        """Shut all connections down: reads end at once, and so does what is still connecting.

        A connection that closes after its answer has already let go of its socket, from which the
        answer still reads: so the sockets are known too.
        """
        self._is_left = True
        with self._lock:
            sockets = {*self._sockets, *(connection.sock for connection in self._connections)}
        for connected in sockets - {None}:
            with suppress(OSError, AttributeError):  # no longer connected; TLS within TLS
                connected.shutdown(SHUT_RDWR)


def _environment(url: str) -> dict[str, Any]:
    """Proxies and certificates that the environment names for a URL."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return {"proxies": _proxies(url), "verify": bundle or True}


def _proxies(url: str) -> dict[str, str]:
    if is_loopback(urlsplit(url).hostname or ""):
        return {}
    return get_environ_proxies(url)


def host_of(url: str) -> str:
    """Host and port of a URL, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def asked(url: str) -> str:
    """Who is asked at a URL, and through which proxy, without passwords."""
    proxy = select_proxy(url, _proxies(url))
    if proxy is None:
        return host_of(url)
    scheme = f"{proxy.partition('://')[0]}://" if "://" in proxy else ""
    shown = scheme + host_of(proxy if scheme else f"//{proxy}")
    names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
    named = [name for n in names for name in (n, n.upper()) if os.environ.get(name)]
    return f"{host_of(url)} through the proxy {'='.join([*named[:1], shown])}"


@contextmanager
def failures(about: str, who: str, setting: str, limits: Limits) -> "Iterator[None]":
    """Say what went wrong on the way in the project's own errors.

    Parameters
    ----------
    about
        What is asked, the start of the message, if any.
    who
        Who is asked: see `asked`.
    setting
        Name of the setting that holds the address.
    limits
        What the answer may cost.
    """
    about = about and f"{about}: "
    check = f"check the connection and {setting}"
    if " through " in who:
        check = f"check the proxy, the connection and {setting}"
    try:
        yield
    except _AnswerTooLongError:
        raise BadAnswerError(
            f"{about}the response from {who} is larger than {limits.size:,} bytes"
        ) from None
    except _AnswerTooSlowError:
        raise SlowAnswerError(
            f"{about}the response from {who} took longer than {limits.seconds:g} s: {check}"
        ) from None
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
        raise BadAnswerError(f"{about}the response from {who} was cut off") from None
    except (requests.Timeout, requests.ConnectionError) as error:
        raise OutageError(f"{about}cannot reach {who} ({type(error).__name__}): {check}") from None
    except requests.RequestException as error:
        kind = type(error.__cause__ or error).__name__
        raise ExchangeError(f"{about}cannot send a request to {who} ({kind}): {check}") from None
