"""What changes in a site while it is played: devices throttle, the edge worker is loaded, links slow down.

Times are known or drawn; either way they follow from the seed alone, so that every policy meets the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.simulator import spec
from lab.simulator.world import stream

_CHANGES = 5  # stream of a change; numbers below are those of a device


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for one device at one moment.

    Attributes:
        device, edge, link: times slower than usual.
        wait_s: mean seconds that a request waits for a free edge worker.
    """

    device: float = 1.0
    edge: float = 1.0
    link: float = 1.0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Spell:
    """A change while it lasts, virtual seconds."""

    begin_s: float
    end_s: float
    change: spec.Change


class Changes:
    """All changes of a site, for every device.

    Args:
        changes: what the experiment says.
        types: name of the type of each device.
        seconds: how long the site is played.
        seed: of the run.
    """

    def __init__(
        self, changes: Sequence[spec.Change], types: Sequence[str], seconds: float, seed: int
    ) -> None:
        self._spells: list[list[_Spell]] = [[] for _ in types]
        for index, change in enumerate(changes):
            at_edge = change.what in ("edge", "queue")
            # There is one edge worker; each device throttles, and each link slows, by itself.
            shared = (
                _spells(change, seconds, np.random.default_rng((seed, _CHANGES, index))) if at_edge else []
            )
            for device, name in enumerate(types):
                if change.types and name not in change.types:
                    continue
                own = shared if at_edge else _spells(change, seconds, stream(seed, device, _CHANGES, index))
                self._spells[device].extend(own)

    def at(self, device: int, second: float) -> Conditions:
        """Return what holds for `device` at a moment; changes of one kind multiply, waits add up."""
        factors = {"device": 1.0, "edge": 1.0, "link": 1.0}
        wait_s = 0.0
        for spell in self._spells[device]:
            if not spell.begin_s <= second < spell.end_s:
                continue
            if spell.change.what == "queue":
                wait_s += spell.change.wait_ms / 1e3
            else:
                factors[spell.change.what] *= spell.change.factor
        return Conditions(**factors, wait_s=wait_s)


def _spells(change: spec.Change, seconds: float, random: np.random.Generator) -> list[_Spell]:
    """Return when a change holds: once from a known time on, or in spells of exponential length."""
    if change.per_hour == 0.0:
        return [_Spell(change.at_s, change.at_s + change.for_s, change)]
    begins = np.sort(random.uniform(0.0, seconds, random.poisson(change.per_hour * seconds / 3600.0)))
    lengths = random.exponential(change.for_s, begins.size)
    return [
        _Spell(float(begin), float(begin + length), change)
        for begin, length in zip(begins, lengths, strict=True)
    ]
