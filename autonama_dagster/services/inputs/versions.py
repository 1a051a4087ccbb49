"""The version of the code that rows are made by."""

import ast
import io
import tokenize
from collections.abc import Collection
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path
from typing import Final

from autonama_dagster.analytics.candles.hashing import Json, params_hash

READING: Final = tuple(
    (package, stem)
    for package, stems in (
        ("autonama_dagster.services.inputs", "chances evidence longer_candles ranking readers"),
        (
            "resources.warehouse",
            "candle_faults candle_queries chance_cache frames statements warehouse",
        ),
    )
    for stem in stems.split()
)
"""Packages and modules that read and join what formulas of any system are given."""
_DIGEST_CHARS = 12
_PROJECT = ("autonama_dagster.", "resources.")
_ORDER = ("candles", "scan")  # each may import those before it; other systems both
_NO_CODE = {tokenize.ENCODING, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT}


def used_by(system: str) -> tuple[str, ...]:
    """Systems whose code the rows of a system follow from: itself, and those that it may import."""
    below = _ORDER[: _ORDER.index(system)] if system in _ORDER else _ORDER
    return (*below, system)


@lru_cache
def code_version(system: str) -> str:
    """Version of the package and of what makes a system's rows, e.g. "0.1.0+3f2a9c1b4d5e".

    The second part is a digest of the modules in the system's folder of `analytics`, in those that
    it may import, see `used_by`, and of those that read and join for it, `READING`. It changes with
    their code, not with comments, docstrings, blank lines, the folder of a module or the version of
    Python. Code that runs from a checkout without being installed is of version "0".
    """
    try:
        version = metadata.version("autonama")
    except metadata.PackageNotFoundError:
        version = "0"
    analytics = Path(str(resources.files("autonama_dagster.analytics")))
    formulas = (file for name in used_by(system) for file in (analytics / name).rglob("*.py"))
    reading = (Path(str(resources.files(package))) / f"{stem}.py" for package, stem in READING)
    sources = [
        (file.stem, file.read_text(encoding="utf-8"))
        for file in (*formulas, *reading)
        if file.stem != "__init__"
    ]
    return f"{version}+{_digest(sources)}"


def _digest(sources: Collection[tuple[str, str]]) -> str:
    """First 12 hex digits of the SHA-256 of the modules' code, by their names.

    Where a module lies does not count: of what it imports from this project, only the names of the
    module and of what is taken from it.
    """
    names = {name for name, _ in sources}
    modules: list[Json] = []
    for name, source in sorted(sources):
        imports, rest = _without_own_imports(source, names)
        modules.append([name, imports, _code(rest)])
    return params_hash({"modules": modules})[:_DIGEST_CHARS]


def _without_own_imports(source: str, modules: Collection[str]) -> tuple[list[Json], str]:
    """What a module imports from this project, in order of the names, and the source without it."""
    lines = source.splitlines()
    imported: set[tuple[str, str, str]] = set()
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom))
    for node in sorted(nodes, key=lambda node: -node.lineno):
        if (node.module or "").startswith(_PROJECT):
            module = (node.module or "").rpartition(".")[2]
            imported |= {
                ("" if alias.name in modules else module, alias.name, alias.asname or "")
                for alias in node.names
            }
            del lines[node.lineno - 1 : node.end_lineno]
    return [list(names) for names in sorted(imported)], "\n".join(lines)


def _code(source: str) -> str:
    """Source without comments, docstrings and blank lines.

    Cuts them out of the text instead of joining what is left of the tokens, because Python 3.12
    splits an f-string into other tokens than 3.11.
    """
    lines = source.splitlines()
    cuts: list[tokenize.TokenInfo] = []
    at_line_start = True
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
        is_bare_string = token.type == tokenize.STRING and at_line_start
        if token.type == tokenize.COMMENT or is_bare_string:
            cuts.append(token)
        if token.type not in _NO_CODE:
            at_line_start = token.type == tokenize.NEWLINE
    for token in reversed(cuts):
        (first, begin), (last, end) = token.start, token.end
        lines[first - 1 : last] = [lines[first - 1][:begin] + lines[last - 1][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())
