"""Small recordings, written without a broker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bus.recording.entries import Entry, Message
from bus.recording.packing import Packer

BEGAN_NS = 1_700_000_000_000_000_000


def message(number: int, at_s: float, topic: str, payload: bytes = b"{}", **more: Any) -> Message:
    """A message that came so long after the recording's beginning."""
    at_ns = BEGAN_NS + round(at_s * 1e9)
    return Message(number, at_ns, at_ns, topic, payload, **more)


def file_of(path: Path, entries: Sequence[Entry], prefix: str = "cans/v1") -> Path:
    """Write a whole recording."""
    packer = Packer({"prefix": prefix, "filters": f"{prefix}/#"}, "test")
    for entry in entries:
        packer.add(entry)
    path.write_bytes(packer.finish())
    return path
