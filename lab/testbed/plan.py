"""From an experiment file to what a testbed does: devices, players, blocks. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bus.errors import ConfigurationError
from device.rotation import Rotation
from lab.simulator import spec
from lab.simulator.names import nearest
from lab.simulator.schedule import stays_of
from lab.simulator.site import SiteWorld
from lab.testbed.orders import Join, Player
from lab.testbed.policies import PLAYED

ESTIMATED = (spec.Oracle, spec.BestFixed)
"""What no device can be: it is estimated from the sweep of arms."""
SWEPT = "arm."
"""How the name of a policy begins that plays one arm of the sweep."""


@dataclass(frozen=True, slots=True)
class TestDevice:
    """A device of the site.

    Attributes:
        name: on the bus, for orders.
        kind: its type.
        joins_round: the first round that it plays.
    """

    __test__ = False  # no test, for pytest

    name: str
    kind: spec.DeviceType
    joins_round: int


@dataclass(frozen=True, slots=True)
class Block:
    """One policy's turn in a round: all devices that are there play the same frames at once.

    Attributes:
        seed: of the repetition. round: number. place: of the policy in the round's order.
        first: number of its first frame in the film. at_s: where the links' traces stand.
    """

    seed: int
    round: int
    place: int
    policy: str
    first: int
    at_s: float


class Plan:
    """What is played.

    Args:
        experiment: with a site, and a section [testbed].
        ids: what devices are called, type to names; TYPE-1, TYPE-2 where nobody says.

    Attributes:
        experiment, world, testbed, ids: its parts.
        policies: who plays, the swept arms too.
        devices: of the site.
        rounds: of each repetition.

    Raises:
        ConfigurationError: no site, a world for one policy alone, a learner that no device can be, frames
            that make no whole blocks, an event that no block holds, another number of names than of devices,
            a type that there is not.
    """

    def __init__(self, experiment: spec.Experiment, ids: Mapping[str, Sequence[str]] | None = None) -> None:
        self.experiment = experiment
        self.testbed = experiment.testbed or spec.Testbed()
        if not isinstance(experiment.world, spec.Site):
            raise ConfigurationError("a testbed plays sites: [world] with kind = 'site'")
        self.world = experiment.world
        self.policies = _policies(experiment, self.testbed)
        size = self.testbed.block_frames
        repeat_s = self.world.links_repeat_s
        if repeat_s is not None and (repeat_s * self.world.fps) % size:
            raise ConfigurationError(
                f"world.links_repeat_s = {repeat_s} at {self.world.fps:g} frames a second makes no whole "
                f"blocks of testbed.block_frames = {size}: repeats would hold different ones"
            )
        if self.world.frames % size:
            raise ConfigurationError(
                f"world.frames = {self.world.frames} makes no whole blocks of testbed.block_frames = {size}"
            )
        if self.world.burst_frames not in {None, size}:
            raise ConfigurationError(
                f"testbed.block_frames = {size} is to be world.burst_frames = {self.world.burst_frames}: a "
                "policy plays a burst at a time"
            )
        self.rounds = self.world.frames // size
        _check_events(self.testbed, self.rounds, size / self.world.fps)
        self.ids = ids
        if ids is not None:
            _require_all_named(self.world, ids)
        self.devices = _devices(self.world, size, ids)
        self._order = Rotation(list(self.policies))

    @property
    def model(self) -> str:
        """The network that devices and edge worker play."""
        return self.testbed.model or self.world.network

    @property
    def seeds(self) -> range:
        """Numbers of the repetitions."""
        return range(self.experiment.first_seed, self.experiment.first_seed + self.experiment.seeds)

    def blocks(self, seed: int) -> Iterator[Block]:
        """Yield the blocks of a repetition: every policy after each other one equally often."""
        size = self.testbed.block_frames
        for number in range(self.rounds):
            for place, policy in enumerate(self._order(seed + number)):
                yield Block(seed, number, place, policy, number * size, self._at_s(number))

    def fps_of(self, device: int) -> float:
        """Return how many frames a second a device plays at most."""
        return self.devices[device].kind.fps or self.world.fps

    def events_in(self, number: int) -> list[spec.Event]:
        """Return what breaks in every block of a round."""
        return [event for event in self.testbed.events if event.round == number]

    def _at_s(self, number: int) -> float:
        """Return the moment of a round: between bursts nothing happens, and nobody waits for it."""
        world = self.world
        if world.burst_frames is None:
            return number * self.testbed.block_frames / world.fps
        return number * world.burst_every_s

    def join_of(self, seed: int, device: int, number: int) -> Join:
        """Return the order that lets a device begin a repetition."""
        name, kind = self.devices[device].name, self.devices[device].kind
        world = self.world
        film = seed * 1000 + device
        return Join(
            number=number,
            seed=film,
            fps=self.fps_of(device),
            deadline_ms=world.deadline_ms,
            fallback_at=world.fallback_at,
            patience=world.patience,
            look_ahead=world.look_ahead,
            players=tuple(
                Player(
                    policy=policy,
                    id=f"{name}-p{at}-s{seed}",
                    type=f"{_group(learner, name, kind)}-p{at}-s{seed}",
                    learner=learner,
                    seed=film,
                )
                for at, (policy, learner) in enumerate(self.policies.items())
            ),
        )

    def phases_s(self, seed: int) -> list[float]:
        """Return when in its period each device takes its pictures: as in a simulation, nobody keeps step."""
        return SiteWorld(self.world, seed).offsets_s

    def traces(self, seed: int) -> list[list[float]]:
        """Return each device's uplink, Mbit/s second by second: what the simulator's devices have."""
        return [[float(rate) for rate in link.mbit_s] for link in SiteWorld(self.world, seed).links]


def _policies(experiment: spec.Experiment, testbed: spec.Testbed) -> dict[str, spec.Learner]:
    found: dict[str, spec.Learner] = {}
    for name, learner in experiment.policies.items():
        if experiment.worlds[name] != experiment.world:
            raise ConfigurationError(f"policies.{name}: on a testbed all policies share one world")
        if isinstance(learner, PLAYED):
            found[name] = learner
        elif not isinstance(learner, ESTIMATED):
            raise ConfigurationError(f"policies.{name}: a device cannot be that; it is for the simulator")
    for label in testbed.sweep:
        found[SWEPT + label.replace("/", ".")] = spec.Fixed(arm=label)
    if len(found) < 1:
        raise ConfigurationError("no policy plays: add a section such as [policies.default]")
    return found


def _check_events(testbed: spec.Testbed, rounds: int, block_s: float) -> None:
    for place, event in enumerate(testbed.events):
        if event.round >= rounds:
            raise ConfigurationError(
                f"testbed.events[{place}].round = {event.round}: there are {rounds} rounds, the first is 0"
            )
        # The next block is another policy's: it would pay for what this one is to meet.
        if event.at_s + event.for_s >= block_s:
            raise ConfigurationError(
                f"testbed.events[{place}] is over after {event.at_s + event.for_s:g} s, and a block after "
                f"{block_s:g} s: give testbed.block_frames more"
            )


def _require_all_named(world: spec.Site, ids: Mapping[str, Sequence[str]]) -> None:
    types = {kind.name: kind.devices for kind in world.types}
    for kind, names in ids.items():
        if kind not in types:
            raise ConfigurationError(
                f"{names[0]} is said to be of type {kind!r}, which the experiment does not have"
                f"{nearest(kind, types)}"
            )
    for kind, wanted in types.items():
        named = len(ids.get(kind, ()))
        if named != wanted:
            raise ConfigurationError(
                f"devices of type {kind}: the experiment has {wanted}, the inventory names {named}; "
                f"{'name more' if named < wanted else 'leave some out'}, or change the experiment's number"
            )


def _devices(
    world: spec.Site, block_frames: int, ids: Mapping[str, Sequence[str]] | None
) -> list[TestDevice]:
    counts: dict[str, int] = {}
    devices = []
    for stay in stays_of(world):
        counts[stay.kind.name] = counts.get(stay.kind.name, 0) + 1
        number = counts[stay.kind.name]
        name = ids[stay.kind.name][number - 1] if ids else f"{stay.kind.name}-{number}".lower()
        missed = world.frames - stay.frames
        devices.append(TestDevice(name, stay.kind, missed // block_frames))
    return devices


def _group(learner: spec.Learner, device: str, kind: spec.DeviceType) -> str:
    """Return with whom a player learns: the bus knows groups by the type that devices declare."""
    if not isinstance(learner, spec.Family) or learner.share == "device":
        return device
    return (kind.declared or kind.name).lower() if learner.share == "type" else "all"
