"""Networks by name: the two built-in ones, and anybody's through "module:callable"."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from bus.errors import ConfigurationError
from partition.graphs.example import Example, of_shape
from partition.graphs.threads import torch_threads
from partition.networks.exit_heads import NEVER, read
from partition.networks.mobilenet_v2 import MobileNetV2
from partition.networks.resnet18 import ResNet18
from partition.networks.sources import Source, open_module, parse
from partition.networks.weights import (
    calibrate,
    calibration_batch,
    derived_names,
    file_digits,
    fill,
    load_file,
)

BUILT_IN: dict[str, type[nn.Module]] = {"mobilenet_v2": MobileNetV2, "resnet18": ResNet18}
NAMES = tuple(BUILT_IN)
INPUT_SHAPE = (1, 3, 224, 224)


@dataclass(frozen=True, slots=True, eq=False)
class Exit:
    """An early exit.

    Attributes:
        after: the submodule of the trunk whose output the head reads.
        head: from that output to logits.
        threshold: the confidence from which it answers; above 1 it never does.
        answered: share of frames that it is expected to answer.
    """

    after: str
    head: nn.Module
    threshold: float = NEVER
    answered: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network with its weights.

    Attributes:
        module: in eval mode; takes normalised float32 `input_shape`, returns logits (1, classes).
        name: what a person called it.
        input_shape: (1, 3, height, width).
        weights_label: "seeded:<seed>" or "file:<first 12 digits of its SHA-256>".
        exits: the early exits in order, or None.
        derived: entries of the state that calibration made: their last bits depend on the processor, so the
            model hash leaves their values out.
        exits_of: the model hash that `exits` were trained for; None if they came with the network.
    """

    module: nn.Module
    name: str
    input_shape: tuple[int, int, int, int]
    weights_label: str
    exits: tuple[Exit, ...] | None
    derived: frozenset[str] = frozenset()
    exits_of: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Any network.

    Attributes:
        module: in eval mode.
        example: what to call it with.
        weights_label: as that of a `Network`.
        network: the same as a network of frames; None if it takes anything but one frame.
    """

    module: nn.Module
    example: Example
    weights_label: str
    network: Network | None


def load_model(
    name: str, *, weights: Path | None = None, seed: int = 0, exits: Path | None = None
) -> Network:
    """Return a network by name.

    Without a file the built-in networks get seeded weights: He-uniform, batch norms and last layers
    calibrated on crops of the built-in photographs (`partition.networks.weights`). They classify nothing
    useful; they cost what trained weights cost, and their answers depend on the image.

    Args:
        name: one of `NAMES`, or what `partition.networks.sources` knows: a callable that returns an
            `nn.Module` for frames (1, 3, 224, 224) or of the size given, or an archive. A module may have
            early exits: attributes `exits` (`nn.ModuleList`) and `exit_points` (names of the submodules they
            follow).
        weights: a state dictionary; torchvision's own files for MobileNetV2 (either version) and ResNet-18
            load as they are. A file without `exits.*` leaves the exit heads seeded.
        seed: of the weights drawn when there is no file.
        exits: a file of `cans train exits`; they take the place of those that the network brings.

    Raises:
        ConfigurationError: unknown name, callable that does not work, file that does not fit.
    """
    network = _load(name, weights, seed)
    if exits is None:
        return network
    trained = read(exits)
    attached = tuple(
        Exit(rule.after, head, rule.threshold, rule.answered)
        for rule, head in zip(trained.info.rules, trained.heads, strict=True)
    )
    return replace(network, exits=attached, exits_of=trained.info.network)


def _load(name: str, weights: Path | None, seed: int) -> Network:
    source = parse(name)
    if source.kind != "name":
        return _load_foreign(source, weights, seed)
    if name not in BUILT_IN:
        raise ConfigurationError(
            f"there is no model {name!r}: choose {', '.join(NAMES)}, or give module:callable or a .pt2 file"
        )
    # On the meta device nothing is drawn, so the process's own generator is left as it was.
    with torch.device("meta"):
        module = BUILT_IN[name]()
    # Assigned rather than `to_empty`, which imports sympy: 60 MiB and half a second at the start of a device.
    empty = {
        key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in module.state_dict().items()
    }
    module.load_state_dict(empty, assign=True)
    module.eval()
    for buffer_name, buffer in module.named_buffers():
        buffer.fill_(1 if buffer_name.endswith("var") else 0)
    fill(module, seed)
    exits = _exits_of(module, name)
    if weights is None:
        derived = _calibrate(module, exits, trunk=True)
        return Network(module, name, INPUT_SHAPE, f"seeded:{seed}", exits, derived)
    loaded = load_file(module, weights, optional=("exits.",))
    derived = _calibrate(module, exits, trunk=False) if exits and loaded.lacking else frozenset()
    return Network(module, name, INPUT_SHAPE, loaded.label, exits, derived)


def open_any(
    name: str, *, weights: Path | None = None, seed: int = 0, example: Example | None = None
) -> Opened:
    """Return any network, whatever it takes.

    Args:
        name: as for `load_model`.
        weights: a state dictionary.
        seed: of weights drawn when there is no file.
        example: what to call it with; else the archive's own, or one frame.

    Raises:
        ConfigurationError: as `load_model`.
    """
    source = parse(name)
    if source.kind == "name":
        network = load_model(name, weights=weights, seed=seed)
        example = example or of_shape(network.input_shape)
    else:
        module, own = open_module(source, seed)
        label = _label(source, module, weights, seed)
        example = example or own or of_shape((1, 3, *(source.size or INPUT_SHAPE[2:])))
        network = Network(module, source.text, INPUT_SHAPE, label, _exits_of(module, source.text))
    shape = _of_frame(example)
    framed = None if shape is None else replace(network, input_shape=shape)
    return Opened(network.module, example, network.weights_label, framed)


def _load_foreign(source: Source, weights: Path | None, seed: int) -> Network:
    module, example = open_module(source, seed)
    shape = _frame_shape(source, example)
    label = _label(source, module, weights, seed)
    return Network(module, source.text, shape, label, _exits_of(module, source.text))


def _label(source: Source, module: nn.Module, weights: Path | None, seed: int) -> str:
    """Load the weights, if there is a file of them, and say where the module's are from."""
    if weights is not None:
        return load_file(module, weights, optional=("exits.",)).label
    return f"file:{file_digits(Path(source.text))}" if source.kind == "archive" else f"seeded:{seed}"


