"""A group's parameters after frames of known cost: device, link and edge worker whose truth is given."""

from dataclasses import dataclass

import numpy as np

from bandits.statistics import Statistics
from bus.messages import Columns, GroupParameters
from bus.statistics import pack_symmetric
from bus.tensors import buffer_of
from lab.network_table import load_table

TABLE = load_table("mobilenet_v2")
INPUT_ELEMENTS = 150_528
# No cut of this network takes its last layer from the edge worker.
COLUMNS = Columns(names=TABLE.columns, input_elements=INPUT_ELEMENTS, fixed=("back.linear_macs",))
REGULARISATION = 0.1
FRONT = np.array(TABLE.front)
X = TABLE.matrix()
DEVICE_ONLY = len(X) - 1


@dataclass(frozen=True)
class Truth:
    """What is to be found out: the whole network on each side, and what sending costs."""

    device_ms: float = 240.0
    encode_ms: float = 6.0
    edge_ms: float = 30.0
    link_mbit_per_s: float = 8.0
    wait_ms: float = 25.0

    @property
    def fixed_ms(self) -> float:
        """Of the edge worker's, what no cut takes from it: the second of five columns, see `theta`."""
        return self.edge_ms * 2.0 / 15.0

    def theta(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """One weight a column, seconds, uneven within a block."""
        names = TABLE.columns
        theta = np.zeros(len(names))
        for block, total_ms in (("front.", self.device_ms), ("back.", self.edge_ms)):
            places = [place for place, name in enumerate(names) if name.startswith(block)]
            shares = np.arange(1.0, len(places) + 1.0)
            theta[places] = total_ms / 1e3 * shares / shares.sum()
        theta[names.index("encode.elements")] = self.encode_ms / 1e3
        theta[names.index("decode.elements")] = 0.002
        theta[names.index("link.bits")] = 8e-6 * INPUT_ELEMENTS / self.link_mbit_per_s
        theta[names.index("offload")] = self.wait_ms / 1e3
        return theta


def played(
    seed: int,
    *,
    arms: tuple[int, ...] = tuple(range(len(X))),
    frames: int = 600,
    device_noise_s: float = 0.002,
    rest_noise_s: float = 0.02,
    split: bool = True,
    link: bool = True,
    truth: Truth = Truth(),
) -> GroupParameters:
    """Return the group's parameters after frames at arms drawn at random.

    Args:
        split: two rows a frame that was sent, as devices do; else one.
        link: whether the link's column is in the rows; not where each device measures its own.
    """
    rng = np.random.default_rng(seed)
    rows = X[rng.choice(arms, size=frames)].copy()
    if not link:
        rows[:, TABLE.columns.index("link.bits")] = 0.0
    device, rest = rows * FRONT, rows * ~FRONT
    device_s = device @ truth.theta() + rng.normal(0.0, device_noise_s, frames)
    rest_s = rest @ truth.theta() + rng.normal(0.0, rest_noise_s, frames)
    sent = rest.any(axis=1)
    sums = Statistics.ridge(len(TABLE.columns), REGULARISATION)
    if split:
        sums = sums.add_rows(device, device_s)
        if sent.any():
            sums = sums.add_rows(rest[sent], rest_s[sent])
    else:
        sums = sums.add_rows(rows, device_s + sent * rest_s)
    return parameters_of(sums)


def parameters_of(sums: Statistics, group: str = "phone") -> GroupParameters:
    """Return sums as a group's broadcast."""
    return GroupParameters(
        group=group,
        model="0" * 16,
        schema="1" * 16,
        origin="2" * 16,
        version=9,
        dimension=sums.dimension,
        gram=pack_symmetric(sums.gram),
        moment=buffer_of(sums.moment),
        count=sums.count,
        sum_squares=sums.sum_squares,
        members=3,
    )
