"""The replay exchange as a Starlette application: one pipeline for every request.

Weight is charged first, then faults are drawn, then the market answers, then faults change what it
said. The paths under `/replay` steer a running exchange from another process.
"""

import asyncio
import contextlib
import logging
import re
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from autonama_dagster.errors import InputError
from autonama_dagster.replay.clock import Clock
from autonama_dagster.replay.corruption import corrupt, replacement
from autonama_dagster.replay.faults import Fault, Faults
from autonama_dagster.replay.limits import WeightLimiter, request_weight
from autonama_dagster.replay.market.candles import Market
from autonama_dagster.replay.protocols.binance_spot import (
    Call,
    Reply,
    answer,
    error_reply,
    refusal,
    to_json,
)
from autonama_dagster.system.web_guard import Guard, Guarded

WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
DRIP_SECONDS = 1.0
KEPT_REQUESTS = 100_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RequestRecord:
    """One request that the exchange answered; `faults` are the kinds committed on it."""

    path: str
    params: Mapping[str, str]
    status: int
    weight: int
    faults: tuple[str, ...] = ()


class RequestLog:
    """The newest requests, safe to read from other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: deque[RequestRecord] = deque(maxlen=KEPT_REQUESTS)

    def append(self, record: RequestRecord) -> None:
        """Keep a request."""
        with self._lock:
            self._records.append(record)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._records.clear()

    def records(self) -> list[RequestRecord]:
        """The requests kept, oldest first."""
        with self._lock:
            return list(self._records)

    def summary(self) -> dict[str, Any]:
        """Number of requests, their weight, and counts by path and by status."""
        records = self.records()
        return {
            "requests": len(records),
            "weight": sum(record.weight for record in records),
            "by_path": Counter(record.path for record in records),
            "by_status": Counter(str(record.status) for record in records),
        }


class _BrokenResponse(Response):
    """Announces its whole body, sends half, and leaves the server to drop the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class _DrippingResponse(Response):
    """Sends a byte a second, for as long as the client listens."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        for byte in self.body:
            part = {"type": "http.response.body", "body": bytes([byte]), "more_body": True}
            await send(part)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_disconnected(receive), DRIP_SECONDS)
                return


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_BODIES: Mapping[str, type[Response]] = {"reset": _BrokenResponse, "drip": _DrippingResponse}


class ReplayExchange:
    """Answers Binance's spot REST requests from a market, at a clock, with faults.

    Parameters
    ----------
    market
        Where the candles come from.
    clock
        What time it is; nothing later is ever served.
    faults
        What goes wrong.
    limiter
        Counts request weight.
    """

    def __init__(
        self, market: Market, clock: Clock, faults: Faults, limiter: WeightLimiter
    ) -> None:
        self.market = market
        self.clock = clock
        self.faults = faults
        self.limiter = limiter
        self.log = RequestLog()

    def application(self) -> Guarded:
        """The ASGI application, which no page of another server may ask to change its clock."""
        app = Starlette(
            routes=[
                Route("/api/v3/{endpoint:path}", self._exchange),
                Route("/replay/requests", self._requests, methods=["GET"]),
                Route("/replay/clock", self._set_clock, methods=["POST"]),
                Route("/replay/faults", self._set_faults, methods=["POST"]),
            ]
        )
        return Guarded(app, Guard())

    async def _exchange(self, request: Request) -> Response:
        endpoint = str(request.path_params["endpoint"])
        params = dict(request.query_params)
        weight = request_weight(endpoint, has_symbol="symbol" in params)
        verdict = self.limiter.charge(weight)
        faults: list[Fault] = []
        if verdict.status == HTTPStatus.OK:
            faults = self.faults.hit(endpoint, params)
            reply = self._reply(endpoint, params, faults)
        else:
            reply = refusal(verdict, self.limiter.limit)
        kinds = tuple(fault.kind for fault in faults)
        self.log.append(RequestRecord(request.url.path, params, reply.status, weight, kinds))
        delay = sum(fault.seconds for fault in faults if fault.kind == "timeout")
        await asyncio.sleep(delay)
        kind = next((_BODIES[kind] for kind in kinds if kind in _BODIES), Response)
        response = _response(reply, kind)
        response.headers.setdefault(WEIGHT_HEADER, str(verdict.used))
        return response

    def _reply(self, endpoint: str, params: Mapping[str, str], faults: list[Fault]) -> Reply:
        now_ms = self.clock.now_ms()
        for fault in faults:
            reply = replacement(fault, now_ms)
            if reply is not None:
                return reply
        offset_ms = sum(round(1000 * fault.seconds) for fault in faults if fault.kind == "clock")
        call = Call(self.market, params, now_ms, now_ms + offset_ms, self.limiter.limit)
        try:
            reply = answer(endpoint, call)
        except Exception as error:
            logger.exception("the replay exchange cannot answer %s %s", endpoint, dict(params))
            return error_reply(HTTPStatus.INTERNAL_SERVER_ERROR, -1000, str(error))
        for fault in faults:
            reply = corrupt(reply, fault, params.get("interval", ""), now_ms)
        return reply

    async def _requests(self, request: Request) -> Response:
        summary = self.log.summary()
        last = request.query_params.get("last", "0")
        if re.fullmatch("[0-9]{1,9}", last) and int(last):
            summary["last"] = [asdict(record) for record in self.log.records()[-int(last) :]]
        return _response(Reply(to_json(summary)))

    async def _set_clock(self, request: Request) -> Response:
        try:
            self.clock.set(str((await _json_object(request)).get("now")))
        except InputError as error:
            return _refuse(error)
        return _response(Reply(to_json({"serverTime": self.clock.now_ms()})))

    async def _set_faults(self, request: Request) -> Response:
        try:
            texts = _fault_texts(await _json_object(request))
            faults = [Fault.parse(text) for text in texts]
        except InputError as error:
            return _refuse(error)
        self.faults.replace(*faults)
        return _response(Reply(to_json({"faults": texts})))


def _response(reply: Reply, kind: type[Response] = Response) -> Response:
    return kind(reply.body, int(reply.status), dict(reply.headers), reply.media_type)


def _refuse(error: InputError) -> Response:
    return _response(Reply(to_json({"error": str(error)}), HTTPStatus.BAD_REQUEST))


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        payload = await request.json()
    except ValueError as error:
        raise InputError(f"the request body is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise InputError("the request body is not a JSON object")
    return payload


def _fault_texts(payload: Mapping[str, Any]) -> list[str]:
    texts = payload.get("faults")
    if not isinstance(texts, list):
        raise InputError('send {"faults": ["429:every=10"]}, or an empty list to stop the faults')
    return list(map(str, texts))
