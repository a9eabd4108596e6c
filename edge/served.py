"""Which models an edge worker serves: announced, or on their way out.

    (absent)  --loaded-->   announced  --removed-->  leaving  --grace over, no job left-->  (absent)
                                ^                       |
                                +-------- loaded -------+

A model on its way out is answered as before, but not announced: its devices ask elsewhere from their next
frame on, and whoever has not heard yet is served until the grace is over. Its jobs then still end; their
budgets bound how long that takes.
This file must never say how a model is loaded.
"""

from collections.abc import Mapping

from bus.arms import arms_digest
from edge.batching import Batch, Batches

Arms = frozenset[tuple[int, str]]
"""The (cut, codec) that a model can be asked for."""


class Served:
    """Models by hash.

    Attributes:
        words: hashes and digests of arms of what is announced, sorted by hash, each comma separated.

    Args:
        models: announced from the start.
        grace_s: how long one that was removed is still answered.
        batches: of these models.
    """

    def __init__(
        self, models: Mapping[str, Arms], grace_s: float, batches: Mapping[str, Batches] | None = None
    ) -> None:
        self._arms = dict(models)
        self._batches = dict(batches or {})
        self._grace_s = grace_s
        self._leaving: dict[str, float] = {}  # by hash, when its grace is over
        self.words = self._words()

    def loaded(self, model: str, arms: Arms, batches: Batches) -> None:
        """Announce a model, also one that was on its way out."""
        self._arms[model] = arms
        self._batches[model] = batches
        self._leaving.pop(model, None)
        self.words = self._words()

    def removed(self, model: str, now: float) -> None:
        """Let a model go; one that is not there, or goes already, is let alone."""
        if model in self._arms:
            self._leaving.setdefault(model, now + self._grace_s)
            self.words = self._words()

    def arms(self, model: str, now: float) -> Arms | None:
        """Return what a model can be asked for, or None if it cannot."""
        over_s = self._leaving.get(model)
        return None if over_s is not None and over_s <= now else self._arms.get(model)

    def batch(self, model: str, cut: int) -> Batch | None:
        """Return what is known of a tail that takes several frames, None for one that does not."""
        return self._batches.get(model, {}).get(cut)

    def take_gone(self, now: float, busy: frozenset[str]) -> list[str]:
        """Forget and return the models whose grace is over and that no job is for."""
        gone = [model for model, at in self._leaving.items() if at <= now and model not in busy]
        for model in gone:
            del self._arms[model], self._leaving[model]
            self._batches.pop(model, None)
        return gone

    def due_s(self, now: float) -> float | None:
        """When the next grace is over; those that are over wait for their jobs instead."""
        return min((at for at in self._leaving.values() if at > now), default=None)

    def _words(self) -> tuple[str, str]:
        # Kept, because the session looks at it with every event.
        announced = sorted(self._arms.keys() - self._leaving.keys())
        return ",".join(announced), ",".join(arms_digest(self._arms[model]) for model in announced)

    def check(self) -> None:
        """Assert the invariant."""
        assert self._leaving.keys() <= self._arms.keys()
        assert self._batches.keys() <= self._arms.keys()
        assert self.words == self._words()
