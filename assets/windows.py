"""What a stage says of windows that it could not know."""

import dagster as dg

from autonama_dagster.analytics.candles.run_windows import RunWindows


def warn_of_unknown_windows(context: dg.AssetExecutionContext, run: RunWindows) -> None:
    """Say on the materialisation and in the log how many rows wait for candles not asked for."""
    if count := run.unknown():
        context.add_output_metadata({"unknown_windows": count})
        context.log.warning(
            "%d symbol-days have the status NO_DATA because their window has not been fetched "
            "completely; materialise ohlcv_1d_history and ohlcv_1d up to these days, then this "
            "asset again",
            count,
        )
