"""What the rows come to: latencies, and which share of a frame each transport takes beyond direct TCP. Pure.

The share is (frame by this transport - frame by TCP) / frame by this transport, where a frame is the mean
over repetitions of the repetition's median; repetitions are drawn whole for the interval (bootstrap, BCa).
"""

import statistics
from collections.abc import Sequence

import msgspec
import numpy as np

from lab.hop.rows import TCP, Row
from lab.testbed.report.ratios import ratio


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One transport with one arm over one link.

    Attributes:
        request_bytes: mean of the messages.
        p50_ms, p95_ms, p99_ms: of whole frames.
        front_ms, edge_ms, way_ms: medians of its parts, as in `Row`.
        beyond_ms: what a frame takes longer than by TCP.
        share: the same as share of the frame, may be below 0. ci95: of it; None with too few repetitions.
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
    beyond_ms: float
    share: float
    ci95: tuple[float, float] | None


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
    of_tcp = ratio(TCP, _medians(tcp), first.transport, _medians(own))
    assert of_tcp is not None  # all play every repetition
    ci95 = None if of_tcp.ci95 is None else (1.0 - of_tcp.ci95[1], 1.0 - of_tcp.ci95[0])
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
        beyond_ms=of_tcp.other_ms - of_tcp.own_ms,
        share=1.0 - of_tcp.value,
        ci95=ci95,
    )


def _medians(rows: Sequence[Row]) -> dict[str, float]:
    """Repetition to its median frame, ms."""
    of: dict[str, list[float]] = {}
    for row in rows:
        of.setdefault(str(row.repetition), []).append(row.total_ms)
    return {repetition: statistics.median(total_ms) for repetition, total_ms in of.items()}
