"""Merkle trees: one hash over many rows, as RFC 6962 computes it."""

import hashlib
from collections.abc import Iterable, Sequence


def leaf(digests: Iterable[bytes]) -> bytes:
    """Hash of rows that are one leaf: SHA-256 of a zero byte and their digests in order."""
    return hashlib.sha256(b"\0" + b"".join(digests)).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Hash over all leaves in their order; of none, the SHA-256 of nothing.

    A node is the SHA-256 of a one byte and its two parts, of which the left one has the largest
    power of two of leaves that leaves some for the right one.
    """
    level = list(leaves)
    if not level:
        return hashlib.sha256().digest()
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs]
        level = above + level[len(above) * 2 :]
    return level[0]
