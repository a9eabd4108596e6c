"""What an aggregator knew at a moment, made again from recorded traffic; pure.

It merges what was sent to it, in the order of arrival, by the aggregator's own session, and holds the result
against every broadcast that was recorded: where they differ, the recording misses something, or began late.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from aggregator import commands as do
from aggregator import events as ev
from aggregator.keys import Grouping, GroupKey
from aggregator.ledger import Ledger, Limits
from aggregator.receiving import receive
from aggregator.session import AggregatorSession
from bandits.statistics import Statistics
from bus.errors import ConfigurationError, RemoteProtocolError
from bus.messages import GroupParameters, StatisticsUpload, UploadAck
from bus.recording.entries import Entry, Gap, Message
from bus.statistics import unpack_symmetric
from bus.tensors import view
from bus.topics import ACK, GROUPS, STATS, Topics
from bus.wire import decode

UNTIL_HEARD = "0" * 16
"""Origin of a state whose aggregator has not said its own yet."""


@dataclass(slots=True)
class Rewound:
    """What was known.

    Attributes:
        ledger: the groups, as the live aggregator had them.
        handed_in: what each device has added to each group.
        uploads: that arrived, repetitions too.
        broadcasts: that were held against the ledger. exact: of those, the same to the bit.
        off: how far apart any value was at most, as a share of the group's largest.
        gaps: moments when something may be missing.
    """

    ledger: Ledger
    handed_in: dict[tuple[GroupKey, str], Statistics] = field(default_factory=dict)
    uploads: int = 0
    broadcasts: int = 0
    exact: int = 0
    off: float = 0.0
    gaps: int = 0


def rewind(
    entries: Iterable[Entry],
    prefix: str,
    until_ns: int,
    *,
    grouping: Grouping,
    limits: Limits,
    snapshot: bytes | None = None,
) -> Rewound:
    """Merge what arrived until then.

    Args:
        entries: of a recording.
        prefix: of its topics.
        until_ns: steady clock; what arrived at that moment is merged.
        grouping: of the aggregator that was recorded.
        limits: of the same.
        snapshot: of its state when the recording began; None where it had none.

    Raises:
        ConfigurationError: a group was there before the recording began, and there is no snapshot.
    """
    playing = _Playing(Topics(prefix), grouping, limits, snapshot)
    for entry in entries:
        if entry.steady_ns > until_ns:
            break
        playing.take(entry)
    return playing.rewound()


class _Playing:
    """An aggregator's session that is told what a recording holds."""

    def __init__(self, topics: Topics, grouping: Grouping, limits: Limits, snapshot: bytes | None) -> None:
        self._topics = topics
        self._grouping, self._limits, self._snapshot = grouping, limits, snapshot
        self._session = self._new(UNTIL_HEARD)
        self._since: dict[GroupKey, dict[int, GroupParameters]] = {}
        self._found = Rewound(self._session.ledger)

    def rewound(self) -> Rewound:
        """Return what is known by now."""
        return self._found

    def take(self, entry: Entry) -> None:
        """Take what was recorded."""
        if isinstance(entry, Gap):
            self._found.gaps += 1
            return
        address = self._topics.parse(entry.topic)
        if address is None or address.topic not in {STATS, ACK, GROUPS}:
            return
        if address.topic == STATS:
            self._upload(entry, address.fields["device"], address.fields["type"])
            return
        try:
            said = decode(address.topic, entry.payload)
        except RemoteProtocolError:
            return
        if isinstance(said, UploadAck):
            self._hear(said.origin)
        elif isinstance(said, GroupParameters):
            self._compare(said)

    def _new(self, origin: str) -> AggregatorSession:
        return AggregatorSession(self._grouping, origin=origin, snapshot=self._snapshot, limits=self._limits)

    def _hear(self, origin: str) -> None:
        """Have the origin that the live aggregator says; with another one than before it has begun anew."""
        ledger = self._session.ledger
        if origin == ledger.origin:
            return
        if ledger.origin == UNTIL_HEARD and self._snapshot is None:
            ledger.origin = origin  # uploads come before what is said of them
            return
        self._snapshot = None
        self._session = self._new(origin)
        self._since.clear()
        self._found = Rewound(self._session.ledger, uploads=self._found.uploads, gaps=self._found.gaps)

    def _upload(self, message: Message, device: str, type_: str) -> None:
        self._found.uploads += 1
        event = receive(device, type_, message.payload)
        before = self._session.tally.merged
        commands = self._session.handle(event, 0.0)
        while any(isinstance(command, do.SaveSnapshot) for command in commands):
            commands = self._session.handle(ev.SnapshotSaved(), 0.0)
        if isinstance(event, ev.UploadArrived) and self._session.tally.merged > before:
            self._merged(event.upload)

    def _merged(self, upload: StatisticsUpload) -> None:
        group = self._grouping.group_of(upload.type)
        assert group is not None
        key = GroupKey(group, upload.model, upload.schema, upload.dimension)
        parameters = self._session.ledger.parameters(key)
        self._since.setdefault(key, {})[parameters.version] = parameters
        added = Statistics(
            unpack_symmetric(upload.gram, upload.dimension),
            view(upload.moment, "float64", (upload.dimension,)),
            upload.count,
            upload.sum_squares,
        )
        mine = self._found.handed_in.get((key, upload.device))
        self._found.handed_in[key, upload.device] = added if mine is None else mine + added

    def _compare(self, said: GroupParameters) -> None:
        """Hold a broadcast against what was merged; forget what is older than it."""
        self._hear(said.origin)
        key = GroupKey(said.group, said.model, said.schema, said.dimension)
        versions = self._since.setdefault(key, {})
        if key in self._session.ledger and self._session.ledger[key].version == said.version:
            versions.setdefault(said.version, self._session.ledger.parameters(key))
        ours = versions.get(said.version)
        if ours is None:
            if versions and said.version < min(versions):
                return  # late: what it says has been compared
            raise ConfigurationError(
                f"group {said.group} was at version {said.version}, of which the recording holds no upload "
                "(on a broker with access control a watcher gets none): "
                "record from the aggregator's first start on, or say what it knew when the recording began "
                "(--state)"
            )
        self._found.broadcasts += 1
        same = (ours.gram, ours.moment) == (said.gram, said.moment)
        self._found.exact += same
        self._found.off = max(self._found.off, _off(ours.gram, said.gram), _off(ours.moment, said.moment))
        for version in [each for each in versions if each < said.version]:
            del versions[version]


def _off(ours: memoryview, theirs: memoryview) -> float:
    """Return how far apart values are, as a share of the largest."""
    one, two = np.frombuffer(ours), np.frombuffer(theirs)
    if one.shape != two.shape:
        return np.inf
    largest = float(np.max(np.abs(two), initial=0.0)) or 1.0
    return float(np.max(np.abs(one - two), initial=0.0)) / largest
