"""The aggregator's decisions: what is merged, when that is durable, who hears of it.

It does for you: merge each upload into its group exactly once, whoever repeats it and across restarts of
anyone; keep devices that the guard parks out of their group, and say so; acknowledge and broadcast only what
a snapshot on the disk holds; commit in groups (while one snapshot is written, further merges collect and go
into the next); refuse with a reason; keep trying when the disk is full, acknowledging nothing meanwhile; send
every group again after a reconnect.
It will not: decode bytes, touch a disk, publish, read a clock, or forget anything to make room. A lost
acknowledgement is not sent again by itself: the device repeats its upload and is acknowledged again.
A shell must: write one snapshot at a time and post `SnapshotSaved` or `SnapshotFailed` for each, post one
`BroadcastEnded` per `PublishGroup`, post `DeadlinePassed` at `next_deadline()`, and end on `Stop` after
what was commanded before it is published.

An upload is in exactly one of these places; each arrow but the first needs the one before it:

    arrived -> merged (in the sum, `touched`) -> saving (in the snapshot being written) -> durable
            -> acknowledged and broadcast

A crash before "durable" forgets the merge and its device, never told otherwise, repeats the upload; a
crash after it finds the upload in the snapshot, as a duplicate.
"""

from dataclasses import dataclass, field
from typing import assert_never

from aggregator import commands as do
from aggregator import events as ev
from aggregator.broadcasts import Broadcasts
from aggregator.keys import Grouping, GroupKey
from aggregator.ledger import Ledger, Limits, Refused
from aggregator.tally import Tally
from aggregator.words import describe
from bandits.federation import Duplicate, Verdict
from bus.errors import RemoteFault, RemoteProtocolError
from bus.messages import (
    GroupParameters,
    GroupWords,
    NodeState,
    Refusal,
    StatisticsUpload,
    UploadAck,
    UploadRefusal,
)

DEFAULT_LIMITS = Limits()
LONGEST_DETAIL = 200  # of the 256 characters of a state's sentence; the rest is for what the runtime adds

# What the device is told for each fault; several faults are one to somebody who cannot look inside.
_REFUSALS: dict[RemoteFault, Refusal] = {
    "too_large": "too_large",
    "not_finite": "not_finite",
    "implausible": "implausible",
    "wrong_sender": "wrong_sender",
    "foreign": "foreign",
}


@dataclass(frozen=True, slots=True)
class Periods:
    """The times of one aggregator, seconds.

    Attributes:
        broadcast_s: shortest time between two broadcasts of a group.
        metrics_s: time between two metrics messages.
        retry_s, longest_retry_s: after a snapshot that failed; doubles from one to the other.
        drain_s: how long a snapshot may still take after StopRequested.
    """

    broadcast_s: float = 0.1
    metrics_s: float = 5.0
    retry_s: float = 0.5
    longest_retry_s: float = 30.0
    drain_s: float = 5.0


DEFAULT_PERIODS = Periods()

_Install = tuple[GroupKey, str, str]


@dataclass(slots=True)
class _Batch:
    """Merges that become durable together.

    Attributes:
        acks: one an install, for an install has one upload in flight.
        groups: the parameters that the snapshot holds of each group that changed.
    """

    acks: dict[_Install, do.PublishAck] = field(default_factory=dict)
    groups: dict[GroupKey, GroupParameters] = field(default_factory=dict)


