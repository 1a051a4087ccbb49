"""Symbols as the user writes them."""

from autonama_dagster.errors import InputError
from autonama_dagster.settings import parse_symbols


def chosen_symbols(text: str | None) -> tuple[str, ...] | None:
    """The pairs of a `--symbols` flag; None where it was left out.

    Raises
    ------
    InputError
        The flag names none.
    """
    if text is None:
        return None
    if not (names := parse_symbols(text)):
        raise InputError("--symbols names no pair; write it like BTCUSDT,ETHUSDT")
    return names
