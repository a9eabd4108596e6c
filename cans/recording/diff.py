"""Two recordings of the same requests: did the edge workers answer the same, and how soon?

Made for a replay: the requests of one recording, answered for real by another version of the edge worker,
another machine or another broker, and recorded again. Requests are matched by device and id, which a device
never uses twice.
"""

import hashlib
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bus import messages as m
from bus.errors import RemoteProtocolError
from bus.recording.entries import Message
from bus.tensors import view
from bus.topics import DEFAULT_PREFIX, INFER, REPLY, Topics
from bus.wire import decode
from cans.recording.opening import opened, require_not_redacted

Key = tuple[str, str]
_SAMPLED = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Attributes:
        top, confidence: the class, and how sure; of a rejection -1 and 0.
        output: digest of the network's output. sample: some of its values, evenly spread.
        rejected: why, empty for an answer.
        waited_ms: from request to answer, as the recorder saw them. tail_ms: as the edge worker says.
    """

    top: int
    confidence: float
    output: str
    sample: tuple[float, ...]
    rejected: str
    waited_ms: float
    tail_ms: float


@dataclass(slots=True)
class Answers:
    """All answers of a recording, by device and request.

    Attributes:
        asked: when each request came, ns. answered: each one's first answer.
        unreadable: messages on their topics that are none of ours.
    """

    asked: dict[Key, int] = field(default_factory=dict)
    answered: dict[Key, Answer] = field(default_factory=dict)
    unreadable: int = 0

    @property
    def open(self) -> set[Key]:
        """Requests that nobody has answered."""
        return self.asked.keys() - self.answered.keys()


def answers_of(path: Path) -> Answers:
    """Read requests and answers; a few hundred bytes of memory for each.

    Raises:
        ConfigurationError: as `opened`.
    """
    found = Answers()
    with opened(path) as recording:
        require_not_redacted(recording, path, "answers")
        topics = Topics(recording.about.get("prefix", DEFAULT_PREFIX))
        for entry in recording:
            address = topics.parse(entry.topic) if isinstance(entry, Message) else None
            if address is None or address.topic not in {INFER, REPLY}:
                continue
            assert isinstance(entry, Message)
            try:
                message = decode(address.topic, entry.payload)
            except RemoteProtocolError:
                found.unreadable += 1
                continue
            _add(found, address.fields["device"], message, entry.steady_ns)
    return found


def _add(found: Answers, device: str, message: m.Message, at_ns: int) -> None:
    if isinstance(message, m.ActivationRequest):
        found.asked.setdefault((device, message.id), at_ns)
        return
    assert isinstance(message, m.InferenceReply | m.Rejection)
    key = (device, message.id)
    if key not in found.asked or key in found.answered:
        return  # asked before the recording began, or doubled
    waited_ms = (at_ns - found.asked[key]) / 1e6
    found.answered[key] = (
        Answer(-1, 0.0, "", (), message.reason, waited_ms, 0.0)
        if isinstance(message, m.Rejection)
        else Answer(
            message.top,
            message.confidence,
            hashlib.sha256(message.payload).hexdigest(),
            _sample(message),
            "",
            waited_ms,
            message.tail_ms,
        )
    )


def _sample(message: m.InferenceReply) -> tuple[float, ...]:
    """Return some values of an output: all of one would be kilobytes for each answer."""
    try:
        values = view(message.payload, message.dtype, message.shape).reshape(-1)
    except RemoteProtocolError:
        return ()
    places = np.linspace(0, len(values) - 1, min(_SAMPLED, len(values))).round().astype(int)
    return tuple(float(each) for each in values[places])


@dataclass(frozen=True, slots=True)
class Difference:
    """How the second recording answers what the first one did.

    Attributes:
        compared: requests that both have answered. alone: requests of the first that the second never had.
        unanswered: requests of both that only the first answers. rejected: that only the second rejects.
        reasons: why those were. other: keys whose class differs. exact: outputs that are the same to the bit.
        off: how far apart values of an output are at most, as a share of its largest; 1 where sizes differ.
        waited_ms, tail_ms: medians, first and second; 0 where nothing is compared.
        waited_p95_ms: the same at the 95th percentile.
    """

    compared: int
    alone: int
    unanswered: int
    rejected: int
    reasons: dict[str, int]
    other: tuple[Key, ...]
    exact: int
    off: float
    waited_ms: tuple[float, float]
    waited_p95_ms: tuple[float, float]
    tail_ms: tuple[float, float]

    @property
    def same(self) -> bool:
        """Whether every request of the first that the second has too is answered alike."""
        return bool(self.compared) and not (self.other or self.rejected or self.unanswered)


def difference(first: Answers, second: Answers) -> Difference:
    """Compare answers."""
    well = {key: answer for key, answer in first.answered.items() if not answer.rejected}
    both = [key for key in well if key in second.answered and not second.answered[key].rejected]
    pairs = [(well[key], second.answered[key]) for key in both]
    return Difference(
        compared=len(both),
        alone=len(first.asked.keys() - second.asked.keys()),
        unanswered=sum(key in second.open for key in well),
        rejected=sum(_rejected(second, key) for key in well),
        reasons=dict(Counter(second.answered[key].rejected for key in well if _rejected(second, key))),
        other=tuple(key for key in both if well[key].top != second.answered[key].top),
        exact=sum(one.output == two.output for one, two in pairs),
        off=max((_off(one.sample, two.sample) for one, two in pairs), default=0.0),
        waited_ms=_both([each.waited_ms for each, _ in pairs], [each.waited_ms for _, each in pairs], 0.5),
        waited_p95_ms=_both(
            [each.waited_ms for each, _ in pairs], [each.waited_ms for _, each in pairs], 0.95
        ),
        tail_ms=_both([each.tail_ms for each, _ in pairs], [each.tail_ms for _, each in pairs], 0.5),
    )


def _rejected(answers: Answers, key: Key) -> bool:
    return key in answers.answered and bool(answers.answered[key].rejected)


def _off(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    if len(first) != len(second):
        return 1.0
    largest = max(map(abs, first), default=0.0) or 1.0
    return max((abs(one - two) for one, two in zip(first, second, strict=True)), default=0.0) / largest


def _both(first: list[float], second: list[float], share: float) -> tuple[float, float]:
    return _quantile(first, share), _quantile(second, share)


def _quantile(values: list[float], share: float) -> float:
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=100, method="inclusive")[round(100 * share) - 1]
