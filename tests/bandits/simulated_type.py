"""A device type on paper: MobileNetV2's arms, their contexts and what they cost, misfit included.

The table is computed from the published architecture (Sandler et al. 2018, table 2, 224 x 224). Costs follow
the contexts only roughly, as on real machines: each block has its own efficiency on each machine, each
cut compresses differently, and each arm deviates by some per cent that no column explains.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bandits.fedlinucb import FedLinUCBDW
from bandits.group import Group
from bandits.offline import experience, next_exit
from bandits.policy import Cost

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Rows (expansion t, channels c, repeats n, stride s) of the paper's table.
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
INPUT_ELEMENTS = 224 * 224 * 3
JPEG_BYTES = 20_000
EXIT_SEGMENTS = (6, 11, 14)


@dataclass(frozen=True)
class Segment:
    """What lies between two cuts: MACs and ops of conv, linear, other; elements that leave it."""

    macs: tuple[float, float, float]
    ops: tuple[float, float, float]
    elements: int


def mobilenet_v2() -> list[Segment]:
    side, channels = 112, 32
    segments = [Segment((side * side * 32 * 27, 0, 0), (1, 0, 2), side * side * 32)]
    for t, c, n, s in BLOCKS:
        for i in range(n):
            hidden, out = channels * t, side // (s if i == 0 else 1)
            macs = side * side * channels * hidden * (t > 1) + out * out * hidden * (9 + c)
            segments.append(Segment((macs, 0, 0), (2 + (t > 1), 0, 5 + (i > 0)), out * out * c))
            side, channels = out, c
    segments.append(Segment((side * side * 320 * 1280, 0, 0), (1, 0, 2), side * side * 1280))
    segments.append(Segment((0, 1_280_000, 0), (0, 1, 2), 1000))
    return segments


@dataclass(frozen=True)
class SimulatedType:
    """Arms of one device type against one edge over one link.

    Attributes:
        contexts: (K, d). device_columns: (d,). device_s, rest_s: (K,) true mean seconds of the two parts.
        exits: (exits, d) contexts of early exits; exits_s: their true mean seconds.
        noise_s: standard deviation of a frame.
    """

    contexts: Array
    device_columns: Flags
    device_s: Array
    rest_s: Array
    exits: Array
    exits_s: Array
    noise_s: float

    @property
    def total_s(self) -> Array:
        return self.device_s + self.rest_s

    @property
    def device_only(self) -> int:
        return len(self.device_s) - 1

    @property
    def edge_only(self) -> tuple[int, int]:
        """Arms that send the input as uint8 and as JPEG."""
        return 1, 2


def make_type(
    seed: int,
    *,
    device_s: float = 0.15,
    edge_ratio: float = 5.0,
    mbit_s: float = 8.0,
    round_trip_s: float = 0.012,
    misfit: float = 0.1,
    noise_s: float = 0.005,
) -> SimulatedType:
    """Return a type whose whole network takes `device_s` on the device.

    Args:
        misfit: scale of every deviation from the linear model, 0 for none.
    """
    rng = np.random.default_rng(seed)
    segments = mobilenet_v2()
    macs = np.array([s.macs for s in segments])
    ops = np.array([s.ops for s in segments])
    whole = np.concatenate([macs.sum(0), ops.sum(0)])
    whole[whole == 0] = 1.0
    work = np.hstack([macs, ops]) / whole
    # Half the time is arithmetic, half is per op: about what small convolutions do on a CPU.
    price = np.array([0.5, 0.02, 0.0, 0.25, 0.01, 0.22])

    def times(scale_s: float) -> Array:
        raw = work @ price * np.exp(3 * misfit * rng.standard_normal(len(segments)))
        scaled: Array = scale_s * raw / raw.sum()
        return scaled

    on_device, at_edge = times(device_s), times(device_s / edge_ratio)
    front = np.vstack([np.zeros(6), np.cumsum(work, axis=0)])
    front_s = np.concatenate([[0.0], np.cumsum(on_device)])
    back_s = at_edge.sum() - np.concatenate([[0.0], np.cumsum(at_edge)])

    rows, dev, rest = [], [], []

    def arm(cut: int, elements: float, sent_bytes: float, true_bytes: float, encode: float) -> None:
        coded = elements / INPUT_ELEMENTS
        mbits = 8e-6 * sent_bytes
        rows.append(
            np.concatenate([front[cut], [encode * coded], 1 - front[cut], [encode * coded], [mbits, 1.0]])
        )
        wobble = 1 + misfit * rng.uniform(-1, 1, 2)
        dev.append(wobble[0] * (front_s[cut] + encode * coded * 0.01 * device_s / 0.1))
        rest.append(
            wobble[1] * (back_s[cut] + encode * coded * 0.005 + 8e-6 * true_bytes / mbit_s + round_trip_s)
        )

    arm(0, INPUT_ELEMENTS, 4 * INPUT_ELEMENTS, 4 * INPUT_ELEMENTS, 0.2)
    arm(0, INPUT_ELEMENTS, INPUT_ELEMENTS, INPUT_ELEMENTS, 0.05)
    arm(0, INPUT_ELEMENTS, JPEG_BYTES, JPEG_BYTES, 1.0)
    for cut, segment in enumerate(segments[:-1], start=1):
        e = segment.elements
        arm(cut, e, 2 * e, 2 * e, 0.3)
        arm(cut, e, 0.6 * e, 0.6 * e * (1 + 3 * misfit * rng.uniform(-1, 1)), 1.0)
    rows.append(np.concatenate([front[-1], np.zeros(10)]))
    dev.append(device_s)
    rest.append(0.0)
    contexts = np.array(rows)
    mask = np.arange(contexts.shape[1]) < 7
    used = np.any(contexts != 0, axis=0)
    contexts[:, -2] /= contexts[:, -2].max() / 3  # megabits, scaled to O(1)
    exits = np.array([np.concatenate([front[s + 1] * 1.03, np.zeros(10)]) for s in EXIT_SEGMENTS])
    exits_s = np.array([front_s[s + 1] for s in EXIT_SEGMENTS]) * 1.03
    return SimulatedType(
        contexts[:, used], mask[used], np.array(dev), np.array(rest), exits[:, used], exits_s, noise_s
    )


def draw(kind: SimulatedType, arm: int, rng: np.random.Generator) -> Cost:
    """Return one measured frame: Gaussian noise, and now and then a hiccup of the link."""
    device_s = max(1e-4, kind.device_s[arm] + 0.4 * kind.noise_s * rng.standard_normal())
    rest_s = 0.0
    if arm != kind.device_only:
        rest_s = max(1e-4, kind.rest_s[arm] + kind.noise_s * rng.standard_normal())
        rest_s += (rng.random() < 0.02) * 0.03
    return Cost(device_s + rest_s, device_s)


def warm_start(policy: FedLinUCBDW, kind: SimulatedType, rng: np.random.Generator, rows: int = 40) -> None:
    """Run early exits, stratified, and join with what they say."""
    done = [0] * len(kind.exits)
    collected = []
    for _ in range(rows):
        e = next_exit(done)
        done[e] += 1
        collected.append((kind.exits[e], float(kind.exits_s[e] + 0.4 * kind.noise_s * rng.standard_normal())))
    policy.member.join(experience(collected, kind.contexts.shape[1]))


def exchange(policies: list[FedLinUCBDW], group: Group, index: int) -> None:
    """Carry one device's due upload to the group and the answer and broadcast back, at once."""
    member = policies[index].member
    while member.upload_due():
        upload = member.take_upload()
        answer = group.merge(f"d{index}", "install", upload.boot, upload.seq, upload.statistics)
        member.acknowledged(upload.boot, upload.seq, group.origin, answer.version)
        for policy in policies:
            policy.member.adopt(group.origin, group.version, group.statistics)
