"""The look that all charts share, and how a picture becomes PNG bytes.

Charts are pure functions: frames in, PNG bytes out. The same input gives the same bytes in any
thread and process, whatever the user's matplotlibrc says; pyplot's global figures are not used.
"""

import io
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from autonama_dagster.reports.charts.names import fonts_for, printable
from autonama_dagster.text.sources import SOURCES

# Okabe and Ito's palette keeps BUY and SELL apart for every kind of colour blindness.
BUY: Final = "#0072B2"
SELL: Final = "#D55E00"
FIT: Final = "#8A4F9E"
INK: Final = "#1F2933"
MUTED: Final = "#64717F"
NEUTRAL: Final = "#A9B4BF"
PALE: Final = "#EEF1F4"
GRID: Final = "#E3E8ED"
SIGNAL_COLOURS: Final = {"BUY": BUY, "SELL": SELL, "HOLD": MUTED}
SIGNAL_MARKS: Final = {"BUY": "▲ BUY", "SELL": "▼ SELL", "HOLD": "HOLD"}

MARGIN: Final = 40  # pixels left and right of every page
DPI: Final = 100

_SMALLEST: Final = 6.5  # points of a long name
_BANNER: Final = 30  # pixels a page grows by to say that its data is made up
_NOT_DEFAULTS: Final = {"backend", "date.epoch"}  # neither can change while a process runs
_RC: Final[dict[str, Any]] = {
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a symbol is a dollar sign
    "axes.edgecolor": NEUTRAL,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": NEUTRAL,
    "ytick.color": NEUTRAL,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

_Floats = NDArray[np.float64]

# rcParams belong to the whole process: one chart at a time may hold its own.
_lock = threading.Lock()


@dataclass(frozen=True)
class Page:
    """A figure addressed in pixels from its top left corner.

    Attributes
    ----------
    figure
        The figure drawn on.
    width, height
        Size in pixels (of 1/100 inch) without the banner of a synthetic market.
    top
        Pixels above the page's origin: the height of that banner, or 0.
    """

    figure: Figure
    width: int
    height: int
    top: int = 0

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes whose upper left corner is at (x, y)."""
        total = self.height + self.top
        low = 1 - (y + self.top + height) / total
        return self.figure.add_axes((x / self.width, low, width / self.width, height / total))

    def text(self, x: float, y: float, text: str, **style: Any) -> Text:
        """Text with its baseline at y, left aligned at x unless `style` says otherwise."""
        total = self.height + self.top
        return self.figure.text(x / self.width, 1 - (y + self.top) / total, text, **style)

    def name(
        self, x: float, y: float, text: str, width: float, fontsize: float, **style: Any
    ) -> Text:
        """A name as `text` draws it, never cut: a long one is smaller, or in several lines."""
        drawn = self.text(x, y, text, fontsize=fontsize, **style)
        wide = drawn.get_window_extent().width * DPI / self.figure.dpi
        if wide <= width:
            return drawn
        size = max(fontsize * width / wide, _SMALLEST)
        lines = math.ceil(wide * size / fontsize / width)
        step = math.ceil(len(text) / lines)
        drawn.set_text("\n".join(text[i : i + step] for i in range(0, len(text), step)))
        drawn.set(fontsize=size, linespacing=1.05, verticalalignment="bottom")
        return drawn

    def rectangle(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle whose upper left corner is at (x, y)."""
        total = self.height + self.top
        corner = (x / self.width, 1 - (y + self.top + height) / total)
        self.figure.add_artist(
            Rectangle(corner, width / self.width, height / total, facecolor=colour, linewidth=0)
        )

    def title(self, title: str, subtitle: str, width: float = math.inf) -> None:
        """What the picture shows, in two lines at the top left."""
        self.name(MARGIN, 38, title, width, 17, fontweight="bold")
        self.text(MARGIN, 60, subtitle, fontsize=9, color=MUTED)

    def figure_of(self, x: float, y: float, caption: str, value: str, **style: Any) -> None:
        """A key figure: a small caption with its value below."""
        self.text(x, y, caption, fontsize=7.5, color=MUTED)
        self.text(x, y + 21, value, **({"fontsize": 11.5, "fontweight": "bold"} | style))

    def legend(self, x: float, y: float, handles: Sequence[Artist]) -> None:
        """A legend in one row, its upper left corner at (x, y)."""
        corner = (x / self.width, 1 - (y + self.top) / (self.height + self.top))
        self.figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=max(1, len(handles)),
            borderpad=0, borderaxespad=0, columnspacing=1.6, handlelength=1.8,
        )  # fmt: skip

    def footer(self, *lines: str) -> None:
        """Small print at the bottom left, the last line lowest."""
        for i, line in enumerate(reversed(lines)):
            self.text(MARGIN, self.height - 16 - 14 * i, line, fontsize=7.5, color=MUTED)


