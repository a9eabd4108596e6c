"""What deserves somebody's attention, found in what nodes say anyway. Pure.

One rule each: a node that goes or comes back; a device that the aggregator keeps out of its type; a device
that misses most deadlines; one whose frames take something else than it expects; one whose policies answer
the same frames differently. Each is told once, and again only after it was over.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Literal

from bus.messages import Feedback, State
from bus.topics import Role

Kind = Literal["offline", "online", "parked", "late", "drift", "disagree"]
KINDS: Final[tuple[Kind, ...]] = ("offline", "online", "parked", "late", "drift", "disagree")
# A broker open to anyone lets anyone announce nodes; of more than these nothing is noticed.
MOST_NODES = 2000
_LATEST, _SHARE = 20, 0.5
"""Frames that are looked at, and the share of them from which on it is worth a word."""
_QUIET = 300
"""Frames of a device for which the same is not told again, though it was over meanwhile."""
_OFF, _SURELY = 0.3, 3.0
"""A frame took something else than expected if it is off by that share, and by so many times the doubt."""
_DIFFER = 2
"""Answers of the latest frames that may differ: a codec costs some."""
_FRAMES_OPEN = 8
_GONE = frozenset({"lost", "disconnected"})


@dataclass(frozen=True, slots=True)
class Alarm:
    """What has happened, to whom, in a sentence."""

    role: str
    id: str
    kind: Kind
    what: str


@dataclass(slots=True)
class _Latest:
    """Whether each of the latest was so, and whether that has been told."""

    seen: list[bool] = field(default_factory=list)
    told: bool = False
    quiet: int = 0

    def tell(self, *, so: bool, above: int) -> int | None:
        """Note one more; returns how many were so if that has just become worth telling."""
        self.seen = [*self.seen[-_LATEST + 1 :], so]
        count = sum(self.seen)
        self.quiet = max(0, self.quiet - 1)
        news = len(self.seen) == _LATEST and count > above and not self.told and not self.quiet
        # Over at half of that: what hovers about the limit would be told again and again. What comes and goes
        # would be, too.
        self.told = news or (self.told and count > above // 2)
        self.quiet = _QUIET if news else self.quiet
        return count if news else None


@dataclass(slots=True)
class _Device:
    late: _Latest = field(default_factory=_Latest)
    off: _Latest = field(default_factory=_Latest)
    differs: _Latest = field(default_factory=_Latest)
    answers: OrderedDict[int, int] = field(default_factory=OrderedDict)  # of open frames: the first answer


class Alarms:
    """Finds them; each call returns what is new."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], str] = {}
        self._parked: dict[str, frozenset[str]] = {}
        self._devices: dict[str, _Device] = {}

    def state(self, said: State) -> list[Alarm]:
        """Take in what a node says of itself."""
        key = (said.role, said.id)
        before = self._states.get(key)
        if before is None and len(self._states) >= MOST_NODES:
            return []
        self._states[key] = said.state
        found = [] if before is None else self._moved(said, before)
        return found + (self._newly_parked(said) if said.role == Role.AGGREGATOR else [])

    def forget(self, role: str, id_: str) -> None:
        """Note that a node's retained state was removed."""
        self._states.pop((role, id_), None)
        self._parked.pop(id_, None) if role == Role.AGGREGATOR else self._devices.pop(id_, None)

    def feedback(self, said: Feedback) -> list[Alarm]:
        """Take in a frame."""
        device = self._devices.get(said.device)
        if device is None:
            if len(self._devices) >= MOST_NODES:
                return []
            device = self._devices[said.device] = _Device()
        sentences: list[tuple[Kind, str | None]] = [
            ("late", self._late(device, said)),
            ("drift", self._off(device, said)),
            ("disagree", self._differs(device, said)),
        ]
        return [Alarm(Role.DEVICE, said.device, kind, what) for kind, what in sentences if what is not None]

    @staticmethod
    def _moved(said: State, before: str) -> list[Alarm]:
        if said.state in _GONE and before not in _GONE:
            return [Alarm(said.role, said.id, "offline", f"{said.id} is {said.state}")]
        if said.state not in _GONE and before in _GONE:
            return [Alarm(said.role, said.id, "online", f"{said.id} is back")]
        return []

    def _newly_parked(self, said: State) -> list[Alarm]:
        """Return whom the aggregator has begun to keep out of its group, as its state says it."""
        listed = next((part for part in said.detail.split("; ") if part.startswith("parked: ")), "")
        parked = frozenset(filter(None, listed.removeprefix("parked: ").split(", ")))
        new = sorted(parked - self._parked.get(said.id, frozenset()))
        self._parked[said.id] = parked
        return [
            Alarm(Role.DEVICE, device, "parked", f"{device} reports other costs than its type")
            for device in new
        ]

    @staticmethod
    def _late(device: _Device, said: Feedback) -> str | None:
        count = device.late.tell(so=not said.deadline_met, above=int(_SHARE * _LATEST))
        return None if count is None else f"{count} of the last {_LATEST} frames missed their deadline"

    @staticmethod
    def _off(device: _Device, said: Feedback) -> str | None:
        if said.expected_ms <= 0.0:
            return None  # it does not say
        off_ms = abs(said.total_ms - said.expected_ms)
        off = off_ms > _OFF * said.expected_ms and off_ms > _SURELY * said.unsure_ms
        count = device.off.tell(so=off, above=int(_SHARE * _LATEST))
        if count is None:
            return None
        what = "the machine or the link is not as it was learned"
        return f"{count} of the last {_LATEST} frames took other than expected: {what}"

    @staticmethod
    def _differs(device: _Device, said: Feedback) -> str | None:
        """Compare with the first policy that has answered the same frame."""
        first = device.answers.get(said.seq)
        if first is None:
            device.answers[said.seq] = said.top
            if len(device.answers) > _FRAMES_OPEN:
                device.answers.popitem(last=False)
            return None
        count = device.differs.tell(so=first != said.top, above=_DIFFER)
        return None if count is None else f"{count} of the last {_LATEST} answers differ between policies"
