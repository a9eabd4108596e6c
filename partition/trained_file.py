"""What was trained, as a file: safetensors with the weights, and what is known of them as its metadata.

Numbers and text, so nothing in it is ever executed.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import safetensors
import safetensors.torch
from torch import Tensor

from bus.errors import ConfigurationError

# Weights of some small layers are a few MiB; what is larger is another file.
MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of such a file.

    Attributes:
        format: its first words, with a version.
        holds: what it holds, in a person's words: "a bottleneck".
        made_by: the command that writes one.
    """

    format: str
    holds: str
    made_by: str

    def dump(self, info: msgspec.Struct, state: dict[str, Tensor]) -> bytes:
        """Return the file's content."""
        said = {"format": self.format, "info": msgspec.json.encode(info).decode()}
        return safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()}, said)

    def read(self, path: Path) -> tuple[bytes, dict[str, Tensor]]:
        """Return what `dump` was given; the info still as JSON, which the caller knows the type of.

        Raises:
            ConfigurationError: no such file, too large, not safetensors, or of another kind or version.
        """
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise ConfigurationError(
                    f"{path} has {size} bytes, more than any file with {self.holds}: give another"
                )
            with safetensors.safe_open(path, framework="pt") as file:
                said = file.metadata() or {}
                if said.get("format") != self.format:
                    raise ConfigurationError(
                        f"{path} does not hold {self.holds} of this version: make it with `{self.made_by}`"
                    )
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except FileNotFoundError:
            raise ConfigurationError(f"there is no file {path} with {self.holds}") from None
        except (OSError, safetensors.SafetensorError) as error:
            raise ConfigurationError(f"{path} cannot be read as safetensors: {error}") from None
        return said.get("info", "").encode(), state
