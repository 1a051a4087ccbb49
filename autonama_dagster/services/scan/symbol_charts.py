"""Charts of single symbols as files: price with each day's own channel, volume, RSI, MACD."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.run_windows import Answered, RunWindows, windows_of
from autonama_dagster.analytics.scan.channel import channel_curve, fit_channels
from autonama_dagster.analytics.scan.indicators.indicators import compute
from autonama_dagster.days import CHART_DAYS
from autonama_dagster.services.inputs.parameters import channel_params
from autonama_dagster.settings import CORE_MOVERS, Settings
from autonama_dagster.text.escaping import file_name, markdown, markdown_code

SCAN_PICTURE = "scan.png"  # the picture of a scan, beside the charts of its symbols


def charted(signals: pd.DataFrame) -> list[str]:
    """Symbols worth a chart: BUY and SELL signals, and the core movers."""
    acting = signals["signal"] != "HOLD"
    return sorted(signals.loc[acting | signals["symbol"].isin(CORE_MOVERS), "symbol"])


def draw_symbol_charts(
    folder: Path,
    day: date,
    signals: pd.DataFrame,
    candles: Mapping[str, Candles],
    settings: Settings,
    source: str | None,
    answered: Answered | None = None,
    on_chart: Callable[[int, int], None] = lambda *_: None,
) -> list[Path]:
    """Write one PNG per symbol of `signals` to `folder`/`day`, in the place of those there.

    `on_chart` hears how many of how many are drawn. A day has a channel of its own only where all
    of its window was `answered`, see `windows_of`.
    """
    target = folder / day.isoformat()
    target.mkdir(parents=True, exist_ok=True)
    rows = signals.set_index("symbol", drop=False)
    files: list[Path] = []
    for symbol in signals["symbol"]:
        on_chart(len(files), len(signals))
        png = _draw(symbol, day, rows.loc[symbol], candles, settings, source, answered)
        files.append(write_picture(target / f"{file_name(symbol)}.png", png))
    on_chart(len(files), len(signals))
    for stale in set(target.glob("*.png")) - {*files, target / SCAN_PICTURE}:
        stale.unlink()
    return files


def write_picture(path: Path, png: bytes) -> Path:
    """Write a picture that is never seen half."""
    part = path.with_suffix(".part")
    part.write_bytes(png)
    return part.replace(path)


def _draw(
    symbol: str,
    day: date,
    signal: pd.Series,
    candles: Mapping[str, Candles],
    settings: Settings,
    source: str | None,
    answered: Answered | None,
) -> bytes:
    from autonama_dagster.reports.charts.symbol import symbol_chart  # noqa: PLC0415

    params = channel_params(settings)
    first = day - timedelta(days=CHART_DAYS - 1)
    run = windows_of(candles, [symbol], first, day, params.lookback, answered)
    own = fit_channels(run.candles, run.windows, params)
    today = windows_of(candles, [symbol], day, day, params.lookback, answered)
    return symbol_chart(
        symbol,
        run.candles[0],
        own,
        _curve(today, settings),
        compute(run.candles, run.windows),
        signal.to_dict(),
        price_scale=params.price_scale,
        source_label=source,
    )


def _curve(today: RunWindows, settings: Settings) -> pd.DataFrame:
    return channel_curve(today.candles[0], today.windows[0], channel_params(settings))


def links(files: Sequence[Path]) -> str:
    """Markdown list of chart files."""
    return "\n".join(f"- {markdown(f.stem)}: {markdown_code(str(f))}" for f in files)
