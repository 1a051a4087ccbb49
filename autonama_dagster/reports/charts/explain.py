"""Why a signal is what it is, in one picture: its candles, channels, confirmations and hashes."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.window_facts import WindowFacts
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.reports.charts.confirmations import draw_confirmations
from autonama_dagster.reports.charts.explain_panels import (
    QUALITY_COLOURS,
    draw_quality,
    draw_scores,
    draw_window,
    legend_of_quality,
)
from autonama_dagster.reports.charts.names import printable
from autonama_dagster.reports.charts.price_panel import Scale, draw_price
from autonama_dagster.reports.charts.style import (
    BUY,
    DPI,
    INK,
    MARGIN,
    MUTED,
    PALE,
    SELL,
    SIGNAL_COLOURS,
    SIGNAL_MARKS,
    Page,
    number,
    percent,
    price,
    render,
    say,
    signed,
)
from autonama_dagster.reports.charts.timeline import (
    FEWEST_DAYS,
    LEFT,
    PLOT_WIDTH,
    aligned,
    draw_calendar,
)
from autonama_dagster.text.labels import counted

_WIDTH, _HEIGHT, _DPI = 1280, 960, 125  # 1600 x 1200 pixels
_PRICE, _SCORES, _QUALITY = (152, 284), (478, 112), (624, 24)  # top and height in pixels
_FIGURES: Final = (MARGIN, 160, 360, 510, 640, 760, 890, 1040)
_CONFIRMATIONS_TOP: Final = 704
_FOOTER_TOP: Final = 852
_NAME_WIDTH: Final = 640  # pixels
_NEARLY_ALL: Final = 99.9  # percent; more would be rounded to all of it

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Origin:
    """What a signal's row says about where it came from, and whether it is still so.

    Attributes
    ----------
    input_hash, params_hash, code_version, run_id
        Columns of the row; None for NULL.
    is_matching
        Whether all rows and hashes computed anew are those that are stored; None: not computed.
    fault
        What does not match, in words.
    """

    input_hash: str | None
    params_hash: str | None
    code_version: str | None
    run_id: str | None
    is_matching: bool | None
    fault: str | None = None


def shown_days(window: WindowFacts, date: dt.date) -> NDArray[np.int64]:
    """Days an explain chart shows: the window's first to `date`, 30 at least; since 1970-01-01."""
    last = day_number(date)
    first = last if window.first is None else day_number(window.first)
    return np.arange(min(first, last - FEWEST_DAYS + 1), last + 1)


