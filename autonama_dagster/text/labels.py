"""What people read for a column or a value: one name for one figure, wherever it is shown."""

from typing import Final

# Columns that the rule of `label` would give two names for one figure, or a poor one.
_LABELS: Final = {
    "z_score": "z-score",
    "current_price": "close",
    "potential_return": "potential return %",
    "avg_potential_return": "mean potential return %",
    "price_change_24h": "return 1d %",
    "volatility": "volatility 30d %",
    "volume_ratio": "volume ratio 20",
    "universe_rank": "rank",
    "n_obs": "observations",
    "data_points": "observations",
    "total_assets_analyzed": "analysed",
    "n_pairs": "pairs",
    "n_high": "high correlations",
    "n_linked": "linked pairs",
    "slope_pct_per_day": "slope % per day",
}

# A confirmation in a word, for where it is plain which of two it is.
CONFIRMATION_WORDS: Final = {
    "RSI_OVERSOLD": "RSI",
    "RSI_OVERBOUGHT": "RSI",
    "MACD_POSITIVE": "MACD",
    "MACD_NEGATIVE": "MACD",
    "HIGH_VOLUME": "volume",
    "TREND_BULLISH": "trend",
    "TREND_BEARISH": "trend",
}


def label(column: str) -> str:
    """The name of a column for people: `band_width_pct` is "band width %"."""
    found = _LABELS.get(column)
    if found is not None:
        return found
    return (f"{column[:-4]} %" if column.endswith("_pct") else column).replace("_", " ")


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things: 0 pairs, 1 pair, 1,234 pairs; `many` is the plural where it is no `s`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
