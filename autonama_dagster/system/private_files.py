"""Folders and files that only their owner may enter or read, whatever the umask is."""

import os
import stat
from pathlib import Path

_OTHERS = 0o077


def private_folder(path: Path) -> Path:
    """Make a folder, and its missing parents, for us alone; close it where it is there and ours."""
    for missing in reversed([p for p in path.parents if not p.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    if found.st_mode & _OTHERS and found.st_uid == os.geteuid():
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a new file that its owner alone may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def is_open_to_others(path: Path) -> bool:
    """Whether the file's group or everybody may read or change it; False where there is none."""
    return path.is_file() and bool(path.stat().st_mode & _OTHERS)