def explain_chart(
    symbol: str,
    candles: Candles | None,
    own_channel: pd.DataFrame,
    todays_fit: pd.DataFrame,
    indicators: Mapping[Any, Any],
    signal: Mapping[Any, Any],
    *,
    window: WindowFacts,
    quality: Sequence[str | None],
    origin: Origin,
    params: ChannelParams,
    source_label: str | None = None,
) -> bytes:
    """One signal with everything it was made from.

    The days shown are those of `shown_days`. Nothing before the window's first candle is drawn: it
    is not in the window. Two channels are drawn, as in `symbol_chart`: each day's own, which was
    known then, and today's fit through the past, which repaints.

    Parameters
    ----------
    symbol
        The pair.
    candles
        Its candles, those of the window at least; None where there are none.
    own_channel
        date, close, fitted_price, upper_band, lower_band, z_score of each day (`fit_channels`, or
        the rows of `regression_bands`), NaN where its signal is not OK; a day without a row has no
        channel.
    todays_fit
        date, fitted, upper, lower: `channel_curve` of the day; no rows unless its status is OK.
    indicators
        The day's row of `indicators`; empty where there is none.
    signal
        The day's row of `signals` by column name: date, signal, status, close, fitted_price,
        upper_band, lower_band, z_score, target_return_pct, signal_strength, confirmations, trend,
        risk_level, volatility_level; and quality, the worst severity of the window, None where it
        was not judged.
    window
        What the window holds.
    quality
        OK, INFO, WARNING or ERROR for each of the days shown; None: not judged. What is said of a
        day without a candle is not drawn.
    origin
        Hashes, versions and run of the row.
    params
        What the channels are made of; the price axis has their scale.
    source_label
        See `style.render`.

    Returns
    -------
    bytes
        PNG of 1600 x 1200 pixels, 38 more in height where the market is synthetic.

    Raises
    ------
    ValueError
        If `quality` is not of one value for each of the days shown, or knows another severity.
    """
    date = pd.Timestamp(signal["date"]).date()
    days = shown_days(window, date)
    if len(quality) != len(days):
        raise ValueError(
            f"quality of {symbol} has {len(quality)} values: pass one for each of the "
            f"{len(days)} days shown"
        )
    since = int(days[-1]) + 1 if window.first is None else day_number(window.first)
    shown = _columns(candles, since, int(days[-1]))
    own_names = ("close", "fitted_price", "upper_band", "lower_band", "z_score")
    own = aligned(own_channel, days, since, own_names)
    curves = aligned(todays_fit, days, since, ("fitted", "upper", "lower"))
    curves |= {name: own[name] for name in own_names[1:4]}

    def draw(page: Page) -> None:
        _draw_header(page, symbol, signal, date, window, params)
        tops = (_PRICE, _SCORES, _QUALITY)
        panels = [page.axes(LEFT, top, PLOT_WIDTH, height) for top, height in tops]
        draw_calendar(panels, days)
        if len(shown["day"]):
            handles = draw_price(panels[0], Scale(params.price_scale), days, shown, curves, signal)
            page.legend(LEFT, _PRICE[0] - 24, handles)
            draw_window(panels[:2], days, shown["day"], window, params.lookback)
        else:
            panels[0].set_yticks([])
            say(panels[0], f"{signal['status']}: the window of {date} has no candles.")
        page.legend(LEFT, _SCORES[0] - 22, draw_scores(panels[1], days, own, signal, params.kstd))
        counts = draw_quality(panels[2], days, shown["day"], since, quality)
        page.legend(LEFT, _QUALITY[0] - 20, legend_of_quality(counts))
        draw_confirmations(page, _CONFIRMATIONS_TOP, signal, indicators, params.kstd)
        _draw_footer(page, window, origin, params)

    return render(
        _WIDTH, _HEIGHT, draw, source_label, dpi=_DPI, exact=QUALITY_COLOURS, names=[symbol]
    )


def _columns(candles: Candles | None, since: int, last: int) -> dict[str, _Floats]:
    """Columns of the candles from `since` to `last`, `day` among them."""
    names = ("day", "open", "high", "low", "close")
    if candles is None:
        return {name: np.empty(0) for name in names}
    part = slice(*np.searchsorted(candles.day, [since, last + 1]).tolist())
    return {name: getattr(candles, name)[part].astype(np.float64) for name in names}


def _draw_header(
    page: Page,
    symbol: str,
    signal: Mapping[Any, Any],
    date: dt.date,
    window: WindowFacts,
    params: ChannelParams,
) -> None:
    kind, strength = signal["signal"], signal["signal_strength"]
    pieces: list[tuple[str, dict[str, Any]]] = [
        (f"{date}", {"fontsize": 13, "color": MUTED}),
        (
            SIGNAL_MARKS[kind],
            {"fontsize": 19, "fontweight": "bold", "color": SIGNAL_COLOURS[kind]},
        ),
        (f"strength {strength:.0f} of 100", {"fontsize": 13}),
    ]
    drawn = page.name(MARGIN, 42, printable(symbol), _NAME_WIDTH, 19, fontweight="bold")
    x = MARGIN + drawn.get_window_extent().width * DPI / _DPI + 18
    for text, style in pieces:
        drawn = page.text(x, 42, text, **style)
        x += drawn.get_window_extent().width * DPI / _DPI + 18
    page.text(MARGIN, 68, sentence(signal, window, params), fontsize=11)
    figures = (
        ("z-score", signed(number(signal, "z_score"))),
        ("Close (USDT)", price(number(signal, "close"))),
        ("Target return", percent(number(signal, "target_return_pct"))),
        ("Trend", _word(signal["trend"])),
        ("Risk level", _word(signal["risk_level"])),
        ("Volatility level", _word(signal["volatility_level"])),
        ("Data quality", _word(signal["quality"], "not evaluated")),
        ("Status", signal["status"]),
    )
    for x, (caption, value) in zip(_FIGURES, figures, strict=True):
        page.figure_of(x, 92, caption, value)


def _word(value: object, missing: str = "\N{EN DASH}") -> str:
    return value if isinstance(value, str) else missing


