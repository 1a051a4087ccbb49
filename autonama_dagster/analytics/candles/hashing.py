"""What a number was made from: hashes of its candles, its parameters and the code itself."""

import ast
import hashlib
import io
import json
import tokenize
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path
from typing import TypeAlias

from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS, Candles
from autonama_dagster.analytics.candles.digests import market_digests
from autonama_dagster.analytics.candles.windows import Windows

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

_DIGEST_CHARS = 12
_PROJECT = "autonama_dagster."
_ORDER = ("candles", "scan")  # each may import those before it; other systems both
_NO_CODE = {tokenize.ENCODING, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT}


@dataclass(frozen=True)
class Versions:
    """What made a row: the hash of its parameters and the version of the code."""

    params_hash: str
    code_version: str


def params_hash(params: Mapping[str, Json]) -> str:
    """SHA-256 (hex) of the parameters as JSON with sorted keys and no whitespace.

    2 and 2.0 are one value: a setting read from text and a default must not differ.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    text = json.dumps(
        _canonical(dict(params)), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def window_hashes(candles: Candles, windows: Windows) -> list[str]:
    """SHA-256 (hex) of the digests of each window's candles, 32 bytes a candle, in time order.

    Parameters
    ----------
    candles
        One symbol's candles.
    windows
        Of n days of that symbol.

    Returns
    -------
    list of str
        Length n; an empty window has the hash of nothing.
    """
    return [
        hashlib.sha256(candles.digest[start:stop].data).hexdigest()
        for start, stop in zip(windows.start.tolist(), windows.stop.tolist(), strict=True)
    ]


def market_hashes(candles: Candles, windows: Windows) -> list[str]:
    """SHA-256 (hex) of what the market said in each window; see `digests.market_digests`.

    Parameters
    ----------
    candles
        One symbol's candles.
    windows
        Of n days of that symbol.

    Returns
    -------
    list of str
        Length n; an empty window has the hash of nothing.
    """
    begin, end = windows.start.min(initial=len(candles)), windows.stop.max(initial=0)
    numbers = [getattr(candles, name)[begin:end] for name in CANDLE_FLOATS]
    digest = market_digests(candles.row_hash[begin:end], numbers)
    return [
        hashlib.sha256(digest[start - begin : stop - begin].data).hexdigest()
        for start, stop in zip(windows.start.tolist(), windows.stop.tolist(), strict=True)
    ]


def combine(*hashes: str) -> str:
    """SHA-256 (hex) of several hashes in their order: the input hash of a row made from them."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def used_by(system: str) -> tuple[str, ...]:
    """Systems whose code the rows of a system follow from: itself, and those that it may import."""
    below = _ORDER[: _ORDER.index(system)] if system in _ORDER else _ORDER
    return (*below, system)


@lru_cache
def code_version(system: str) -> str:
    """Version of the package and of a system's formulas, e.g. "0.1.0+3f2a9c1b4d5e".

    The second part is a digest of the modules in the system's folder of `analytics` and in those
    that it may import, see `used_by`: it changes with their code, not with comments, docstrings,
    blank lines, the folder of a module or the version of Python. Code that runs from a checkout
    without being installed is of version "0".
    """
    try:
        version = metadata.version("autonama")
    except metadata.PackageNotFoundError:
        version = "0"
    package = Path(str(resources.files("autonama_dagster.analytics")))
    sources = [
        (module.stem, module.read_text(encoding="utf-8"))
        for name in used_by(system)
        for module in (package / name).rglob("*.py")
        if module.stem != "__init__"
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
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PROJECT):
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


def _canonical(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
