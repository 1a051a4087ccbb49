"""Made-up inputs for the charts, and a look at what was drawn."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.window_facts import window_facts
from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan.channel import ChannelParams, channel_curve, fit_channels
from autonama_dagster.analytics.scan.indicators import indicators
from autonama_dagster.analytics.scan.signals import decide
from autonama_dagster.reports.charts import style
from autonama_dagster.reports.charts.explain import Origin, shown_days

LAST = 19_700  # 2023-12-09, the day of every made-up chart


@dataclass(frozen=True)
class Drawn:
    """The figures drawn while a test ran, the newest last."""

    figures: list[Figure]

    @property
    def figure(self) -> Figure:
        return self.figures[-1]

    def texts(self) -> list[Text]:
        """Texts on the page: ticks beyond the limits of their axis have labels too, undrawn."""
        undrawn = set()
        for axis in (a for axes in self.figure.axes for a in (axes.xaxis, axes.yaxis)):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    undrawn |= {tick.label1, tick.label2}
        found = (t for t in self.figure.findobj(Text) if t not in undrawn)
        return [t for t in found if t.get_visible() and t.get_text().strip()]

    def words(self) -> str:
        return "\n".join(t.get_text() for t in self.texts())

    def boxes(self) -> dict[str, Any]:
        """Extent in pixels of every text on the page, the watermark excepted."""
        return {
            f"{t.get_text()} #{i}": t.get_window_extent()
            for i, t in enumerate(self.texts())
            if t.get_alpha() is None
        }

    def overlapping(self) -> list[tuple[str, str]]:
        found = list(self.boxes().items())
        return [
            (name, other)
            for i, (name, box) in enumerate(found)
            for other, beside in found[i + 1 :]
            if min(box.x1, beside.x1) - max(box.x0, beside.x0) > 1
            and min(box.y1, beside.y1) - max(box.y0, beside.y0) > 1
        ]

    def outside(self) -> list[str]:
        page = self.figure.bbox
        return [
            name
            for name, box in self.boxes().items()
            if box.x0 < 0 or box.y0 < 0 or box.x1 > page.x1 or box.y1 > page.y1
        ]


@pytest.fixture
def drawn(monkeypatch):
    """Records the figures that charts draw on."""
    figures: list[Figure] = []

    class Recorded(Figure):
        def __init__(self, **options):
            super().__init__(**options)
            figures.append(self)

    monkeypatch.setattr(style, "Figure", Recorded)
    return Drawn(figures)


@pytest.fixture
def make_candles():
    """A random walk of daily candles that ends on LAST, without the `missing` days before it."""

    def make(count=400, *, start=100.0, seed=1, missing=(), symbol="ABCUSDT", last_move=0.0):
        random = np.random.default_rng(seed)
        steps = random.normal(0, 0.03, count)
        steps[-1] += last_move
        close = start * np.exp(np.cumsum(steps))
        open_ = np.concatenate([[start], close[:-1]])
        spread = np.exp(np.abs(random.normal(0, 0.01, count)))
        day = np.arange(LAST - count + 1, LAST + 1)
        keep = ~np.isin(day, [LAST - m for m in missing])
        return Candles(
            symbol=symbol,
            day=day[keep],
            open=open_[keep],
            high=(np.maximum(open_, close) * spread)[keep],
            low=(np.minimum(open_, close) / spread)[keep],
            close=close[keep],
            volume=random.uniform(1e5, 1e6, count)[keep],
            quote_volume=np.ones(count)[keep],
            row_hash=np.full(count, b"0" * 64, dtype="S64")[keep],
        )

    return make


@pytest.fixture
def signal_row():
    """A row of `signals`, HOLD inside its channel unless told otherwise."""

    def make(**values):
        row = {
            "symbol": "ABCUSDT",
            "date": pd.Timestamp(LAST, unit="D"),
            "signal": "HOLD",
            "status": "OK",
            "close": 100.0,
            "fitted_price": 100.0,
            "upper_band": 120.0,
            "lower_band": 80.0,
            "z_score": 0.0,
            "target_return_pct": np.nan,
            "confirmations": [],
            "signal_strength": 0.0,
        }
        return row | values

    return make


@pytest.fixture
def chart_inputs(signal_row):
    """Arguments of `symbol_chart` for candles, computed as the pipeline does."""

    def make(candles: Candles, day: int = LAST, **params: Any) -> dict[str, Any]:
        channel = ChannelParams(**params)
        days = windows(candles, np.arange(day - 179, day + 1), channel.lookback)
        bands = fit_channels([candles], [days], channel)
        today = bands.iloc[-1]
        signal = "HOLD"
        if today["status"] == "OK" and today["close"] < today["lower_band"]:
            signal = "BUY"
        elif today["status"] == "OK" and today["close"] > today["upper_band"]:
            signal = "SELL"
        strength = 0.0 if signal == "HOLD" else 64.0
        row = signal_row() | today.to_dict() | {"signal": signal, "signal_strength": strength}
        return {
            "symbol": candles.symbol,
            "candles": candles,
            "own_channel": bands,
            "todays_fit": channel_curve(
                candles, windows(candles, np.array([day]), channel.lookback), channel
            ),
            "indicators": indicators.compute([candles], [days]),
            "signal": row,
            "price_scale": channel.price_scale,
        }

    return make


def as_date(day) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(int(day))


@pytest.fixture
def explain_inputs():
    """Arguments of `explain_chart` for candles, computed as the pipeline does."""

    def make(candles: Candles, day: int = LAST, **params: Any) -> dict[str, Any]:
        channel = ChannelParams(**params)
        window = windows(candles, np.array([day]), channel.lookback)
        facts = window_facts(candles, window, channel.lookback)
        days = shown_days(facts, as_date(day))
        bands = fit_channels([candles], [windows(candles, days, channel.lookback)], channel)
        studies = indicators.compute([candles], [window])
        universe = pd.DataFrame({"date": [], "symbol": [], "rank": [], "is_member": []}).astype(
            {"date": "datetime64[s]", "symbol": "str", "rank": "Int64", "is_member": "boolean"}
        )
        judged = bands.iloc[-1:][["symbol", "date"]].assign(window_severity="OK")
        row = decide(bands.iloc[-1:], studies, universe, judged, kstd=channel.kstd)
        row = row.iloc[-1].to_dict()
        origin = Origin("a" * 64, "b" * 64, "0.1.0+3f2a9c1b4d5e", "0f6b1f5e", is_matching=True)
        return {
            "symbol": candles.symbol,
            "candles": candles,
            "own_channel": bands,
            "todays_fit": channel_curve(candles, window, channel),
            "indicators": studies.iloc[-1].to_dict() if len(studies) else {},
            "signal": row | {"quality": "OK"},
            "window": facts,
            "quality": ["OK"] * len(days),
            "origin": origin,
            "params": channel,
            "source_label": "archive",
        }

    return make


@pytest.fixture
def make_pairs():
    """Rows of `correlation_matrix` of one day for a symmetric matrix."""

    def make(symbols, matrix):
        a, b = np.triu_indices(len(symbols), 1)
        names = np.array(symbols, dtype=object)
        return pd.DataFrame(
            {
                "date": pd.Timestamp(LAST, unit="D"),
                "symbol_a": pd.Series(names[a], dtype="str"),
                "symbol_b": pd.Series(names[b], dtype="str"),
                "pearson": np.asarray(matrix, dtype=np.float64)[a, b],
            }
        )

    return make


@pytest.fixture
def make_signals(signal_row):
    """Rows of `signals` for z-scores by symbol, decided with kstd 2; None: too few candles."""

    def make(scores):
        rows = []
        for symbol, score in scores.items():
            values = {"symbol": symbol, "z_score": np.nan if score is None else score}
            if score is None:
                values |= {"status": "INSUFFICIENT_DATA"}
            elif abs(score) > 2:
                values |= {
                    "signal": "BUY" if score < 0 else "SELL",
                    "signal_strength": min(60.0, 30 * (abs(score) - 2)),
                    "target_return_pct": 25.0,
                    "confirmations": ["RSI_OVERSOLD", "MACD_NEGATIVE", "HIGH_VOLUME"],
                }
            rows.append(signal_row(**values))
        return pd.DataFrame(rows, columns=list(signal_row()))

    return make
