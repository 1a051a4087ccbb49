"""Digests of candles: what a window's hash is made of."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WIDTH = 32


def digests(
    head: str,
    steps: NDArray[np.int64],
    row_hash: NDArray[np.bytes_],
    numbers: Sequence[NDArray[np.float64]],
    trades: NDArray[np.int64],
    source: NDArray[np.bytes_],
) -> NDArray[np.uint8]:
    """SHA-256 of each candle: of everything that is stored as a fact of it.

    Over the head, the step, the row hash (64 ASCII bytes), the numbers, the trades and the source
    in this order. Integers are 8 bytes and numbers 8 of IEEE 754, big-endian, as `int8send` and
    `float8send` of Postgres give them. A candle that was changed by hand, or moved to another day,
    symbol or table, has another digest even where its row hash was left alone.

    Parameters
    ----------
    head
        Symbol and interval, with a line feed after each.
    steps
        n steps of the interval's grid; of daily candles days since 1970-01-01.
    row_hash
        n hashes, dtype "S64".
    numbers
        Columns of length n in the order of `candles.NUMBERS`; all NaNs are one value.
    trades
        Length n.
    source
        Length n, dtype "S".

    Returns
    -------
    numpy.ndarray
        Shape (n, 32).
    """
    parts = [_integers(steps), _texts(row_hash), _floats(numbers), _integers(trades)]
    return _hashed(head.encode(), np.concatenate(parts, axis=1), source.tolist())


def market_digests(
    row_hash: NDArray[np.bytes_], floats: Sequence[NDArray[np.float64]]
) -> NDArray[np.uint8]:
    """SHA-256 of what the market said of each candle: the same whichever way it came.

    Over the row hash and the numbers, packed as in `digests`.

    Parameters
    ----------
    row_hash
        n hashes, dtype "S64".
    floats
        Columns of length n in the order of `candles.CANDLE_FLOATS`; all NaNs are one value.

    Returns
    -------
    numpy.ndarray
        Shape (n, 32).
    """
    packed = np.concatenate([_texts(row_hash), _floats(floats)], axis=1)
    return _hashed(b"", packed, [b""] * len(packed))


def hash_ranges(
    digest: NDArray[np.uint8], starts: NDArray[np.intp], stops: NDArray[np.intp]
) -> list[str]:
    """SHA-256 (hex) of the digests of each half-open range, 32 bytes a candle, in their order.

    Parameters
    ----------
    digest
        Shape (n, 32).
    starts, stops
        Ends of m ranges of its rows; an empty one has the hash of nothing.

    Returns
    -------
    list of str
        Length m.
    """
    return [
        hashlib.sha256(digest[start:stop].data).hexdigest()
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
    ]


def _hashed(head: bytes, packed: NDArray[np.uint8], tails: Sequence[bytes]) -> NDArray[np.uint8]:
    """SHA-256 of each row between the head, which all have, and its tail."""
    data, width = packed.tobytes(), packed.shape[1]
    starts = range(0, len(data), width)
    found = [
        hashlib.sha256(head + data[at : at + width] + tail).digest()
        for at, tail in zip(starts, tails, strict=True)
    ]
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, _WIDTH)


def _texts(column: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    """Bytes of texts of one length, a row each."""
    n = len(column)
    return np.ascontiguousarray(column).view(np.uint8).reshape(n, column.itemsize)


def _integers(column: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(column, dtype=">i8").view(np.uint8).reshape(len(column), 8)


def _floats(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.uint8]:
    numbers = np.column_stack([np.where(np.isnan(f), np.nan, f) for f in columns])
    packed = np.ascontiguousarray(numbers, dtype=">f8").view(np.uint8)
    return packed.reshape(len(numbers), 8 * len(columns))
