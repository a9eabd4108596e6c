"""What a network costs one machine, as a file that `cans profile` writes and everybody else reads.

Its readers: `cans device --profile` (ANS, Neurosurgeon, the warm start), `cans device --emulate`, and
`cans simulate` with `world.network`. The schema, for other programs: docs/schemas/profile.json.
This file must never import torch: the simulator reads profiles without it.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from bus.errors import ConfigurationError
from bus.messages import Hash

VERSION: Final = 2
"""Version 1 was the bare table of `lab/tables/`: medians only, of no particular model and machine."""

ENCODE_COLUMN = "encode.elements"

Amount = Annotated[float, Meta(ge=0.0)]
Text = Annotated[str, Meta(max_length=256)]
Row = tuple[float, ...]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts of the file share: unknown keys are refused, for they would be misspelt ones."""


class Timing(_Part, frozen=True, kw_only=True):
    """A duration over all rounds, milliseconds.

    Attributes:
        median_ms: the middle one.
        low_ms, high_ms: the quartiles: half of all rounds lie between them.
        mad_ms: median of the distances from the median.
    """

    median_ms: Amount
    low_ms: Amount
    high_ms: Amount
    mad_ms: Amount

    @property
    def spread(self) -> float:
        """The distance of the quartiles over the median; 0 of nothing."""
        return (self.high_ms - self.low_ms) / self.median_ms if self.median_ms else 0.0


class Segment(_Part, frozen=True, kw_only=True):
    """The network between two neighbouring cuts; `name` is the module that it ends with."""

    name: Text
    start: Annotated[int, Meta(ge=0)]
    stop: Annotated[int, Meta(ge=1)]
    time: Timing


class Operator(_Part, frozen=True, kw_only=True):
    """One node of the traced network: its name, what it does, how long it takes."""

    name: Text
    kind: Text
    time: Timing


class ArmTimes(_Part, frozen=True, kw_only=True):
    """One arm.

    Attributes:
        label: "7/int8-zstd".
        context: d numbers, its row as the measuring machine has it.
        payload_bytes: mean over built-in frames.
        head: network before the cut, and preprocessing where it falls to the device.
        encode, decode: of its codec.
        tail: network after the cut, and preprocessing where it falls to the edge worker.
    """

    label: Text
    context: Row
    payload_bytes: Amount
    head: Timing
    encode: Timing
    decode: Timing
    tail: Timing


class ExitTimes(_Part, frozen=True, kw_only=True):
    """One early exit, the network's own end included: its context row and a run to it."""

    context: Row
    time: Timing


class Machine(_Part, frozen=True, kw_only=True):
    """What machine it is: equal on equal machines, and no person's name in it."""

    architecture: Text
    processor: Text
    cores: Annotated[int, Meta(ge=1)]
    memory_mib: Annotated[int, Meta(ge=0)]
    system: Text

    def differs_from(self, other: "Machine") -> str:
        """Return what makes the other a machine of another speed, or nothing."""
        for name in ("architecture", "processor", "cores"):
            own, its = getattr(self, name), getattr(other, name)
            if own != its:
                return f"{name} {own}, not {its}"
        return ""


class Conditions(_Part, frozen=True, kw_only=True):
    """How the machine was while it measured; null or empty is what it does not tell.

    Attributes:
        torch, threads: version, and threads of torch.
        governor, driver: of the processor's frequency.
        frequency_mhz: at the beginning and at the end; highest_mhz: what the processor can do.
        load_average: of the last minute, before it began.
        taken_share: of its wall time, what the measuring thread was kept from the processor.
        throttled: times that heat or a quota has slowed the processor meanwhile.
        on_battery: whether it ran from one.
        probe: a fixed product of matrices, once a round: the machine without the network.
        network_drift, probe_drift: last third of the rounds over the first, less 1; positive is slower.
    """

    torch: Text
    threads: Annotated[int, Meta(ge=1)]
    governor: Text = ""
    driver: Text = ""
    frequency_mhz: tuple[Amount, Amount] | None = None
    highest_mhz: Amount | None = None
    load_average: Amount | None = None
    taken_share: Amount = 0.0
    throttled: Annotated[int, Meta(ge=0)] = 0
    on_battery: bool = False
    probe: Timing
    network_drift: float = 0.0
    probe_drift: float = 0.0


