"""Text from outside, made safe for where it is shown: one function for each medium.

Names of pairs, messages and whatever else comes from an exchange or a database is data. It never
becomes a command of the terminal, markup, a formula or a path, whatever was stored. Text that
needs no escape comes back as it is.
"""

import csv
import hashlib
import io
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

_FORMULA: Final = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20']|[\t\r\n]")  # also full-width
_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")  # all of ASCII's, as CommonMark has it
# What chats read as a mention or as a link under another name; each has its own escapes, if any.
_FOR_CHATS: Final = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "\uff20"})
_LOGIN: Final = re.compile(r"(?<=://)[^/\s@]*@")
_LONGEST_FILE_NAME: Final = 200  # bytes; file systems take 255, and an ending follows


def visible(text: str) -> str:
    r"""One line that a terminal shows as it is: what is not printable becomes an escape.

    Control characters, line ends, marks that change the direction of writing, and other characters
    nobody can see become ``\x1b`` or ``\u202e``, and a backslash is doubled: two texts that differ
    look different.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if c.isprintable() and c != "\\" else _escape(c) for c in text)


def encodable(text: str, encoding: str) -> str:
    r"""`visible` text in an encoding: characters that it lacks become escapes like ``\u5e01``."""
    return visible(text).encode(encoding, "backslashreplace").decode(encoding)


def without_controls(text: str) -> str:
    """Text of several lines: as `visible`, but line ends, tabs and backslashes stay."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escape(c) for c in text)


def without_login(text: str) -> str:
    """Text in which every URL's user and password is replaced by `***`."""
    return _LOGIN.sub("***@", text)


def csv_text(names: Sequence[str], rows: Iterable[Sequence[Any]], end: str = "\n") -> str:
    """A CSV document: what spreadsheets would take for formulas is text, see `csv_cell`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow([csv_cell(name) for name in names])
    writer.writerows([csv_cell(value) for value in row] for row in rows)
    return out.getvalue()


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would take for a formula begins with `'`.

    So does text that begins with `'`: two texts that differ stay different. Numbers stay numbers.
    """
    if not isinstance(value, str):
        return value
    marked = f"'{value}" if _FORMULA.match(value) else value
    return without_controls(marked)


def markdown(text: str) -> str:
    """Text in Markdown, in a table's cell too: no HTML, no link, no picture, no code."""
    return _PUNCTUATION.sub(r"\\\1", without_controls(text).replace("\n", " ").replace("\t", " "))


def markdown_code(text: str) -> str:
    """Text as a span of code in Markdown, not in a table's cell."""
    line = visible(text)
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"{fence}{line}{fence}"


def chat_text(text: str) -> str:
    """Text in a message to a chat, whichever it is: it mentions nobody, and a link is what it says.

    `<`, `>` and `@` become characters that look like them: Slack has `<!channel>`, `<@U123>` and
    `<url|text>`, Discord and Mattermost `@everyone`, Teams `<at>`. So does `](` of `[text](url)`.
    """
    return without_controls(text).translate(_FOR_CHATS).replace("](", "] (")


def storable(text: str) -> str:
    """Text that Postgres can hold: NUL and halves of surrogate pairs become their escapes."""
    return stored_bytes(text).decode()


def stored_bytes(text: str) -> bytes:
    """The same in UTF-8."""
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace")


def file_name(text: str) -> str:
    """A name for a file, without its ending, that no other text has and that leaves no folder.

    Letters and digits of any script, `-` and `_` stay; every other character becomes `%` and the
    hexadecimal digits of its UTF-8 bytes, as in a URL. A name that would be too long for a file
    system ends in a digest.
    """
    name = "".join(c if _is_plain(c) else _percent(c) for c in text) or "%"
    if len(name.encode()) <= _LONGEST_FILE_NAME:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name.encode()[:100].decode('utf-8', 'ignore')}%{digest}"


def _is_plain(character: str) -> bool:
    if not (character.isalnum() or character in "-_"):
        return False
    try:
        character.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return False
    return True


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
