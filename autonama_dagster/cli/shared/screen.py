"""Tables and coloured lines on a terminal: text as text, in what the terminal can show."""

import os
import re
import sys
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from autonama_dagster.cli.shared.guard import Guarded
from autonama_dagster.text.escaping import encodable

_PIPE_WIDTH: Final = 10_000  # a pipe has no width: tables keep all their columns there
_SIZE: Final = re.compile(r"[1-9][0-9]{0,4}")

Styled = str | tuple[str, str]  # text, or text with its style


class Screen(Console):
    """A console that prints text as it is: no markup, no names of emoji, no guessed colours."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text with its escapes: what cells, titles and lines are made of."""
        plain = {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(encodable(text, self.encoding), **(options | plain))

    def say(self, *parts: Styled) -> None:
        """Print one line, however long, of parts that may each have a style."""
        pairs = (part if isinstance(part, tuple) else (part, "") for part in parts)
        self.print(
            Text.assemble(*((encodable(text, self.encoding), style) for text, style in pairs)),
            soft_wrap=True,
        )

    def can_show(self, text: str) -> bool:
        """Whether the terminal's encoding has all of the text's characters."""
        return encodable(text, self.encoding) == text


def screen(*, stderr: bool = False) -> Screen:
    """The screen of standard output or standard error."""
    stream: Any = sys.stderr if stderr else sys.stdout
    behind = stream.stream if isinstance(stream, Guarded) else stream
    for name in ("COLUMNS", "LINES"):
        if not _SIZE.fullmatch(os.environ.get(name, "1")):  # rich would print nothing, or fail
            del os.environ[name]
    found = Screen(file=behind, highlight=False)
    if found.is_terminal or "COLUMNS" in os.environ:
        return found
    return Screen(file=behind, highlight=False, width=_PIPE_WIDTH)
