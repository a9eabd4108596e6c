"""What the demo learns by listening to the bus, as any dashboard could."""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field

from bus.errors import RemoteProtocolError
from bus.messages import Feedback, GroupParameters, State
from bus.tensors import Payload
from bus.topics import FEEDBACK, GROUPS, METRICS, STATE, WORDS, Topic, Topics
from bus.wire import decode

LISTENED: tuple[Topic, ...] = (FEEDBACK, GROUPS, WORDS, STATE, METRICS)
_RATE_WINDOW_S = 5.0
_RATE_LIMIT = 10_000


@dataclass(slots=True)
class Gathered:
    """Everything heard so far.

    Attributes:
        topics: the table under the demo's prefix.
        feedback: every feedback message, by device and policy.
        latest: the latest feedback of the learner, by device.
        groups: the latest broadcast, by group name.
        states: by role and id.
        metrics: the latest leaves, by role and id.
        retained: topics under the prefix that the broker keeps.
        messages: heard so far. undecodable: of them.
        changed: set at every message; whoever waits clears it first.
    """

    topics: Topics
    learner: str
    feedback: dict[tuple[str, str], list[Feedback]] = field(default_factory=dict)
    latest: dict[str, Feedback] = field(default_factory=dict)
    groups: dict[str, GroupParameters] = field(default_factory=dict)
    states: dict[tuple[str, str], State] = field(default_factory=dict)
    metrics: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    retained: set[str] = field(default_factory=set)
    messages: int = 0
    undecodable: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_LIMIT))

    def take(self, topic: str, payload: Payload, now: float) -> None:
        """Take a message in; one that cannot be read is counted and dropped."""
        self.messages += 1
        self.changed.set()
        self._arrivals.append(now)
        address = self.topics.parse(topic)
        if address is None:
            return
        if address.topic.retained:
            self.retained.add(topic)
        try:
            self._take(address.topic, address.fields, payload)
        except (RemoteProtocolError, ValueError):
            self.undecodable += 1

    def _take(self, topic: Topic, fields: dict[str, str], payload: Payload) -> None:
        if topic is FEEDBACK:
            said = decode(FEEDBACK, payload, Feedback)
            self.feedback.setdefault((fields["device"], said.policy), []).append(said)
            if said.policy == self.learner:
                self.latest[fields["device"]] = said
        elif topic is GROUPS:
            self.groups[fields["type"]] = decode(GROUPS, payload, GroupParameters)
        elif topic is STATE:
            self.states[fields["role"], fields["id"]] = decode(STATE, payload, State)
        elif topic is METRICS:
            self.metrics[fields["role"], fields["id"]] = json.loads(bytes(payload))

    def per_second(self, now: float) -> float:
        """Messages a second over the last few seconds."""
        while self._arrivals and self._arrivals[0] < now - _RATE_WINDOW_S:
            self._arrivals.popleft()
        return len(self._arrivals) / _RATE_WINDOW_S

    def turns(self, device: str, policy: str) -> int:
        """Frames that a device has finished under a policy."""
        return len(self.feedback.get((device, policy), ()))
