"""Linear costs without a machine behind them: the setting of the literature's regret figures."""

import math
from collections.abc import Iterator

import numpy as np

from bandits.statistics import Statistics
from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.world import Shared, Turn, Vector, stream

_CHUNK = 1000  # rounds drawn at once


class SyntheticWorld:
    """See `spec.Synthetic`. Implements `World`."""

    in_seconds = False
    shared: Shared | None = None
    link_column: int | None = None
    channel = spec.Channel()

    def __init__(self, settings: spec.Synthetic, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self.types = ("one",) * settings.devices
        self.joins_s = (0.0,) * settings.devices
        self.leaves_s = (math.inf,) * settings.devices
        self.lies: tuple[spec.Lies | None, ...] = (None,) * settings.devices
        self.arms: tuple[str, ...] = ()
        self.device_columns = np.zeros(settings.dimension, dtype=np.bool_)
        self.rounds = settings.rounds

    def queue(self) -> None:
        """As `World.queue`: nobody is waited for."""

    def turns(self) -> Iterator[Turn]:
        """As `World.turns`."""
        settings = self._settings
        random = stream(self._seed, 0)
        scale = 1.0 / np.sqrt(settings.dimension)
        theta = np.full(settings.dimension, -scale)
        for start in range(0, settings.rounds, _CHUNK):
            rounds = min(_CHUNK, settings.rounds - start)
            devices = random.integers(settings.devices, size=rounds)
            contexts = scale * random.uniform(-1.0, 1.0, (rounds, settings.arms, settings.dimension))
            means = contexts @ theta
            # One noise a round, whoever is played: the choice of an arm must not change what is drawn.
            costs = means + settings.noise * random.standard_normal((rounds, 1))
            for i in range(rounds):
                yield Turn(float(start + i), int(devices[i]), contexts[i], means[i], costs[i])

    def device_means(self, device: int) -> Vector:
        """As `World.device_means`: there are none."""
        del device
        raise ConfigurationError("a synthetic world has no device whose own part could be known")

    def edge_means(self) -> Vector:
        """As `World.edge_means`: there are none."""
        raise ConfigurationError("a synthetic world has no edge")

    def experience(self, device: int, rows: int) -> Statistics:
        """As `World.experience`: there are no exits."""
        del device, rows
        return Statistics.zeros(self._settings.dimension)
