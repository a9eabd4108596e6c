"""What a policy chooses from: cuts, and arms, which are a cut with a codec."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bus.errors import ConfigurationError
from partition.codecs import Codec, resolve
from partition.graphs.graph import TensorSpec

NO_CODEC = "none"


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where the network is split.

    Attributes:
        index: 0 is the input, the last one is the whole network on the device.
        name: the module that the cut follows, "input" or "end".
        tensors: what crosses; the outputs for the last one.
    """

    index: int
    name: str
    tensors: tuple[TensorSpec, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The first tensor's, as the wire announces it; the others follow from the cut."""
        return self.tensors[0].wire_shape

    @property
    def dtype(self) -> str:
        """Of the one tensor that crosses, or that several do."""
        return self.tensors[0].dtype if len(self.tensors) == 1 else "several tensors"

    @property
    def elements(self) -> int:
        """Of all tensors together."""
        return sum(tensor.elements for tensor in self.tensors)


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
    """Return codecs by name: those of the table in its order, then others by name; None is the whole table.

    The order does not depend on that of the names, so that all parties number arms alike.

    Raises:
        ConfigurationError: for a name that `resolve` does not know, or that can be no arm.
    """
    if names is None:
        return tuple(table.values())
    others = {name: resolve(name) for name in sorted(set(names) - table.keys())}
    for name, codec in others.items():
        if not (codec.encodes_frames or codec.encodes_activations):
            raise ConfigurationError(f"the codec {name} only accompanies arms: take it out of the codecs")
    return (*(codec for name, codec in table.items() if name in names), *others.values())


def _suits(codec: Codec, cut: int) -> bool:
    if cut > 0:
        return codec.encodes_activations
    return codec.encodes_frames or codec.name == "float32"
