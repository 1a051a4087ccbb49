"""What confirms a signal: each group of confirmations with the values it was decided from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autonama_dagster.analytics.scan.signals import (
    CONFIRMATION_POINTS,
    CONFIRMATIONS,
    DEPTH_POINTS,
    HIGH_VOLUME_RATIO,
    MAX_CONFIRMATIONS,
    OVERBOUGHT_RSI,
    OVERSOLD_RSI,
)
from autonama_dagster.reports.charts.style import (
    INK,
    MARGIN,
    MUTED,
    PALE,
    SIGNAL_COLOURS,
    Page,
    number,
    price,
    true_minus,
)

_CARD_WIDTH, _CARD_HEIGHT, _BETWEEN = 291, 104, 12


@dataclass(frozen=True)
class _Card:
    caption: str
    value: str
    rules: tuple[str, ...]
    names: tuple[str, ...]


def draw_confirmations(
    page: Page, top: float, signal: Mapping[Any, Any], indicators: Mapping[Any, Any], kstd: float
) -> None:
    """A heading with the strength's parts, and a card for RSI, MACD, volume and trend.

    Parameters
    ----------
    page
        Drawn on from `top`, in pixels, over 110 pixels.
    signal
        The day's row of `signals`: signal, status, z_score, close, trend, confirmations,
        signal_strength.
    indicators
        The day's rsi_14, macd_hist, volume_ratio_20, ema_21, ema_50; a missing one is a dash.
    kstd
        Half width of the channel in residual standard deviations.
    """
    page.text(MARGIN, top, "Confirmations", fontsize=10.5, fontweight="bold")
    page.text(MARGIN + 126, top, _strength(signal, kstd), fontsize=8.5, color=MUTED)
    for i, card in enumerate(_cards(signal, indicators)):
        left = MARGIN + i * (_CARD_WIDTH + _BETWEEN)
        _draw_card(page, left, top + 12, card, signal)


def _strength(signal: Mapping[Any, Any], kstd: float) -> str:
    """How the strength is put together."""
    kind = signal["signal"]
    if signal["status"] != "OK":
        return f"Not evaluated: {signal['status']}."
    if kind == "HOLD":
        return "HOLD has no strength."
    agreeing = sum(kind in CONFIRMATIONS[name] for name in signal["confirmations"])
    depth = DEPTH_POINTS * min(1.0, (abs(number(signal, "z_score")) - kstd) / kstd)
    points = CONFIRMATION_POINTS * min(MAX_CONFIRMATIONS, agreeing)
    return (
        f"{agreeing} of {len(signal['confirmations'])} agree with {kind}. Strength "
        f"{signal['signal_strength']:.1f} = {depth:.1f} for depth beyond the band (at most "
        f"{DEPTH_POINTS:g}) + {points:.1f} for agreeing confirmations ({CONFIRMATION_POINTS:g} "
        f"each, at most {MAX_CONFIRMATIONS} count)"
    )


def _cards(signal: Mapping[Any, Any], indicators: Mapping[Any, Any]) -> tuple[_Card, ...]:
    rsi, hist, volume, fast, slow = (
        number(indicators, name) if name in indicators else math.nan
        for name in ("rsi_14", "macd_hist", "volume_ratio_20", "ema_21", "ema_50")
    )
    trend = signal["trend"]
    return (
        _Card(
            "RSI 14",
            _text(rsi, f"{rsi:.1f}"),
            (
                f"RSI_OVERSOLD below {OVERSOLD_RSI:g} (BUY)",
                f"RSI_OVERBOUGHT above {OVERBOUGHT_RSI:g} (SELL)",
            ),
            ("RSI_OVERSOLD", "RSI_OVERBOUGHT"),
        ),
        _Card(
            "MACD histogram 12 26 9 (USDT)",
            true_minus(f"{'+' if hist > 0 else ''}{price(hist)}") if hist else price(hist),
            ("MACD_POSITIVE above 0 (BUY)", "MACD_NEGATIVE below 0 (SELL)"),
            ("MACD_POSITIVE", "MACD_NEGATIVE"),
        ),
        _Card(
            "Volume / mean of the previous 20 days",
            _text(volume, f"{volume:,.2f}"),
            (f"HIGH_VOLUME at {HIGH_VOLUME_RATIO:g} or more (BUY and SELL)",),
            ("HIGH_VOLUME",),
        ),
        _Card(
            "Trend (BULLISH: BUY, BEARISH: SELL)",
            trend if isinstance(trend, str) else "\N{EN DASH}",
            (
                f"Close {price(number(signal, 'close'))}, EMA 21 {price(fast)}",
                f"EMA 50 {price(slow)}: both must be above or below it",
            ),
            ("TREND_BULLISH", "TREND_BEARISH"),
        ),
    )


def _text(value: float, text: str) -> str:
    return text if math.isfinite(value) else "\N{EN DASH}"


def _draw_card(page: Page, left: float, top: float, card: _Card, signal: Mapping[Any, Any]) -> None:
    verdict, colour = _verdict(card, signal)
    page.rectangle(left, top, _CARD_WIDTH, _CARD_HEIGHT, PALE)
    page.rectangle(left, top, 5, _CARD_HEIGHT, colour)
    x = left + 16
    page.text(x, top + 18, card.caption, fontsize=8, color=MUTED)
    page.text(x, top + 41, card.value, fontsize=13, fontweight="bold")
    for i, rule in enumerate(card.rules):
        page.text(x, top + 59 + 13 * i, rule, fontsize=7.5, color=MUTED)
    page.text(x, top + 93, verdict, fontsize=8.5, fontweight="bold", color=colour)


def _verdict(card: _Card, signal: Mapping[Any, Any]) -> tuple[str, str]:
    """What the card says of the signal, and the colour of that."""
    if signal["status"] != "OK":
        return "not evaluated", MUTED
    kind = signal["signal"]
    held = [name for name in card.names if name in signal["confirmations"]]
    if not held:
        return "\N{EN DASH} does not hold", MUTED
    if kind == "HOLD":
        return f"{held[0]} holds", INK
    if kind in CONFIRMATIONS[held[0]]:
        return f"✓ {held[0]} agrees with {kind}", SIGNAL_COLOURS[kind]
    return f"✗ {held[0]} opposes {kind}", MUTED
