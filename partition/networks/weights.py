"""Where weights come from: a seed, or a file.

Seeded weights must be the same numbers on a Raspberry Pi and on a server, or their hashes would part
devices from their edge. So they are integers from PCG64, scaled in IEEE arithmetic; torch's own generators
take other paths on other processors. What calibration derives from them (by convolving photographs) differs
in the last bits from processor to processor; `Network.derived` names those tensors.
"""

import hashlib
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor, nn

from bus.errors import ConfigurationError
from partition.images import FRAMES_PER_PHOTOGRAPH, PHOTOGRAPHS, MovingCrops
from partition.preprocessing import normalise

# Seeds of the frames that calibrate; any will do, as long as everyone uses the same.
CALIBRATION_SEED = 2018
CALIBRATION_FRAMES = len(PHOTOGRAPHS)
# Deviation of calibrated logits: confidences spread over (0, 1) instead of sitting at either end.
LOGIT_DEVIATION = 4.0
# Of batch norms, in deviations: a rectifier behind one zeroes 31 % of its values instead of half.
NORM_SHIFT = 0.5
# How many names of missing or unexpected entries a sentence holds.
_NAMES_SHOWN = 4


def fill(module: nn.Module, seed: int) -> None:
    """Draw every parameter: He-uniform weights (arXiv 1502.01852), and what keeps them from chaos.

    A deep network of plain random weights amplifies a change of 1 % at its input to another answer. Trained
    ones do not: their spatial filters are mostly smooth, and their units mostly at work. So filters larger
    than 1x1 have their own mean added, and norms shift by `NORM_SHIFT`; rectifiers still zero a third.

    Args:
        module: its tensors are overwritten; they must be on the CPU.
        seed: each tensor's stream depends on the seed and on the tensor's name only.
    """
    with torch.no_grad():
        for child_name, child in module.named_modules():
            for name, parameter in child.named_parameters(child_name, recurse=False):
                if parameter.dim() > 1:
                    parameter.copy_(torch.from_numpy(_draw(name, tuple(parameter.shape), seed)))
                elif name.endswith("weight"):
                    parameter.fill_(1.0)
                else:
                    parameter.fill_(NORM_SHIFT if isinstance(child, nn.BatchNorm2d) else 0.0)


