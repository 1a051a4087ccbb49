"""The anchor log: a file of JSON lines outside the database, each with the root of the line before.

Lines are only ever appended, whole and on the disk before the writer goes on. A line's root covers
the line and, through the root before it, all lines above: whoever knows one root can tell whether
anything up to it was changed.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from autonama_dagster.errors import AnchorError
from resources.waiting import wait_until

FORMAT: Final = 1  # of lines, and of what their hashes cover
NOTHING: Final = "0" * 64  # the root before the first line


@dataclass(frozen=True)
class Roots:
    """What a line says of a table's rows of the day.

    Attributes
    ----------
    rows
        How many there were.
    root
        Merkle root (hex) over the leaves of its symbols.
    marks
        First hex digits of each symbol's leaf, to tell which one has changed; empty for a table
        without symbols.
    newest
        When the latest of the rows was fetched; None for rows that are computed.
    """

    rows: int
    root: str
    marks: Mapping[str, str]
    newest: datetime | None = None


@dataclass(frozen=True)
class Draft:
    """A line before it is appended: the day, and its tables."""

    day: date
    tables: Mapping[str, Roots]


@dataclass(frozen=True)
class Line:
    """One line of the log.

    Attributes
    ----------
    number
        Its place in the file, from 1.
    day
        The UTC day of the rows.
    made_at
        When it was appended, by the clock of the machine that did.
    tables
        By table what its rows of the day were.
    before, root
        Root of the line before, and its own (hex).
    is_whole
        Whether its root is the one of what the line says.
    """

    number: int
    day: date
    made_at: datetime
    tables: Mapping[str, Roots]
    before: str
    root: str
    is_whole: bool


@dataclass(frozen=True)
class Content:
    """A log as it was read: its lines, and the numbers of lines that were written halfway."""

    lines: tuple[Line, ...] = ()
    torn: tuple[int, ...] = ()

    @property
    def root(self) -> str:
        """Root of the last line, which covers all of them."""
        return self.lines[-1].root if self.lines else NOTHING

    def latest(self) -> dict[tuple[date, str], Roots]:
        """What was said last of each day and table."""
        return {(line.day, name): of for line in self.lines for name, of in line.tables.items()}


def read_log(path: Path) -> Content | None:
    """The log of a file; None where there is none.

    Raises
    ------
    AnchorError
        It cannot be read, or is of a format that this version does not know.
    """
    try:
        return _parsed(path, path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AnchorError(
            f"cannot read the anchor log {path}: {error.strerror}; make it readable, or fix "
            "AUTONAMA_ANCHOR_FILE"
        ) from None


class AnchorLog:
    """An anchor log that nobody else appends to meanwhile.

    Its content is read in brief, without marks, and no root is computed again.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self._ends_torn = bool(size) and os.pread(descriptor, 1, size - 1) != b"\n"
        self.content = _parsed(path, path.read_bytes(), in_brief=True)

    def append(self, drafts: Sequence[Draft], now: datetime) -> list[str]:
        """Append a line for each draft; gives their roots. They are on the disk afterwards."""
        root, roots, texts = self.content.root, [], []
        for draft in drafts:
            text, root = _written(draft, root, now)
            texts.append(text)
            roots.append(root)
        if texts:
            _write(self._descriptor, ("\n" if self._ends_torn else "") + "".join(texts))
        return roots


def require_writable(path: Path) -> None:
    """Make sure that lines can be appended.

    Raises
    ------
    AnchorError
        They cannot.
    """
    try:
        os.close(_open(path))
    except OSError as error:
        raise _cannot_write(path, error) from None


@contextmanager
def opened(path: Path) -> Iterator[AnchorLog]:
    """Open the log, or make an empty one, and keep others from appending in the meantime.

    Raises
    ------
    AnchorError
        It cannot be written.
    """
    try:
        descriptor = _open(path)
        try:
            wait_until(lambda: _locked(descriptor), lambda: f"the anchor log {path}")
            yield AnchorLog(path, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _open(path: Path) -> int:
    is_new = not path.exists()
    # For appending alone, so that a file system may forbid everything else (chattr +a).
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    if is_new:
        _keep_name(path.parent)
    return descriptor


def _cannot_write(path: Path, error: OSError) -> AnchorError:
    return AnchorError(
        f"cannot write the anchor log {path}: {error.strerror}; results are kept without an "
        "anchor: make it writable, or set AUTONAMA_ANCHOR_FILE"
    )


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _keep_name(folder: Path) -> None:
    """Have the name of a new file on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written(draft: Draft, before: str, now: datetime) -> tuple[str, str]:
    """The line of a draft, and its root."""
    symbols = sorted({symbol for of in draft.tables.values() for symbol in of.marks})
    fields = {
        "format": FORMAT,
        "day": draft.day.isoformat(),
        "made_at": now.astimezone(UTC).isoformat(),
        "symbols": " ".join(symbols),
        "tables": {name: _fields(of, symbols) for name, of in draft.tables.items()},
        "before": before,
    }
    root = _root(fields)
    return json.dumps(fields | {"root": root}, separators=(",", ":")) + "\n", root


def _fields(of: Roots, symbols: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"rows": of.rows, "root": of.root}
    if of.newest is not None:
        fields["newest"] = of.newest.astimezone(UTC).isoformat()
    if of.marks:
        fields["marks"] = " ".join(of.marks.get(symbol, "-") for symbol in symbols)
    return fields


def _root(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _parsed(path: Path, data: bytes, *, in_brief: bool = False) -> Content:
    lines: list[Line] = []
    torn: list[int] = []
    for number, text in enumerate(data.split(b"\n"), 1):
        if text:
            line = _line(path, number, text, in_brief=in_brief)
            if line is None:
                torn.append(number)
            else:
                lines.append(line)
    return Content(tuple(lines), tuple(torn))


def _line(path: Path, number: int, text: bytes, *, in_brief: bool) -> Line | None:
    """A line of the file; None for one that was written halfway, or was never one of ours."""
    try:
        fields = json.loads(text)
        if fields["format"] != FORMAT:
            raise AnchorError(
                f"line {number} of the anchor log {path} has format {fields['format']!r:.20} but "
                f"this version knows {FORMAT}: upgrade Autonama"
            )
        root, symbols = fields.pop("root"), fields["symbols"].split()
        marked = None if in_brief else symbols
        return Line(
            number=number,
            day=date.fromisoformat(fields["day"]),
            made_at=datetime.fromisoformat(fields["made_at"]),
            tables={name: _roots(of, marked) for name, of in fields["tables"].items()},
            before=fields["before"],
            root=root,
            is_whole=in_brief or _root(fields) == root,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _roots(fields: Mapping[str, Any], symbols: Sequence[str] | None) -> Roots:
    marks = [] if symbols is None else fields.get("marks", "").split()
    newest = fields.get("newest")
    return Roots(
        rows=fields["rows"],
        root=fields["root"],
        marks={s: m for s, m in zip(symbols or (), marks, strict=bool(marks)) if m != "-"},
        newest=None if newest is None else datetime.fromisoformat(newest),
    )
