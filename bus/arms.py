"""Which arms a model has, in one word that both ends can compare before the first frame.

The model's hash says that both compute the same function; this says that both number the same cuts and write
the same codecs.
"""

import hashlib
from collections.abc import Iterable

_DIGITS = 16


def arms_digest(arms: Iterable[tuple[int, str]]) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over the (cut, codec) that send something, in any order."""
    said = "\n".join(f"{cut}/{codec}" for cut, codec in sorted(arms))
    return hashlib.sha256(said.encode()).hexdigest()[:_DIGITS]