def sentence(signal: Mapping[Any, Any], window: WindowFacts, params: ChannelParams) -> str:
    """What the close says against its channel, or why nothing is said, in one sentence."""
    status = signal["status"]
    if status == "INSUFFICIENT_DATA":
        needed = f"{params.min_candles} are needed"
        return f"Not evaluated: {counted(window.candles, 'candle')} in the window, {needed}."
    if status == "NO_DATA":
        return f"Not evaluated: no candle on {pd.Timestamp(signal['date']):%Y-%m-%d}."
    if status != "OK":
        return f"Not evaluated: {status}, the candles failed their quality checks."
    close, lower, upper, score = (
        number(signal, name) for name in ("close", "lower_band", "upper_band", "z_score")
    )
    sigma = f"{signed(score)} sigma from its centre"
    if signal["signal"] == "BUY":
        return f"The close is {_apart(lower, close)} below the lower band of its channel, {sigma}."
    if signal["signal"] == "SELL":
        return f"The close is {_apart(upper, close)} above the upper band of its channel, {sigma}."
    below = f"{_apart(upper, close)} below the upper band"
    above = f"{_apart(lower, close)} above the lower band"
    if lower <= 0:
        above = "above the lower band, which is below zero"
    return f"The close is inside its channel: {above}, {below}, {sigma}."


def _apart(band: float, close: float) -> str:
    """How far the close is from a band, in percent of the band."""
    distance = 100 * abs(close - band) / abs(band) if band else math.nan
    if _NEARLY_ALL < distance < 100:  # noqa: PLR2004
        return f"more than {_NEARLY_ALL} %"
    return percent(distance).removeprefix("+")


def _draw_footer(page: Page, window: WindowFacts, origin: Origin, params: ChannelParams) -> None:
    page.rectangle(MARGIN, _FOOTER_TOP - 18, page.width - 2 * MARGIN, 1, PALE)
    verdict, meaning, colour = {
        True: ("matches", "the stored inputs give this row and its hashes.", BUY),
        False: ("DOES NOT MATCH", f"{origin.fault or 'it differs'}: scan the day again.", SELL),
        None: ("not checked", "the row was not recomputed.", MUTED),
    }[origin.is_matching]
    style: dict[str, Any] = {"fontsize": 8, "color": MUTED}
    drawn = page.text(
        MARGIN, _FOOTER_TOP, f"Hash chain: {verdict}", fontsize=9.5, fontweight="bold", color=colour
    )
    beside = MARGIN + drawn.get_window_extent().width * DPI / _DPI + 12
    page.text(beside, _FOOTER_TOP, meaning, **style)
    table = (
        (("Input hash", origin.input_hash), ("Code version", origin.code_version)),
        (("Params hash", origin.params_hash), ("Run", origin.run_id)),
    )
    for i, row in enumerate(table):
        for x, (caption, value) in zip((MARGIN, 700), row, strict=True):
            y = _FOOTER_TOP + 20 + 16 * i
            page.text(x, y, caption, **style)
            text = "\N{EN DASH}" if value is None else printable(value)
            page.text(x + 88, y, text, fontsize=8, color=INK, family="DejaVu Sans Mono")
    page.text(MARGIN, _FOOTER_TOP + 54, f"{_about(window)} {_settings(params)}", **style)
    page.footer(
        "Own channel: each day's own fit, using only what was known on that day. Today's fit "
        "repaints the past; no past signal came from it.",
        "Days are UTC days. Strength is not a probability. Generated by Autonama.",
    )


def _about(window: WindowFacts) -> str:
    if window.first is None:
        return "Window: no candles."
    gaps = "no gaps"
    if window.gaps:
        missing = f"{counted(window.missing_days, 'day')} without a candle"
        gaps = f"{counted(len(window.gaps), 'gap')} ({missing})"
    breaks = f"last break {window.breaks[-1].date}" if window.breaks else "no breaks"
    candles = counted(window.candles, "candle")
    return f"Window: {window.first} to {window.last}, {candles}, {gaps}, {breaks}."


def _settings(params: ChannelParams) -> str:
    return (
        f"Channel: degree {params.degree}, {params.kstd:g} sigma, {params.price_scale} scale, "
        f"{params.lookback} days."
    )
