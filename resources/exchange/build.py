"""The exchange that the settings name."""

from autonama_dagster.settings import Settings
from resources.exchange.archive import ArchiveExchange
from resources.exchange.base import Exchange
from resources.exchange.binance import BinanceExchange


def build_exchange(settings: Settings) -> Exchange:
    """The configured source of candles; nothing is asked of it yet."""
    if settings.exchange == "archive":
        return ArchiveExchange(settings.archive_location, threads=settings.exchange_concurrency)
    key, secret = settings.binance_api_key, settings.binance_api_secret
    return BinanceExchange(
        settings.exchange_url,
        tld=settings.exchange_tld,
        api_key=key.get_secret_value() if key else None,
        api_secret=secret.get_secret_value() if secret else None,
        threads=settings.exchange_concurrency,
        weight_per_minute=settings.exchange_weight_per_minute,
    )
