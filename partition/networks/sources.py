"""What people write for a model, and the module that it names: `parse`, then `open_module`.

mobilenet_v2                              a built-in network
package.module:callable                   anything that returns an nn.Module
package.module:callable({"width": 0.5})   with arguments, as JSON: an object by name, a list by position
package.module:callable@96x96             for frames of that height and width
network.pt2                               an archive of torch.export.save
"""

import difflib
import importlib
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bus.errors import ConfigurationError
from partition.graphs.example import Example
from partition.networks.archives import open_archive

_TEXT = re.compile(
    r"^(?P<place>[\w.]+):(?P<attribute>[\w.]+)(?P<arguments>\(.*\))?(?:@(?P<size>\d+x\d+))?$", re.DOTALL
)
_FORMS = (
    'a built-in name, module:callable or module:callable({"name": value}), which may have the size of its '
    "frames behind it, height and width, as in @96x96; or a .pt2 archive"
)
_SIZED = re.compile(r"^(?P<rest>.+)@\d+x\d+$", re.DOTALL)
# Callables draw their weights from torch's generator; there is one for all threads, and two roles that load
# in one process would draw from each other's, and disagree.
_DRAWING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from.

    Attributes:
        kind: which of the forms.
        text: as a person wrote it.
        place, attribute: of a callable: the module to import, and what to call in it.
        args, kwargs: of a callable: from JSON.
        size: (height, width) of frames, where it was given.
    """

    kind: Literal["name", "callable", "archive"]
    text: str
    place: str = ""
    attribute: str = ""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None


def parse(text: str) -> Source:
    """Return the source that a text names; nothing is imported or opened.

    Raises:
        ConfigurationError: a form that is none, or arguments that are no JSON.
    """
    if text.endswith(".pt2"):
        return Source("archive", text)
    sized = _SIZED.match(text)
    if sized is not None and (":" not in text or sized["rest"].endswith(".pt2")):
        raise ConfigurationError(
            f"{text!r}: a size of frames goes with module:callable alone; built-in networks take 224x224, "
            f"and an archive the frames that it was exported with: write {sized['rest']}"
        )
    if text.endswith((".pt", ".pth", ".ts", ".torchscript", ".onnx", ".safetensors")):
        raise ConfigurationError(
            f"{text} is not a model that can be cut: TorchScript, ONNX and weights hold no graph that torch "
            "can split; give module:callable (with --weights for a state dictionary), or save the "
            "network with torch.export.save as .pt2"
        )
    found = _TEXT.match(text)
    if found is None:
        if ":" in text:
            raise ConfigurationError(f"{text!r} names no model: give {_FORMS}")
        return Source("name", text)
    args, kwargs = _arguments(text, found["arguments"])
    height_width = tuple(int(side) for side in found["size"].split("x")) if found["size"] else None
    return Source(
        "callable",
        text,
        found["place"],
        found["attribute"],
        args,
        kwargs,
        height_width,  # type: ignore[arg-type] # two numbers by the pattern
    )


def open_module(source: Source, seed: int = 0) -> tuple[nn.Module, Example | None]:
    """Return the module of a callable or an archive, in eval mode, and the example that an archive holds.

    Args:
        source: no built-in name; those are `partition.networks.zoo`'s.
        seed: of the weights that a callable draws; the process's own generator is put back.

    Raises:
        ConfigurationError: package missing, callable failing, returning no module; archive unreadable.
    """
    return open_archive(Path(source.text)) if source.kind == "archive" else (_call(source, seed), None)


def _arguments(text: str, said: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    inside = (said or "()")[1:-1].strip()
    if not inside:
        return (), {}
    try:
        value = json.loads(inside)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"the arguments of {text!r} are no JSON ({error.msg} at character {error.pos}): write "
            'module:callable({"name": value}) or module:callable([1, 2])'
        ) from None
    if isinstance(value, dict):
        return (), value
    return (tuple(value), {}) if isinstance(value, list) else ((value,), {})


def _call(source: Source, seed: int) -> nn.Module:
    name, place = source.text, source.place
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a person's file beside them, as `python -m` would find it
    try:
        factory: Any = importlib.import_module(source.place)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"cannot build the model {name}: there is no module {error.name!r} here; install the package "
            "that has it into this environment"
        ) from None
    except Exception as error:  # noqa: BLE001 - importing runs a person's code
        raise ConfigurationError(f"cannot build the model {name}: {type(error).__name__}: {error}") from None
    for part in source.attribute.split("."):
        if not hasattr(factory, part):
            near = difflib.get_close_matches(part, dir(factory), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "name what is called there"
            raise ConfigurationError(
                f"cannot build the model {name}: there is no {part!r} in {place}: {hint}"
            )
        factory, place = getattr(factory, part), f"{place}.{part}"
    try:
        with _DRAWING, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = factory(*source.args, **source.kwargs)
    except Exception as error:  # noqa: BLE001 - a person's code raises anything
        raise ConfigurationError(f"cannot build the model {name}: {type(error).__name__}: {error}") from None
    if not isinstance(module, nn.Module):
        raise ConfigurationError(f"{name} returned {type(module).__name__}: it must return a torch.nn.Module")
    return module.eval()
