"""What an aggregator knew, from what was recorded of it."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from aggregator import commands as do
from aggregator import events as ev
from aggregator.keys import Grouping, GroupKey
from aggregator.ledger import Limits
from aggregator.rewinding import UNTIL_HEARD, Rewound, rewind
from aggregator.session import AggregatorSession
from bandits.federation import GuardSettings
from bus.errors import ConfigurationError
from bus.messages import GroupParameters, StatisticsUpload, UploadAck
from bus.recording.entries import Entry, Gap, Message
from bus.statistics import pack_symmetric, unpack_symmetric
from bus.tensors import buffer_of
from bus.topics import ACK, GROUPS, STATS, Topics
from bus.wire import decode, encode
from tests.support.recordings import BEGAN_NS, message
from tests.support.samples import MODEL, SCHEMA
from tests.support.uploads import upload

TOPICS, KEY = Topics(), GroupKey("pi4", MODEL, SCHEMA, 2)
ORIGIN, ANEW = "3" * 16, "4" * 16
LIMITS = Limits(guard=GuardSettings())


class _Live:
    """An aggregator, and what a recorder would have of it: an entry a second."""

    def __init__(self, snapshot: bytes | None = None, origin: str = ORIGIN) -> None:
        self.session = AggregatorSession(Grouping({}), origin=origin, limits=LIMITS, snapshot=snapshot)
        self.session.handle(ev.LinkUp(), 0.0)
        self.entries: list[Entry] = []
        self.states: list[bytes] = []
        self.now = 0.0

    def note(self, topic: str, payload: bytes) -> None:
        self.entries.append(message(len(self.entries), float(len(self.entries)), topic, bytes(payload)))

    def take(self, sent: StatisticsUpload) -> None:
        """Merge, save, acknowledge, broadcast; each is recorded."""
        self.now += 1.0
        self.note(TOPICS.of(STATS, type="pi4", device=sent.device), encode(STATS, sent))
        commands = self.session.handle(ev.UploadArrived(sent), self.now)
        while commands:
            more: list[do.Command] = []
            for command in commands:
                match command:
                    case do.SaveSnapshot():
                        more += self.session.handle(ev.SnapshotSaved(), self.now)
                    case do.PublishAck(device, type_, said):
                        self.note(TOPICS.of(ACK, type=type_, device=device), encode(ACK, said))
                    case do.PublishGroup(key, _, parameters):
                        self.note(TOPICS.of(GROUPS, type="pi4", model=MODEL), encode(GROUPS, parameters))
                        more += self.session.handle(ev.BroadcastEnded(key, succeeded=True), self.now)
                    case _:
                        pass
            commands = more
        self.states.append(self.session.ledger.dump())


def _sent(seq: int) -> StatisticsUpload:
    return upload(f"cam-{seq % 3}", seq)


def _rewound(entries: Sequence[Entry], at_s: float = 1e6, snapshot: bytes | None = None) -> Rewound:
    until_ns = BEGAN_NS + round(at_s * 1e9)
    return rewind(entries, "cans/v1", until_ns, grouping=Grouping({}), limits=LIMITS, snapshot=snapshot)


def test_at_any_moment_it_knows_what_the_live_one_did_to_the_bit() -> None:
    live = _Live()
    ends = []
    for seq in range(1, 13):
        live.take(_sent(seq))
        ends.append(len(live.entries) - 1)
    for state, end in zip(live.states, ends, strict=True):
        found = _rewound(live.entries, float(end))
        assert found.ledger.dump() == state
        assert found.exact == found.broadcasts == end // 3 + 1
        assert found.off == 0.0
    handed_in = found.handed_in[KEY, "cam-1"]
    assert handed_in.count == 4 * 20
    expected = sum(unpack_symmetric(_sent(seq).gram, 2) for seq in (1, 4, 7, 10))
    assert handed_in.gram == pytest.approx(expected)


def test_what_is_repeated_refused_or_unreadable_changes_nothing() -> None:
    live = _Live()
    for sent in (
        _sent(1),
        _sent(2),
        _sent(2),
        upload("cam-1", 9, gram=pack_symmetric(-unpack_symmetric(_sent(1).gram, 2))),
    ):
        live.take(sent)
    live.note(TOPICS.of(STATS, type="pi4", device="cam-1"), b"broken")
    live.note(TOPICS.of(GROUPS, type="pi4", model=MODEL), b"broken")
    live.note("elsewhere", b"")
    live.entries.append(Gap(0, BEGAN_NS, BEGAN_NS, "disconnected", 0, 1.0))
    found = _rewound(live.entries)
    assert found.ledger.dump() == live.states[-1]
    assert (found.uploads, found.gaps, found.exact) == (5, 1, found.broadcasts)


def test_before_anything_was_said_it_has_no_origin_yet() -> None:
    live = _Live()
    live.take(_sent(1))
    assert _rewound(live.entries, 0.5).ledger.origin == UNTIL_HEARD
    assert _rewound(live.entries, 1.5).ledger.origin == ORIGIN
    assert len(_rewound((), 0.0).ledger) == 0


def test_a_recording_that_began_later_needs_what_was_known_then() -> None:
    live = _Live()
    for seq in range(1, 7):
        live.take(_sent(seq))
    later = live.entries[9:]
    with pytest.raises(ConfigurationError, match="record from the aggregator's first start on"):
        _rewound(later)
    found = _rewound(later, snapshot=live.states[2])
    assert found.ledger.dump() == live.states[-1]
    assert found.exact == found.broadcasts == 3
    # What was retained when the recorder came says what the snapshot holds.
    retained = msgspec.structs.replace(live.session.ledger.parameters(KEY))
    first = message(
        0, 0.0, TOPICS.of(GROUPS, type="pi4", model=MODEL), encode(GROUPS, retained), retained=True
    )
    assert _rewound([first], snapshot=live.states[-1]).exact == 1


def test_an_aggregator_that_began_anew_is_followed() -> None:
    live = _Live()
    for seq in (1, 2):
        live.take(_sent(seq))
    anew = _Live(origin=ANEW)
    anew.entries = live.entries
    # A message of the new one before its first upload: an acknowledgement of another site's, say.
    first = live.entries[1]
    assert isinstance(first, Message)
    repeated = msgspec.structs.replace(decode(ACK, first.payload, UploadAck), origin=ANEW)
    anew.note(TOPICS.of(ACK, type="pi4", device="cam-1"), encode(ACK, repeated))
    for seq in (3, 4):
        anew.take(_sent(seq))
    found = _rewound(anew.entries)
    assert found.ledger.dump() == anew.states[-1]
    assert (found.ledger.origin, found.uploads, found.broadcasts) == (ANEW, 4, 2)


def test_a_broadcast_that_says_something_else_is_told_and_a_late_one_is_not() -> None:
    live = _Live()
    for seq in (1, 2):
        live.take(_sent(seq))
    late = live.entries[2]
    live.entries.append(late)
    said = live.session.ledger.parameters(KEY)
    other = msgspec.structs.replace(said, moment=buffer_of(2.0 * np.frombuffer(said.moment)))
    live.note(TOPICS.of(GROUPS, type="pi4", model=MODEL), encode(GROUPS, other))
    found = _rewound(live.entries)
    assert (found.broadcasts, found.exact) == (3, 2)
    assert found.off == pytest.approx(0.5)
    short = msgspec.structs.replace(said, moment=memoryview(bytes(8)))
    live.note(TOPICS.of(GROUPS, type="pi4", model=MODEL), encode(GROUPS, short))
    assert _rewound(live.entries).off == float("inf")


def test_groups_that_are_not_there_are_not_made_by_words() -> None:
    said = GroupParameters(
        group="pi4", model=MODEL, schema=SCHEMA, origin=ORIGIN, version=3, dimension=2,
        gram=memoryview(bytes(24)), moment=memoryview(bytes(16)), count=1, sum_squares=1.0, members=1,
    )  # fmt: skip
    entry = message(0, 0.0, TOPICS.of(GROUPS, type="pi4", model=MODEL), encode(GROUPS, said))
    with pytest.raises(ConfigurationError, match="version 3"):
        _rewound([entry])
