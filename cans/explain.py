"""Why a recorded device played an arm: what it expected, what it knew, and what came of it."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.table import Table

from bus.errors import ConfigurationError, RemoteProtocolError
from bus.messages import Feedback, GroupParameters, GroupWords, QueueNotice
from bus.recording.entries import Entry, Message
from bus.stages import stages_of
from bus.topics import DEFAULT_PREFIX, FEEDBACK, GROUPS, QUEUE, WORDS, Topics
from bus.wire import decode
from cans.recording.opening import opened
from device.policy_names import LEARNER
from lab.whatif.logged import Frames, Log
from lab.whatif.model import predictions

_ALTERNATIVES = 6
_BAR = 30


@dataclass(frozen=True, slots=True)
class FrameId:
    """Names a turn of a recording: DEVICE:FRAME or DEVICE:FRAME:POLICY; DEVICE alone is its slowest."""

    device: str
    seq: int | None = None
    policy: str = ""

    @classmethod
    def parse(cls, text: str) -> "FrameId":
        """Return what a person has written.

        Raises:
            ConfigurationError: nothing of that form.
        """
        device, colon, rest = text.partition(":")
        number, _, policy = rest.partition(":")
        if device and not colon:
            return cls(device)
        if not device or not number.isdecimal():
            raise ConfigurationError(
                f"{text!r} names no frame: write DEVICE:FRAME, DEVICE:FRAME:POLICY, or DEVICE for its slowest"
            )
        return cls(device, int(number), policy)

    def names(self, said: Feedback) -> bool:
        """Whether it is that turn's."""
        return (said.device, said.seq) == (self.device, self.seq) and self.policy in {"", said.policy}


@dataclass(slots=True)
class Explained:
    """One turn.

    Attributes:
        said: what the device has said of it.
        at_s: when, seconds after the recording's beginning.
        group, words: the broadcast that it had adopted, numbers and words; None where it was not recorded.
        group_age_s: how old that was.
        heard: the last word of each edge worker's queue before, and how old it was, seconds.
        alternatives: milliseconds of other arms at that frame, by the model of `cans evaluate`.
    """

    said: Feedback
    at_s: float
    group: GroupParameters | None = None
    words: GroupWords | None = None
    group_age_s: float = math.nan
    heard: dict[str, tuple[QueueNotice, float]] = field(default_factory=dict)
    alternatives: dict[str, float] = field(default_factory=dict)


def explain(path: Path, frame: FrameId) -> Explained:
    """Look a frame up, and what was known then.

    Raises:
        ConfigurationError: no such recording or frame.
    """
    frames = Frames()
    with opened(path) as recording:
        prefix = recording.about.get("prefix", DEFAULT_PREFIX)
        entries = list(_kept(recording, Topics(prefix)))
    frames.take((entry for entry, _ in entries), prefix)
    if not frame.policy and (frame.device, LEARNER) in frames.said:
        frame = replace(frame, policy=LEARNER)
    if frame.seq is None and frame.device in frames.turns:
        frame = _slowest(frames, frame)
    found = _found(entries, frame)
    if found is None:
        which = "no frame" if frame.seq is None else f"no frame {frame.seq}"
        raise ConfigurationError(
            f"{path} holds {which} of {frame.device}; it has {_known(frames)}. A frame that the device "
            "dropped for a newer one leaves no feedback"
        )
    turns = frames.turns[found.said.device]
    found.alternatives = _alternatives(frames.log_of(found.said.device), turns.index(found.said))
    return found


def _slowest(frames: Frames, frame: FrameId) -> FrameId:
    turns = [said for said in frames.turns[frame.device] if frame.policy in {"", said.policy}]
    return replace(frame, seq=max(turns, key=lambda said: said.total_ms).seq)


def _known(frames: Frames) -> str:
    spans = {
        device: (min(said.seq for said in turns), max(said.seq for said in turns))
        for device, turns in sorted(frames.turns.items())
        if turns
    }
    return (
        ", ".join(
            f"{len({said.seq for said in frames.turns[device]})} of {device}, between {first} and {last}"
            for device, (first, last) in spans.items()
        )
        or "no frame of any"
    )


def _kept(recording: Iterable[Entry], topics: Topics) -> Iterable[tuple[Message, Any]]:
    """Yield what can matter, decoded; activations and answers are large, and do not."""
    for entry in recording:
        address = topics.parse(entry.topic) if isinstance(entry, Message) else None
        if address is None or address.topic not in {FEEDBACK, GROUPS, WORDS, QUEUE}:
            continue
        assert isinstance(entry, Message)
        try:
            yield entry, decode(address.topic, entry.payload)
        except RemoteProtocolError:
            continue


