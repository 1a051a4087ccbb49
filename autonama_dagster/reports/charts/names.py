"""Names of pairs in pictures: any script that a font on this machine has, else the whole escape."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from autonama_dagster.text.escaping import visible

FONT: Final = "DejaVu Sans"  # comes with matplotlib: the same glyphs on every machine
_NO_LETTERS: Final = ("last resort", ".lastresort", "adobe blank")  # a box for every character
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"


def printable(text: str) -> str:
    r"""The text with characters that no font on this machine has as escapes (``\u5e01``)."""
    return "".join(
        c if _font_of(c) else c.encode("unicode_escape").decode("ascii") for c in visible(text)
    )


def fonts_for(names: Iterable[str]) -> list[str]:
    """Families in which all characters of `printable` names are found, ours first."""
    found = {_font_of(c) for name in names for c in visible(name)} - {None, FONT}
    if found:
        # A family of one weight stands for bold too; that is no news to a user.
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    return [FONT, *sorted(map(str, found))]


def base_asset(symbol: str) -> str:
    """Name of a USDT pair's base asset, printable: BTC for BTCUSDT."""
    return printable(symbol.removesuffix("USDT") or symbol)


def short_names(symbols: Sequence[str]) -> dict[str, str]:
    """Base assets for dense labels, see `shortened`."""
    return shortened({symbol: base_asset(symbol) for symbol in symbols}, 10)


def shortened(names: Mapping[str, str], length: int) -> dict[str, str]:
    """Names of symbols, those over the length with an ellipsis in the middle.

    No two are the same: where their ends do not tell names apart, they are longer.
    """
    longest = max(map(len, names.values()), default=0)
    short = {symbol: _cut(name, length) for symbol, name in names.items()}
    for more in range(length + 1, longest + 1):
        if not (alike := _alike(short)):
            return short
        short |= {symbol: _cut(names[symbol], more) for symbol in alike}
    return short | {symbol: printable(symbol) for symbol in _alike(short)}


def _cut(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}{_ELLIPSIS}{name[len(name) - tail :]}"


def _alike(short: dict[str, str]) -> list[str]:
    labels = list(short.values())
    return [symbol for symbol, name in short.items() if labels.count(name) > 1]


@cache
def _font_of(character: str) -> str | None:
    """The first family that has the character in all its weights; None: none has it."""
    for family, paths in _families().items():
        if all(ord(character) in _characters(path) for path in paths):
            return family
    return None


@cache
def _families() -> dict[str, list[str]]:
    """Files of each upright family, ours first."""
    found: dict[str, list[str]] = {FONT: []}
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda e: (e.name, e.fname)):
        is_real = not entry.name.casefold().startswith(_NO_LETTERS)
        if is_real and entry.style == "normal":
            found.setdefault(entry.name, []).append(entry.fname)
    return found


@cache
def _characters(path: str) -> frozenset[int]:
    """Code points of a font; a file that cannot be read has none."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
