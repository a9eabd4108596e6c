"""Statistics on their way to the aggregator, and the group's on their way back.

`bandits.member.Member` decides what goes up and what the view is; here are the wire form, the clock and
the order: take, save durably, send, repeat with back-off until acknowledged or refused. Because nothing is
sent that a restart could forget, and numbers only grow, each upload is merged exactly once.
This file must never send an upload that no snapshot holds.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec import UNSET

from bandits.federation import Member, Upload
from bandits.statistics import Statistics
from bus.errors import RemoteProtocolError
from bus.messages import GroupParameters, StatisticsUpload, UploadAck, UploadRefusal
from bus.statistics import Bounds, pack_symmetric, require_plausible, unpack_symmetric
from bus.tensors import buffer_of, view
from device.commands import Command, Note, SendUpload
from device.limits import Limits
from device.plan import Identity, Plan
from device.saver import Saver

# A group may hold every row of a large fleet for years; the bounds of a single row stay those of an upload.
GROUP_BOUNDS = Bounds(rows=2**53)


@dataclass(slots=True)
class UploadCounts:
    """Uploads of this start, those taken over from an earlier one included."""

    sent: int = 0
    merged: int = 0
    refused: int = 0
    repeated: int = 0
    adopted: int = 0


class Uploads:
    """Stop-and-wait for one member.

    Args:
        member: taken over from the last start, if there was one; an upload may be in flight.
    """

    def __init__(self, identity: Identity, plan: Plan, member: Member, saver: Saver, limits: Limits) -> None:
        self._identity = identity
        self._plan = plan
        self._member = member
        self._saver = saver
        self._limits = limits
        # An upload taken over comes from a snapshot, so it is durable already.
        self._taken_at_snapshot = -1
        self._attempts = 0
        self._overloaded = 0
        self._resend_at: float | None = None
        self._draining = False
        # Looking whether an upload is due costs a determinant, so only when something was learnt.
        self._look = True
        # What the columns mean is said once a start, and again to an aggregator that has lost its state.
        self._saying_columns = True
        self._told = ""
        self.link_up = False
        self.counts = UploadCounts(sent=int(member.in_flight is not None))

    @property
    def drained(self) -> bool:
        """Whether everything learnt was merged or refused."""
        member = self._member
        return member.in_flight is None and member.local.count == 0 and not member.upload_due()

    @property
    def resend_at(self) -> float | None:
        """When the upload in flight is to be repeated; None if that waits for something else."""
        return self._resend_at if self._may_send() else None

    def learned(self, now: float) -> None:
        """The member has observed another row."""
        self._look = True
        self._saver.changed(now)

    def join(self, offline: Statistics, now: float) -> None:
        """Hand in the early-exit experience."""
        self._member.join(offline)
        self.learned(now)

    def drain(self) -> None:
        """From now on everything learnt is due, however little."""
        self._draining = self._look = True

    def advance(self, now: float) -> list[Command]:
        """Take an upload that is due; send, or repeat, the one in flight."""
        member = self._member
        look, self._look = self._look, False
        if look and member.in_flight is None and self._is_due():
            upload = member.take_upload()
            self.counts.sent += 1
            self._taken_at_snapshot = self._saver.taken
            self._attempts = self._overloaded = 0
            self._resend_at = None
            self._saver.needed(now)
            return [Note("debug", "upload_taken", (("seq", upload.seq), ("rows", upload.statistics.count)))]
        if not self._may_send() or (self._resend_at is not None and now < self._resend_at):
            return []
        assert member.in_flight is not None
        self.counts.repeated += self._attempts > 0
        self._resend_at = now + self._limits.resend_after_s(self._attempts)
        self._attempts += 1
        return [SendUpload(self._message(member.in_flight))]

    def link_came_up(self) -> None:
        """Repeat at once: whatever was under way is lost or will be recognised."""
        self.link_up = True
        if self._overloaded == 0:
            self._attempts = min(self._attempts, 1)
            self._resend_at = None

    def acknowledged(self, ack: UploadAck, now: float) -> list[Command]:
        """Note that the upload in flight is in the group.

        Raises:
            RemoteProtocolError: made for another device or another model.
        """
        self._require_ours(ack.device)
        if ack.model != self._plan.model:
            raise RemoteProtocolError("foreign", f"an acknowledgement for model {ack.model}")
        if ack.install != self._identity.install:
            return []  # of a former life of this device
        was_alone = self._member.alone
        if not self._member.acknowledged(ack.boot, ack.seq, ack.origin, ack.version, parked=ack.parked):
            return []
        self.counts.merged += 1
        if self._saying_columns:
            self._told = ack.origin
        self._saying_columns = ack.origin != self._told
        self._answered(now)
        merged = Note("debug", "upload_merged", (("seq", ack.seq), ("version", ack.version)))
        if was_alone or not self._member.alone:
            return [merged]
        why = "the group finds other costs than this device: it learns alone; look at its declared type"
        return [merged, Note("warning", "parked_by_the_group", (("why", why),))]

    def refused(self, refusal: UploadRefusal, now: float) -> list[Command]:
        """Set the upload aside: its rows stay in this device's own view.

        An aggregator that is merely overloaded is given time first.

        Raises:
            RemoteProtocolError: made for another device.
        """
        self._require_ours(refusal.device)
        upload = self._member.in_flight
        if refusal.install != self._identity.install or upload is None:
            return []
        if (upload.boot, upload.seq) != (refusal.boot, refusal.seq):
            return []
        fields = (("seq", refusal.seq), ("reason", refusal.reason), ("detail", refusal.detail))
        if refusal.reason == "overloaded" and self._overloaded + 1 < self._limits.overloaded_tries:
            # The same number again: under another one, a copy still under way could be merged beside it.
            self._overloaded += 1
            self._resend_at = now + self._limits.resend_most_s
            return [Note("warning", "aggregator_overloaded", fields)]
        self._member.refused(refusal.boot, refusal.seq)
        self.counts.refused += 1
        self._answered(now)
        return [Note("warning", "upload_refused_and_set_aside", fields)]

    def broadcast(self, group: GroupParameters, now: float) -> list[Command]:
        """Adopt the group's parameters after a check of our own.

        Raises:
            RemoteProtocolError: foreign, or no parameters that honest members could have.
        """
        if (group.model, group.schema) != (self._plan.model, self._plan.schema):
            raise RemoteProtocolError("foreign", f"group {group.group} has another model or context schema")
        if group.dimension != self._plan.dimension:
            raise RemoteProtocolError("tensor", f"group of dimension {group.dimension}")
        gram = unpack_symmetric(group.gram, group.dimension)
        moment = view(group.moment, "float64", (group.dimension,)).astype(np.float64)
        # An empty group holds lambda I; one row more is the weight that the ridge may have.
        require_plausible(gram, moment, group.count + 1, group.sum_squares, GROUP_BOUNDS)
        try:
            statistics = Statistics(gram, moment, group.count, group.sum_squares)
            if not self._member.adopt(group.origin, group.version, statistics):
                return []
        except ValueError as error:
            raise RemoteProtocolError("implausible", str(error)) from None
        self.counts.adopted += 1
        self._look = True
        self._saver.changed(now)
        # The first one is news to whoever looks on: from here on it plays with what its type knows.
        level: Literal["info", "debug"] = "info" if self.counts.adopted == 1 else "debug"
        return [Note(level, "group_adopted", (("version", group.version), ("rows", group.count)))]

    def check(self) -> None:
        """Assert the invariants."""
        in_flight = int(self._member.in_flight is not None)
        assert self.counts.sent == self.counts.merged + self.counts.refused + in_flight

    def _is_due(self) -> bool:
        return self._member.upload_due() or (self._draining and self._member.local.count > 0)

    def _may_send(self) -> bool:
        durable = self._saver.durable > self._taken_at_snapshot
        return self.link_up and durable and self._member.in_flight is not None

    def _answered(self, now: float) -> None:
        self._resend_at = None
        self._look = True
        self._saver.changed(now)

    def _require_ours(self, device: str) -> None:
        if device != self._identity.device:
            raise RemoteProtocolError("wrong_sender", f"an answer to {device}'s upload on our topic")

    def _message(self, upload: Upload) -> StatisticsUpload:
        statistics = upload.statistics
        return StatisticsUpload(
            device=self._identity.device,
            type=self._identity.type,
            model=self._plan.model,
            schema=self._plan.schema,
            install=self._identity.install,
            boot=upload.boot,
            seq=upload.seq,
            phase=upload.kind,
            dimension=statistics.dimension,
            gram=pack_symmetric(statistics.gram),
            moment=buffer_of(statistics.moment.astype("<f8", copy=False)),
            count=statistics.count,
            sum_squares=statistics.sum_squares,
            columns=(self._plan.columns or UNSET) if self._saying_columns else UNSET,
            common=self._plan.common,
        )
