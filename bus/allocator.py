"""Keeps large buffers within the process, between one activation and the next.

glibc hands memory above a threshold back to the system at each free, and the next activation of 1 MB pays
for 256 page faults per buffer. Where there is no glibc nothing is changed.
This file must never allocate anything itself.
"""

import ctypes
import functools
import sys

# malloc.h: what mallopt takes.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Above every packet (bus/topics.py), below glibc's own maximum of 32 MiB.
_MMAP_BYTES = 16 * 1024 * 1024
# What a process keeps at most instead of handing it back.
_TRIM_BYTES = 64 * 1024 * 1024


@functools.cache
def keep_large_buffers() -> bool:
    """Tell the allocator, once per process; returns whether it listened."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES))