class AggregatorSession:
    """One aggregator.

    Args:
        grouping: device types to groups.
        origin: random id for a state that begins now; without meaning if there is a snapshot.
        snapshot: what `SaveSnapshot` carried last, or None at the first start.
        limits: what may be merged.
        periods: when things are done.

    Raises:
        ConfigurationError: the snapshot is not one.
    """

    def __init__(
        self,
        grouping: Grouping,
        *,
        origin: str,
        snapshot: bytes | None = None,
        limits: Limits = DEFAULT_LIMITS,
        periods: Periods = DEFAULT_PERIODS,
    ) -> None:
        self._grouping = grouping
        self._limits = limits
        self._periods = periods
        self._ledger = Ledger(origin, limits) if snapshot is None else Ledger.load(snapshot, limits)
        self._durable = {key: self._ledger[key].version for key in self._ledger}
        self._broadcasts = Broadcasts(periods.broadcast_s)
        for key in self._ledger:
            self._broadcasts.offer(key, self._ledger.parameters(key))
        self._acks: dict[_Install, do.PublishAck] = {}
        self._touched: dict[GroupKey, None] = {}  # a set that keeps its order
        self._saving: _Batch | None = None
        self._retry_s = 0.0
        self._failures = 0
        self._trouble = ""
        self._announced = do.AnnounceState("ready", "")
        self._link_up = False
        self._metrics_s = 0.0
        self._drained_s: float | None = None
        self._stopped = False
        self._out: list[do.Command] = []
        self.tally = Tally()

    @property
    def announced(self) -> do.AnnounceState:
        """The state announced last, for the connection to publish again."""
        return self._announced

    @property
    def ledger(self) -> Ledger:
        """The sums, for looking at."""
        return self._ledger

    def words(self, key: GroupKey, parameters: GroupParameters, changed: str = "") -> GroupWords:
        """Return what a group's parameters say, for people; `changed` is when they became so."""
        return describe(parameters, self._ledger.columns(key), self._ledger[key].regularisation, changed)

    def next_deadline(self) -> float | None:
        """When to be woken: a broadcast, a snapshot to try again, metrics, or the end of the drain."""
        if self._stopped:
            return None
        times = [self._broadcasts.next_deadline(), self._drained_s]
        if self._link_up:
            times.append(self._metrics_s)
        if self._touched and self._saving is None:
            times.append(self._retry_s)
        return min((time for time in times if time is not None), default=None)

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:  # noqa: C901 - one case an event
        """Change by one event; `now` is in seconds, monotonic."""
        self._out = []
        match event:
            case ev.UploadArrived(upload):
                self._on_upload(upload)
            case ev.UploadBroken():
                self._on_broken(event)
            case ev.SnapshotSaved():
                self._on_saved()
            case ev.SnapshotFailed(reason):
                self._on_failed(reason, now)
            case ev.BroadcastEnded(key, succeeded):
                self._broadcasts.ended(key, succeeded=succeeded, now=now)
            case ev.DeadlinePassed():
                pass  # what is due is done below, whichever event comes
            case ev.LinkUp():
                self._link_up, self._metrics_s = True, now + self._periods.metrics_s
                self._broadcasts.link_up()
            case ev.LinkDown():
                self._link_up = False
                self._broadcasts.link_down()
            case ev.StopRequested():
                self._drained_s = now if self._drained_s is not None else now + self._periods.drain_s
            case _:
                assert_never(event)
        if not self._stopped:
            self._commit(now)
            self._say(now)
            self._end_drain(now)
        return self._out

    def _on_upload(self, upload: StatisticsUpload) -> None:
        """Merge it, or say why not."""
        self.tally.uploads += 1
        if self._drained_s is not None:
            self.tally.unanswerable += 1  # no refusal: it means never, and the next start will merge it
            return
        group = self._grouping.group_of(upload.type)
        if group is None:
            self._refuse(upload, "unknown_type", f"no group takes devices of type {upload.type}")
            return
        key = GroupKey(group, upload.model, upload.schema, upload.dimension)
        try:
            result = self._ledger.merge(key, upload)
        except RemoteProtocolError as error:
            self.tally.faults.count(error.fault)
            self._refuse(upload, _REFUSALS.get(error.fault, "malformed"), error.detail)
            return
        except Refused as refused:
            if refused.fault is not None:
                self.tally.faults.count(refused.fault)
            self._refuse(upload, refused.reason, refused.detail)
            return
        ack = UploadAck(
            device=upload.device,
            install=upload.install,
            boot=upload.boot,
            seq=upload.seq,
            model=upload.model,
            origin=self._ledger.origin,
            version=result.version,
            parked=self._ledger[key].is_parked(upload.device),
        )
        command = do.PublishAck(upload.device, upload.type, ack)
        if isinstance(result, Duplicate):
            self.tally.duplicates += 1
            # What is not durable yet is acknowledged when it is, once.
            if result.version <= self._durable.get(key, 0):
                self._acknowledge(command)
            return
        self.tally.merged += 1
        self._report(key, result.verdicts)
        self._acks[key, upload.device, upload.install] = command
        self._touched[key] = None

    def _report(self, key: GroupKey, verdicts: tuple[Verdict, ...]) -> None:
        """Tell people whom the guard parked or took back; the device learns it from its acknowledgements."""
        for verdict in verdicts:
            if verdict.parked:
                self.tally.parkings += 1
            else:
                self.tally.returns += 1
            self._out.append(do.ReportVerdict(key, verdict.device, verdict.parked, str(verdict)))

    def _on_broken(self, event: ev.UploadBroken) -> None:
        """Refuse what cannot be understood, if it can be told which upload that is."""
        self.tally.uploads += 1
        self.tally.faults.count(event.fault)
        if event.number is None:
            self.tally.unanswerable += 1
            return
        reason = _REFUSALS.get(event.fault, "malformed")
        self._publish_refusal(event.device, event.type, event.number, reason, event.detail)

    def _on_saved(self) -> None:
        """What the snapshot holds is durable: acknowledge it and let it be broadcast."""
        assert self._saving is not None
        batch, self._saving = self._saving, None
        self.tally.snapshots += 1
        self._failures, self._trouble = 0, ""
        for command in batch.acks.values():
            self._acknowledge(command)
        for key, parameters in batch.groups.items():
            self._durable[key] = parameters.version
            self._broadcasts.offer(key, parameters)

    def _on_failed(self, reason: str, now: float) -> None:
        """Put the batch back before what collected meanwhile, and try again later."""
        assert self._saving is not None
        batch, self._saving = self._saving, None
        self.tally.snapshot_failures += 1
        self._acks = batch.acks | self._acks
        self._touched = dict.fromkeys(batch.groups) | self._touched
        self._retry_s = now + min(
            self._periods.longest_retry_s, self._periods.retry_s * 2.0 ** min(self._failures, 16)
        )
        self._failures += 1
        self._trouble = f"cannot save ({reason}): uploads are merged but not acknowledged until it can"

    def _commit(self, now: float) -> None:
        """Begin a snapshot of everything merged so far, unless one is being written."""
        if not self._touched or self._saving is not None or (self._failures and now < self._retry_s):
            return
        groups = {key: self._ledger.parameters(key) for key in self._touched}
        self._saving = _Batch(self._acks, groups)
        self._acks, self._touched = {}, {}
        payload = self._ledger.dump()
        self.tally.snapshot_bytes = len(payload)
        self._out.append(do.SaveSnapshot(payload))

    def _say(self, now: float) -> None:
        """Publish what is due: state when it changed, broadcasts, metrics."""
        state: NodeState = "ready" if self._drained_s is None else "disconnected"
        announcement = do.AnnounceState(state, self._detail())
        if announcement != self._announced:
            self._announced = announcement
            self._out.append(announcement)
        for key, parameters in self._broadcasts.take(now):
            self.tally.broadcasts += 1
            self._out.append(do.PublishGroup(key, self._grouping.types_of(key.group), parameters))
        if self._link_up and now >= self._metrics_s:
            self._metrics_s = now + self._periods.metrics_s
            self._out.append(do.PublishMetrics(self._metrics()))

    def _detail(self) -> str:
        """Return what people should know, as one sentence within the reader's limit."""
        parked = self._ledger.parked
        said = [self._trouble, f"parked: {', '.join(parked)}" if parked else "", *self._ledger.troubles]
        return "; ".join(filter(None, said))[:LONGEST_DETAIL]

    def _end_drain(self, now: float) -> None:
        """Stop once everything merged is durable, or when the drain time is over."""
        if self._drained_s is None:
            return
        if (self._saving is None and not self._touched) or now >= self._drained_s:
            self._stopped = True
            self._out.append(do.Stop())

    def _acknowledge(self, command: do.PublishAck) -> None:
        self.tally.acknowledged += 1
        self._out.append(command)

    def _refuse(self, upload: StatisticsUpload, reason: Refusal, detail: str) -> None:
        number = ev.Number(upload.install, upload.boot, upload.seq)
        self._publish_refusal(upload.device, upload.type, number, reason, detail)

    def _publish_refusal(
        self, device: str, type_: str, number: ev.Number, reason: Refusal, detail: str
    ) -> None:
        """Count it and send it; the reader's limit on a sentence is 256 characters."""
        self.tally.refused[reason] += 1
        message = UploadRefusal(
            device=device,
            install=number.install,
            boot=number.boot,
            seq=number.seq,
            reason=reason,
            detail=detail[:256],
        )
        self._out.append(do.PublishAck(device, type_, message))

    def _metrics(self) -> dict[str, float]:
        saving = 0 if self._saving is None else len(self._saving.acks)
        return {
            **self.tally.metrics(),
            "groups": len(self._ledger),
            "installs": self._ledger.installs,
            "rows": self._ledger.rows,
            "parked": len(self._ledger.parked),
            "acks_waiting": len(self._acks) + saving,
        }

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._ledger) <= self._limits.groups
        assert self.tally.uploads == self.tally.ended(), "an upload is unaccounted for"
        for key in self._ledger:
            group = self._ledger[key]
            durable = self._durable.get(key, 0)
            assert group.installs <= self._limits.installs
            assert durable <= group.version
            pending = key in self._touched or (self._saving is not None and key in self._saving.groups)
            assert pending or durable == group.version, "a merge will never become durable"
        for key, _, _ in self._acks:
            assert key in self._touched, "an acknowledgement waits for no snapshot"
