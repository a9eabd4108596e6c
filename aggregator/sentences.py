"""The numbers of `GroupWords` as phrases: one quantity a row for a table, or all as one text. Pure."""

import math
from typing import NamedTuple

from bus.messages import GroupWords

UNKNOWN = "not known"


class Phrase(NamedTuple):
    """One quantity: what it is, the estimate, and the interval (empty if there is none)."""

    what: str
    estimate: str
    interval: str

    def __str__(self) -> str:
        return f"{self.what}: {self.estimate}{f' ({self.interval})' if self.interval else ''}"


def phrases(words: GroupWords) -> list[Phrase]:
    """Return each quantity, known or not; nothing if no member has said what the columns mean."""
    if not words.link:
        return []
    round_trip = "" if words.link == "measured" else "round trip and "
    return [
        _time("device, whole network", words.device_ms, words.device_low_ms, words.device_high_ms),
        _time("device, encoding a frame", words.encode_ms, words.encode_low_ms, words.encode_high_ms),
        _time("edge worker, what a cut can move", words.edge_ms, words.edge_low_ms, words.edge_high_ms),
        _time(f"{round_trip}server wait", words.wait_ms, words.wait_low_ms, words.wait_high_ms),
        _time("edge worker and wait, whole network", words.away_ms, words.away_low_ms, words.away_high_ms),
        _link(words),
    ]


def text_of(words: GroupWords) -> str:
    """Return everything in one line."""
    said = "; ".join(map(str, phrases(words)))
    return f"{said or 'no member has said what the columns mean'}; from {counted(words)}"


def counted(words: GroupWords) -> str:
    """Return what it was learnt from."""
    members = f"{words.members} device{'' if words.members == 1 else 's'}"
    return f"{words.count} measurements ({words.sent} of sent frames) of {members}, version {words.version}"


def _time(what: str, mean: float | None, low: float | None, high: float | None) -> Phrase:
    if mean is None or low is None or high is None:
        return Phrase(what, UNKNOWN, "")
    return Phrase(what, f"{_number(mean)} ms", f"{_number(low)} to {_number(high)}")


def _link(words: GroupWords) -> Phrase:
    what = "link, from a device"
    mean, low, high = words.link_mbit_per_s, words.link_low_mbit_per_s, words.link_high_mbit_per_s
    if words.link == "measured":
        return Phrase(what, "measured by each device", "")
    if low is None:
        return Phrase(what, UNKNOWN, "")
    if mean is None or high is None:
        return Phrase(what, f"at least {_number(low)} Mbit/s", "")
    return Phrase(what, f"{_number(mean)} Mbit/s", f"{_number(low)} to {_number(high)}")


def _number(value: float) -> str:
    """Three digits, and no exponent."""
    digits = 2 if value <= 0.0 else min(3, max(0, 2 - math.floor(math.log10(value))))
    return f"{value:.{digits}f}" if value > 0.0 else "0"
