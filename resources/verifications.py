"""Keeps what verifications found."""

import pandas as pd

from autonama_dagster.schemas.verification import VERIFICATIONS
from resources.frames import split, to_arrow
from resources.statements import merge_rows
from resources.warehouse import Warehouse


def keep_verifications(warehouse: Warehouse, found: pd.DataFrame) -> None:
    """Store rows of `verifications`.

    Raises
    ------
    DatabaseError
        The database is out of reach; nothing is written.
    """
    good, _ = split(VERIFICATIONS, found)
    with warehouse.transaction() as cursor:
        merge_rows(cursor, VERIFICATIONS, to_arrow(VERIFICATIONS, good))
