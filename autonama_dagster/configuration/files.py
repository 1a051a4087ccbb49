"""Files of `NAME=value` lines: their text, their names, and names that nobody reads."""

import difflib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

from autonama_dagster.errors import InputError

PREFIX = "AUTONAMA_"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LIKE = 0.75  # of two names, so that one is taken for the other misspelt

# Read from the environment before the settings are, so they are no fields of `Settings`.
PLACES = (
    (
        "AUTONAMA_HOME",
        "the checkout",
        "Folder of `.env`, the data and the results; the option `--home` overrides it.",
    ),
    (
        "AUTONAMA_SETTINGS_FILE",
        "",
        "An additional file of `NAME=value` lines; `.env` takes precedence.",
    ),
    (
        "AUTONAMA_POSTGRES_BIN",
        "",
        "Folder of the Postgres programs to use instead of the bundled ones.",
    ),
    (
        "AUTONAMA_READER_PASSWORD",
        "a random one",
        "Password of the role that `autonama db reader` creates.",
    ),
)
NOT_OURS = {
    *("AUTONAMA_IMAGE", "AUTONAMA_UI_PORT", "AUTONAMA_METRICS_PORT"),  # of deploy/compose.yaml
    "AUTONAMA_MARKET_DATA",  # of the tests
}


@dataclass(frozen=True)
class SettingFile:
    """What a file sets.

    Attributes
    ----------
    path
        The file.
    values
        By name in capitals; None where a name has no `=`.
    bad_lines
        Numbers of lines that set nothing and are no comment.
    """

    path: Path
    values: Mapping[str, str | None]
    bad_lines: tuple[int, ...] = ()


def read_text(path: Path, what: str) -> str:
    """Text of a file the user has named, with or without a byte order mark.

    Raises
    ------
    InputError
        It cannot be read, or is not UTF-8; the message begins with `what`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{what}: {error.strerror}; choose a readable file") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        found = "UTF-16" if content.startswith(_UTF16) else "not UTF-8"
        raise InputError(f"{what}: the encoding is {found}; save the file as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{what}: it contains NUL characters; save the file as UTF-8 text")
    return text


def read_file(path: Path) -> SettingFile:
    """What a file sets; nothing where there is none.

    Raises
    ------
    InputError
        It cannot be read, or is not UTF-8.
    """
    if not path.exists():
        return SettingFile(path, {})
    bindings = list(parse_stream(StringIO(read_text(path, str(path)))))
    return SettingFile(
        path,
        {b.key.upper(): b.value for b in bindings if b.key},
        tuple(b.original.line for b in bindings if b.error),
    )


def require_text(names: Iterable[str]) -> None:
    """Refuse a variable whose bytes are no UTF-8: nothing could show or store its value."""
    for name in names:
        try:
            os.environ.get(name, "").encode()
        except UnicodeEncodeError:
            raise InputError(f"{name}: not UTF-8 text; write it in UTF-8") from None


def can_be_resolved(url: str) -> bool:
    """Whether the host of a URL can be a name at all; no part of one has over 63 characters."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # told where the URL is used, without its password
        return True
    return all(len(label) < 64 for label in host.split("."))  # noqa: PLR2004


def faults(
    files: Collection[SettingFile],
    environment: Collection[str],
    known: Collection[str],
    elsewhere: Collection[str],
) -> Iterator[str]:
    """One line for each name that nobody reads though somebody may think so.

    In a file: names with our prefix, names that miss it, and names much like one of ours. In the
    environment, which is of all programs: names with our prefix.

    Parameters
    ----------
    files
        The files that are read.
    environment
        Names of the environment.
    known
        Names that are read, in capitals.
    elsewhere
        Those of them that are read from the environment alone.
    """
    for file in files:
        for line in file.bad_lines:
            yield f"{file.path}: line {line} is not NAME=value and is ignored"
        for name in file.values:
            if name in elsewhere:
                yield f"{file.path}: {name} is only read from the environment; set it there"
            elif name not in known and (name.startswith(PREFIX) or _nearest(name, known, _LIKE)):
                yield f"{file.path}: {_unknown(name, known)}"
    for name in map(str.upper, environment):
        if name.startswith(PREFIX) and name not in known:
            yield f"environment: {_unknown(name, known)}"


def _unknown(name: str, known: Collection[str]) -> str:
    nearest = _nearest(name, known, 0.0)
    return f"there is no setting {name}; the nearest is {nearest} (`autonama settings` lists all)"


def _nearest(name: str, known: Collection[str], least: float) -> str | None:
    """The known name that is most like it; None where none is like it enough."""
    if f"{PREFIX}{name}" in known:
        return f"{PREFIX}{name}"
    found = difflib.get_close_matches(name, sorted(known), 1, least)
    return found[0] if found else None
