"""Links as piecewise-constant rates: how long a transfer takes that begins at a given moment."""

import csv
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bus.errors import ConfigurationError
from lab.simulator import spec

Vector = npt.NDArray[np.float64]
_STEP_S = 1.0  # recorded traces have one sample a second
_LONGEST_S = 1e6  # of a recording: eleven days


class MovingLink:
    """One device's uplink.

    Args:
        mbit_s: shape (n,), the rate in each second; it repeats when it is over.
        delay_s: one way.
    """

    def __init__(self, mbit_s: Vector, delay_s: float) -> None:
        self.mbit_s = mbit_s
        self.delay_s = delay_s
        # What has been carried by the end of each second, in bits.
        self._carried = np.concatenate([[0.0], np.cumsum(mbit_s * 1e6 * _STEP_S)])
        self._times = _STEP_S * np.arange(mbit_s.size + 1)
        self._period_s = float(self._times[-1])
        self._per_period = float(self._carried[-1])

    def transfer_s(self, begin_s: Vector, bits: Vector) -> Vector:
        """Return how long it takes to push `bits` out, from `begin_s` on; any equal shapes."""
        rounds, within = np.divmod(begin_s, self._period_s)
        target = np.interp(within, self._times, self._carried) + bits
        more, rest = np.divmod(target, self._per_period)
        end = (rounds + more) * self._period_s + np.interp(rest, self._carried, self._times)
        seconds: Vector = end - begin_s
        return seconds

    @property
    def carried(self) -> Vector:
        """What has been carried by the end of each second, in bits, from 0 on; shape (n + 1,)."""
        return self._carried


