"""Devices of several types around one edge worker: a network's measured table, scaled and made to vary.

A frame costs head + encoding on the device (times its slowness), bytes over the link, two delays, the bus,
and decoding + tail at the edge. Without an answer after a part of the deadline the device finishes by itself,
from the activation it kept, as real devices do. The table's times are not linear in the contexts, as on any
real machine, so the misfit that a learner meets here is a measured one. All of it is simulated.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from bandits.offline import experience, next_exit
from bandits.policy import LinkCheck
from bandits.statistics import Statistics
from edge.batching import Batch
from lab.network_table import NetworkTable, load_table
from lab.simulator import spec
from lab.simulator.changes import Changes, Conditions
from lab.simulator.links import MovingLink, link_of, recorded, samples_for
from lab.simulator.schedule import frames_of, length_s, stays_of
from lab.simulator.slowness import with_slowness
from lab.simulator.world import Ahead, Parts, Shared, Turn, Vector, stream

START, NOISE, EXITS, _LINK, _QUEUE, _REPLIES = 0, 1, 2, 3, 4, 6  # streams of a device; 5 is of changes


class SiteWorld:
    """See `spec.Site`. Implements `World`.

    Raises:
        ConfigurationError: no such network table or trace, or a type that plays no frame.
    """

    in_seconds = True

    def __init__(self, settings: spec.Site, seed: int) -> None:
        self._seed = seed
        self._table = load_table(settings.network)
        self._settings = settings = with_slowness(settings, self._table)
        self._contexts = self._table.matrix()
        self._contexts.setflags(write=False)
        self._stays = stays_of(settings)
        self._kinds = [stay.kind for stay in self._stays]
        self.types = tuple(kind.declared or kind.name for kind in self._kinds)
        self.joins_s = tuple(stay.joins_s for stay in self._stays)
        self.leaves_s = tuple(stay.leaves_s for stay in self._stays)
        self.channel = settings.channel
        self.lies = tuple(kind.lies for kind in self._kinds)
        self.arms = self._table.arms
        self.device_columns = np.array(self._table.front)
        self.link_column: int | None = self._table.columns.index("link.bits")
        self.rounds = sum(stay.frames for stay in self._stays)
        # The last frame may wait for the whole of its deadline.
        seconds = length_s(settings) + settings.deadline_ms / 1e3
        samples = samples_for(seconds, settings.links_repeat_s)
        self.links = [
            link_of(link, samples, stream(seed, device, _LINK), settings.traces)
            for device, link in enumerate(recorded(self._kinds, settings.traces))
        ]
        self.shared = _shared(settings)
        self._changes = Changes(settings.changes, [kind.name for kind in self._kinds], seconds, seed)

    @property
    def offsets_s(self) -> list[float]:
        """When in its period each device plays its frames."""
        return [
            stream(self._seed, device, START).random() * stay.period_s
            for device, stay in enumerate(self._stays)
        ]

    def turns(self) -> Iterator[Turn]:
        """As `World.turns`: every device plays one frame a period while it is there."""
        settings, noise = self._settings, self._settings.noise
        devices = range(len(self._kinds))
        random = [stream(self._seed, device, NOISE) for device in devices]
        queues = [stream(self._seed, device, _QUEUE) for device in devices]
        # A stream of its own: whether replies are lost must not change what frames cost otherwise.
        replies = [stream(self._seed, device, _REPLIES) for device in devices]
        offsets_s = self.offsets_s
        frames = [_Frames(self._table, self._kinds[d], self.links[d], settings) for d in devices]
        for at_s, device in frames_of(self._stays, offsets_s):
            factors = _factors(random[device], noise.sigma)
            held_up_s = random[device].exponential(noise.hiccup_ms / 1e3)
            held_up = random[device].random() < noise.hiccups
            waits = queues[device].exponential()
            lost = bool(replies[device].random() < settings.channel.reply_loss)
            kind, now = frames[device], self._changes.at(device, at_s)
            wait_s = waits * now.wait_s
            delay_s = held_up * held_up_s + wait_s
            costs, device_costs, link_costs, censored = kind.costs(
                at_s, factors, delay_s, now, reply_lost=lost
            )
            means = kind.means(at_s, now)
            check = partial(kind.check, at_s, self._stays[device].period_s, now)
            turn = Turn(
                at_s, device, self._contexts, means, costs, device_costs, link_costs, censored, wait_s, check,
                settings.look_ahead,
            )  # fmt: skip
            if self.shared is not None:
                turn = replace(turn, parts=kind.parts(at_s, factors, delay_s, now, reply_lost=lost))
            yield turn

    def device_means(self, device: int) -> Vector:
        """As `World.device_means`."""
        on_device = self._kinds[device].slowness * (
            np.array(self._table.head_ms) + np.array(self._table.encode_ms)
        )
        seconds: Vector = on_device / 1e3
        return seconds

    def edge_means(self) -> Vector:
        """As `World.edge_means`."""
        seconds: Vector = self._settings.edge_slowness * np.array(self._table.edge_ms) / 1e3
        return seconds

    def experience(self, device: int, rows: int) -> Statistics:
        """As `World.experience`: `rows` runs, stratified over the exits."""
        table, kind = self._table, self._kinds[device]
        random = stream(self._seed, device, EXITS)
        done = [0] * len(table.exit_ms)
        biases = self._exit_biases()
        collected: list[tuple[Vector, float]] = []
        for _ in range(rows):
            each = next_exit(done)
            done[each] += 1
            factor = _factors(random, self._settings.noise.sigma)[0]
            collected.append(
                (
                    np.array(table.exit_contexts[each]),
                    table.exit_ms[each] / 1e3 * kind.slowness * factor * biases[each],
                )
            )
        return experience(collected, len(table.columns))

    def _exit_biases(self) -> Vector:
        """Return how many times what is true each exit is measured to take, (exits,)."""
        depth = np.arange(len(self._table.exit_ms)) / max(1, len(self._table.exit_ms) - 1)
        biases: Vector = self._settings.exit_thermal * (1.0 + (self._settings.exit_bias - 1.0) * depth)
        return biases


class _Frames:
    """What a frame of one device costs on each of K arms, at a given moment."""

    def __init__(
        self, table: NetworkTable, kind: spec.DeviceType, link: MovingLink, settings: spec.Site
    ) -> None:
        head_s = kind.slowness * np.array(table.head_ms) / 1e3
        self._device_s = head_s + kind.slowness * np.array(table.encode_ms) / 1e3
        # What is left of the network after each cut, run on the device as a fallback.
        self._finish_s = head_s[-1] - head_s
        self._edge_s = settings.edge_slowness * np.array(table.edge_ms) / 1e3
        self._bits = 8.0 * np.array(table.payload_bytes)
        self._sends = self._bits > 0.0
        self._fixed_s = 2.0 * link.delay_s + settings.bus_ms / 1e3
        self._fallback_s = settings.deadline_ms / 1e3 * settings.fallback_at
        self._patience_s = settings.patience * self._finish_s if settings.patience else np.inf
        self._link = link
        self._check_bits = 8.0 * settings.check_bytes
        self._long_check_bits = 8.0 * max(settings.check_bytes, settings.long_check_bytes)
        self._units_per_bit = table.units_per_bit
        self._reply_loss = settings.channel.reply_loss
        self._expected_hold_s = settings.noise.hiccups * settings.noise.hiccup_ms / 1e3

    def check(
        self,
        at_s: float,
        period_s: float,
        now: Conditions,
        after_s: float,
        *,
        long: bool = False,
        ahead: Ahead | None = None,
    ) -> LinkCheck | None:
        """Return what a check of the link says until the next frame, if there is one, and time for it.

        It follows this frame at once; or leaves as long before the next one as `ahead` says of its units, if
        the frame leaves that much.
        """
        bits = self._long_check_bits if long else self._check_bits
        if ahead is not None:
            ahead_s = ahead(bits * self._units_per_bit)
            if ahead_s <= 0.0 or period_s - after_s < ahead_s:
                return None
            after_s = period_s - ahead_s
        left_s = period_s - after_s
        if left_s <= 0.0 or bits == 0.0 or self._units_per_bit == 0.0:
            return None
        begin_s = np.array([at_s + after_s])
        moving_s = self._link.transfer_s(begin_s, np.array([bits * now.link]))
        took_s = float(moving_s[0]) + self._fixed_s
        return LinkCheck(bits * self._units_per_bit, min(took_s, left_s), at_least=took_s > left_s)

    def parts(
        self, at_s: float, factors: Vector, held_up_s: float, now: Conditions, *, reply_lost: bool
    ) -> Parts:
        """Return what a frame takes up to the edge worker, there, and behind it."""
        device_s = self._device_s * (factors[0] * now.device)
        moving_s = self._link.transfer_s(at_s + device_s, self._bits * now.link)
        # The answer's way back, half of what is fixed, begins behind the edge worker.
        back_s = 0.5 * self._fixed_s
        return Parts(
            sends=self._sends,
            sent_s=device_s,
            arrives_s=device_s + moving_s + (self._fixed_s - back_s) + held_up_s,
            tail_s=self._edge_s * (factors[1] * now.edge),
            back_s=back_s,
            until_s=self._until_s(device_s, now),
            finish_s=self._finish_s * (factors[0] * now.device),
            reply_lost=reply_lost,
            mean_s=partial(self.means, at_s, now),
        )

    def _until_s(self, device_s: Vector, now: Conditions) -> Vector:
        """Return for how long an answer is waited for, since the frame began, (K,)."""
        # What finishing takes at present a device knows (`device/patience.py`).
        patient_s = device_s + self._patience_s * now.device
        until_s: Vector = np.maximum(np.minimum(self._fallback_s, patient_s), device_s)
        return until_s

    def means(self, at_s: float, now: Conditions, waits_s: Vector | float = 0.0) -> Vector:
        """Return expected total seconds, (K,)."""
        held_up_s = self._expected_hold_s + now.wait_s + waits_s
        answered = self.costs(at_s, _NO_NOISE, held_up_s, now)[0]
        if self._reply_loss == 0.0:
            return answered
        lost = self.costs(at_s, _NO_NOISE, 0.0, now, reply_lost=True)[0]
        means: Vector = (1.0 - self._reply_loss) * answered + self._reply_loss * lost
        return means

    def costs(
        self,
        at_s: float,
        factors: Vector,
        held_up_s: Vector | float,
        now: Conditions,
        *,
        reply_lost: bool = False,
    ) -> tuple[Vector, Vector, Vector, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """Return total, device and link seconds, and which totals are lower bounds only; each (K,)."""
        device_s = self._device_s * (factors[0] * now.device)
        moving_s = self._link.transfer_s(at_s + device_s, self._bits * now.link)
        link_s = moving_s + self._fixed_s + held_up_s
        edge_s = self._edge_s * (factors[1] * now.edge)
        total_s = np.where(self._sends, device_s + link_s + edge_s, device_s)
        until_s = self._until_s(device_s, now)
        given_up = self._sends & ((total_s > until_s) | reply_lost)
        alone_s = until_s + self._finish_s * (factors[0] * now.device)
        between_s = np.where(given_up, until_s - device_s, np.where(self._sends, link_s, 0.0))
        return np.where(given_up, alone_s, total_s), device_s, between_s, given_up


_NO_NOISE = np.ones(2)


def _shared(settings: spec.Site) -> Shared | None:
    if not settings.edge_workers:
        return None
    batches = {
        each.cut: Batch(settings.edge_largest_batch, each.fixed)
        for each in settings.edge_batches
        if settings.edge_largest_batch > 1
    }
    return Shared(settings.edge_workers, batches)


def _factors(random: np.random.Generator, sigma: float) -> Vector:
    """Return log-normal factors of mean 1, of the device's part and of the edge's."""
    factors: Vector = np.exp(sigma * random.standard_normal(2) - 0.5 * sigma * sigma)
    return factors
