"""When times are not to be trusted, and why, in words. Pure.

The bounds are what leaves a cut's place in doubt: neighbouring cuts differ by some per cent of the network.
"""

from collections.abc import Sequence
from statistics import median

from partition.profiles.profile_file import Conditions, Segment, Timing

FEWEST_ROUNDS = 10
WHOLE_SPREAD = 0.10
SEGMENT_SPREAD = 0.30
# Of the network, below which a segment's spread moves nothing.
SEGMENT_SHARE = 0.05
DRIFT = 0.05
TAKEN = 0.05
BUSY_CORES = 0.5
SLOWED = 0.95
# Drivers whose governor "powersave" is the usual one and lets the processor run fast under load.
_DYNAMIC = frozenset({"intel_pstate", "amd-pstate-epp", "amd_pstate_epp"})


def drift_of(rounds_ms: Sequence[float]) -> float:
    """Return by how much the last third of the rounds is slower than the first, over the first; medians."""
    third = max(1, len(rounds_ms) // 3)
    first, last = median(rounds_ms[:third]), median(rounds_ms[-third:])
    return round(last / first - 1.0, 4) if first > 0.0 else 0.0


def doubts_of(
    whole: Timing, segments: Sequence[Segment], conditions: Conditions, *, cores: int, repeats: int
) -> tuple[str, ...]:
    """Return one sentence for each reason not to trust what was measured; none if there is none."""
    said = [*_of_times(whole, segments, repeats), *_of_drift(conditions), *_of_machine(conditions, cores)]
    return tuple(said)


def _of_times(whole: Timing, segments: Sequence[Segment], repeats: int) -> list[str]:
    said = []
    if repeats < FEWEST_ROUNDS:
        said.append(f"{repeats} rounds are too few to know a spread: give --repeats {FEWEST_ROUNDS} or more")
    if whole.spread > WHOLE_SPREAD:
        said.append(
            f"the whole network spreads over {whole.spread:.0%} of its time (quartiles): "
            "close other programs and measure again"
        )
        return said  # its segments spread too, then
    for segment in segments:
        heavy = segment.time.median_ms > SEGMENT_SHARE * whole.median_ms
        if heavy and segment.time.spread > SEGMENT_SPREAD:
            said.append(f"the segment {segment.name} spreads over {segment.time.spread:.0%} of its time")
    return said


def _of_drift(conditions: Conditions) -> list[str]:
    network, probe = conditions.network_drift, conditions.probe_drift
    if abs(network) <= DRIFT:
        return []
    became = "slower" if network > 0.0 else "faster"
    if network * probe > 0.0 and abs(probe) > DRIFT / 2.0:
        cause = "the machine" if network < 0.0 else "the machine, as one that grows hot"
        sentence = (
            f"{cause} became {became} meanwhile: the network by {abs(network):.0%}, a fixed product by "
            f"{abs(probe):.0%}: let it cool or settle, and measure again"
        )
        return [sentence]
    return [f"the network became {became} by {abs(network):.0%} meanwhile: measure again with more --repeats"]


def _of_machine(conditions: Conditions, cores: int) -> list[str]:
    said = []
    load = conditions.load_average
    if load is not None and load > BUSY_CORES * cores:
        said.append(f"the machine was busy before (load average {load:g} on {cores} cores)")
    if conditions.taken_share > TAKEN:
        said.append(f"other programs held the processor for {conditions.taken_share:.0%} of the time")
    if conditions.throttled:
        said.append("the processor was throttled meanwhile, by heat, voltage or a quota")
    if conditions.governor == "powersave" and conditions.driver not in _DYNAMIC:
        said.append("the governor powersave keeps the processor slow: set it to performance or schedutil")
    if conditions.on_battery:
        said.append("the machine runs from its battery, which may slow it: plug it in")
    speeds = conditions.frequency_mhz
    if speeds is not None and speeds[1] < SLOWED * speeds[0] and conditions.network_drift > DRIFT / 2.0:
        said.append(f"the processor went from {speeds[0]:.0f} to {speeds[1]:.0f} MHz meanwhile")
    return said
