"""What an installation serves over HTTP: metrics for Prometheus, and the pictures of its signals.

A picture is drawn when it is asked for. What that needs (pandas, matplotlib) is imported by the
first request for one, so that a server that is only scraped stays small.
"""

import logging
import re
import socket
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from autonama_dagster.errors import AutonamaError, InputError
from autonama_dagster.services.monitoring.metrics import ProjectCollector
from autonama_dagster.settings import Settings
from autonama_dagster.system.loopback import is_loopback
from autonama_dagster.system.web_guard import Guard
from resources.postgres.roles.readers import find_databases

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

METRICS_PATH: Final = "/metrics"
PATIENCE_S: Final = 30.0  # for the pictures that others asked for before

_PICTURE: Final = re.compile(r"/explain/([\w.-]{1,50})/([0-9]{4}-[0-9]{2}-[0-9]{2})\.png")
_TEXT: Final = "text/plain; charset=utf-8"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Status, content and content type of a response."""

    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT


class Pictures:
    """Draws the signals of a project, as `autonama explain --format png` does.

    Parameters
    ----------
    settings
        Of the project.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    def answer(self, path: str) -> Answer:
        """The picture at a path, or one line that says why there is none; never an error.

        One is drawn at a time, so that a page full of them takes one connection of the database.
        """
        if (found := _parsed(path)) is None:
            return _line(
                HTTPStatus.NOT_FOUND,
                f"not found: metrics are at {METRICS_PATH}, the picture of a signal at "
                "/explain/BTCUSDT/2023-12-29.png",
            )
        if not self._lock.acquire(timeout=PATIENCE_S):
            return _line(HTTPStatus.SERVICE_UNAVAILABLE, "busy with other pictures; try again")
        try:
            return self._draw(*found)
        except InputError as error:
            return _line(HTTPStatus.NOT_FOUND, str(error))
        except AutonamaError as error:
            _log.warning("%s: %s", path, error)  # it may name the database, so for the log alone
            return _line(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "cannot reach the database; run `autonama status` for details",
            )
        except Exception:  # noqa: BLE001  # a reader gets one line, whatever it is
            _log.exception("cannot draw %s", path)
            return _line(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "cannot draw the picture; see this server's log",
            )
        finally:
            self._lock.release()

    def _draw(self, symbol: str, day: date) -> Answer:
        from autonama_dagster.services.lineage.receipt_picture import draw_receipt  # noqa: PLC0415
        from autonama_dagster.services.lineage.receipts import read_receipt  # noqa: PLC0415
        from resources.warehouse.warehouse import Warehouse  # noqa: PLC0415

        url = find_databases(self._settings).project  # a request starts and migrates no database
        with closing(Warehouse(lambda: url, reads=True)) as warehouse:
            receipt = read_receipt(warehouse, self._settings, symbol, day)
            png = draw_receipt(warehouse, self._settings, receipt)
        return Answer(HTTPStatus.OK, png, "image/png")


@dataclass(frozen=True)
class WebServer:
    """A running server; `url` is its address without a path."""

    url: str
    _server: WSGIServer
    _thread: threading.Thread

    @property
    def metrics_url(self) -> str:
        """What Prometheus scrapes."""
        return f"{self.url}{METRICS_PATH}"

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Wait until somebody closes it."""
        self._thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request; none of them keeps the process from ending."""

    daemon_threads = True

    def __init__(self, host: str, port: int, serve: "WSGIApplication") -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self.address_family, *_, address = found[0]
        super().__init__((str(address[0]), port), _Handler)
        self.set_app(serve)


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing for a request."""


def start_web_server(settings: Settings, host: str, port: int) -> WebServer:
    """Serve metrics and pictures from a thread of this process; the caller has checked the host.

    Nothing is read before the first request. A lost database is a metric, not an error, and for a
    picture a status of the response.

    Parameters
    ----------
    settings
        Of the project.
    host, port
        Where to listen; port 0: any free one.

    Raises
    ------
    InputError
        The address cannot be listened on.
    """
    try:
        # Where it serves a network, it goes by names that only that network knows.
        is_local = is_loopback(host)
        guard = Guard(host, settings.pictures_url, "AUTONAMA_PICTURES_URL") if is_local else None
        server = _Server(host, port, application(settings, guard))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"--host {host} --port {port}: cannot listen ({reason}); "
            "stop the program that uses it or choose another --port"
        ) from None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    return WebServer(f"http://{shown}:{server.server_port}", server, thread)


def application(settings: Settings, guard: Guard | None = None) -> "WSGIApplication":
    """The WSGI application: metrics at `/metrics`, pictures below `/explain`; all of it is read."""
    registry = CollectorRegistry()
    registry.register(ProjectCollector(settings))
    metrics = make_wsgi_app(registry)
    pictures = Pictures(settings)

    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        hosts = [("host", environ["HTTP_HOST"])] if "HTTP_HOST" in environ else []
        if guard is not None and (reason := guard.refusal(hosts, is_read=True)):
            start_response("403 Forbidden", [("Content-Type", _TEXT)])
            return [_line(HTTPStatus.FORBIDDEN, reason).body]
        if environ["PATH_INFO"] == METRICS_PATH:
            found: Iterable[bytes] = metrics(environ, start_response)
            return found
        method = environ["REQUEST_METHOD"]
        if method in {"GET", "HEAD"}:
            # WSGI gives the path's bytes as Latin-1.
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
            answer = pictures.answer(path)
        else:
            answer = _line(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are allowed")
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Cache-Control", "no-cache"),  # rows may be made again
            ("X-Content-Type-Options", "nosniff"),
        ]
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        start_response(f"{answer.status.value} {answer.status.phrase}", headers)
        return [] if method == "HEAD" else [answer.body]

    return serve


def _parsed(path: str) -> tuple[str, date] | None:
    """Symbol and day of a picture's path; None: it is no picture's."""
    found = _PICTURE.fullmatch(path)
    if found is None:
        return None
    try:
        return found[1], date.fromisoformat(found[2])
    except ValueError:
        return None


def _line(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, f"{text}\n".encode())
