"""One symbol on one day: price and channel, volume, RSI and MACD."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan.signals import OVERBOUGHT_RSI, OVERSOLD_RSI
from autonama_dagster.days import CHART_DAYS
from autonama_dagster.reports.charts.names import printable, short_names
from autonama_dagster.reports.charts.price_panel import Scale, draw_price, draw_reason
from autonama_dagster.reports.charts.style import (
    BUY,
    DPI,
    FIT,
    INK,
    MARGIN,
    MUTED,
    NEUTRAL,
    SELL,
    SIGNAL_COLOURS,
    SIGNAL_MARKS,
    Page,
    amount,
    bars,
    number,
    percent,
    price,
    render,
    say,
    signed,
    tags,
    true_minus,
)
from autonama_dagster.reports.charts.timeline import (
    FEWEST_DAYS,
    LEFT,
    PLOT_WIDTH,
    aligned,
    draw_calendar,
)

_WIDTH, _HEIGHT = 1280, 960
_PANELS: Final = ((134, 430), (578, 88), (680, 88), (782, 96))  # top and height in pixels
_BAR_WIDTH: Final = 0.64  # days
_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_Floats = NDArray[np.float64]


def symbol_chart(
    symbol: str,
    candles: Candles | None,
    own_channel: pd.DataFrame,
    todays_fit: pd.DataFrame,
    indicators: pd.DataFrame,
    signal: Mapping[Any, Any],
    *,
    price_scale: Literal["log", "linear"] = "log",
    source_label: str | None = None,
) -> bytes:
    """Price with channel, volume, RSI and MACD of the 180 days to a signal's day.

    Two channels are drawn: the one of each day's own fit (`regression_bands`: what was known then)
    as a band, and today's fit through the past, dashed, which repaints and is named so. Missing
    days stay empty. Nothing outside the 180 days is drawn, and nothing before a break, which is
    another coin's or another unit's price (see `analytics.candles.windows`).

    Parameters
    ----------
    symbol
        The pair.
    candles
        Its candles; None where there are none.
    own_channel
        date, fitted_price, upper_band, lower_band of each day, NaN unless OK.
    todays_fit
        date, fitted, upper, lower: `channel_curve` of the day; no rows unless its status is OK.
    indicators
        date, rsi_14, macd, macd_signal, macd_hist, NaN before their warm-up.
    signal
        The day's row of `signals` by column name: date, signal, status, signal_strength,
        z_score, close, fitted_price, upper_band, lower_band, target_return_pct, confirmations.
    price_scale
        Scale of the fit and of the price axis.
    source_label
        See `style.render`.

    Returns
    -------
    bytes
        PNG.
    """
    day = pd.Timestamp(signal["date"])
    last = (day - pd.Timestamp(0)).days
    shown, after_break = _visible(candles, last)
    since = int(shown["day"][0]) if len(shown["day"]) else last - CHART_DAYS + 1
    days = np.arange(min(since, last - FEWEST_DAYS + 1), last + 1)
    curves = aligned(own_channel, days, since, ("fitted_price", "upper_band", "lower_band"))
    curves |= aligned(todays_fit, days, since, ("fitted", "upper", "lower"))
    studies = aligned(indicators, days, since, ("rsi_14", "macd", "macd_signal", "macd_hist"))

    def draw(page: Page) -> None:
        _draw_header(page, symbol, signal, day)
        if after_break:
            start = f"{np.datetime64(since, 'D')}"
            page.text(MARGIN, 80, f"Starts on {start}, after a break in the market.", fontsize=9)
        panels = [page.axes(LEFT, top, PLOT_WIDTH, height) for top, height in _PANELS]
        draw_calendar(panels, days)
        handles = draw_price(panels[0], Scale(price_scale), days, shown, curves, signal)
        if handles and signal["status"] != "OK":
            draw_reason(panels[0], signal)
        page.legend(LEFT, _PANELS[0][0] - 26, handles)
        _draw_volume(panels[1], shown, short_names([symbol])[symbol])
        _draw_rsi(panels[2], days, studies["rsi_14"])
        _draw_macd(panels[3], days, studies)
        page.footer(
            "Own channel: each day's own fit, using only what was known on that day. Today's fit "
            "repaints the past; no past signal came from it.",
            "Days are UTC days; the signal is known once the day has closed. "
            "Strength is not a probability.",
        )

    return render(_WIDTH, _HEIGHT, draw, source_label, names=[symbol])


def _visible(candles: Candles | None, last: int) -> tuple[dict[str, _Floats], bool]:
    """Columns of the candles to draw, `day` among them, and whether a break cut them short."""
    names = ("day", "open", "high", "low", "close", "volume")
    if candles is None:
        return {name: np.empty(0) for name in names}, False
    window = windows(candles, np.array([last]), CHART_DAYS)
    part = slice(int(window.start[0]), int(window.stop[0]))
    shown = {name: getattr(candles, name)[part].astype(np.float64) for name in names}
    return shown, bool((candles.day[: part.start] > last - CHART_DAYS).any())


def _draw_header(page: Page, symbol: str, signal: Mapping[str, Any], day: pd.Timestamp) -> None:
    about = f"{day:%Y-%m-%d} UTC, daily candles, regression channel"
    page.title(printable(symbol), about, 370)
    kind = signal["signal"]
    page.figure_of(430, 34, "Signal", SIGNAL_MARKS[kind], color=SIGNAL_COLOURS[kind])
    page.figure_of(540, 34, "Strength (0 to 100)", f"{signal['signal_strength']:.0f}")
    page.figure_of(670, 34, "z-score", signed(number(signal, "z_score")))
    page.figure_of(770, 34, "Close (USDT)", price(number(signal, "close")))
    page.figure_of(920, 34, "Target return", percent(number(signal, "target_return_pct")))
    page.figure_of(1060, 34, "Status", signal["status"])
    found = ", ".join(signal["confirmations"]) or "none"
    page.text(430, 80, f"Confirmations: {found}", fontsize=7.5, color=MUTED)


def _draw_volume(axes: Axes, shown: dict[str, _Floats], base: str) -> None:
    axes.set_ylabel(f"Volume\n({base})")
    volume = shown["volume"]
    top = float(volume.max(initial=0.0)) or 1.0
    axes.set_ylim(0, 1.08 * top)
    ticks = MaxNLocator(3).tick_values(0, top)[:-1]
    axes.set_yticks(ticks, [amount(float(t)) for t in ticks])
    if len(volume):
        colours = np.where(shown["close"] >= shown["open"], NEUTRAL, MUTED).tolist()
        _draw_bars(axes, shown["day"], volume, colours)


def _draw_rsi(axes: Axes, days: NDArray[np.int64], rsi: _Floats) -> None:
    axes.set_ylabel("RSI 14\n(0 to 100)")
    axes.set_ylim(0, 100)
    axes.set_yticks([OVERSOLD_RSI, 50, OVERBOUGHT_RSI])
    for edge, colour, is_beyond in (
        (OVERSOLD_RSI, BUY, rsi < OVERSOLD_RSI),
        (OVERBOUGHT_RSI, SELL, rsi > OVERBOUGHT_RSI),
    ):
        axes.axhline(edge, color=colour, linewidth=0.9, linestyle=(0, (5, 3)))
        axes.fill_between(
            days, rsi, edge, where=is_beyond, interpolate=True, color=colour, alpha=0.25,
            linewidth=0,
        )  # fmt: skip
    axes.plot(days, rsi, color=INK, linewidth=1.1)
    if np.isnan(rsi).all():
        say(axes, "Too few candles for the RSI.")
    last = float(rsi[-1])
    tags(axes, [(last, f"{last:.1f}", INK)])


def _draw_macd(axes: Axes, days: NDArray[np.int64], studies: dict[str, _Floats]) -> None:
    macd, trigger, hist = (studies[n] for n in ("macd", "macd_signal", "macd_hist"))
    known = np.concatenate([macd, trigger, hist])
    known = known[np.isfinite(known)]
    reach = float(np.abs(known).max(initial=0.0)) or 1.0
    power = _power_of_thousand(reach)
    unit = f"10{str(power).translate(_SUPERSCRIPTS)} USDT" if power else "USDT"
    axes.set_ylabel(f"MACD 12 26 9\n({unit})")
    factor = 10.0**-power
    limits = (-1.12 * reach * factor, 1.12 * reach * factor)
    axes.set_ylim(*limits)
    ticks = MaxNLocator(4, symmetric=True).tick_values(*limits)[1:-1]
    axes.set_yticks(ticks, [true_minus(f"{t:,g}") for t in ticks])
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    _draw_bars(axes, days.astype(np.float64), np.nan_to_num(hist * factor), [NEUTRAL])
    if not known.size:
        say(axes, "Too few candles for the MACD.")
    for values, colour in ((macd, INK), (trigger, FIT)):
        axes.plot(days, values * factor, color=colour, linewidth=1.1)
    last = (("MACD", macd, INK), ("Signal line", trigger, FIT), ("Histogram", hist, MUTED))
    tags(axes, [(v[-1] * factor, f"{n} {_short(v[-1] * factor)}", c) for n, v, c in last])


def _short(value: float) -> str:
    """Four significant digits, never with an exponent."""
    digits = 3 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    return true_minus(f"{value:,.{max(0, digits)}f}")


def _power_of_thousand(value: float) -> int:
    """The exponent, a multiple of 3, that brings a small value to 1 or more; 0 from 0.01 on."""
    return 0 if value >= 0.01 else 3 * math.floor(math.log10(value) / 3)  # noqa: PLR2004


def _draw_bars(axes: Axes, day: _Floats, height: _Floats, colours: Sequence[str]) -> None:
    """One bar a day; the x limits are set already."""
    left, right = axes.get_xlim()
    bars(axes, day, height, colours, _BAR_WIDTH * PLOT_WIDTH / (right - left) * 72 / DPI)
