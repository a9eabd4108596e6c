"""Which backend runs a piece: the fastest here and now of those that give what the piece gives.

Timed in turn, so that a busy moment of the machine hits all of them alike, and a backend has to be faster by
more than such timings scatter; else the piece itself runs, which is equal to the bit.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import fx

from partition.backends.base import Backend, Run, Tensors, difference_of
from partition.backends.eager import Eager

# A backend that gains less stays unused.
LEAST_GAIN = 1.03
REPEATS = 7
# Rounds that are timed whatever they take.
_LEAST_REPEATS = 3
_REASON_LENGTH = 160


@dataclass(frozen=True, slots=True)
class Trial:
    """What one backend showed on one piece.

    Attributes:
        backend: its name.
        prepare_s: until it had run once.
        seconds: the least of its runs; None if it was not timed.
        difference: largest relative difference to the piece itself; None if it never ran.
        refused: why it cannot be had for this piece; empty if it can.
    """

    backend: str
    prepare_s: float = 0.0
    seconds: float | None = None
    difference: float | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who runs a piece, and why.

    Attributes:
        backend: its name.
        run: the piece, ready to run.
        speedup: eager's time over the chosen one's; 1 for eager itself, None if not timed here.
        trials: one a backend, eager first.
    """

    backend: str
    run: Run
    speedup: float | None
    trials: tuple[Trial, ...]

    @property
    def words(self) -> str:
        """As a log or a state says it: "onnx 1.42x of eager", "eager (onnx 0.93x)"."""
        if self.backend != Eager.name:
            return self.backend if self.speedup is None else f"{self.backend} {self.speedup:.2f}x of eager"
        others = "; ".join(self._of(trial) for trial in self.trials if trial.backend != Eager.name)
        return f"eager ({others})" if others else "eager"

    def _of(self, trial: Trial) -> str:
        eager = self.trials[0].seconds
        if trial.refused or trial.seconds is None or eager is None:
            return f"{trial.backend} refused: {trial.refused}" if trial.refused else trial.backend
        return f"{trial.backend} {eager / trial.seconds:.2f}x"


def choose(
    piece: fx.GraphModule,
    examples: Sequence[Tensors],
    candidates: Sequence[Backend],
    *,
    repeats: int = REPEATS,
    limit_s: float = float("inf"),
) -> Choice:
    """Return the fastest of eager and the candidates that agree with it on every example.

    Args:
        piece: in eval mode.
        examples: inputs of the piece; the first is what is timed.
        candidates: others than eager. One that is missing here, cannot prepare the piece or gives something
            else is refused, and its trial says why.
        repeats: timed runs of each, at least 3.
        limit_s: no further round begins when timing has taken so long; preparing is not held to it.
    """
    runs, trials = _prepare(piece, examples, candidates)
    times = time_in_turn(runs, examples[0], max(repeats, _LEAST_REPEATS), limit_s)
    # What else the machine does only ever adds, so the least says most.
    seconds = {name: min(each) for name, each in times.items()}
    fastest = min(seconds, key=seconds.__getitem__)
    if seconds[Eager.name] < LEAST_GAIN * seconds[fastest]:
        fastest = Eager.name
    return Choice(
        fastest,
        runs[fastest],
        seconds[Eager.name] / seconds[fastest],
        tuple(replace(trial, seconds=seconds.get(trial.backend)) for trial in trials),
    )


def adopt(piece: fx.GraphModule, examples: Sequence[Tensors], backend: Backend) -> Choice:
    """Return this backend without timing it, or eager if it cannot be had or does not agree."""
    runs, trials = _prepare(piece, examples, [backend])
    name = backend.name if backend.name in runs else Eager.name
    return Choice(name, runs[name], None, trials)


def _prepare(
    piece: fx.GraphModule, examples: Sequence[Tensors], candidates: Sequence[Backend]
) -> tuple[dict[str, Run], tuple[Trial, ...]]:
    """Return those that are ready, eager first, and a trial without a time for each."""
    plain = Eager().prepare(piece, examples[0])
    expected = [plain(*example) for example in examples]
    runs, trials = {Eager.name: plain}, [Trial(Eager.name, difference=0.0)]
    for backend in candidates:
        if backend.name in runs:
            continue
        run, trial = _try(backend, piece, examples, expected)
        trials.append(trial)
        if run is not None:
            runs[backend.name] = run
    return runs, tuple(trials)


def _try(
    backend: Backend, piece: fx.GraphModule, examples: Sequence[Tensors], expected: Sequence[Tensors]
) -> tuple[Run | None, Trial]:
    """Prepare one backend and hold it against what the piece gave."""
    missing = backend.missing()
    if missing is not None:
        return None, Trial(backend.name, refused=missing)
    try:
        began = time.perf_counter()
        run = backend.prepare(piece, examples[0])
        run(*examples[0])
        prepare_s = time.perf_counter() - began
        outputs = [run(*example) for example in examples]
    except Exception as error:  # noqa: BLE001 - torch and ONNX Runtime raise anything; eager is still there
        first = next(iter(str(error).strip().splitlines()), "")
        return None, Trial(backend.name, refused=f"{type(error).__name__}: {first}"[:_REASON_LENGTH])
    difference = max(difference_of(a, b) for a, b in zip(outputs, expected, strict=True))
    if not difference <= backend.tolerance:
        refused = f"differs from eager by {difference:.1g}, and {backend.tolerance:g} is allowed"
        return None, Trial(backend.name, prepare_s, difference=difference, refused=refused)
    return run, Trial(backend.name, prepare_s, difference=difference)


def time_in_turn(
    runs: dict[str, Run], example: Tensors, repeats: int, limit_s: float
) -> dict[str, list[float]]:
    """Time all in turn, in an order that turns round; they have run before, so they are warm."""
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    began = time.perf_counter()
    for turn in range(repeats):
        if turn >= _LEAST_REPEATS and time.perf_counter() - began > limit_s:
            break
        for name in names if turn % 2 else reversed(names):
            started = time.perf_counter()
            runs[name](*example)
            if example[0].is_cuda:
                torch.cuda.synchronize(example[0].device)
            times[name].append(time.perf_counter() - started)
    return times
