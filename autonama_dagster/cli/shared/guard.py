"""Standard output and error of a command: nothing that is printed reaches a terminal as a command.

`rich` is not imported here, so that `autonama --help` answers at once; its tables and colours are
in `screen`.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from autonama_dagster.text.escaping import without_controls


class Guarded(io.TextIOBase):
    """A stream that writes controls, and characters that its encoding lacks, as escapes.

    Parameters
    ----------
    stream
        The stream behind it, for those that may write control characters.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self.stream.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What the stream does where its encoding lacks a character."""
        return self.stream.errors

    def write(self, text: str, /) -> int:
        """Write the text."""
        safe = without_controls(text)
        encoding = self.encoding
        return self.stream.write(safe.encode(encoding, "backslashreplace").decode(encoding))

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()

    def fileno(self) -> int:
        """Descriptor of the stream."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.stream.isatty()


@contextmanager
def guarded() -> Iterator[None]:
    """Guard standard output and standard error."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Guarded(s) if s else s for s in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
