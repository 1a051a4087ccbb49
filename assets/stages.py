"""The stages of the pipeline, each after those that it is made from.

What is planned, run, proved, compared and shown follows from this list.
"""

from assets.analysis.correlation_matrix import correlation_matrix
from assets.analysis.data_quality import data_quality
from assets.analysis.indicators import indicators
from assets.analysis.regression_bands import regression_bands
from assets.decision.alerts import alerts
from assets.decision.asset_analytics import asset_analytics
from assets.decision.signals import signals
from assets.market.ohlcv import ohlcv_1d, ohlcv_1d_history
from assets.market.ohlcv_intraday import ohlcv_1h, ohlcv_1w, ohlcv_4h, ohlcv_15m
from assets.market.universe import universe
from assets.stage import Stage
from assets.summary.analysis_summary import analysis_summary

STAGES: tuple[Stage, ...] = (
    universe,
    ohlcv_1d_history,
    ohlcv_1d,
    ohlcv_15m,
    ohlcv_1h,
    ohlcv_4h,
    ohlcv_1w,
    data_quality,
    indicators,
    regression_bands,
    signals,
    correlation_matrix,
    asset_analytics,
    alerts,
    analysis_summary,
)
