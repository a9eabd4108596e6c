"""What was measured, an arm a row, as table, JSON and page show it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from partition.arms import NO_CODEC, Arm
from partition.measured import Measured
from partition.pruning.dominance import Kept, Point, Proof

# Arms that agree less are named, whatever was asked for.
_CLOSE = 0.99


@dataclass(frozen=True, slots=True)
class ArmRow:
    """One arm.

    Attributes:
        arm: which; after: the module that its cut follows.
        payload_bytes: on the wire, mean; 0 of the last arm.
        top1, cosine, max_error: against the uncut network.
        device_ms, edge_ms: both parts, on this machine.
        banned: why; empty if it is not.
        kept: where it can be best; None if nowhere.
        share: of the map where it is best.
        rivals: labels of those that beat it everywhere.
        margin: by how much at least, relative.
    """

    arm: Arm
    after: str
    payload_bytes: float
    top1: float
    cosine: float
    max_error: float
    device_ms: float
    edge_ms: float
    banned: str
    kept: Kept | None
    share: float
    rivals: tuple[str, ...]
    margin: float

    @property
    def verdict(self) -> str:
        """One of banned, stays, dropped."""
        if self.banned:
            return "banned"
        return "dropped" if self.kept is None else "stays"

    @property
    def why(self) -> str:
        """The verdict's reason, in a few words."""
        if self.banned:
            return self.banned
        if self.kept is None:
            return f"{' or '.join(self.rivals)} is faster, by {percent(self.margin)} or more"
        if self.share > 0.0:
            return f"best on {percent(self.share)} of the map"
        if self.kept.excess < 0.0:
            return f"best at {place(self.kept.at)}, outside the map's wait"
        return f"within {percent(max(self.kept.excess, 0.001))} of the best at {place(self.kept.at)}"


@dataclass(frozen=True, slots=True)
class CodecRow:
    """One codec over all cuts where it is an arm: the least agreement and cosine, the largest error."""

    name: str
    arms: int
    banned: int
    mean_top1: float
    top1: float
    cosine: float
    max_error: float


def rows_of(measured: Measured) -> list[ArmRow]:
    """Return all arms, in order."""
    kept, dropped, shares = measured.kept(), measured.dropped(), measured.shares()
    return [_row(measured, arm, kept, dropped, shares) for arm in measured.arms]


def codecs_of(rows: list[ArmRow]) -> list[CodecRow]:
    """Return the codecs, in the order of their first arms."""
    groups: dict[str, list[ArmRow]] = {}
    for row in rows:
        if row.arm.codec != NO_CODEC:
            groups.setdefault(row.arm.codec, []).append(row)
    return [
        CodecRow(
            name=name,
            arms=len(group),
            banned=sum(bool(row.banned) for row in group),
            mean_top1=sum(row.top1 for row in group) / len(group),
            top1=min(row.top1 for row in group),
            cosine=min(row.cosine for row in group),
            max_error=max(row.max_error for row in group),
        )
        for name, group in groups.items()
    ]


def sentences_of(measured: Measured) -> list[str]:
    """Return what the comparison of arms comes to."""
    wanted, ranges = measured.wanted, measured.pruned.ranges
    said = [
        (
            f"{len(measured.pruned.kept)} of {len(measured.arms)} arms can be best, or within "
            f"{percent(measured.pruned.tolerance)} of the best, at {mbit(ranges.rate[0])} to "
            f"{mbit(ranges.rate[1])} Mbit/s, with an edge worker {ranges.speedup[0]:g} to "
            f"{ranges.speedup[1]:g} times as fast as the device and a wait of {ranges.wait_s[0] * 1e3:g} to "
            f"{ranges.wait_s[1] * 1e3:g} ms; the device is {wanted.slowness:g} times as slow as this machine."
        )
    ]
    gain = measured.gain
    if gain is not None and gain.share > 0.0:
        said.append(
            f"A cut in the middle beats both staying on the device and sending the picture on "
            f"{percent(gain.share)} of the map, by {percent(gain.largest)} at most: "
            f"{measured.costs.labels[gain.arm]} at {mbit(gain.rate)} Mbit/s and speed-up {gain.speedup:.3g}, "
            f"{gain.middle_s * 1e3:.3g} instead of {gain.end_s * 1e3:.3g} ms."
        )
    elif gain is not None:
        said.append("No cut in the middle beats both staying on the device and sending the picture.")
    lossy = [row for row in rows_of(measured) if row.share > 0.0 and row.top1 < _CLOSE]
    if lossy:
        named = ", ".join(f"{row.arm.label} {percent(1.0 - row.top1)}" for row in lossy)
        said.append(f"Arms that are best somewhere and change answers: {named}; --min-agreement bans them.")
    if seeded(measured.profile.weights):
        said.append("These weights are drawn, not trained: agreement says nothing of trained ones.")
    return said


def spans_of(measured: Measured) -> dict[str, list[str]]:
    """Return for each arm that is best somewhere along all rates, at the speed-ups put into words, where."""
    said: dict[str, list[str]] = {}
    for speedup, spans in measured.spans:
        for span in spans:
            said.setdefault(measured.costs.labels[span.arm], []).append(
                f"{mbit(span.low)} to {mbit(span.high)} Mbit/s at speed-up {speedup:.3g}"
            )
    return said


def seeded(weights: str) -> bool:
    """Whether weights were drawn."""
    return weights.startswith("seeded")


def percent(share: float) -> str:
    """Return 0.1234 as 12 %, 0.0123 as 1.2 %."""
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share * 100:.0f} %"


def mbit(rate: float) -> str:
    """Return bit/s in Mbit/s."""
    return f"{rate / 1e6:.3g}"


def place(at: Point) -> str:
    """Return where something is."""
    return f"{mbit(at.rate)} Mbit/s, speed-up {at.speedup:.3g}, wait {at.wait_s * 1e3:.3g} ms"


def _row(
    measured: Measured,
    arm: Arm,
    kept: Mapping[int, Kept],
    dropped: Mapping[int, Proof],
    shares: Mapping[int, float],
) -> ArmRow:
    last = arm.codec == NO_CODEC
    found = None if last else measured.agreements[arm.index]
    proof = dropped.get(arm.index)
    return ArmRow(
        arm=arm,
        after=measured.names[arm.cut],
        payload_bytes=0.0 if found is None else found.payload_bytes,
        # The last arm is what the others are held against.
        top1=1.0 if found is None else found.top1,
        cosine=1.0 if found is None else found.cosine,
        max_error=0.0 if found is None else found.max_error,
        device_ms=measured.profile.front_s[arm.index] * 1e3,
        edge_ms=0.0 if last else measured.profile.edge_s[arm.index] * 1e3,
        banned=measured.banned.get(arm.index, ""),
        kept=kept.get(arm.index),
        share=shares.get(arm.index, 0.0),
        rivals=() if proof is None else tuple(measured.costs.labels[rival] for rival in proof.rivals),
        margin=0.0 if proof is None else proof.margin,
    )