def _draw(name: str, shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """Return one tensor's weights; every step is exact or correctly rounded, so the same everywhere."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
    # 24 bits are what a float32 holds exactly: k / 2^23 - 1 is the same number everywhere.
    units = (bits.random_raw(math.prod(shape)) >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0
    units = units.reshape(shape)
    if len(shape) == 4 and shape[2] > 1:
        # The mean, as strong as one filter's random part: sum / size^2 * size. Sums of these are exact.
        units += units.sum(axis=(2, 3), keepdims=True) / shape[2]
    return (units * math.sqrt(6.0 / math.prod(shape[1:]))).astype(np.float32)


def calibration_batch(size: tuple[int, int]) -> Tensor:
    """Return normalised crops of each built-in photograph, float32 (8, 3, height, width)."""
    film = MovingCrops(CALIBRATION_SEED, size)
    frames = [film.frame(FRAMES_PER_PHOTOGRAPH * number) for number in range(CALIBRATION_FRAMES)]
    return torch.cat([normalise(frame) for frame in frames])


def calibrate(module: nn.Module, inputs: Tensor) -> None:
    """Give a seeded network the statistics that training would: norms, and logits that tell images apart.

    Batch-norm statistics become those of `inputs`. A network of random weights maps all images to nearly one
    point, and would answer one class for ever; so the last linear layer is centred on the mean feature and
    scaled to `LOGIT_DEVIATION`. Top-1 then depends on the image and agreement of a codec means something.
    """
    norms = [child for child in module.modules() if isinstance(child, nn.BatchNorm2d)]
    _, linear = _last_linear(module)
    features: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _module, args: features.append(args[0]))
    try:
        with torch.no_grad():
            for norm in norms:
                # Momentum 1: running statistics are the last batch's, and this is the only one.
                norm.momentum = 1.0
                norm.train()
            logits = module(inputs)
            linear.weight.mul_(LOGIT_DEVIATION / (logits.std(dim=0).mean()))
            linear.bias.copy_(-(linear.weight @ features[0].mean(dim=0)))
    finally:
        handle.remove()
        for norm in norms:
            norm.momentum = 0.1
            norm.eval()


def derived_names(module: nn.Module) -> frozenset[str]:
    """Return the entries of the state that `calibrate` writes when it is called with this module."""
    name, _ = _last_linear(module)
    return frozenset({f"{name}.weight", f"{name}.bias"} | {buffer for buffer, _ in module.named_buffers()})


def _last_linear(module: nn.Module) -> tuple[str, nn.Linear]:
    """Return the layer that makes the logits; exit heads are calibrated by themselves."""
    linears = [
        (n, m) for n, m in module.named_modules() if isinstance(m, nn.Linear) and not n.startswith("exits.")
    ]
    return linears[-1]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load_file` found.

    Attributes:
        label: "file:" and the first 12 digits of the file's SHA-256.
        lacking: the optional prefixes that the file has no entry of.
    """

    label: str
    lacking: tuple[str, ...]


def load_file(module: nn.Module, path: Path, *, optional: Iterable[str] = ()) -> Loaded:
    """Load a state dictionary; nothing in the file is executed.

    Args:
        module: what to load into; untouched if anything is wrong.
        path: `.safetensors`; or written by `torch.save(module.state_dict(), path)`, or a checkpoint with it
            under "state_dict".
        optional: prefixes of entries that the file may lack, all of a prefix or none.

    Raises:
        ConfigurationError: file unreadable, entries missing or unexpected, other shapes, integers where
            floats belong, NaN. Floats of another width are converted.
    """
    state = _read(path)
    wanted = module.state_dict()
    lacking = tuple(prefix for prefix in optional if not any(name.startswith(prefix) for name in state))
    missing = [
        name
        for name in wanted
        if name not in state
        and not name.endswith("num_batches_tracked")  # files from before torch 0.4.1 have none
        and not name.startswith(lacking)
    ]
    unexpected = [name for name in state if name not in wanted]
    if missing or unexpected:
        wrong = [f"{_some(missing)} missing"] * bool(missing) + [f"{_some(unexpected)} unexpected"] * bool(
            unexpected
        )
        raise ConfigurationError(f"{path} does not fit {type(module).__name__}: {'; '.join(wrong)}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise ConfigurationError(
                f"{path} does not fit {type(module).__name__}: {name} has shape {tuple(tensor.shape)}, "
                f"not {tuple(wanted[name].shape)}"
            )
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise ConfigurationError(
                f"{path} does not fit {type(module).__name__}: {name} holds {tensor.dtype}, "
                f"not {wanted[name].dtype}"
            )
        # A mask of minus infinities is the module's own; weights have none.
        if not bool(torch.isfinite(tensor).all()) and not torch.equal(tensor, wanted[name]):
            raise ConfigurationError(f"{path} holds NaN or infinity in {name}")
    module.load_state_dict(state, strict=False)
    return Loaded(f"file:{file_digits(path)}", lacking)


def file_digits(path: Path) -> str:
    """Return the first 12 digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        loaded: Any
        if path.suffix == ".safetensors":
            loaded = load_safetensors(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no weights file {path}") from None
    except (IsADirectoryError, PermissionError) as error:
        raise ConfigurationError(
            f"cannot read the weights file {path}: {(error.strerror or '').lower()}"
        ) from None
    except Exception:  # noqa: BLE001 - torch's readers raise anything on a foreign file, "101" for a text
        raise ConfigurationError(_not_a_state(path)) from None
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ConfigurationError(_not_a_state(path))
    return {str(name): tensor for name, tensor in loaded.items()}


def _not_a_state(path: Path) -> str:
    return (
        f"{path} is not a PyTorch state dictionary: give a file written by torch.save(model.state_dict(), "
        "FILE) or a .safetensors file, neither a whole pickled model nor another format"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
