"""The file of a backup: a zip of dumps and a manifest that appears when it is complete.

Nothing in it is believed. The three parts lie in the zip uncompressed, so that none is larger than
the file; no read asks for more than a chunk; and before anything is restored, every part is read
once and compared with the size and the SHA-256 that the manifest gives.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Final

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from autonama_dagster.errors import DatabaseError, InputError
from resources.postgres.migrate import newest_revision

FORMAT: Final = 2
_WITHOUT_CHECKSUMS: Final = 1  # up to version 0.1.0
MANIFEST: Final = "manifest.json"
PROJECT: Final = "project"
DAGSTER: Final = "dagster"
DUMPS: Final = {name: f"{name}.dump" for name in (DAGSTER, PROJECT)}
CHUNK: Final = 1 << 20
_MANIFEST_BYTES: Final = 1 << 18  # a manifest of ours has 2 kB

Counts = dict[str, int]
# What a reader of zips says to a crafted one.
_UNREADABLE: Final = (
    zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OSError, struct.error,
)  # fmt: skip
_Words = Annotated[str, Field(pattern=r"^[\w.:+ -]{1,80}$")]  # they are shown in messages


@dataclass(frozen=True)
class Part:
    """What a dump has to be.

    Attributes
    ----------
    size, sha256
        Of its bytes.
    """

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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
    parts
        Size and checksum of every dump; of version 0.1.0 there are none.
    """

    format: int
    autonama: _Words
    postgres: _Words
    revision: Annotated[str, Field(pattern=r"^\d{4}$")]
    made_at: _Words
    rows: dict[str, Counts]
    parts: dict[str, Part] | None = None

    @property
    def has_checksums(self) -> bool:
        """Whether its dumps can be compared with what they were."""
        return self.format != _WITHOUT_CHECKSUMS


_MANIFEST: Final = TypeAdapter(Manifest)


class Measuring:
    """A writer that counts and hashes what goes through it."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Pass the bytes on."""
        self._target.write(data)
        self._hash.update(data)
        self._size += len(data)

    def part(self) -> Part:
        """What has been written."""
        return Part(size=self._size, sha256=self._hash.hexdigest())


def checked(archive: zipfile.ZipFile, file: Path) -> Manifest:
    """The manifest of a backup whose every byte has been checked."""
    _check_layout(archive, file)
    try:
        manifest = _MANIFEST.validate_json(archive.read(MANIFEST), strict=True)
    except _UNREADABLE:  # a ValidationError is a ValueError
        raise _no_backup(file, "invalid manifest") from None
    if manifest.format > FORMAT or manifest.revision > newest_revision():
        raise InputError(
            f"{file} was made by Autonama {manifest.autonama} (migration {manifest.revision}) and "
            f"this version only knows up to {newest_revision()}: update Autonama"
        )
    for name, member in DUMPS.items():
        if name not in manifest.rows or (manifest.has_checksums and name not in _parts(manifest)):
            raise _no_backup(file, f"its manifest does not list {member}")
        if not _is_whole(archive, member, _parts(manifest).get(name)):
            raise InputError(f"{file} is damaged ({member}): use another backup")
    return manifest


def _parts(manifest: Manifest) -> dict[str, Part]:
    return manifest.parts or {}


def _check_layout(archive: zipfile.ZipFile, file: Path) -> None:
    """Refuse other parts than ours, and such as could grow when they are read."""
    found = archive.infolist()
    if sorted(m.filename for m in found) != sorted([MANIFEST, *DUMPS.values()]):
        raise _no_backup(file, "unexpected parts")
    for member in found:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise _no_backup(file, f"{member.filename} is compressed")
    if sum(m.file_size for m in found) > file.stat().st_size:
        raise _no_backup(file, "its parts are larger than the file")
    if archive.getinfo(MANIFEST).file_size > _MANIFEST_BYTES:
        raise _no_backup(file, f"its manifest has more than {_MANIFEST_BYTES:,} bytes")


def _is_whole(archive: zipfile.ZipFile, member: str, expected: Part | None) -> bool:
    """Read a part once; the zip's own checksum is checked on the way."""
    size, digest = 0, hashlib.sha256()
    try:
        with archive.open(member) as source:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                digest.update(chunk)
    except _UNREADABLE:
        return False
    return expected is None or Part(size=size, sha256=digest.hexdigest()) == expected


def _no_backup(file: Path, reason: str) -> InputError:
    return InputError(f"{file} is not an Autonama backup ({reason}): choose another file")


class _SmallReads(io.FileIO):
    """A file of which nobody reads more than a chunk at once, whatever sizes it declares."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > CHUNK:
            raise zipfile.BadZipFile("a part declares an impossible size")
        return super().read(CHUNK if size is None or size < 0 else size)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """A backup's file, open for reading."""
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(_SmallReads(file))
            archive = stack.enter_context(zipfile.ZipFile(source))
        except OSError as error:
            raise _no_backup(file, str(error.strerror)) from None
        except _UNREADABLE:
            raise _no_backup(file, "it is incomplete") from None
        yield archive


@contextlib.contextmanager
def appearing(file: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when the block has ended well, and is on the disk then."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(partial, flags, 0o600), "r+b") as target:
            try:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{partial} is being written by another backup: wait for it, or choose "
                    "another name"
                ) from None
            if os.fstat(target.fileno()).st_uid != os.geteuid():
                raise InputError(f"{partial} belongs to another user: choose another folder")
            try:
                os.fchmod(target.fileno(), 0o600)
                target.truncate()
                yield target
                target.flush()
                os.fsync(target.fileno())
                partial.replace(file)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
    except OSError as error:
        room = "free space there, or " if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
        raise DatabaseError(
            f"cannot write {partial}: {error.strerror}; {room}choose another folder"
        ) from None
