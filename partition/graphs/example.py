"""What a network is called with: example inputs, by hand or from a file.

A network has no input shape of its own, so a person gives one: `1x3x224x224`, `1x16:int64<30000`, or
`input_ids=1x16:int64<30000` for an argument by name. What cannot be drawn, such as the length of a sequence,
is written: `lengths=1:int64=50`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils import _pytree as pytree

from bus.errors import ConfigurationError
from partition.images import IMAGE_SUFFIXES, read_image
from partition.preprocessing import normalise

DTYPES = {
    name: getattr(torch, name)
    for name in (
        "float32",
        "float64",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
    )
}
# Indices below it are in every vocabulary that a person did not name.
DEFAULT_BOUND = 2
_BOOLEANS = {"true": 1, "false": 0}
_INPUT = re.compile(
    r"^(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\d+(?:x\d+)*|scalar)(?::(?P<dtype>\w+?))?"
    r"(?:<(?P<bound>\d+)|=(?P<value>[-+.\w]+))?$"
)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Arguments of one call.

    Attributes:
        args: by position; tensors, or anything that holds tensors.
        kwargs: by name.
        fixed: leaves, by number as torch flattens arguments, that stay as they are whatever is drawn.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    fixed: frozenset[int] = frozenset()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of the call, in the order in which torch flattens arguments."""
        leaves = pytree.tree_leaves((self.args, self.kwargs))
        return tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))

    def with_batch(self, size: int, seed: int = 1) -> "Example":
        """Return an example of other content whose first dimension is `size` wherever this one's is 1.

        Where this example's batch is not 1 the content alone changes. Integers keep their range, what
        is fixed its number.
        """
        generator = torch.Generator().manual_seed(seed)

        def other(at: int, leaf: Any) -> Any:  # noqa: ANN401 - a leaf of any argument
            if not isinstance(leaf, Tensor):
                return leaf
            shape = list(leaf.shape)
            if shape and shape[0] == 1:
                shape[0] = size
            return leaf.expand(shape).clone() if at in self.fixed else _like(leaf, tuple(shape), generator)

        leaves, form = pytree.tree_flatten((self.args, self.kwargs))
        args, kwargs = pytree.tree_unflatten([other(at, leaf) for at, leaf in enumerate(leaves)], form)
        return Example(args, kwargs, self.fixed)


def of_shape(shape: Sequence[int]) -> Example:
    """Return an example of one float32 tensor, drawn."""
    return parse(["x".join(str(size) for size in shape)])


def parse(texts: Sequence[str], seed: int = 0) -> Example:
    """Return the example that people write as `[NAME=]SHAPE[:DTYPE][<BOUND|=VALUE]`, one text an input.

    Floats are drawn from a normal distribution, integers below the bound, booleans are true; with a value,
    all elements are that.

    Raises:
        ConfigurationError: for a text that is none, with the form it should have.
    """
    generator = torch.Generator().manual_seed(seed)
    args: list[Tensor] = []
    kwargs: dict[str, Tensor] = {}
    written: list[Tensor] = []
    for text in texts:
        found = _INPUT.match(text.replace(" ", ""))
        dtype = None if found is None else DTYPES.get(found["dtype"] or "float32")
        if found is None or dtype is None:
            raise ConfigurationError(
                f"{text!r} is no input: write [NAME=]SHAPE[:DTYPE][<BOUND|=VALUE], such as 1x3x224x224, "
                f"ids=1x16:int64<30000 or lengths=1:int64=50; dtypes are {', '.join(DTYPES)}"
            )
        shape = () if found["shape"] == "scalar" else tuple(int(size) for size in found["shape"].split("x"))
        try:
            if found["value"]:
                tensor = torch.full(shape, _number(found["value"], dtype), dtype=dtype)
                written.append(tensor)
            else:
                tensor = _draw(shape, dtype, int(found["bound"] or DEFAULT_BOUND), generator)
        except (RuntimeError, ValueError, OverflowError, TypeError) as error:
            raise ConfigurationError(f"{text!r} cannot be made: {str(error).splitlines()[0]}") from None
        if found["name"]:
            kwargs[found["name"]] = tensor
        else:
            args.append(tensor)
    leaves = pytree.tree_leaves((tuple(args), kwargs))
    fixed = (at for at, leaf in enumerate(leaves) if any(leaf is each for each in written))
    return Example(tuple(args), kwargs, frozenset(fixed))


def _number(text: str, dtype: torch.dtype) -> float:
    """Return the number that is written.

    Raises:
        ValueError: it is none, or none of this dtype.
    """
    if dtype == torch.bool and text in _BOOLEANS:
        return _BOOLEANS[text]
    if dtype.is_floating_point:
        return float(text)
    least, most = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    if not least <= (number := int(text)) <= most:
        raise ValueError(f"{text} is outside {least} to {most}")
    return number


def read(path: Path) -> Example:
    """Return the example in a file: `.npz`, `.npy`, `.safetensors`, `.pt` with tensors only, or an image.

    An image becomes one frame of 224 x 224, cropped and normalised as devices do.

    Entries called `0`, `1`, ... or `arr_0`, ... are arguments by position, the others by name.

    Raises:
        ConfigurationError: no such file, or nothing of that kind in it.
    """
    try:
        entries = _read(path)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no example file {path}") from None
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - readers raise anything on a foreign file
        raise ConfigurationError(f"{path} holds no example inputs: {str(error).splitlines()[0]}") from None
    numbered = {name.removeprefix("arr_"): value for name, value in entries.items()}
    positions = sorted((name for name in numbered if name.isdigit()), key=int)
    named = {name: value for name, value in entries.items() if not name.removeprefix("arr_").isdigit()}
    return Example(tuple(numbered[name] for name in positions), named)


def _read(path: Path) -> dict[str, Tensor]:
    match path.suffix:
        case ".npy":
            return {"0": torch.from_numpy(np.load(path, allow_pickle=False))}
        case ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        case ".pt" | ".pth":
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(loaded, Tensor):
                loaded = {"0": loaded}
            if isinstance(loaded, list | tuple):
                loaded = {str(at): value for at, value in enumerate(loaded)}
            if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
                raise ConfigurationError(f"{path} must hold a tensor, or a list or dict of tensors")
            return {str(name): value for name, value in loaded.items()}
        case ".safetensors":
            return load_file(path)
        case suffix if suffix.lower() in IMAGE_SUFFIXES:
            return {"0": normalise(read_image(path))}
        case _:
            raise ConfigurationError(
                f"{path} is no example: give .npy, .npz, .safetensors, .pt with tensors only, or an image"
            )


def _draw(shape: tuple[int, ...], dtype: torch.dtype, bound: int, generator: torch.Generator) -> Tensor:
    if dtype == torch.bool:
        return torch.ones(shape, dtype=dtype)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, bound, shape, generator=generator, dtype=dtype)


def _like(leaf: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return a tensor of that shape with other content: normal floats, integers in the leaf's range."""
    if leaf.dtype == torch.bool or (not leaf.dtype.is_floating_point and leaf.numel() == 0):
        return leaf.expand(shape).clone()
    if leaf.dtype.is_floating_point:
        drawn = torch.randn(shape, generator=generator)
        return drawn.to(leaf.dtype)
    low, high = int(leaf.min()), int(leaf.max())
    return torch.randint(low, high + 1, shape, generator=generator, dtype=leaf.dtype)
