"""Symbols as the user writes them."""

from autonama_dagster.errors import InputError
from autonama_dagster.text.pair_names import parse_symbols, typed_name


def chosen_symbols(text: str | None) -> tuple[str, ...] | None:
    """The pairs of a `--symbols` flag; None where it was left out.

    Raises
    ------
    InputError
        The flag names none, or something that is no name.
    """
    if text is None:
        return None
    try:
        names = parse_symbols(text)
    except ValueError as error:
        raise InputError(f"--symbols: {error}; write it like BTCUSDT,ETHUSDT") from None
    if not names:
        raise InputError("--symbols is empty; write it like BTCUSDT,ETHUSDT")
    return names


def one_symbol(text: str) -> str:
    """The pair of an argument SYMBOL.

    Raises
    ------
    InputError
        It is no name.
    """
    try:
        return typed_name(text)
    except ValueError as error:
        raise InputError(f"SYMBOL: {error}; write it like BTCUSDT") from None
