"""The edge worker's decisions: which tail runs next, which request is rejected and why.

It does for you: serve models that come and go (`edge.served`), keep a bounded line of jobs (policy in
`edge.waiting`), hand a job to a worker only when one is idle, and with it those for the same tail
(`edge.batching`), drop jobs whose budget is spent, answer or reject every request exactly once, ignore
doubles, say how loaded it is, count everything, drain when told to stop.
It will not: decode bytes, run a tail, publish, read a clock, or interrupt a tail that runs. A tail that
ends after its deadline is answered all the same: the work is done, and a late answer teaches the device
what this arm costs.
A shell must: post `WorkerIdle` once a worker (numbered from 0) has warmed up, post exactly one
`TailFinished` per `RunTail`, post `DeadlinePassed` at `next_deadline()`, and close everything on `Stop`.

    state         goes to        when
    init          ready          the first worker has warmed up
    init, ready   disconnected   StopRequested: whatever waits is rejected, what runs may end
    disconnected  (Stop)         nothing runs any more, the drain time is over, or a second StopRequested
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from bus.messages import InferenceReply, NodeState, QueueNotice, Reject, Rejection
from edge import commands as do
from edge import events as ev
from edge.batching import Batches, BusyPeriod, size_of, tail_of
from edge.load import LoadMeter
from edge.queue_notices import QueueNotices
from edge.recent import Recent
from edge.served import Arms, Served
from edge.tally import Tally
from edge.throttle import Throttle
from edge.waiting import Job, Waiting

SHORTEST_EXPIRY_S = 1.0  # MQTT counts message expiry in whole seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one edge worker.

    Attributes:
        waiting: jobs in the line.
        budget_s: longest budget honoured; a longer one would let a device stay in a full line for ever.
        drain_s: how long a tail may still run after StopRequested.
        metrics_s: time between two metrics messages.
        load_period_s, load_hysteresis: see `edge.load`.
        strange_per_s: rejections a second of messages whose id cannot be read.
        grace_s: how long a model that was removed is still answered.
    """

    waiting: int = 16
    budget_s: float = 60.0
    drain_s: float = 5.0
    metrics_s: float = 5.0
    load_period_s: float = 1.0
    load_hysteresis: float = 0.5
    strange_per_s: float = 10.0
    grace_s: float = 60.0


DEFAULT_LIMITS = Limits()


