"""What learning costs a device for each frame."""

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from bandits.fedlinucb import FedLinUCBDW
from bandits.policy import Cost
from lab.bench.rows import Row, alternate

DIMENSION, ARMS = 15, 40
LIMIT_US = 150.0
_PAUSE_S = 0.05

Vector = npt.NDArray[np.float64]


class _ExplicitInverse:
    """The same bandit as textbooks write it: an inverse a frame. For comparison only."""

    def __init__(self) -> None:
        self._gram = 0.1 * np.eye(DIMENSION)
        self._moment = np.zeros(DIMENSION)

    def play(self, contexts: Vector, cost_of: Callable[[int], float]) -> None:
        """Choose an arm and learn from it."""
        inverse = np.linalg.inv(self._gram)  # noqa: TID251 - this is the thing being compared with
        mean = contexts @ (inverse @ self._moment)
        width = np.sqrt(np.einsum("ki,ij,kj->k", contexts, inverse, contexts))
        arm = int(np.argmin(mean - 0.3 * width))
        x = contexts[arm]
        self._gram += np.outer(x, x)
        self._moment += cost_of(arm) * x


def run(*, quick: bool) -> Iterator[Row]:
    """Measure select + update past the first frames, without uploads."""
    generator = np.random.default_rng(7)
    contexts = generator.uniform(0.0, 1.0, (ARMS, DIMENSION))
    # The last arm is all on the device, as in every real plan.
    device_columns = np.arange(DIMENSION) < 7
    contexts[-1, ~device_columns] = 0.0
    costs = contexts @ generator.uniform(0.0, 0.1, DIMENSION)
    learner = FedLinUCBDW(device_columns)
    inverse = _ExplicitInverse()

    def ours() -> None:
        arm = learner.select(contexts)
        learner.update(arm, Cost(float(costs[arm]), float(costs[arm]) / 2))

    def textbook() -> None:
        inverse.play(contexts, lambda arm: float(costs[arm]))

    times = alternate([ours, textbook], rounds=200 if quick else 2000, warm=100)
    name = f"select + update, d = {DIMENSION}, K = {ARMS}"
    yield Row(f"{name}: p50", statistics.median(times[0]) * 1e6, "us", LIMIT_US)
    yield Row(f"{name}: explicit inverse, p50", statistics.median(times[1]) * 1e6, "us")
    for label, play in (("", ours), (" explicit inverse,", textbook)):
        cpu_us = statistics.median(_cpu_s(play) for _ in range(10 if quick else 50)) * 1e6
        yield Row(f"{name}:{label} processor time with {_PAUSE_S * 1e3:g} ms pause, p50", cpu_us, "us")


def _cpu_s(play: Callable[[], None]) -> float:
    """Processor seconds of all threads for one frame and the pause in which the network would run.

    Threads that numerical libraries wake go on spinning after the call; in a loop without pauses, or on a
    machine with idle cores, nobody notices.
    """
    before = time.process_time()
    play()
    time.sleep(_PAUSE_S)
    return time.process_time() - before
