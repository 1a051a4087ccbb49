"""Digests of candles: what a window's hash is made of."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def digests(
    row_hash: NDArray[np.bytes_], floats: Sequence[NDArray[np.float64]]
) -> NDArray[np.uint8]:
    """SHA-256 of each candle: what the exchange said, and the numbers that were made of it.

    Over the row hash (64 ASCII bytes) and each number as 8 bytes, big-endian IEEE 754, which is
    what Postgres' `float8send` gives: a candle whose stored price was changed has another digest
    even where its row hash was left alone.

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
    n = len(row_hash)
    numbers = np.column_stack([np.where(np.isnan(f), np.nan, f) for f in floats])
    packed = np.concatenate(
        [
            np.ascontiguousarray(row_hash).view(np.uint8).reshape(n, row_hash.itemsize),
            np.ascontiguousarray(numbers, dtype=">f8").view(np.uint8).reshape(n, 8 * len(floats)),
        ],
        axis=1,
    )
    data, width = packed.tobytes(), packed.shape[1]
    found = [hashlib.sha256(data[at : at + width]).digest() for at in range(0, n * width, width)]
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(n, 32)
