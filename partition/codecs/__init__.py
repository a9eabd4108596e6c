"""Activation and input codecs, one file each.

`CODECS` holds the default ones, `resolve` gives any other by its name (`families.py`, docs/codecs.md).
"""

from partition.codecs.base import Codec
from partition.codecs.families import CODECS, FAMILIES, resolve

__all__ = ["CODECS", "FAMILIES", "Codec", "resolve"]
