"""What an answer may cost, whom it may come from, and what ends the wait for it."""

import gzip
import itertools
import queue
import re
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest
from http_support import OK, answering, whole
from places import ROOT

from autonama_dagster.errors import BadAnswerError, ExchangeError, OutageError, SlowAnswerError
from resources.http.session import (
    HttpSession,
    Limits,
    RequestCancelledError,
    asked,
    failures,
    host_of,
)

LIMITS = Limits(size=1 << 20, seconds=30.0)
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def get(url, limits=LIMITS, stop=None):
    with (
        HttpSession(timeout=10.0, limits=limits) as session,
        failures("prices", asked(url), "THE_URL", limits),
    ):
        session.stop = stop or session.stop
        return session.get(url)


def packed(size, times=1):
    content = b"0" * size
    for _ in range(times):
        content = gzip.compress(content)
    return content


def test_an_answer_of_the_greatest_size_is_read_whole():
    body = bytes(range(256)) * (LIMITS.size // 256)
    for answer in (whole(body), whole(gzip.compress(body), "Content-Encoding: gzip")):
        with answering(answer) as server:
            assert get(server.url).content == body


CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        whole(b" " * (LIMITS.size + 1)),
        whole(packed(LIMITS.size + 1), "Content-Encoding: gzip"),
        whole(packed(20 << 20), "Content-Encoding: gzip"),
        whole(packed(20 << 20, 2), "Content-Encoding: gzip, gzip"),
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * 40,
        OK + b"\r\n" + b" " * (2 * LIMITS.size),  # no length at all
    ],
    ids=["plain", "packed", "bomb", "packed bomb", "chunked", "without length"],
)
def test_a_longer_answer_is_garbage(answer):
    with (
        answering(answer) as server,
        pytest.raises(BadAnswerError, match=r"prices: .* 127.0.0.1:.* larger than 1,048,576 bytes"),
    ):
        get(server.url)


@pytest.mark.parametrize(
    ("answer", "at_once"),
    [
        (whole(b" " * 500), 100),
        (whole(b" " * 500, "Connection: close"), 120),  # such a connection drops its socket
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 500, 30),
        (OK + b"X: " + b"a" * 500, 0),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0),
    ],
    ids=["body", "body before the end", "body without length", "headers", "interim"],
)
def test_an_answer_that_drips_ends_at_its_deadline_and_is_hung_up_on(answer, at_once):
    with answering(answer, 0.02, at_once) as server:
        begun = time.monotonic()
        with pytest.raises(SlowAnswerError, match=r"took longer than 0.3 s: check the connection"):
            get(server.url, Limits(1 << 20, 0.3))
        assert time.monotonic() - begun < 5
        assert server.ended.wait(10), "the connection is still open"


def test_a_wait_ends_when_the_answer_is_no_longer_wanted():
    stop = threading.Event()
    with answering(whole(b" " * 5000), drip=0.02) as server:
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(RequestCancelledError):
            get(server.url, stop=stop)
        assert server.ended.wait(10), "the connection is still open"
    with pytest.raises(RequestCancelledError):
        get("http://127.0.0.1:1", stop=stop)


def test_a_signal_ends_a_wait_at_once():
    class StoppedError(Exception): ...

    def stop(*_):
        raise StoppedError

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with answering(whole(b" " * 5000), drip=0.02) as server:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(StoppedError):
                get(server.url)
            assert server.ended.wait(10), "the connection is still open"
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status):
    with answering(whole(b"[]")) as other:
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/\r\nContent-Length: 0\r\n\r\n"
        with answering(moved.encode()) as server:
            assert get(server.url).status_code == status
        assert other.heads == []


def test_no_cookie_and_no_password_of_netrc_is_sent(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password planted\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with (
        answering(whole(b"[]", "Set-Cookie: a=b; Path=/")) as server,
        HttpSession(timeout=10.0, limits=LIMITS) as session,
    ):
        session.get(server.url)
        session.get(server.url)
        assert len(server.heads) == 2
        assert not [h for h in server.heads if b"Cookie" in h or b"Authorization" in h]


@pytest.mark.parametrize("charset", ["punycode", "utf-16", "rot13", "no such", "ascii"])
def test_text_is_utf_8_whatever_is_said(charset):
    body = '["币安"]'.encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=" + charset.encode()
    with answering(answer + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as server:
        assert get(server.url).json() == ["币安"]


@pytest.mark.parametrize(
    "head",
    [
        "".join(f"X-{n}: 1\r\n" for n in range(5000)),
        f"X: {'a' * 1_000_000}\r\n",
    ],
    ids=["many", "long"],
)
def test_too_many_or_too_long_headers_are_an_outage(head):
    with (
        answering(OK + head.encode() + b"Content-Length: 2\r\n\r\n[]") as server,
        pytest.raises(OutageError, match="cannot reach"),
    ):
        get(server.url)


def test_an_answer_that_breaks_off_is_garbage():
    with (
        answering(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab\r\nzz\r\n") as server,
        pytest.raises(BadAnswerError, match="was cut off"),
    ):
        get(server.url)


CASES = list(itertools.product(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), (None, "x")))


@pytest.mark.parametrize(("variable", "no_proxy"), CASES)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.9.8.7"])
def test_this_machine_is_never_asked_through_a_proxy(monkeypatch, variable, no_proxy, host):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    if no_proxy:
        monkeypatch.setenv("NO_PROXY", no_proxy)
    with answering(whole(b"[]")) as server:
        if host == "127.9.8.7":
            assert asked(f"http://{host}:{server.port}") == f"{host}:{server.port}"
        else:
            assert get(f"http://{host}:{server.port}").json() == []


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "LOCALHOST"])
def test_other_names_of_this_machine(monkeypatch, host):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert asked(f"http://{host}:8080/x") == f"{host}:8080"