class Profile(_Part, frozen=True, kw_only=True):
    """One network on one machine, K arms, d context columns.

    Attributes:
        version: of this form.
        name, weights: of the network, for people. model, schema: its hash, and that of its contexts.
        machine, conditions: what measured, and how it did meanwhile.
        repeats: rounds; every part is timed once in each, so that a disturbance hits all alike.
        warnings: why these times are not to be trusted, one sentence each; none if they are.
        columns: names of the context columns, length d. front: columns of the device's own work.
        whole: the network from its input to its end, without preprocessing.
        normalise: from a frame to the network's input.
        segments: between the cuts. operators: between the segments' ends, empty where they cannot be timed.
        arms: in the order of the rows of contexts. exits: early exits.
    """

    version: Literal[2] = VERSION
    name: Text
    weights: Text
    model: Hash
    schema: Hash
    machine: Machine
    conditions: Conditions
    repeats: Annotated[int, Meta(ge=1)]
    warnings: tuple[Text, ...]
    columns: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)]
    front: tuple[bool, ...]
    whole: Timing
    normalise: Timing
    segments: tuple[Segment, ...]
    operators: tuple[Operator, ...]
    arms: Annotated[tuple[ArmTimes, ...], Meta(min_length=1)]
    exits: tuple[ExitTimes, ...]

    def __post_init__(self) -> None:
        """Refuse what does not fit together.

        Raises:
            ValueError: rows of another length than the columns.
        """
        rows = [*(arm.context for arm in self.arms), *(each.context for each in self.exits)]
        if {len(row) for row in rows} != {len(self.columns)} or len(self.front) != len(self.columns):
            raise ValueError("its rows do not have the lengths of its columns")
        if not all(math.isfinite(number) for number in itertools.chain.from_iterable(rows)):
            raise ValueError("it holds numbers that are not finite")

    @property
    def trusted(self) -> bool:
        """Whether nothing disturbed it."""
        return not self.warnings

    @property
    def front_s(self) -> tuple[float, ...]:
        """Seconds of head and encode of each arm, (K,)."""
        return tuple((arm.head.median_ms + arm.encode.median_ms) / 1e3 for arm in self.arms)

    @property
    def edge_s(self) -> tuple[float, ...]:
        """Seconds of decode and tail of each arm, (K,), were this machine the edge worker."""
        return tuple((arm.decode.median_ms + arm.tail.median_ms) / 1e3 for arm in self.arms)

    def front_rows(self) -> Iterator[tuple[Row, float]]:
        """Yield (context, seconds) of the device's own work without end: the warm start's rows.

        Every early exit and every head whose encoding is no counted work, in turns; first the medians, then
        the lower and the upper quartiles, so that the rows spread as the runs did.
        """
        encode = self.columns.index(ENCODE_COLUMN) if ENCODE_COLUMN in self.columns else None
        runs = [(each.context, each.time) for each in self.exits]
        for arm in self.arms:
            row = tuple(x if own else 0.0 for x, own in zip(arm.context, self.front, strict=True))
            if any(row) and (encode is None or row[encode] == 0.0):
                runs.append((row, arm.head))
        for name in itertools.cycle(("median_ms", "low_ms", "high_ms")):
            for row, time in runs:
                yield row, getattr(time, name) / 1e3

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            ConfigurationError: it cannot be written there.
        """
        beside = path.with_name(f"{path.name}.new")
        try:
            # A full disk must not cost the profile that was there.
            beside.write_bytes(as_json(self))
            beside.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise ConfigurationError(f"cannot write the profile {path}: {error.strerror}") from None


def as_json(profile: Profile) -> bytes:
    """Return the file's bytes: a part a line, so that two profiles can be compared by eye."""
    fields = msgspec.to_builtins(profile)
    lines = ",\n".join(f"{_line(key)}: {_value(value)}" for key, value in fields.items())
    return f"{{\n{lines}\n}}\n".encode()


def _value(value: Any) -> str:  # noqa: ANN401 - anything JSON
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return "[\n  " + ",\n  ".join(_line(each) for each in value) + "\n]"
    return _line(value)


def _line(value: Any) -> str:  # noqa: ANN401 - as above
    return msgspec.json.encode(value).decode()


def decode_profile(payload: bytes) -> Profile:
    """Return the profile that a file holds.

    Raises:
        ValueError: it is none; msgspec's errors are of this kind too.
    """
    return msgspec.json.decode(payload, type=Profile)


def read_profile(path: Path) -> Profile:
    """Read a file of `cans profile`, of whatever model and machine.

    Raises:
        ConfigurationError: no such file, or not a profile.
    """
    try:
        return decode_profile(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the profile {path} ({error.strerror}): make it with cans profile --out {path}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} is no profile of version {VERSION} ({error}): make it with cans profile"
        ) from None


def load_profile(path: Path, model: str, schema: str, machine: Machine | None) -> Profile:
    """Read the profile of one model on one machine.

    Args:
        path: of the file.
        model: hash that it must be of.
        schema: hash of the contexts, the same for the same codecs.
        machine: where it must have been made; None for any, as of an edge worker elsewhere.

    Raises:
        ConfigurationError: no profile, or of another model, other codecs or another machine.
    """
    profile = read_profile(path)
    if profile.model != model:
        raise ConfigurationError(
            f"the profile {path} is of model {profile.model} ({profile.name} {profile.weights}), not of "
            f"{model}: make one with cans profile and this model's --weights"
        )
    if profile.schema != schema:
        raise ConfigurationError(
            f"the profile {path} is of other codecs than are used here: make one with the same --codecs"
        )
    other = profile.machine.differs_from(machine) if machine is not None else ""
    if other:
        raise ConfigurationError(
            f"the profile {path} is of another machine ({other}): make one here with cans profile"
        )
    return profile
