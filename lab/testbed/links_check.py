"""What a testbed's links really do at the rates of its traces, measured before it plays."""

from collections.abc import Sequence
from typing import Any

import msgspec

from lab.shaping import MOST_OFF, Lay, goodput_mbit, waits_ms
from lab.testbed.plan import Plan

_SECONDS = 2.0
# A large message ahead of a small one takes half a minute below it.
_LEAST_QUEUED_MBIT = 0.5


class LinkChecked(msgspec.Struct, frozen=True, kw_only=True):
    """A link at one rate.

    Attributes:
        rate_mbit: what it was set to. goodput_mbit: what came through it a second, while it was busy.
        waits_ms: from sending to arrival of 64 bytes behind 256 KiB of another connection of the same
            device; None where that would take too long to try.
    """

    rate_mbit: float
    goodput_mbit: float
    waits_ms: float | None

    @property
    def off(self) -> float:
        """By what share it carries more (or less, where negative) than it was set to."""
        return self.goodput_mbit / self.rate_mbit - 1.0

    @property
    def as_set(self) -> bool:
        """Whether that is little enough."""
        return abs(self.off) <= MOST_OFF


def rates_of(plan: Plan) -> list[float]:
    """Return the lowest, the median and the highest rate of the first repetition's links, Mbit/s."""
    rates = sorted(rate for trace in plan.traces(plan.seeds[0]) for rate in trace if rate > 0.0)
    return sorted({rates[0], rates[len(rates) // 2], rates[-1]}) if rates else []


async def check_links(lay: Lay, rates: Sequence[float]) -> list[LinkChecked]:
    """Measure a link at each rate, one after the other."""
    found = []
    for rate in rates:
        goodput = await goodput_mbit(lay, rate, _SECONDS)
        waits = await waits_ms(lay, rate) if rate >= _LEAST_QUEUED_MBIT else None
        found.append(LinkChecked(rate_mbit=rate, goodput_mbit=goodput, waits_ms=waits))
    return found


def links_told(report: dict[str, Any]) -> list[LinkChecked]:
    """Return what a summary holds of them; nothing in those of older versions."""
    return msgspec.convert(report.get("links", []), list[LinkChecked])
