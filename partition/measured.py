"""What can be measured of a network that classifies frames: agreement, times, and which arms can be best.

It joins `agreement`, `calibration`, `dominance` and `best_map`; each of them says what its numbers mean.
This file must never show anything, nor know who asks.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bus.errors import ConfigurationError
from bus.payload_limit import why_too_large
from partition.agreement import Agreement, banned, frames_of, measure
from partition.arms import Arm, choose_codecs
from partition.bottleneck import load as load_bottleneck
from partition.bottleneck import require_used
from partition.codecs import CODECS
from partition.images import Frame, image_files
from partition.networks.zoo import Network
from partition.partitioned import PartitionedModel, build
from partition.profiles.calibration import calibrate
from partition.profiles.costs import costs_of_profile
from partition.profiles.profile_file import Profile
from partition.pruning.arm_costs import ArmCosts, Ranges
from partition.pruning.best_map import (
    BestMap,
    MiddleGain,
    Stretch,
    best_map,
    ends_of,
    log_axis,
    middle_gain,
    stretches,
)
from partition.pruning.dominance import Kept, Proof, Pruned, surviving

# Told what is being done, how much of it is, and how much there is; None if nobody knows.
OnStep = Callable[[str, int, int | None], None]
_RATES, _SPEEDUPS = 181, 121  # points of the map
_WORDS = 3  # speed-ups that are put into words


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to measure with.

    Attributes:
        codecs: names; None for the default ones.
        bottlenecks: files of `cans train bottleneck`.
        images: a folder; None for the built-in photographs.
        frames: at most so many.
        min_agreement: share of frames with the uncut network's class, below which an arm is banned.
        packet_limit_bytes: the largest packet that the broker takes; an arm that sends more is banned, as a
            device does it. 0 for that of our own broker.
        slowness: how many times as slow as this machine the device is.
        ranges: of link, edge worker and wait.
        map_wait_s: the wait that the map is drawn for.
        rounds: of timing.
        threads: of torch.
    """

    codecs: tuple[str, ...] | None = None
    bottlenecks: tuple[Path, ...] = ()
    images: Path | None = None
    frames: int = 24
    min_agreement: float = 0.0
    packet_limit_bytes: int = 0
    slowness: float = 1.0
    ranges: Ranges = field(default_factory=Ranges)
    map_wait_s: float = 0.01
    rounds: int = 20
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is measured.

        Raises:
            ConfigurationError: a number, a codec, a folder or a file.
        """
        # Written so that NaN fails too.
        if not 0.0 < self.slowness < np.inf:
            raise ConfigurationError(
                f"a device {self.slowness:g} times as slow will not do: give a number above 0"
            )
        banned((), self.min_agreement)
        choose_codecs(CODECS, self.codecs)
        if self.images is not None:
            image_files(self.images)
        for path in self.bottlenecks:
            load_bottleneck(path)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured.

    Attributes:
        wanted: with what.
        model: hash of the network.
        cuts: places of `partition.graphs.survey` that became cuts, by index of the cut.
        names: of the cuts.
        arms: all, in order.
        agreements: of all arms but the last, which is the uncut network.
        banned: why, by index of the arm.
        profile: times of this machine.
        costs: of the arms that are not banned, on the device.
        allowed: index of the arm in each row of `costs`; those of `pruned`, `map` and `spans` are such rows.
        pruned: which of them can be best.
        map: who is best where.
        gain: what the arms in the middle gain over `best_map.ends_of`; None without any.
        spans: speed-ups, and who is best along all rates.
    """

    wanted: Wanted
    model: str
    cuts: tuple[int, ...]
    names: tuple[str, ...]
    arms: tuple[Arm, ...]
    agreements: tuple[Agreement, ...]
    banned: dict[int, str]
    profile: Profile
    costs: ArmCosts
    allowed: tuple[int, ...]
    pruned: Pruned
    map: BestMap
    gain: MiddleGain | None
    spans: tuple[tuple[float, tuple[Stretch, ...]], ...]

    @property
    def frames(self) -> int:
        """How many frames the agreement is of."""
        return self.agreements[0].frames

    def kept(self) -> dict[int, Kept]:
        """Return the arms that can be best, by their index."""
        return {self.allowed[one.arm]: one for one in self.pruned.kept}

    def dropped(self) -> dict[int, Proof]:
        """Return the arms that cannot, by their index."""
        return {self.allowed[one.arm]: one for one in self.pruned.dropped}

    def shares(self) -> dict[int, float]:
        """Return the share of the map where an arm is best, by its index, largest first."""
        return {self.allowed[row]: share for row, share in self.map.shares().items()}


