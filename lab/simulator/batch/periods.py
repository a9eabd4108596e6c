"""A site a period at a time: what `SiteWorld.turns` yields, to the bit, for all devices together.

The arithmetic is that of `lab/simulator/site.py`, over arrays; a test holds the two together. What a site may
also be (`scope.py` has the list of what is known here) only the plain one plays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bandits.arrays import Mask, Matrix, Vector
from bandits.offline import next_exit
from lab.network_table import NetworkTable, load_table
from lab.simulator import spec
from lab.simulator.links import ManyLinks, MovingLink
from lab.simulator.site import EXITS, NOISE, START, SiteWorld
from lab.simulator.slowness import with_slowness
from lab.simulator.world import stream

_ROWS_AT_ONCE = 256  # frames that are worked out together: enough to be fast, few enough for the cache
_NO_NOISE = np.ones((1, 1, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """One frame of each of D devices, in the order of time; the fields are those of `Turn`, stacked.

    Attributes:
        at_s: shape (D,).
        means, costs, device_costs: shape (D, K).
        censored: shape (D, K).
    """

    at_s: Vector
    means: Matrix
    costs: Matrix
    device_costs: Matrix
    censored: Mask


class Site:
    """One seed's devices.

    Attributes:
        world: the plain one.
        contexts: shape (K, d), those of every turn.
        order: indices of the devices, as they follow each other in every period.
    """

    def __init__(self, settings: spec.Site, seed: int) -> None:
        self.world = SiteWorld(settings, seed)
        self._table = load_table(settings.network)
        self._settings, self._seed = with_slowness(settings, self._table), seed
        self.contexts = self._table.matrix()
        self._period_s = 1.0 / settings.fps
        devices = range(len(self.world.types))
        self._offsets_s = np.array([stream(seed, d, START).random() * self._period_s for d in devices])
        self.order = np.argsort(self._offsets_s, kind="stable").astype(np.int32)

    def experience(self, rows: int) -> tuple[Matrix, Matrix, Vector]:
        """Return what `SiteWorld.experience` says of each device: gram (d, d), moments (D, d), squares (D,).

        Exits follow each other in one order, so that all devices have the same rows at other costs.
        """
        table, sigma = self._table, self._settings.noise.sigma
        done = [0] * len(table.exit_ms)
        exits = []
        for _ in range(rows):
            exits.append(next_exit(done))
            done[exits[-1]] += 1
        X, exit_s = np.array(table.exit_contexts)[exits], np.array(table.exit_ms)[exits] / 1e3  # noqa: N806
        kinds = [kind for kind in self._settings.types for _ in range(kind.devices)]
        normals = np.stack(
            [stream(self._seed, d, EXITS).standard_normal((rows, 2))[:, 0] for d in range(len(kinds))]
        )
        slowness = np.array([kind.slowness for kind in kinds])[:, None]
        costs = exit_s * slowness * np.exp(sigma * normals - 0.5 * sigma * sigma)
        return X.T @ X, costs @ X, np.einsum("nr,nr->n", costs, costs)

    def periods(self) -> Iterator[Period]:
        """Return all frames; every call begins anew."""
        settings, noise = self._settings, self._settings.noise
        order = self.order.tolist()
        kinds = [kind for kind in settings.types for _ in range(kind.devices)]
        draws = [_draws_of(stream(self._seed, device, NOISE)) for device in order]
        frames = _Frames(
            self._table, [kinds[d] for d in order], [self.world.links[d] for d in order], settings
        )
        expected_hold_s = noise.hiccups * noise.hiccup_ms / 1e3
        offset_s = self._offsets_s[self.order]
        at_once = max(1, _ROWS_AT_ONCE // len(order))
        for start in range(0, settings.frames, at_once):
            some = range(start, min(start + at_once, settings.frames))
            drawn = np.array([[(a(), b(), c(), d()) for a, b, c, d in draws] for _ in some])
            factors = np.exp(noise.sigma * drawn[..., :2] - 0.5 * noise.sigma * noise.sigma)
            held_up_s = (drawn[..., 3:] < noise.hiccups) * (noise.hiccup_ms / 1e3 * drawn[..., 2:3])
            at_s = np.array(some)[:, None] * self._period_s + offset_s
            costs = frames.costs(at_s, factors, held_up_s)
            means = frames.costs(at_s, _NO_NOISE, expected_hold_s)[0]
            for i in range(len(some)):
                yield Period(at_s[i], means[i], *(part[i] for part in costs))


class _Frames:
    """What a frame of each of D devices costs on each of K arms, at given moments."""

    def __init__(
        self,
        table: NetworkTable,
        kinds: Sequence[spec.DeviceType],
        links: Sequence[MovingLink],
        settings: spec.Site,
    ) -> None:
        slowness = np.array([kind.slowness for kind in kinds])[:, None]
        head_s = slowness * np.array(table.head_ms) / 1e3
        self._device_s = head_s + slowness * np.array(table.encode_ms) / 1e3
        self._finish_s = head_s[:, -1:] - head_s
        self._edge_s = settings.edge_slowness * np.array(table.edge_ms) / 1e3
        self._bits = 8.0 * np.array(table.payload_bytes)
        self._sends = self._bits > 0.0
        self._fixed_s = np.array([2.0 * link.delay_s + settings.bus_ms / 1e3 for link in links])[:, None]
        self._fallback_s = settings.deadline_ms / 1e3 * settings.fallback_at
        self._patience_s = settings.patience * self._finish_s if settings.patience else np.inf
        self._links = ManyLinks(links)

    def costs(
        self, at_s: Matrix, factors: npt.NDArray[np.float64], held_up_s: npt.NDArray[np.float64] | float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], Mask]:
        """Return total and device seconds, and which totals are lower bounds only; each (F, D, K).

        Args:
            at_s: shape (F, D).
            factors: shape (F, D, 2) or (1, 1, 2), of the device's part and of the edge's.
            held_up_s: shape (F, D, 1), or the same for all.
        """
        device_s = self._device_s * factors[..., :1]
        link_s = self._links.transfer_s(at_s[..., None] + device_s, self._bits) + self._fixed_s + held_up_s
        total_s = np.where(self._sends, device_s + link_s + self._edge_s * factors[..., 1:], device_s)
        until_s = np.maximum(np.minimum(self._fallback_s, device_s + self._patience_s), device_s)
        given_up = self._sends & (total_s > until_s)
        alone_s = until_s + self._finish_s * factors[..., :1]
        return np.where(given_up, alone_s, total_s), device_s, given_up


def _draws_of(random: np.random.Generator) -> tuple[Callable[[], float], ...]:
    """Return what draws the numbers of one frame, in this order: two normal, an exponential, a uniform."""
    return random.standard_normal, random.standard_normal, random.standard_exponential, random.random
