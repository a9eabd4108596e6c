"""What the rows come to: latencies, and which share of a frame each transport takes beyond direct TCP. Pure.

The share is (frame by this transport - frame by TCP) / frame by this transport, where a frame is the mean
over repetitions of the repetition's median; repetitions are drawn whole for the interval (bootstrap, BCa).
Heads and tails are computed anew for each transport, and their noise is in that. So a second one
beside it looks only at the time under way: (way by this transport - way by TCP) / frame by this transport.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from lab.hop.rows import TCP, Row
from lab.testbed.report.ratios import ratio


class Share(msgspec.Struct, frozen=True):
    """Of a frame; below 0 where TCP is the slower one.

    Attributes:
        value: from 0 to 1.
        ci95: of it; None with too few repetitions.
        beyond_ms: the same in ms.
    """

    value: float
    ci95: tuple[float, float] | None
    beyond_ms: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One transport with one arm over one link.

    Attributes:
        request_bytes: mean of the messages.
        p50_ms, p95_ms, p99_ms: of whole frames.
        front_ms, edge_ms, way_ms: medians of its parts, as in `Row`.
        whole: what a frame takes longer than by TCP.
        way: what it is longer under way.
    """

    link: str
    arm: str
    transport: str
    frames: int
    request_bytes: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    front_ms: float
    edge_ms: float
    way_ms: float
    whole: Share
    way: Share


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes:
        figures: by link, then arm, then transport, in the order of playing.
        frames: how many pictures were played, each by every transport.
        disagreed: how many of those got different answers by different transports.
    """

    figures: list[Figures]
    frames: int
    disagreed: int


def found(rows: Sequence[Row]) -> Found:
    """Return the figures of all rows; TCP is among every group of them."""
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    answers: dict[tuple[str, str, int, int], set[int]] = {}
    for row in rows:
        groups.setdefault((row.link, row.arm), {}).setdefault(row.transport, []).append(row)
        answers.setdefault((row.link, row.arm, row.repetition, row.number), set()).add(row.top)
    figures = [
        _figures(own, group[TCP]) for group in groups.values() for _, own in sorted(group.items(), key=_place)
    ]
    return Found(
        figures=figures,
        frames=len(answers),
        disagreed=sum(len(tops) > 1 for tops in answers.values()),
    )


def _place(entry: tuple[str, list[Row]]) -> tuple[bool, str]:
    """TCP first, then by name."""
    return entry[0] != TCP, entry[0]


def _figures(own: Sequence[Row], tcp: Sequence[Row]) -> Figures:
    first = own[0]
    total_ms = [row.total_ms for row in own]
    p50, p95, p99 = (float(each) for each in np.percentile(total_ms, [50, 95, 99]))
    frame_ms, own_way_ms = _medians(own, "total_ms"), _medians(own, "way_ms")
    way_ms = _medians(tcp, "way_ms")
    # The frame as it would be if it had been under way as long as by TCP.
    directly_ms = {each: frame_ms[each] - own_way_ms[each] + way_ms[each] for each in frame_ms}
    return Figures(
        link=first.link,
        arm=first.arm,
        transport=first.transport,
        frames=len(own),
        request_bytes=statistics.fmean(row.request_bytes for row in own),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        front_ms=statistics.median(row.front_ms for row in own),
        edge_ms=statistics.median(row.edge_ms for row in own),
        way_ms=statistics.median(row.way_ms for row in own),
        whole=_share(_medians(tcp, "total_ms"), frame_ms),
        way=_share(directly_ms, frame_ms),
    )


def _share(less_ms: Mapping[str, float], frame_ms: Mapping[str, float]) -> Share:
    """Return which share of the frame the rest is; both by repetition."""
    of = ratio("less", less_ms, "frame", frame_ms)
    assert of is not None  # all transports play every repetition
    ci95 = None if of.ci95 is None else (1.0 - of.ci95[1], 1.0 - of.ci95[0])
    return Share(1.0 - of.value, ci95, of.other_ms - of.own_ms)


def _medians(rows: Sequence[Row], part: Literal["total_ms", "way_ms"]) -> dict[str, float]:
    """Repetition to its median, ms."""
    of: dict[str, list[float]] = {}
    for row in rows:
        of.setdefault(str(row.repetition), []).append(getattr(row, part))
    return {repetition: statistics.median(each_ms) for repetition, each_ms in of.items()}
