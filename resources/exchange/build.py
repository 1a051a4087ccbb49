"""The exchanges by name: what opens each as the settings say, and how its time is asked."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from autonama_dagster.settings import Settings
from autonama_dagster.text.sources import BINANCE, SCAN_EXCHANGE
from resources.exchange.archive.archive import ArchiveExchange
from resources.exchange.base import CandleSource, Exchange, Probe, clock_time
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


def _binance_url(settings: Settings) -> str | None:
    if settings.exchange == "archive":  # files: no clock and no weight
        return None
    return settings.exchange_url or f"https://api.binance.{settings.exchange_tld}"


PROBES: Final[Mapping[str, Probe]] = MappingProxyType(
    {
        BINANCE: Probe(
            url=_binance_url,
            setting="AUTONAMA_EXCHANGE_URL",
            path="/api/v3/time",
            read_time=lambda body: clock_time(body, "serverTime"),
            weight_header="X-MBX-USED-WEIGHT-1M",
        )
    }
)


def asked_exchanges(settings: Settings) -> list[str]:
    """Exchanges whose servers are asked for something under these settings."""
    return [name for name, probe in PROBES.items() if probe.url(settings) is not None]
