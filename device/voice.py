"""What a device says of itself on the bus: its retained state, and the summary at the end. Pure."""

from collections.abc import Mapping

from bus.messages import NodeState
from bus.presence import Presence
from device.session import DeviceSession
from device.settings import DeviceSettings, DeviceSummary, PolicySummary
from device.tally import Tally


class Voice:
    """The retained state as it should be now, for both the runtime and its connection.

    Attributes:
        ready: frames are being taken.
        model: hash, empty until the network is loaded.
        arms: what an edge worker must be ready to be asked, as `bus.arms` says it.
        detail: one sentence for people.
    """

    def __init__(self, presence: Presence, settings: DeviceSettings) -> None:
        self.presence = presence
        self.ready = False
        self.model = ""
        self.arms = ""
        self.detail = settings.detail

    def announce(self) -> list[tuple[str, bytes]]:
        """The present state."""
        state: NodeState = "ready" if self.ready else "init"
        return [self.presence.announce(state, models=self.model, arms=self.arms, detail=self.detail)]

    def farewell(self) -> list[tuple[str, bytes]]:
        """The goodbye."""
        return [self.presence.announce("disconnected", models=self.model, arms=self.arms, detail=self.detail)]


def summarise(
    session: DeviceSession, main: str, label: str = "", banned: Mapping[str, str] | None = None
) -> DeviceSummary:
    """Return what a run came to.

    Args:
        session: the device, at whatever moment.
        main: name of the main policy.
        label: network and weights, for people.
        banned: arms that it does not play, label to reason.
    """
    tallies = session.turns.tallies
    counts = None if session.uploads is None else session.uploads.counts
    return DeviceSummary(
        frames_sent=tallies[main].sent,
        frames_answered=tallies[main].answers,
        answered_by=dict(tallies[main].answered),
        statistics_sent=0 if counts is None else counts.sent,
        statistics_merged=0 if counts is None else counts.merged,
        statistics_refused=0 if counts is None else counts.refused,
        policies={name: _of(tally) for name, tally in tallies.items()},
        metrics=session.metrics(),
        label=label,
        banned=dict(banned or {}),
    )


def _of(tally: Tally) -> PolicySummary:
    return PolicySummary(
        sent=tally.sent,
        answered=dict(tally.answered),
        rejected=dict(tally.rejected),
        masked=tally.masked,
        total_ms=tuple(tally.total_ms),
        deadlines_met=tally.deadlines_met,
        payload_bytes=tally.payload_bytes,
    )
