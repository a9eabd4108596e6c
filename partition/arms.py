"""What a policy chooses from: cuts, and arms, which are a cut with a codec."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bus.errors import ConfigurationError
from partition.codecs.base import Codec

NO_CODEC = "none"


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where the network is split.

    Attributes:
        index: 0 is the input, the last one is the whole network on the device.
        name: the module that the cut follows, "input" or "end".
        shape: of the tensor that crosses, batch included; the logits' for the last one.
        dtype: of that tensor.
        elements: of that tensor.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    elements: int


@dataclass(frozen=True, slots=True)
class Arm:
    """A cut and the codec of what crosses it.

    Attributes:
        index: its row in the contexts.
        cut: index of the cut.
        codec: name of the codec, "none" for the last cut.
        label: "7/int8-zstd", "0/jpeg", "end/none".
    """

    index: int
    cut: int
    codec: str
    label: str


def list_arms(
    cuts: int, codecs: Sequence[Codec], bound: Mapping[int, Sequence[Codec]] | None = None
) -> tuple[Arm, ...]:
    """Return all arms: by cut, then in the order of the codecs.

    At cut 0 the codecs are those for frames and float32, which older work charges offloading with; in the
    middle those for activations, then those `bound` to that cut; at the last cut nothing is sent.
    """
    chosen = [
        (cut, codec.name, f"{cut}/{codec.name}")
        for cut in range(cuts - 1)
        for codec in (*(c for c in codecs if _suits(c, cut)), *(bound or {}).get(cut, ()))
    ]
    chosen.append((cuts - 1, NO_CODEC, f"end/{NO_CODEC}"))
    return tuple(Arm(index, *fields) for index, fields in enumerate(chosen))


def choose_codecs(table: Mapping[str, Codec], names: Sequence[str] | None) -> tuple[Codec, ...]:
    """Return codecs by name, in the table's order so that all parties number arms alike; None is all of them.

    Raises:
        ConfigurationError: for a name that the table does not hold.
    """
    for name in names or ():
        if name not in table:
            raise ConfigurationError(f"there is no codec {name!r}: choose from {', '.join(table)}")
    return tuple(codec for name, codec in table.items() if names is None or name in names)


def _suits(codec: Codec, cut: int) -> bool:
    if cut > 0:
        return codec.encodes_activations
    return codec.encodes_frames or codec.name == "float32"
