"""The jobs that wait for a worker: who is next, and who must go when there are too many.

Policy, in this order:
1. Newest wins within a device: a request that arrives while an older one of the same device waits takes
   its place in the line, and the older one is dropped. MQTT keeps the order of one publisher on one
   topic, so newest means arrived last. A device therefore never waits twice.
2. Round robin between devices: one job a device, served in the order in which the devices came into the
   line. However fast a device asks, it is served once a round.
3. Beyond the bound the job with the least budget left goes, the newcomer included: it is the likeliest
   to expire in the line anyway, so dropping it wastes least. Of equals the newcomer goes.

4. Whoever asks for the same tail as the next one goes with it, in the order of the line (`edge.batching`);
   nobody is passed over for that: the next one is served all the same, and its worker is free.

This file must never know what a job is for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bus.messages import ActivationRequest
from edge.batching import tail_of


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted request.

    Attributes:
        arrived_s, deadline_s: on this worker's clock; the deadline is arrival plus budget.
        correlation: MQTT 5 correlation data to echo.
    """

    device: str
    request: ActivationRequest
    arrived_s: float
    deadline_s: float
    correlation: bytes | None = None


class Waiting:
    """The line.

    Args:
        bound: most jobs waiting.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._jobs: dict[str, Job] = {}  # by device; a dict keeps the place of a key that is set again

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def put(self, job: Job) -> Job | None:
        """Let a job wait; return the one that must go for it, which may be itself."""
        older = self._jobs.get(job.device)
        if older is None and len(self._jobs) >= self.bound:
            # min returns the first of equals, and the newcomer is named first.
            victim = min((job, *self._jobs.values()), key=lambda waiting: waiting.deadline_s)
            if victim is job:
                return job
            del self._jobs[victim.device]
            older = victim
        self._jobs[job.device] = job
        return older

    def take(self) -> Job | None:
        """Take the next job out of the line."""
        device = next(iter(self._jobs), None)
        return None if device is None else self._jobs.pop(device)

    def alike(self, job: Job) -> list[Job]:
        """Return what waits for the same tail as a job, in the order of the line."""
        tail = tail_of(job.request)
        return [other for other in self._jobs.values() if tail_of(other.request) == tail]

    def take_out(self, jobs: list[Job]) -> None:
        """Take these out of the line."""
        for job in jobs:
            del self._jobs[job.device]

    def take_expired(self, now: float) -> list[Job]:
        """Take out every job whose budget is spent."""
        expired = [job for job in self._jobs.values() if job.deadline_s <= now]
        for job in expired:
            del self._jobs[job.device]
        return expired

    def take_all(self) -> list[Job]:
        """Take out everything."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        return jobs

    def models(self) -> frozenset[str]:
        """Which models are waited for."""
        return frozenset(job.request.model for job in self._jobs.values())

    def next_deadline(self) -> float | None:
        """When the first budget is spent."""
        return min((job.deadline_s for job in self._jobs.values()), default=None)

    def check(self) -> None:
        """Assert the bound, and one job a device."""
        assert len(self._jobs) <= self.bound
        assert all(device == job.device for device, job in self._jobs.items())
