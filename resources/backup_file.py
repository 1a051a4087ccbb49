"""The file of a backup: a zip of dumps and a manifest that appears when it is complete."""

import contextlib
import fcntl
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from autonama_dagster.errors import DatabaseError, InputError
from resources.database import newest_revision

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
PROJECT: Final = "project"
DAGSTER: Final = "dagster"

Counts = dict[str, int]


@dataclass(frozen=True)
class Manifest:
    """What a backup holds.

    Attributes
    ----------
    format
        Version of the file's layout.
    autonama, postgres
        Versions of this project and of the server that the backup was made with.
    revision
        Migration of the project's schema.
    made_at
        When the backup was begun, ISO 8601 in UTC.
    rows
        Rows of every table, by dump: `project` or `dagster`.
    """

    format: int
    autonama: str
    postgres: str
    revision: str
    made_at: str
    rows: dict[str, Counts]


def checked(archive: zipfile.ZipFile, file: Path) -> Manifest:
    """The manifest of a backup whose every byte has been checked."""
    try:
        manifest = Manifest(**json.loads(archive.read(MANIFEST)))
        broken = archive.testzip()
        complete = {f"{name}.dump" for name in (PROJECT, DAGSTER)} <= set(archive.namelist())
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile):
        raise InputError(f"{file} is no backup of Autonama: choose another file") from None
    if broken is not None or not complete:
        raise InputError(f"{file} is damaged ({broken or 'a dump is missing'}): use another backup")
    if manifest.format != FORMAT or manifest.revision > newest_revision():
        raise InputError(
            f"{file} was made by Autonama {manifest.autonama} (migration {manifest.revision}) and "
            f"this one knows {newest_revision()}: update Autonama"
        )
    return manifest


@contextlib.contextmanager
def opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """A backup's file, open for reading."""
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is incomplete"
        raise InputError(
            f"{file} is no backup of Autonama ({reason}): choose another file"
        ) from None
    with archive:
        yield archive


@contextlib.contextmanager
def appearing(file: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when the block has ended well, and is on the disk then."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as target:
            try:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{partial} is being written by another backup: wait for it, or choose "
                    "another name"
                ) from None
            try:
                target.truncate()
                yield target
                target.flush()
                os.fsync(target.fileno())
                partial.replace(file)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise DatabaseError(
            f"cannot write {partial}: {error.strerror}; free space there, or choose another folder"
        ) from None