def _frame_shape(source: Source, example: Example | None) -> tuple[int, int, int, int]:
    """Return the shape of the frames that a network of another's takes."""
    if example is not None:
        shapes = [tuple(tensor.shape) for tensor in example.tensors]
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][:2] != (1, 3):
            raise ConfigurationError(
                f"{source.text} takes {shapes}: devices play frames, so it must take one tensor "
                "(1, 3, height, width); look at any other with `cans partition`"
            )
        return (1, 3, *shapes[0][2:])
    return INPUT_SHAPE if source.size is None else (1, 3, *source.size)


def _of_frame(example: Example) -> tuple[int, int, int, int] | None:
    """Return the shape if the network is called with one frame, as devices call theirs."""
    if len(example.tensors) != 1 or example.tensors[0].dtype != torch.float32:
        return None
    shape = tuple(example.tensors[0].shape)
    return (1, 3, *shape[2:]) if len(shape) == 4 and shape[:2] == (1, 3) else None


def _exits_of(module: nn.Module, name: str) -> tuple[Exit, ...] | None:
    points = getattr(module, "exit_points", None)
    heads = getattr(module, "exits", None)
    if points is None or not isinstance(heads, nn.ModuleList):
        return None
    if len(points) != len(heads):
        raise ConfigurationError(f"{name} has {len(heads)} exits but {len(points)} exit_points")
    return tuple(Exit(str(point), head) for point, head in zip(points, heads, strict=True))


def _calibrate(module: nn.Module, exits: tuple[Exit, ...] | None, *, trunk: bool) -> frozenset[str]:
    """Calibrate exit heads, and the trunk if it is seeded; return the names of what was written."""
    taps: dict[str, Tensor] = {}
    handles = [
        module.get_submodule(each.after).register_forward_hook(
            lambda _module, _args, output, after=each.after: taps.__setitem__(after, output)
        )
        for each in exits or ()
    ]
    inputs = calibration_batch(INPUT_SHAPE[2:])
    derived: set[str] = set()
    with torch_threads(1):  # several processes start at once
        if trunk:
            calibrate(module, inputs)
            derived |= {name for name in derived_names(module) if not name.startswith("exits.")}
        else:
            with torch.no_grad():
                module(inputs)
        for handle in handles:
            handle.remove()
        for number, each in enumerate(exits or ()):
            calibrate(each.head, taps[each.after])
            derived |= {f"exits.{number}.{name}" for name in derived_names(each.head)}
    return frozenset(derived)