class EdgeSession:
    """One edge worker.

    Args:
        edge: its id.
        models: what each model hash can be asked for at first.
        batches: how many frames their tails take at once; one where nothing is said.
        workers: worker threads.
        limits: its bounds.
    """

    def __init__(
        self,
        edge: str,
        models: Mapping[str, Arms],
        *,
        batches: Mapping[str, Batches] | None = None,
        workers: int = 1,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._edge = edge
        self._served = Served(models, limits.grace_s, batches)
        self._workers = workers
        self._limits = limits
        self._waiting = Waiting(limits.waiting)
        self._running: dict[
            int, tuple[tuple[Job, ...], float]
        ] = {}  # by worker, with the time of handing over
        self._idle: deque[int] = deque()
        self._busy = BusyPeriod()
        self._recent = Recent()
        self._strange = Throttle(limits.strange_per_s)
        self._notices = QueueNotices(workers)
        self._meter = LoadMeter(limits.load_period_s, limits.load_hysteresis)
        self._state: NodeState = "init"
        self._announced = do.AnnounceState("init", 0.0, 0.0, *self._served.words)
        self._link_up = False
        self._metrics_s = 0.0
        self._drained_s: float | None = None
        self._grace_over_s: float | None = None
        self._stopped = False
        self._out: list[do.Command] = []
        self.tally = Tally()

    @property
    def announced(self) -> do.AnnounceState:
        """The state announced last, for the connection to publish again."""
        return self._announced

    @property
    def load(self) -> int:
        """Jobs waiting or running."""
        return len(self._waiting) + len(self._running_jobs)

    @property
    def _running_jobs(self) -> list[Job]:
        return [job for jobs, _ in self._running.values() for job in jobs]

    def next_deadline(self) -> float | None:
        """When to be woken: a budget, an announcement, metrics, or the end of the drain."""
        times = [
            self._waiting.next_deadline(),
            self._drained_s if not self._stopped else None,
            self._grace_over_s,
        ]
        if self._link_up:
            times += [self._meter.due_s(), self._notices.due_s(), self._metrics_s]
        return min((time for time in times if time is not None), default=None)

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:  # noqa: C901 - one case an event
        """Change by one event; `now` is in seconds, monotonic."""
        self._out = []
        for job in self._waiting.take_expired(now):
            self._reject(job, "expired", "the budget was spent while waiting", now)
        match event:
            case ev.RequestArrived():
                self._on_request(event, now)
            case ev.RequestBroken():
                self._on_broken(event, now)
            case ev.WorkerIdle(worker):
                self._idle.append(worker)
                if self._state == "init":
                    self._state = "ready"
            case ev.TailFinished(worker, outcomes):
                self._on_finished(worker, outcomes, now)
            case ev.ModelLoaded() | ev.ModelRemoved():
                self._on_model(event, now)
            case ev.DeadlinePassed():
                pass  # what is due is done below, whichever event comes
            case ev.LinkUp():
                self._link_up, self._metrics_s = True, now + self._limits.metrics_s
            case ev.LinkDown():
                self._link_up = False
            case ev.StopRequested():
                self._on_stop(now)
            case _:
                assert_never(event)
        self._hand_over(now)
        self._let_models_go(now)
        self._say(now)
        self._end_drain(now)
        return self._out

    def _on_request(self, event: ev.RequestArrived, now: float) -> None:
        """Let it wait, or reject it."""
        request = event.request
        self.tally.requests += 1
        if request.id and not self._recent.add(event.device, request.id):
            self.tally.duplicates += 1
            return
        budget_s = min(request.budget_ms / 1000.0, self._limits.budget_s)
        job = Job(event.device, request, now, now + budget_s, event.correlation)
        arms = self._served.arms(request.model, now)
        if not request.id:
            self.tally.faults.count("malformed")
            self._reject(job, "malformed", "a request needs an id", now)
        elif self._state == "disconnected":
            self._reject(job, "shutting_down", "", now)
        elif arms is None:
            self.tally.faults.count("foreign")
            self._reject(job, "unknown_model", f"model {request.model} is not served here", now)
        elif (request.cut, request.codec) not in arms:
            self.tally.faults.count("malformed")
            self._reject(job, "malformed", f"no arm {request.cut}/{request.codec} in this model", now)
        elif budget_s <= 0.0:
            self._reject(job, "expired", "the budget was spent before it arrived", now)
        else:
            self._notices.asked(job.device, now)
            victim = self._waiting.put(job)
            if victim is not None:
                newer = victim.device == job.device and victim is not job
                why = "a newer request came" if newer else f"{len(self._waiting)} jobs wait"
                self._reject(victim, "overloaded", why, now)

    def _on_broken(self, event: ev.RequestBroken, now: float) -> None:
        """Reject what cannot be understood, as far as its sender can be told anything."""
        self.tally.requests += 1
        self.tally.faults.count(event.fault)
        if event.request_id and not self._recent.add(event.device, event.request_id):
            self.tally.duplicates += 1
            return
        if not event.request_id and not self._strange.allow(now):
            self.tally.unanswerable += 1
            return
        reason: Reject = "too_large" if event.fault == "too_large" else "malformed"
        self._publish_rejection(
            event.device, event.request_id, reason, event.detail, SHORTEST_EXPIRY_S, event.correlation
        )

    def _on_finished(self, worker: int, outcomes: tuple[ev.Output | ev.Failure, ...], now: float) -> None:
        """Answer each by itself."""
        jobs, started_s = self._running.pop(worker)
        self._idle.append(worker)
        self.tally.batch(len(jobs))
        self._notices.ran(tail_of(jobs[0].request), (now - started_s) / len(jobs))
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, ev.Failure):
                self._fail(job, outcome, now)
            else:
                self._answer(job, outcome, started_s, len(jobs), now)

    def _answer(self, job: Job, output: ev.Output, started_s: float, batch: int, now: float) -> None:
        """Send what a tail gave."""
        queue_ms = (started_s - job.arrived_s) * 1000.0
        ran_ms = output.decode_ms + output.tail_ms
        reply_ms = max(0.0, (now - started_s) * 1000.0 - ran_ms)
        self.tally.tail(queue_ms=queue_ms, tail_ms=output.tail_ms, busy_ms=ran_ms / batch)
        if self._stopped:
            return  # it was rejected when the drain time ended
        self.tally.answered += 1
        self.tally.answered_late += now > job.deadline_s
        reply = InferenceReply(
            id=job.request.id,
            edge=self._edge,
            top=output.top,
            confidence=output.confidence,
            dtype=output.dtype,
            shape=output.shape,
            payload=output.payload,
            queue_ms=queue_ms,
            decode_ms=output.decode_ms,
            tail_ms=output.tail_ms,
            load=self.load,
            reply_ms=reply_ms,
            batch=batch,
        )
        expires_s = max(SHORTEST_EXPIRY_S, job.deadline_s - now)
        self._out.append(do.PublishReply(job.device, reply, expires_s, job.correlation))

    def _fail(self, job: Job, failure: ev.Failure, now: float) -> None:
        """Reject what the payload's fault is, or admit that the fault is here."""
        if failure.fault is not None:
            self.tally.faults.count(failure.fault)
        else:
            self.tally.tail_failures += 1
        if not self._stopped:
            self._reject(job, "malformed" if failure.fault else "overloaded", failure.detail, now)

    def _on_stop(self, now: float) -> None:
        """Reject what waits; let what runs end, or end at once if told twice."""
        if self._state == "disconnected":
            self._drained_s = now
            return
        self._state = "disconnected"
        self._drained_s = now + self._limits.drain_s
        for job in self._waiting.take_all():
            self._reject(job, "shutting_down", "", now)

    def _hand_over(self, now: float) -> None:
        """Give waiting jobs to idle workers, and with each those that shall run with it."""
        while self._idle and (job := self._waiting.take()) is not None:
            batch, alike = self._served.batch(job.request.model, job.request.cut), self._waiting.alike(job)
            self._busy.hand_over(now)
            company = alike[: size_of(batch, 1 + len(alike), self._busy.frames) - 1]
            self._waiting.take_out(company)
            jobs = (job, *company)
            self._busy.frames += len(jobs)
            worker = self._idle.popleft()
            self._running[worker] = (jobs, now)
            self._out.append(do.RunTail(worker, tuple(each.request for each in jobs)))
        if self._idle:
            self._busy.rest(now)

    def _on_model(self, event: ev.ModelLoaded | ev.ModelRemoved, now: float) -> None:
        """Take a model up or let it go; one that stops does neither, it has said goodbye for all."""
        if self._state == "disconnected":
            return
        if isinstance(event, ev.ModelLoaded):
            self._served.loaded(event.model, event.arms, event.batches)
        else:
            self._served.removed(event.model, now)

    def _let_models_go(self, now: float) -> None:
        """Drop the models whose grace is over, once their last job has ended."""
        busy = self._waiting.models() | {job.request.model for job in self._running_jobs}
        self._out += [do.DropModel(model) for model in self._served.take_gone(now, busy)]
        self._grace_over_s = None if self._stopped else self._served.due_s(now)

    def _say(self, now: float) -> None:
        """Announce a state that changed at once, a load when it is due; metrics in their turn."""
        self._meter.set(self.load, now)
        said = self._announced
        if (self._state, *self._served.words) != (said.state, said.models, said.arms):
            self._announce(float(self.load))
        if not self._link_up:
            return
        if (mean := self._meter.take(now)) is not None:
            self._announce(round(mean, 2))
        free_s = self._notices.free_s(
            ((tail_of(jobs[0].request), len(jobs), began) for jobs, began in self._running.values()),
            (tail_of(job.request) for job in self._waiting),
            now,
        )
        if self._state == "ready" and self._notices.worth(free_s, now):
            notice = QueueNotice(edge=self._edge, free_ms=1000.0 * free_s, jobs=self.load)
            self._out.append(do.PublishQueue(notice))
        if now >= self._metrics_s:
            self._metrics_s = now + self._limits.metrics_s
            counts = self.tally.metrics(waiting=len(self._waiting), running=len(self._running_jobs))
            self._out.append(do.PublishMetrics(counts))

    def _announce(self, load: float) -> None:
        """Announce the present state with this load."""
        speed = self.tally.speed(self._workers)
        self._announced = do.AnnounceState(self._state, load, speed, *self._served.words)
        self._out.append(self._announced)

    def _end_drain(self, now: float) -> None:
        """Stop once nothing runs, or when the drain time is over: then what still runs is rejected."""
        if self._drained_s is None or self._stopped or (self._running and now < self._drained_s):
            return
        self._stopped, self._grace_over_s = True, None
        for job in self._running_jobs:
            self._reject(job, "shutting_down", "", now)
        self._out.append(do.Stop())

    def _reject(self, job: Job, reason: Reject, detail: str, now: float) -> None:
        """Reject a request that could be read."""
        expires_s = max(SHORTEST_EXPIRY_S, job.deadline_s - now)
        self._publish_rejection(job.device, job.request.id, reason, detail, expires_s, job.correlation)

    def _publish_rejection(
        self,
        device: str,
        request_id: str,
        reason: Reject,
        detail: str,
        expires_s: float,
        correlation: bytes | None,
    ) -> None:
        """Count it and send it; the reader's limit on a sentence is 256 characters."""
        self.tally.rejected[reason] += 1
        rejection = Rejection(
            id=request_id, edge=self._edge, reason=reason, detail=detail[:256], load=self.load
        )
        self._out.append(do.PublishRejection(device, rejection, expires_s, correlation))

    def check(self) -> None:
        """Assert the invariants."""
        self._waiting.check()
        self._recent.check()
        workers = [*self._idle, *self._running]
        assert len(set(workers)) == len(workers) <= self._workers
        assert not (self._idle and len(self._waiting)), "a worker is idle while a job waits"
        for jobs, _ in self._running.values():
            assert len({tail_of(job.request) for job in jobs}) == 1, "a batch of different tails"
            assert len({job.device for job in jobs}) == len(jobs), "a batch with two frames of a device"
        held = 0 if self._stopped else self.load
        assert self.tally.requests == self.tally.ended() + held, "a request was lost or ended twice"
        assert not (self._state == "disconnected" and len(self._waiting))
        assert self._announced.state == self._state
        assert (self._announced.models, self._announced.arms) == self._served.words
        self._served.check()