def test_other_hosts_are_asked_through_the_proxy_unless_it_is_excluded(monkeypatch):
    with answering(whole(b"[]")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:hush@127.0.0.1:{proxy.port}")
        assert get("http://exchange.invalid/prices").json() == []
        assert proxy.heads[0].startswith(b"GET http://exchange.invalid/prices HTTP/1.1")
        monkeypatch.setenv("NO_PROXY", "exchange.invalid")
        with pytest.raises(OutageError, match=r"prices: cannot reach exchange.invalid"):
            get("http://exchange.invalid/prices")


@pytest.mark.parametrize(
    ("variable", "proxy", "named"),
    [
        ("HTTP_PROXY", "http://me:hush@127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9"),
        ("http_proxy", "127.0.0.1:9", "http_proxy=127.0.0.1:9"),
        ("ALL_PROXY", "socks5://me:hush@127.0.0.1:9", "ALL_PROXY=socks5://127.0.0.1:9"),
        ("all_proxy", "socks5h://127.0.0.1:9", "all_proxy=socks5h://127.0.0.1:9"),
    ],
)
def test_a_proxy_that_fails_is_named_without_its_password(monkeypatch, variable, proxy, named):
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(OutageError) as error:
        get("http://1.2.3.4/prices")
    assert f"cannot reach 1.2.3.4 through the proxy {named} (" in str(error.value)
    assert "check the proxy, the connection and THE_URL" in str(error.value)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    "proxy", ["gopher://127.0.0.1:9", "http://127.0.0.1:port", "http://", "//"]
)
def test_a_proxy_that_cannot_be_meant_is_named(monkeypatch, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ExchangeError, match=r"through the proxy HTTP_PROXY=.*check the proxy"):
        get("http://1.2.3.4/prices")


def test_certificates_that_do_not_exist(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    with pytest.raises(ExchangeError, match=r"cannot send a request to 1.2.3.4"):
        get("https://1.2.3.4/prices")


def test_hosts_are_shown_without_logins():
    assert host_of("https://me:hush@exchange.org:8443/api") == "exchange.org:8443"
    assert host_of("https://exchange.org") == "exchange.org"


class SocksProxy:
    """A SOCKS5 proxy without logins: it notes the names it is asked for, and asks `port` here.

    It connects when `connects` is set; what it then hears first is `heard`.
    """

    def __init__(self, port):
        self.asked = []
        self.connects = threading.Event()
        self.connects.set()
        self.heard = queue.SimpleQueue()
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"socks5h://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            connection, _ = self._listening.accept()
            with connection, socket.create_connection(("127.0.0.1", self._port)) as other:
                connection.recv(2 + 255)  # the ways to log in
                connection.sendall(b"\x05\x00")
                request = connection.recv(4 + 256 + 2)
                self.asked.append(request[5 : 5 + request[4]].decode())
                self.connects.wait(10)
                connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
                head = connection.recv(1 << 16)
                self.heard.put(head)
                other.sendall(head)
                while part := other.recv(1 << 16):
                    connection.sendall(part)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTP_PROXY"])
def test_a_socks_proxy_asks_for_us(monkeypatch, variable):
    with answering(whole(b"[1]")) as server:
        proxy = SocksProxy(server.port)
        monkeypatch.setenv(variable, proxy.url)
        assert get("http://exchange.invalid/prices").json() == [1]
        assert proxy.asked == ["exchange.invalid"]
        assert get(server.url).json() == [1]
        assert proxy.asked == ["exchange.invalid"], "it was asked for this machine"
        proxy.close()


def test_nothing_is_asked_through_a_connection_that_is_made_too_late(monkeypatch):
    with answering(whole(b"[1]")) as server:
        proxy = SocksProxy(server.port)
        proxy.connects.clear()
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with pytest.raises(SlowAnswerError):
            get("http://exchange.invalid/prices", Limits(1 << 20, 0.1))
        proxy.connects.set()
        assert proxy.heard.get(timeout=10) == b""
        proxy.close()


def test_nothing_is_asked_in_another_way():
    other = re.compile(
        r"requests\.(get|post|put|head|request|[sS]ession)\(|urlopen|HTTPConnection|httpx"
    )
    files = [
        f
        for name in ("assets", "autonama_dagster", "resources")
        for f in ROOT.glob(f"{name}/**/*.py")
    ]
    assert len(files) > 100
    assert [f.name for f in files if other.search(f.read_text())] == []