def render(
    width: int,
    height: int,
    draw: Callable[[Page], None],
    source_label: str | None,
    *,
    dpi: int = DPI,
    exact: Sequence[str] = (),
    names: Iterable[str] = (),
) -> bytes:
    """A picture as PNG bytes.

    Parameters
    ----------
    width, height
        Size in pixels at 100 dots per inch; a synthetic market adds a banner on top.
    draw
        Draws on the page.
    source_label
        Where the candles came from (column `source` of `ohlcv_1d`), for the footer; a label with
        the word synthetic puts a banner and a watermark on the picture. None: nothing is said.
    dpi
        Dots per inch: 125 makes everything on the page a quarter larger, the page too.
    exact
        Colours that must come out as they are even where few pixels have them.
    names
        Names of pairs on the page: their characters decide which fonts are looked into beside
        matplotlib's own.

    Returns
    -------
    bytes
        A PNG of at most 256 colours, without date or software version.
    """
    synthetic = source_label is not None and "synthetic" in source_label.casefold()
    top = _BANNER if synthetic else 0
    look: dict[Any, Any] = {
        k: v for k, v in mpl.rcParamsDefault.items() if k not in _NOT_DEFAULTS
    } | _RC
    look["font.family"] = fonts_for(names)
    with _lock, mpl.rc_context(look):
        figure = Figure(figsize=(width / DPI, (height + top) / DPI), dpi=dpi, facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)  # its drawing methods have no types
        page = Page(figure, width, height, top)
        draw(page)
        if synthetic:
            _mark_synthetic(page)
        elif source_label is not None:
            _name_source(page, source_label)
        canvas.draw()
    return _png(np.asarray(canvas.buffer_rgba()), exact)


def _mark_synthetic(page: Page) -> None:
    page.rectangle(0, -page.top, page.width, page.top, SELL)
    words = "SYNTHETIC MARKET: made-up data, no real prices"
    middle = page.width / 2
    page.text(middle, -10, words, ha="center", fontsize=11, fontweight="bold", color="white")
    page.text(
        middle, page.height / 2, "SYNTHETIC MARKET", ha="center", va="center", rotation=28,
        fontsize=page.width / 17, fontweight="bold", color=SELL, alpha=0.16,
    )  # fmt: skip


def _name_source(page: Page, source_label: str) -> None:
    text = f"Source: {SOURCES.get(source_label, printable(source_label))}"
    page.text(
        page.width - MARGIN, page.height - 16, text, ha="right", fontsize=7.5, color=INK,
        fontweight="bold",
    )  # fmt: skip