def _found(entries: list[tuple[Message, Any]], frame: FrameId) -> Explained | None:
    """Return the frame with what was said before it."""
    groups: dict[int, tuple[GroupParameters, int]] = {}
    words: dict[int, GroupWords] = {}
    heard: dict[str, tuple[QueueNotice, int]] = {}
    for entry, said in entries:
        match said:
            case GroupParameters():
                groups.setdefault(said.version, (said, entry.steady_ns))
            case GroupWords():
                words.setdefault(said.version, said)
            case QueueNotice():
                heard[said.edge] = (said, entry.steady_ns)
            case Feedback() if frame.names(said):
                began_ns = entry.steady_ns - round(said.total_ms * 1e6)
                at_s = (entry.steady_ns - entries[0][0].steady_ns) / 1e9
                found = Explained(said, at_s, words=words.get(said.version))
                if said.version in groups:
                    found.group, told_ns = groups[said.version]
                    found.group_age_s = (began_ns - told_ns) / 1e9
                found.heard = {
                    edge: (notice, (began_ns - at_ns) / 1e9)
                    for edge, (notice, at_ns) in heard.items()
                    if at_ns <= began_ns
                }
                return found
    return None


def _alternatives(log: Log, place: int) -> dict[str, float]:
    """Return what other arms would have taken at a frame, the fastest first."""
    found = dict(zip(log.labels, predictions(log)[place].tolist(), strict=True))
    known = {label: value for label, value in found.items() if math.isfinite(value)}
    return dict(sorted(known.items(), key=lambda pair: pair[1]))


def tell(found: Explained, out: TextIO, *, as_json: bool) -> None:
    """Print why."""
    if as_json:
        group = None if found.group is None else {"version": found.group.version, "age_s": found.group_age_s}
        heard = {
            edge: {"free_ms": notice.free_ms, "age_s": age_s} for edge, (notice, age_s) in found.heard.items()
        }
        said = {
            "frame": msgspec.to_builtins(found.said), "at_s": found.at_s, "group": group,
            "words": found.words.text if found.words else None, "queues": heard,
            "alternatives_ms": found.alternatives,
        }  # fmt: skip
        print(json.dumps(said, ensure_ascii=False), file=out)
        return
    console = Console(file=out, highlight=False, soft_wrap=True)
    for sentence in sentences(found):
        console.print(sentence, markup=False)
    console.print(_waterfall(found.said))
    console.print(_others(found))


def sentences(found: Explained) -> list[str]:
    """Return what there is to say about a frame, for people."""
    said = found.said
    label = "end/none" if said.codec == "none" else f"{said.cut}/{said.codec}"
    lines = [
        f"{said.device} ({said.type}), frame {said.seq} under {said.policy}, {found.at_s:.1f} s into the "
        f"recording: arm {label}, answered by {said.answered_by} in {said.total_ms:.1f} ms"
        + (f" ({said.reason})" if said.reason else "")
    ]
    if said.propensity:
        lines.append(f"Some arms are drawn: this one had a likelihood of {said.propensity:.3g}.")
    if said.expected_ms:
        off = f"{said.total_ms - said.expected_ms:+.1f}"
        expected = f"{said.expected_ms:.1f} ms, give or take {said.unsure_ms:.1f}"
        lines.append(f"It expected {expected}; it was {off} off.")
    else:
        lines.append("It does not say what it expected: a fixed policy, or an older version.")
    if said.version:
        lines.append(_group_words(found))
    else:
        lines.append("It had adopted nothing of its group yet.")
    for edge, (notice, age_s) in sorted(found.heard.items()):
        left_ms = max(0.0, notice.free_ms - 1e3 * age_s)
        told = f"{edge} had said {age_s:.2f} s before for how long a request would wait"
        lines.append(f"{told}: {left_ms:.0f} ms were left.")
    return lines


def _group_words(found: Explained) -> str:
    if found.group is None:
        return f"It had adopted version {found.said.version} of its group, which was not recorded."
    words = f"It had adopted version {found.group.version} of its group: {found.group.count} rows of "
    words += f"{found.group.members} devices, broadcast {found.group_age_s:.1f} s before."
    return words + (f" {found.words.text}" if found.words and found.words.text else "")


def _waterfall(said: Feedback) -> Table:
    """The frame's stages, one under the other, each as far to the right as it began."""
    table = Table("stage", "ms", "when", box=None)
    table.columns[1].justify = "right"
    began = 0.0
    for stage, taken in stages_of(said).items():
        if taken <= 0.0:
            continue
        left, width = (round(_BAR * part / max(said.total_ms, 1e-9)) for part in (began, taken))
        table.add_row(stage, f"{taken:.1f}", " " * left + "█" * max(1, width))
        began += taken
    return table


def _others(found: Explained) -> Table:
    """What other arms would have taken, by the model."""
    table = Table("it would have taken, by what other frames took", "ms", box=None)
    table.columns[1].justify = "right"
    for label, taken in list(found.alternatives.items())[:_ALTERNATIVES]:
        table.add_row(label, f"{taken:.1f}")
    return table
