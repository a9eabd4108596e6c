"""Devices of several types around one edge worker: a network's measured table, scaled and made to vary.

A frame costs head + encoding on the device (times its slowness), bytes over the link, two delays, the bus,
and decoding + tail at the edge. The table's times are not linear in the contexts, as on any real machine,
so the misfit that a learner meets here is a measured one. Everything in this world is simulated.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bandits.offline import experience, next_exit
from bandits.statistics import Statistics
from lab.network_table import NetworkTable, load_table
from lab.simulator import spec
from lab.simulator.world import Turn, Vector, stream

_START, _NOISE, _EXITS = 0, 1, 2  # streams of a device


class SiteWorld:
    """See `spec.Site`. Implements `World`.

    Raises:
        ConfigurationError: no such network table.
    """

    in_seconds = True

    def __init__(self, settings: spec.Site, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._table = load_table(settings.network)
        self._contexts = self._table.matrix()
        self._contexts.setflags(write=False)
        self._kinds = [kind for kind in settings.types for _ in range(kind.devices)]
        self.types = tuple(kind.name for kind in self._kinds)
        self.arms = self._table.arms
        self.device_columns = np.array(self._table.front)
        self.rounds = settings.frames * len(self._kinds)

    def turns(self) -> Iterator[Turn]:
        """As `World.turns`: every device plays one frame a second, in an order of its own."""
        settings, noise = self._settings, self._settings.noise
        devices = range(len(self._kinds))
        random = [stream(self._seed, device, _NOISE) for device in devices]
        offsets = [stream(self._seed, device, _START).random() for device in devices]
        order = sorted(devices, key=offsets.__getitem__)
        means = [stage_means(self._table, kind, settings) for kind in self._kinds]
        sends = np.array(self._table.payload_bytes) > 0.0
        for frame in range(settings.frames):
            for device in order:
                on_device, rest = means[device]
                factors = _factors(random[device], noise.sigma)
                held_up_s = random[device].exponential(noise.hiccup_ms / 1e3)
                held_up = random[device].random() < noise.hiccups
                device_costs = on_device * factors[0]
                costs = device_costs + rest * factors[1] + sends * (held_up * held_up_s)
                expected = on_device + rest + sends * (noise.hiccups * noise.hiccup_ms / 1e3)
                at_s = frame + offsets[device]
                yield Turn(at_s, device, self._contexts, expected, costs, device_costs)

    def experience(self, device: int, rows: int) -> Statistics:
        """As `World.experience`: `rows` runs, stratified over the exits."""
        table, kind = self._table, self._kinds[device]
        random = stream(self._seed, device, _EXITS)
        done = [0] * len(table.exit_ms)
        collected: list[tuple[Vector, float]] = []
        for _ in range(rows):
            each = next_exit(done)
            done[each] += 1
            factor = _factors(random, self._settings.noise.sigma)[0]
            collected.append(
                (np.array(table.exit_contexts[each]), table.exit_ms[each] / 1e3 * kind.slowness * factor)
            )
        return experience(collected, len(table.columns))


def stage_means(
    table: NetworkTable, kind: spec.DeviceType, settings: spec.Site
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean seconds of each arm (K,): on the device, and everything after it."""
    on_device = kind.slowness * (np.array(table.head_ms) + np.array(table.encode_ms)) / 1e3
    sent = np.array(table.payload_bytes)
    at_edge = settings.edge_slowness * np.array(table.edge_ms)
    rest = sent * 8.0 / (kind.link.mbit_s * 1e6)
    rest += (2.0 * kind.link.delay_ms + settings.bus_ms + at_edge) / 1e3
    return on_device, np.where(sent > 0.0, rest, 0.0)


def _factors(random: np.random.Generator, sigma: float) -> Vector:
    """Return log-normal factors of mean 1, of the device's part and of the rest."""
    factors: Vector = np.exp(sigma * random.standard_normal(2) - 0.5 * sigma * sigma)
    return factors
