"""What the name of a trading pair, or of an asset, may be: checked once, where it comes in.

A name becomes a file's name, a cell, a partition key and a line on a terminal. So it is letters and
digits and nothing else, it looks like what it is, and no two names are one on some disk.
"""

import unicodedata
from typing import Final

LONGEST: Final = 32
_INVISIBLE: Final = frozenset("\u115f\u1160")  # letters by category, and blank: Hangul fillers
_SHOWN: Final = 40


def pair_name(value: object) -> str:
    """The name itself, if it is one.

    Letters (categories L) and decimal digits (Nd) of any script, at most `LONGEST`; in capitals
    where the script has them, as exchanges write names and as this project looks them up; and in
    normal form NFKC. So marks that combine, full-width and superscript look-alikes, invisible
    characters and those that change the direction of text are refused.

    Raises
    ------
    ValueError
        If it is no name; the message holds it in ASCII.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a name, got {value!a:.{_SHOWN}}")
    if value.isascii() and value.isalnum() and value.isupper() and len(value) <= LONGEST:
        return value
    if len(value) > LONGEST:
        raise ValueError(f"{value!a:.{_SHOWN}} is longer than {LONGEST} characters")
    if any(not _is_letter_or_digit(character) for character in value):
        raise ValueError(f"{value!a:.{_SHOWN}} may only contain letters and digits")
    if value != unicodedata.normalize("NFKC", value):
        raise ValueError(f"{value!a:.{_SHOWN}} contains look-alike characters")
    if value != value.upper():
        raise ValueError(f"{value!a:.{_SHOWN}} is not in upper case")
    return value


def _is_letter_or_digit(character: str) -> bool:
    category = unicodedata.category(character)
    return (category[0] == "L" or category == "Nd") and character not in _INVISIBLE


def typed_name(text: str) -> str:
    """The name a user means: blanks, small letters and full-width ones are forgiven.

    Raises
    ------
    ValueError
        As `pair_name`.
    """
    return pair_name(unicodedata.normalize("NFKC", text.strip().upper()))


def parse_symbols(text: str) -> tuple[str, ...]:
    """Names of a comma-separated list, each once, in capitals.

    Raises
    ------
    ValueError
        One is no name of a pair.
    """
    return tuple(dict.fromkeys(typed_name(s) for s in text.split(",") if s.strip()))
