"""What is known of the chance of signals, by the hash of their window. A cache, never the truth."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.schemas.tables.summary import SIGNAL_CHANCE
from resources.warehouse.frames import to_frame
from resources.warehouse.warehouse import Warehouse


def known_chances(
    warehouse: Warehouse, window_hashes: Sequence[str], made: Versions
) -> pd.DataFrame:
    """window_hash, p_buy and p_sell of the windows that these versions have computed."""
    arrow = warehouse.query(
        "SELECT window_hash, p_buy, p_sell FROM trading.signal_chance "
        "WHERE window_hash = ANY($1) AND params_hash = $2 AND code_version = $3",
        (list(window_hashes), made.params_hash, made.code_version),
    )
    return to_frame(SIGNAL_CHANCE, arrow)


def keep_chances(
    warehouse: Warehouse, chances: pd.DataFrame, made: Versions, n_surrogates: int
) -> None:
    """Store window_hash, p_buy and p_sell, in the place of what older code computed.

    Raises
    ------
    DatabaseError
        The database is out of reach; nothing is written.
    """
    rows = chances.assign(
        params_hash=made.params_hash,
        n_surrogates=n_surrogates,
        code_version=made.code_version,
        computed_at=pd.Timestamp(datetime.now(UTC)).as_unit("us"),
    )
    warehouse.keep("signal_chance", rows)