class ManyLinks:
    """Uplinks of many devices at once, to the bit what each is alone.

    Args:
        links: of D devices.
    """

    def __init__(self, links: Sequence[MovingLink]) -> None:
        sizes = np.array([link.mbit_s.size for link in links])
        self._carried = np.concatenate([link.carried for link in links])
        begins = np.concatenate([[0], np.cumsum(sizes + 1)[:-1]])
        self._begins = begins[:, None]
        self._period_s = _STEP_S * sizes[:, None]
        self._per_period = self._carried[begins + sizes][:, None]

    def transfer_s(self, begin_s: Vector, bits: Vector) -> Vector:
        """Return how long it takes device i to push `bits` (K,) out, from `begin_s` (..., D, K) on."""
        rounds, within = _divmod(begin_s, self._period_s)
        second = within.astype(np.int64)  # samples lie one second apart
        at = self._begins + second
        before = self._carried[at]
        target = (self._carried[at + 1] - before) * (within - second) + before + bits
        more, rest = _divmod(target, self._per_period)
        if more.any():
            second[more > 0.0] = 0
        second, at = self._second_of(rest, second)
        before = self._carried[at]
        within = _STEP_S / (self._carried[at + 1] - before) * (rest - before) + second
        seconds: Vector = (rounds + more) * self._period_s + within - begin_s
        return seconds

    def _second_of(
        self, bits: Vector, from_second: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return in which second, not before `from_second`, the link has carried `bits`, and its index.

        Second by second, for those that are not there yet: most transfers end in the second they began in.
        """
        at = (self._begins + from_second).ravel()
        wanted, first = bits.ravel(), at.copy()
        on_way = np.flatnonzero(self._carried[at + 1] <= wanted)
        while on_way.size:
            at[on_way] += 1
            on_way = on_way[self._carried[at[on_way] + 1] <= wanted[on_way]]
        second = from_second + (at - first).reshape(bits.shape)
        return second, at.reshape(bits.shape)


def _divmod(values: Vector, by: Vector) -> tuple[Vector, Vector]:
    """Return `np.divmod` of values that are not negative, without its cost where none reaches `by`."""
    if (values < by).all():
        return np.zeros_like(values), values
    return np.divmod(values, by)


def samples_for(seconds: float, repeat_s: int | None) -> int:
    """Return for how many seconds a link is generated that is needed for so long, if it repeats."""
    needed = int(np.ceil(seconds / _STEP_S)) + 1
    return needed if repeat_s is None else min(needed, repeat_s)


def link_of(settings: spec.Link, samples: int, random: np.random.Generator, traces: str) -> MovingLink:
    """Return one device's link.

    Args:
        settings: of it.
        samples: seconds until it repeats, 1 or more, if it is generated; a recording repeats at its end.
        random: where it is drawn from.
        traces: folder of recordings.

    Raises:
        ConfigurationError: no such trace, or a file that is none.
    """
    match settings:
        case spec.Constant():
            rates = np.full(1, settings.mbit_s)
        case spec.TwoState():
            rates = _two_state(settings, samples, random)
        case spec.Lte():
            rates = _lte(settings, samples, random)
        case spec.Trace():
            recorded = _recorded(str(Path(traces, settings.file)))
            rates = np.roll(recorded, -int(random.integers(recorded.size))) * settings.scale
            rates = np.maximum(rates, settings.floor_mbit_s)
    return MovingLink(rates, settings.delay_ms / 1e3)


def recorded(kinds: Sequence[spec.DeviceType], traces: str) -> list[spec.Link]:
    """Return each device's link; where a folder of traces is named, a recording in place of what moves.

    Devices take the files in turn, by name; delays stay those of their types.

    Raises:
        ConfigurationError: the folder holds no trace.
    """
    links = [kind.link for kind in kinds]
    if not traces:
        return links
    files = sorted(path.name for path in Path(traces).glob("*.csv"))
    if not files:
        raise ConfigurationError(
            f"there is no trace in {traces}: it needs files second,mbit_per_s as NAME.csv"
        )
    moving = (spec.Lte, spec.TwoState)
    return [
        spec.Trace(file=files[i % len(files)], delay_ms=link.delay_ms) if isinstance(link, moving) else link
        for i, link in enumerate(links)
    ]


def _two_state(settings: spec.TwoState, samples: int, random: np.random.Generator) -> Vector:
    """Stays of exponential length, beginning in equilibrium."""
    rates = np.empty(samples)
    good = random.random() < settings.good_s / (settings.good_s + settings.bad_s)
    now = 0.0
    while now < samples:
        stay = random.exponential(settings.good_s if good else settings.bad_s)
        rates[int(now) : int(np.ceil(now + stay))] = settings.mbit_s if good else settings.bad_mbit_s
        now += stay
        good = not good
    return rates


def _lte(settings: spec.Lte, samples: int, random: np.random.Generator) -> Vector:
    """Return e to an AR(1) process around the median; outages of exponential length, as a Poisson process."""
    keep = np.exp(-_STEP_S / settings.memory_s)
    shocks = settings.sigma * np.sqrt(1.0 - keep * keep) * random.standard_normal(samples)
    level = settings.sigma * random.standard_normal()
    logs = np.empty(samples)
    for i in range(samples):
        logs[i] = level
        level = keep * level + shocks[i]
    rates: Vector = settings.mbit_s * np.exp(logs)
    outages = random.poisson(settings.outages_per_hour * samples * _STEP_S / 3600.0)
    for begin, length in zip(
        random.integers(samples, size=outages), random.exponential(settings.outage_s, outages), strict=True
    ):
        rates[begin : begin + int(np.ceil(length))] = settings.floor_mbit_s
    return rates


@functools.cache
def _recorded(path: str) -> Vector:
    """Read a trace; returns the mean rate of each second from its first row on.

    A row holds until the next one, however long that is, and the last one for a second: where a recording has
    a gap nothing better is known. Of several rows in a second each counts for as long as it held.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = [(float(row["second"]), float(row["mbit_per_s"])) for row in csv.DictReader(file)]
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the trace {path} ({error.strerror}): name the folder of traces with --traces"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"{path} is no trace: it needs the columns second,mbit_per_s") from None
    if not rows:
        raise ConfigurationError(f"the trace {path} is empty")
    seconds, rates = np.array(rows).T
    if not np.isfinite(rates).all() or rates.min() < 0.0:
        raise ConfigurationError(f"the trace {path} holds rates that are negative or not finite")
    _check_seconds(seconds, path)
    each = _each_second(seconds, rates)
    each.setflags(write=False)
    return each


def _check_seconds(seconds: Vector, path: str) -> None:
    if not np.isfinite(seconds).all():
        raise ConfigurationError(f"the trace {path} holds seconds that are not finite")
    increase = np.diff(seconds) > 0.0
    if not increase.all():
        line = int(np.argmin(increase)) + 3  # the first has the names
        raise ConfigurationError(
            f"the trace {path} goes back in time: its seconds must increase, see line {line}"
        )
    if seconds[-1] - seconds[0] > _LONGEST_S:
        raise ConfigurationError(f"the trace {path} is longer than {_LONGEST_S:.0f} s: are these seconds?")


def _each_second(seconds: Vector, rates: Vector) -> Vector:
    """Return the mean of a piecewise-constant rate over each second."""
    edges = np.append(seconds - seconds[0], seconds[-1] - seconds[0] + _STEP_S)
    carried = np.concatenate([[0.0], np.cumsum(rates * np.diff(edges))])
    grid = _STEP_S * np.arange(int(edges[-1] / _STEP_S) + 1)
    # A sum over hours leaves dust in its differences; recordings hold fewer digits than this.
    means: Vector = np.round(np.diff(np.interp(grid, edges, carried)) / _STEP_S, 9)
    return means
