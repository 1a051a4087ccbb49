"""The windows a run needs, read from the warehouse: what every analytic stage starts from."""

from datetime import timedelta

from autonama_dagster.analytics.candles.run_windows import RunWindows, windows_of
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


def read_windows(warehouse: Warehouse, scope: Scope, lookback: int) -> RunWindows:
    """Windows of the scope's symbols and days, from the stored candles.

    A window is used only where the exchange has answered for every one of its days: a row made
    from half a window would be another row once the rest is fetched.
    """
    assert scope.first is not None and scope.last is not None  # noqa: S101, PT018
    symbols = scope.symbols or ()
    found = warehouse.candles(symbols, scope.first - timedelta(days=lookback - 1), scope.last)
    answered = fetched_ranges(warehouse, "1d", symbols)
    return windows_of(found, symbols, scope.first, scope.last, lookback, answered)
