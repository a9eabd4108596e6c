"""Who waits at an edge worker for whom: first come, first served, by so many workers.

A frame's place is found when its device begins it, from what others have sent until then: one that is sent
later and arrives earlier does not push in, and frames that ask for the same tail run one by one.
"""

from typing import NamedTuple

import numpy as np

from lab.simulator.world import Vector


class _Job(NamedTuple):
    arrives_s: float
    ends_s: float


class EdgeQueue:
    """What one team's devices have asked of the edge worker.

    Args:
        workers: tails that run at a time, 1 or more.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._jobs: list[_Job] = []

    def waits_s(self, now_s: float, arrives_s: Vector) -> Vector:
        """Return for how long each of K jobs would wait that arrived then, one in place of the other, (K,).

        Args:
            now_s: nothing that arrives from now on can meet what has ended.
            arrives_s: not before `now_s`, (K,).
        """
        self._jobs = [job for job in self._jobs if job.ends_s > now_s]
        if len(self._jobs) < self._workers:
            return np.zeros_like(arrives_s)
        before = np.array([job.arrives_s for job in self._jobs])[None, :] <= arrives_s[:, None]
        ends_s = np.where(before, np.array([job.ends_s for job in self._jobs])[None, :], -np.inf)
        free_s = np.sort(ends_s, axis=1)[:, -self._workers]
        waits: Vector = np.maximum(0.0, free_s - arrives_s)
        return waits

    def free_s(self, now_s: float) -> float:
        """Return for how long a job would wait that arrived now, as the edge worker itself can tell."""
        ends_s = sorted(job.ends_s for job in self._jobs if job.arrives_s <= now_s)
        return max(0.0, ends_s[-self._workers] - now_s) if len(ends_s) >= self._workers else 0.0

    def take(self, arrives_s: float, begins_s: float, takes_s: float) -> None:
        """Let a worker be busy with a job."""
        self._jobs.append(_Job(arrives_s, begins_s + takes_s))
