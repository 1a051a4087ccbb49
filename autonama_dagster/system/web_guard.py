"""Which HTTP requests a server of this machine answers: none that another page has a browser send.

A browser sends a page's requests to 127.0.0.1 too, so whoever is asked to open a page could drive
what listens there. Two things give such a request away. Its `Host` is a name of the page's, where
the page had its own name point to 127.0.0.1 (DNS rebinding). And `Origin` or `Sec-Fetch-Site`,
which no page can change, say that another page sends it. Programs send neither and are answered.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from autonama_dagster.system.loopback import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?")
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})  # "none": typed, or a bookmark
_FRAMES: Final = (b"x-frame-options", b"SAMEORIGIN")  # nobody clicks through another page


@dataclass(frozen=True)
class Guard:
    """Refuses requests of other pages.

    Parameters
    ----------
    listens_on
        Address that the server listens on. Where other machines reach it, every literal address of
        it is good as a `Host`: only a name can be made to point elsewhere.
    public_url
        What users open, where it is not the server itself but a proxy before it.
    setting
        Name of the setting that holds `public_url`; None where there is none.
    """

    listens_on: str = "127.0.0.1"
    public_url: str | None = None
    setting: str | None = None

    def refusal(self, headers: Iterable[tuple[str, str]], *, is_read: bool) -> str | None:
        """Why the request is refused, in one line; None: it is answered.

        Parameters
        ----------
        headers
            Names in lower case and values; a name may come more than once.
        is_read
            Whether it can change nothing; others must come from a page of this server, or none.
        """
        found: dict[str, list[str]] = {}
        for name, value in headers:
            found.setdefault(name, []).append(value)
        hosts = found.get("host", [])
        if len(hosts) > 1 or not all(map(self._is_ours, hosts)):  # only old programs send none
            hint = f"; to allow it, set {self.setting}" if self.setting else ""
            return f"Host {', '.join(hosts)[:100]}: not a name of this server{hint}"
        if is_read:
            return None
        origins = found.get("origin", [])
        sites = found.get("sec-fetch-site", [])
        is_same = all(self._is_same(origin, host) for origin in origins for host in hosts or [""])
        if is_same and _OWN_SITE.issuperset(sites):
            return None
        return "only this server's own pages may make changes"

    def _is_ours(self, host: str) -> bool:
        if (found := _HOST.fullmatch(host)) is None:
            return False
        name = found[1].strip("[]").lower()
        if is_loopback(name) or name in {self.listens_on.lower(), _hostname(self.public_url)}:
            return True
        return not is_loopback(self.listens_on) and _address(name) is not None

    def _is_same(self, origin: str, host: str) -> bool:
        """Whether a page of the origin is ours: same host and port as the request, or public."""
        if self.public_url is not None and origin.lower() == _origin(self.public_url):
            return True
        scheme, _, place = origin.partition("://")
        return scheme in {"http", "https"} and place.lower() == host.lower()


class Guarded:
    """An ASGI application behind a guard.

    Parameters
    ----------
    app
        What is guarded.
    guard
        Which requests are let through.
    """

    def __init__(self, app: "ASGIApp", guard: Guard) -> None:
        self._app = app
        self._guard = guard

    def refusal(self, scope: "Scope") -> str | None:
        """Why the request is refused; a web socket can do what it likes, so it is no read."""
        headers = [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in scope["headers"]]
        is_read = scope["type"] == "http" and scope["method"] in READS
        return self._guard.refusal(headers, is_read=is_read)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer, or refuse with 403 and one line."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        if (reason := self.refusal(scope)) is not None:
            await _refuse(scope, send, reason)
            return

        async def send_unframed(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], _FRAMES]}
            await send(message)

        await self._app(scope, receive, send_unframed)


async def _refuse(scope: "Scope", send: "Send", reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # 403, as it is not accepted yet
        return
    body = f"{reason}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _hostname(url: str | None) -> str | None:
    try:
        return urlsplit(url or "").hostname or None
    except ValueError:
        return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()  # as browsers write it


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
