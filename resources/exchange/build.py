"""The exchanges by name, and how each is opened as the settings say."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from autonama_dagster.settings import Settings
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.exchange.archive.archive import ArchiveExchange
from resources.exchange.base import CandleSource, Exchange
from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.calls.retry import RetryPolicy
from resources.exchange.combined import CombinedExchange


def build_exchange(settings: Settings) -> Exchange:
    """The exchange of the daily scan, by the configured way; nothing is asked of it yet."""
    threads = settings.exchange_concurrency
    if settings.exchange == "archive":
        return ArchiveExchange(settings.archive_location, threads=threads)
    if settings.exchange == "binance":
        return _binance(settings)
    # Less patient with the archive than where nothing else could give the candles.
    archive = ArchiveExchange(
        settings.archive_location, timeout=10.0, retry=RetryPolicy(attempts=3)
    )
    return CombinedExchange(_binance(settings), archive, threads=threads)


def _binance(settings: Settings) -> BinanceExchange:
    return BinanceExchange(
        settings.exchange_url,
        tld=settings.exchange_tld,
        threads=settings.exchange_concurrency,
        weight_per_minute=settings.exchange_weight_per_minute,
    )


EXCHANGES: Final[Mapping[str, Callable[[Settings], CandleSource]]] = MappingProxyType(
    {SCAN_EXCHANGE: build_exchange}
)
"""What opens each exchange. Its name is also that of its resource and of its pool."""
