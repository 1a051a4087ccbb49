"""Tables of replaced candles: for each table of fetched candles one, made from its declaration."""

from autonama_dagster.schemas.base import Instant, Integer, Table, TableModel, column, instant
from autonama_dagster.schemas.tables.intraday import OHLCV_1H, OHLCV_15M
from autonama_dagster.schemas.tables.market import OHLCV_1D


class Revision(TableModel):
    """What a replaced candle has beside its own columns."""

    revision: Integer = column("Number of the candle's replaced version, from 1.", ge=1)
    valid_from: Instant = instant("Start of this version: its `fetched_at`.")
    valid_to: Instant = instant("End of this version: `fetched_at` of the candle that replaced it.")


def _replaced(of: Table) -> Table:
    # The class named last gives the first columns.
    model = type(
        f"{of.model.__name__}Revision",
        (Revision, of.model),
        {
            "__doc__": f"Earlier versions of candles of `{of.name}` that the exchange has "
            "since changed."
        },
    )
    return Table(f"{of.name}_revisions", model, (*of.key, "revision"))


# Candles of 4 hours and of a week are made from others, whose revisions say what changed.
FETCHED = (OHLCV_1D, OHLCV_15M, OHLCV_1H)
REVISIONS: dict[str, Table] = {of.name: _replaced(of) for of in FETCHED}
