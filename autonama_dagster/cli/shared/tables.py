"""Tables that fit the terminal they are printed on: nothing in them is cut or left out in silence.

No library for data is imported here: `autonama status` must answer at once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.cells import cell_len
from rich.styled import Styled
from rich.table import Table

from autonama_dagster.cli.shared.screen import Screen
from autonama_dagster.text.escaping import encodable
from autonama_dagster.text.labels import counted

_BETWEEN: Final = 2  # blanks between two columns
_LINE: Final = 28  # of text that is longer and may be of several lines
_NARROW: Final = 16  # of a cell that is a list


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and a cell for each row.

    Attributes
    ----------
    title
        Its name for people.
    cells
        Text of each row.
    styles
        Style of each cell; empty: none.
    is_number
        Whether cells stand at the right.
    is_long
        Whether cells are lists, of which short lines can be read too.
    """

    title: str
    cells: Sequence[str]
    styles: Sequence[str] = ()
    is_number: bool = False
    is_long: bool = False


def print_table(
    console: Screen, columns: Sequence[Column], title: str | None, elsewhere: str = ""
) -> set[str]:
    """Columns as a table; those that a narrow terminal has no room for are named below it.

    The columns that matter most come first, and the first is always there: nothing is cut, what is
    too long is broken into lines.

    Parameters
    ----------
    console
        Where to.
    columns
        What to print.
    title
        A line above it.
    elsewhere
        What to do for hidden columns, but for a wider terminal.

    Returns
    -------
    set
        Titles of the columns that are shown.
    """
    widths = _widths(console, columns)
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
        padding=(0, _BETWEEN - 1, 0, 0),
    )  # fmt: skip
    chosen = [c for c, width in zip(columns, widths, strict=True) if width]
    for column, width in zip(chosen, filter(None, widths), strict=True):
        justify = "right" if column.is_number else "left"
        table.add_column(column.title, justify=justify, width=width, overflow="fold")  # type: ignore[arg-type]
    for i in range(len(columns[0].cells)):
        table.add_row(*(_coloured(column, i) for column in chosen))
    console.print(table)
    if hidden := [c.title for c, width in zip(columns, widths, strict=True) if not width]:
        count = counted(len(hidden), "column is", "columns are")
        hint = " or ".join(filter(None, ("widen the terminal", elsewhere)))
        console.print(f"{count} hidden: {', '.join(hidden)}; {hint}", style="yellow")
    return {column.title for column in chosen}


def _coloured(column: Column, row: int) -> Any:
    if not column.styles:
        return column.cells[row]
    return Styled(column.cells[row], column.styles[row])


def _widths(console: Screen, columns: Sequence[Column]) -> list[int]:
    """Width of each column; 0: there is no room for it."""
    wanted = [
        max(_longest(console, _words(c.title)), _longest(console, c.cells), 1) for c in columns
    ]
    widths = [0 for _ in columns]
    left = console.width + _BETWEEN
    for i, column in enumerate(columns):
        room = left - _BETWEEN
        first = wanted[i] if column.is_number else min(wanted[i], _LINE)
        least = min(first, _NARROW) if column.is_long else first
        if least <= room or i == 0:
            widths[i] = min(first, max(room, 1))
            left -= widths[i] + _BETWEEN
    for i, width in enumerate(widths):
        if width:
            more = min(wanted[i] - width, max(left, 0))
            widths[i] += more
            left -= more
    return widths


def _words(title: str) -> list[str]:
    """Parts of a title that stay whole: a unit stands with the word before it."""
    return re.sub(r" %$", "_%", title).split()


def _longest(console: Screen, texts: Iterable[str]) -> int:
    return max((cell_len(encodable(text, console.encoding)) for text in texts), default=0)