def _png(rgba: NDArray[np.uint8], exact: Sequence[str]) -> bytes:
    """Encode with a palette: less than half the bytes, and no difference to the eye."""
    image = Image.fromarray(np.ascontiguousarray(rgba[..., :3]))
    common = 256 - len(exact)
    palette = image.quantize(common, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    if exact:
        palette = _with_exact(palette, rgba, exact, common)
    out = io.BytesIO()
    palette.save(out, "PNG", compress_level=7)  # 9 takes eight times as long for 5 % less
    return out.getvalue()


def _with_exact(
    palette: Image.Image, rgba: NDArray[np.uint8], exact: Sequence[str], common: int
) -> Image.Image:
    """The picture with more colours, each where it was drawn: a palette merges rare ones."""
    entries = np.zeros((256, 3), dtype=np.uint8)
    known = np.array(palette.getpalette(), dtype=np.uint8).reshape(-1, 3)[:common]
    entries[: len(known)] = known
    wanted = np.round(255 * to_rgba_array(exact)).astype(np.uint8)
    entries[common:] = wanted[:, :3]
    pixels, colours = np.array(palette), np.ascontiguousarray(rgba).view(np.uint32)[..., 0]
    for i, colour in enumerate(wanted.view(np.uint32)[:, 0]):
        pixels[colours == colour] = common + i
    image = Image.fromarray(pixels)
    image.putpalette(entries.ravel().tolist())
    return image


def say(axes: Axes, text: str) -> None:
    """Say in the middle of axes why they show nothing."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 3},
    )  # fmt: skip


def bars(axes: Axes, x: _Floats, height: _Floats, colours: Sequence[str], width: float) -> None:
    """Bars from zero, `width` points wide, drawn as one artist."""
    segments = np.stack([np.c_[x, np.zeros(len(x))], np.c_[x, height]], axis=1)
    drawn = LineCollection(list(segments), colors=colours, linewidths=width, capstyle="butt")
    axes.add_collection(drawn, autolim=False)


def tags(
    axes: Axes, rows: Sequence[tuple[float, str, str]], *, bold: frozenset[str] = frozenset()
) -> None:
    """Values at the right edge of axes, moved apart where they would overlap.

    Parameters
    ----------
    axes
        The axes, its y limits set.
    rows
        Height in data units, text and colour of each; heights that are not finite are left out.
    bold
        Colours whose text is bold.
    """
    low, high = axes.get_ylim()
    known = sorted(row for row in rows if math.isfinite(row[0]))
    pixels = axes.bbox.height / axes.figure.dpi * DPI
    lines = 1 + max((text.count("\n") for _, text, _ in known), default=0)
    places = _apart([(h - low) / (high - low) for h, _, _ in known], 13 * lines / pixels)
    for place, (_, text, colour) in zip(places, known, strict=True):
        axes.text(
            1.008, place, text, transform=axes.transAxes, va="center", fontsize=7.5, color=colour,
            linespacing=1.05, fontweight="bold" if colour in bold else "normal",
        )  # fmt: skip


def draw_edges(axes: Axes, kstd: float, others: Sequence[tuple[float, str, str]] = ()) -> None:
    """The channel on an axis of z-scores: its edges, named at the right, and its centre.

    Parameters
    ----------
    axes
        The axes, its y limits set.
    kstd
        Half width of the channel in residual standard deviations.
    others
        More values to name at the right edge, as for `tags`.
    """
    axes.axhspan(-kstd, kstd, color=PALE, zorder=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    edges = (
        (kstd, f"SELL above\n{kstd:+g}", SELL),
        (-kstd, f"BUY below\n\N{MINUS SIGN}{kstd:g}", BUY),
    )
    tags(axes, (*edges, *others), bold=frozenset({SELL, BUY}))
    for edge, _, colour in edges:
        axes.axhline(edge, color=colour, linewidth=1, linestyle=(0, (5, 3)))


def _apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Ascending places in [0, 1] at least `gap` apart, near the ascending ones wanted."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, 0.0, places[-1] + gap if places else 0.0))
    ceiling = 1.0
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return places


def number(row: Mapping[str, Any], name: str) -> float:
    """A number of a table's row, NaN for NULL."""
    value = row[name]
    return math.nan if value is None or pd.isna(value) else float(value)


def price(value: float) -> str:
    """A price with five significant digits or two decimals, whichever is more; a dash for NaN.

    Small prices are written out (0.00000852), as exchanges do, down to 1e-12.
    """
    if not math.isfinite(value):
        return "\N{EN DASH}"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -12:  # noqa: PLR2004
        return f"{value:.4g}"
    decimals = max(2, 4 - exponent)  # five significant digits
    whole, _, fraction = f"{value:,.{decimals}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"


def amount(value: float) -> str:
    """A quantity in at most four digits and a unit: 950, 12.5 k, 3.2 M, 1.1 B, 40 T."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def percent(value: float) -> str:
    """A percentage with its sign, in short beyond 10,000; a dash for NaN."""
    if abs(value) < 1e4 or not math.isfinite(value):  # noqa: PLR2004
        return signed(value, 1, " %")
    return true_minus(f"{'+' if value > 0 else ''}{amount(value)} %")


def signed(value: float, decimals: int = 2, unit: str = "") -> str:
    """A number with its sign and unit; a dash for NaN."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    return true_minus(f"{value:+,.{decimals}f}{unit}")


def true_minus(text: str) -> str:
    """The text with U+2212 for each hyphen: as wide as a plus."""
    return text.replace("-", "\N{MINUS SIGN}")