def why_no_frames(network: Network | None, outputs: Sequence[tuple[tuple[int, ...], str]]) -> str:
    """Return why agreement cannot be measured, in half a sentence; nothing if it can.

    Args:
        network: None if the network does not take one frame.
        outputs: shapes and dtypes.
    """
    if network is None:
        return "it does not take one frame (1, 3, height, width) of float32"
    rows = [shape for shape, dtype in outputs if dtype.startswith(("float", "bfloat")) and len(shape) == 2]
    if not any(shape[0] == 1 and shape[1] > 1 for shape in rows):
        return "it returns no row of classes (1, classes)"
    return ""


def look(network: Network, wanted: Wanted, on_step: OnStep) -> Measured:
    """Measure a network here: some tens of seconds.

    Args:
        network: classifies frames: see `why_no_frames`.
        wanted: with what.
        on_step: told of progress.

    Raises:
        ConfigurationError: an unknown codec, a bottleneck of another network, no image that can be read.
    """
    trained = [load_bottleneck(path) for path in wanted.bottlenecks]
    model = build(network, codecs=wanted.codecs, bottlenecks=trained, threads=wanted.threads)
    require_used(trained, [model.hash])
    agreements = measure(model, _told(wanted, model.input_size, on_step))
    if not agreements:
        raise ConfigurationError(
            f"{network.name} has no arm that sends anything with these codecs: name one that suits a cut"
        )
    profile = calibrate(
        model,
        repeats=wanted.rounds,
        threads=wanted.threads,
        on_round=lambda done: on_step("timing", done, wanted.rounds),
    )
    on_step("comparing arms", 0, None)
    return _compared(model, wanted, agreements, profile)


def _told(wanted: Wanted, size: tuple[int, int], on_step: OnStep) -> Iterator[Frame]:
    """Yield the frames; say when each is done with."""
    total = wanted.frames
    if wanted.images is not None:
        total = min(total, len(image_files(wanted.images)))
    on_step("agreement", 0, total)
    for number, frame in enumerate(frames_of(wanted.images, size, count=wanted.frames)):
        yield frame
        on_step("agreement", number + 1, total)


def _compared(
    model: PartitionedModel, wanted: Wanted, agreements: tuple[Agreement, ...], profile: Profile
) -> Measured:
    bans = _bans(agreements, wanted)
    allowed = tuple(arm.index for arm in model.arms if arm.index not in bans)
    costs = _costs(model, wanted, agreements, profile, allowed)
    ranges = wanted.ranges
    axes = log_axis(*ranges.rate, _RATES), log_axis(*ranges.speedup, _SPEEDUPS)
    found = best_map(costs, *axes, wanted.map_wait_s)
    return Measured(
        wanted=wanted,
        model=model.hash,
        cuts=model.places,
        names=tuple(cut.name for cut in model.cuts),
        arms=model.arms,
        agreements=agreements,
        banned=bans,
        profile=profile,
        costs=costs,
        allowed=allowed,
        pruned=surviving(costs, ranges),
        map=found,
        gain=_gain(costs, found),
        spans=tuple(
            (speedup, stretches(costs, ranges.rate, speedup, wanted.map_wait_s))
            for speedup in log_axis(*ranges.speedup, _WORDS).tolist()
        ),
    )


def _bans(agreements: Sequence[Agreement], wanted: Wanted) -> dict[int, str]:
    """Return why, by index of the arm."""
    worse = {arm.index for arm in banned(agreements, wanted.min_agreement)}
    found: dict[int, str] = {}
    for row in agreements:
        said = [why_too_large(row.payload_bytes, wanted.packet_limit_bytes)]
        if row.arm.index in worse:
            said.insert(0, f"agreement {row.top1:.3f} is below {wanted.min_agreement:g}")
        if any(said):
            found[row.arm.index] = ", and ".join(filter(None, said))
    return found


def _costs(
    model: PartitionedModel,
    wanted: Wanted,
    agreements: Sequence[Agreement],
    profile: Profile,
    allowed: Collection[int],
) -> ArmCosts:
    """Return the costs on the device: its times are this machine's, stretched; bytes are of the frames."""
    sent = {row.arm.index: row.payload_bytes for row in agreements}
    arms = [model.arms[index] for index in allowed]
    timed = _Stretched(profile, wanted.slowness)
    return costs_of_profile(arms, timed, [sent.get(arm.index, 0.0) for arm in arms])


@dataclass(frozen=True, slots=True)
class _Stretched:
    """A profile, as a device would have it that is so many times as slow."""

    profile: Profile
    slowness: float

    def device_ms(self, arm: Arm) -> float:
        return self.profile.front_s[arm.index] * 1e3 * self.slowness

    def edge_ms(self, arm: Arm) -> float:
        return self.profile.edge_s[arm.index] * 1e3 * self.slowness


def _gain(costs: ArmCosts, on: BestMap) -> MiddleGain | None:
    ends = ends_of(costs)
    return middle_gain(costs, on, ends) if len(ends) < costs.count else None
