"""Archives of `torch.export.save`: read without executing anything that is in them.

torch's own reader unpickles some entries with all of pickle's powers. Tensors need none of them, so its loads
are held to tensors here, and an archive with entries that are objects is refused by their names.
"""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import torch
from torch import nn

from bus.errors import ConfigurationError
from partition.graphs.example import Example
from partition.graphs.quiet import quiet

# As torch/export/pt2_archive/constants.py names them; they are unpickled without any limit.
_OBJECTS = ("custom_obj_", "opaque_obj_")
_ONLY_TENSORS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def open_archive(path: Path) -> tuple[nn.Module, Example | None]:
    """Return the module in an archive, and the example that it was exported with.

    Raises:
        ConfigurationError: no such file, no archive, of another version of torch, or one that holds objects.
    """
    if not path.is_file():
        raise ConfigurationError(f"there is no archive {path}")
    try:
        _refuse_objects(path)
        with quiet(), _only_tensors():
            program = torch.export.load(path)
            module = program.module(check_guards=False)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - a reader of foreign bytes raises anything
        first = str(error).splitlines() or [type(error).__name__]
        raise ConfigurationError(
            f"{path} is no archive that this torch ({torch.__version__}) can read: {first[0][:160]}; save it "
            "again with torch.export.save"
        ) from None
    inputs = program.example_inputs
    return module, None if inputs is None else Example(tuple(inputs[0]), dict(inputs[1]))


def _refuse_objects(path: Path) -> None:
    names = [PurePosixPath(name).name for name in zipfile.ZipFile(path).namelist()]
    held = [name for name in names if name.startswith(_OBJECTS)]
    if held:
        raise ConfigurationError(
            f"{path} holds objects ({held[0]}), which only code in the archive could make: not loaded; "
            "export a network of tensors and operators alone"
        )


@contextmanager
def _only_tensors() -> Iterator[None]:
    """Hold every torch.load of this process to tensors, also those that ask for more."""
    before = os.environ.get(_ONLY_TENSORS)
    os.environ[_ONLY_TENSORS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ONLY_TENSORS]
        else:
            os.environ[_ONLY_TENSORS] = before
