"""The pieces of one network, each run by the backend that was chosen for it.

Choosing measures the whole network first, then its pieces from the smallest on, while the time for it lasts:
overheads decide about small pieces, and a large one behaves as the whole does, whose backend it gets when no
time is left. What is not timed is still held against eager. Until `choose` is called, and for pieces that it
was not given, eager runs. Choose before others run pieces: it is not made for two threads.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from torch import Tensor, fx

from partition.backends.base import Backend, Run, Tensors, run_piece, taken_by
from partition.backends.choice import Choice, adopt, choose

# Wall-clock seconds of a start; after them no other piece is timed.
LIMIT_S = 2.0
Place = int
Pair = tuple[Place, Place]


class Segments:
    """Runs pieces between places of a graph.

    Args:
        piece: gives the piece between two places.
        backends: to be tried beside eager; none leaves everything as it is.
    """

    def __init__(
        self, piece: Callable[[Place, Place], fx.GraphModule], backends: Sequence[Backend] = ()
    ) -> None:
        self._piece = piece
        self._backends = {backend.name: backend for backend in backends}
        self._chosen: dict[Pair, Choice] = {}
        self._words = ""

    @property
    def words(self) -> str:
        """What runs here, in half a sentence for people; empty before anything was chosen."""
        return self._words

    @property
    def choices(self) -> dict[Pair, Choice]:
        """What was chosen for each piece."""
        return dict(self._chosen)

    def run(self, start: Place, stop: Place, *tensors: Tensor) -> Tensors:
        """Run the piece between two places; one tensor in and out for each that crosses there."""
        choice = self._chosen.get((start, stop))
        if choice is None:
            return run_piece(self._piece(start, stop), *tensors)
        return choice.run(*tensors)

    def at(self, start: Place, stop: Place) -> Run:
        """Return `run` of one piece; what is chosen later counts."""
        return partial(self.run, start, stop)

    def choose(
        self, pairs: Iterable[Pair], end: Place, inputs: Sequence[Tensors], *, limit_s: float = LIMIT_S
    ) -> None:
        """Choose for these pieces and for the whole network, from place 0 to `end`.

        Args:
            pairs: places (start, stop); empty pieces are left out.
            end: the last place.
            inputs: of the network; the pieces are tried on what these become on their way.
            limit_s: see `LIMIT_S`.
        """
        if not self._backends:
            return
        began = time.perf_counter()
        whole = choose(self._piece(0, end), inputs, list(self._backends.values()), limit_s=limit_s / 2)
        self._chosen = {(0, end): whole}
        winner = self._backends.get(whole.backend)
        crossing: dict[Place, list[Tensors]] = {0: list(inputs)}
        rest = {(start, stop) for start, stop in pairs if start != stop} - {(0, end)}
        for start, stop in sorted(rest, key=lambda pair: (pair[1] - pair[0], pair)):
            if start not in crossing:
                piece = self._piece(start, stop)
                gave = (run_piece(self._piece(0, start), *tensors) for tensors in inputs)
                crossing[start] = [taken_by(piece, tensors) for tensors in gave]
            left_s = began + limit_s - time.perf_counter()
            if left_s > 0.0:
                choice = choose(
                    self._piece(start, stop),
                    crossing[start],
                    list(self._backends.values()),
                    limit_s=left_s / 3,
                )
            elif winner is not None:
                choice = adopt(self._piece(start, stop), crossing[start], winner)
            else:
                continue
            self._chosen[start, stop] = choice
        self._words = self._describe(whole)

    def _describe(self, whole: Choice) -> str:
        """The whole network's choice, and how many pieces run on what."""
        runs = Counter(choice.backend for choice in self._chosen.values())
        timed = sum(choice.speedup is not None for choice in self._chosen.values())
        shares = ", ".join(f"{name} {count}" for name, count in runs.most_common())
        return f"{whole.words}; of {len(self._chosen)} pieces, {timed} timed: {shares}"
