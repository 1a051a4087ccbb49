"""Runs the replay exchange: in the foreground for the CLI, in a thread for tests and benchmarks."""

import contextlib
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

import uvicorn

from autonama_dagster.errors import AutonamaError, InputError
from autonama_dagster.replay.app import ReplayExchange, RequestRecord
from autonama_dagster.replay.clock import Clock
from autonama_dagster.replay.faults import Faults
from autonama_dagster.replay.limits import DEFAULT_LIMIT, WeightLimiter
from autonama_dagster.replay.market.candles import Market

MARKET_HEADER = "X-Autonama-Market"
HOST = "127.0.0.1"
START_SECONDS = 30


class _Server(uvicorn.Server):
    """A uvicorn server that says when it listens."""

    def __init__(self, exchange: ReplayExchange, on_listening: Callable[[], object]) -> None:
        # A delayed answer must not hold up the end: unfinished requests are dropped.
        config = uvicorn.Config(
            exchange.application(),
            headers=[(MARKET_HEADER, exchange.market.label)],
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=0,
        )
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._on_listening()


def _bind(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise InputError(
            f"cannot listen on {host} port {port}: {error};"
            " stop the program that uses it or choose another --port"
        ) from error
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()
    return f"http://{host}:{port}"


def serve(
    market: Market,
    *,
    clock: Clock,
    faults: Faults,
    host: str = HOST,
    port: int = 0,
    weight_limit: int = DEFAULT_LIMIT,
    on_ready: Callable[[str], object],
) -> None:
    """Serve a market until the process is told to stop (SIGINT or SIGTERM).

    Parameters
    ----------
    market
        Where the candles come from.
    clock
        What time the exchange believes it is.
    faults
        What goes wrong.
    host, port
        Address to listen on; port 0 takes a free one.
    weight_limit
        Request weight allowed per minute.
    on_ready
        Called with the URL once the exchange listens.

    Raises
    ------
    InputError
        If the port is taken.
    """
    exchange = ReplayExchange(market, clock, faults, WeightLimiter(weight_limit))
    bound = _bind(host, port)
    url = _url(bound)
    server = _Server(exchange, lambda: on_ready(url))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[bound])


class ReplayServer:
    """A replay exchange in a background thread, on a free port of the loopback interface.

    Use it as a context manager. Everything but the market can be changed while it serves.

    Parameters
    ----------
    market
        Where the candles come from.
    now
        Instant at which the clock is frozen; None follows the machine's clock.
    faults
        What goes wrong; also an attribute, to change it.
    limiter
        Counts request weight.
    port
        Port to listen on; 0 takes a free one.

    Raises
    ------
    InputError
        If the port is taken.
    """

    def __init__(
        self,
        market: Market,
        *,
        now: datetime | str | None = None,
        faults: Faults | None = None,
        limiter: WeightLimiter | None = None,
        port: int = 0,
    ) -> None:
        self.clock = Clock(now)
        self.faults = faults or Faults()
        self._exchange = ReplayExchange(market, self.clock, self.faults, limiter or WeightLimiter())
        self._port = port
        self.url = ""

    def __enter__(self) -> Self:
        bound = _bind(HOST, self._port)
        listening = threading.Event()
        self._server = _Server(self._exchange, listening.set)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [bound]}, name="replay", daemon=True
        )
        self._thread.start()
        if not listening.wait(START_SECONDS):
            raise AutonamaError(f"the replay exchange did not start within {START_SECONDS} s")
        self.url = _url(bound)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests answered so far, oldest first."""
        return self._exchange.log.records()

    def clear_requests(self) -> None:
        """Forget the requests answered so far."""
        self._exchange.log.clear()

    def set_now(self, now: datetime | str) -> None:
        """Freeze the clock at another instant."""
        self.clock.set(now)
