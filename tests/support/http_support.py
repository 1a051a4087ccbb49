"""Servers on this machine that answer with bytes of their own, however wrong or slow."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def whole(body: bytes, *headers: str) -> bytes:
    """An answer with these headers."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return OK + f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class RawServer:
    """Answers every request with the bytes of `answer`, given its head; counts them."""

    def __init__(
        self, answer: Callable[[bytes], bytes] | bytes, drip: float = 0.0, at_once: int = 0
    ) -> None:
        self._answer, self._drip, self._at_once = answer, drip, at_once
        self.heads: list[bytes] = []
        self.ended = threading.Event()  # set when a client has hung up on us
        self._closing = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = connection.recv(1 << 16)
                    if not part:
                        return
                    head += part
                self.heads.append(head)
                answer = self._answer(head) if callable(self._answer) else self._answer
                if self._drip:
                    self._drip_out(connection, answer)
                else:
                    connection.sendall(answer)

    def _drip_out(self, connection: socket.socket, answer: bytes) -> None:
        """One byte after the other, but for the first ones, until the client is gone."""
        try:
            connection.sendall(answer[: self._at_once])
            for byte in answer[self._at_once :]:
                connection.sendall(bytes([byte]))
                if self._closing.wait(self._drip):
                    return
        except OSError:
            self.ended.set()

    def close(self) -> None:
        self._closing.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextmanager
def answering(
    answer: Callable[[bytes], bytes] | bytes, drip: float = 0.0, at_once: int = 0
) -> Iterator[RawServer]:
    """A running server; with `drip`, one byte every so many seconds after those sent `at_once`."""
    server = RawServer(answer, drip, at_once)
    try:
        yield server
    finally:
        server.close()
