"""Ways of running a piece, one file each; `NAMES` lists them, `make` builds those that a person asked for.

Whatever runs a piece, it is the same function up to rounding: the model hash is of graph and weights, and
stays what it is.
"""

from bus.errors import ConfigurationError
from partition.backends.base import Backend
from partition.backends.channels_last import ChannelsLast
from partition.backends.compiled import Compiled
from partition.backends.eager import Eager
from partition.backends.folded import Folded
from partition.backends.onnx_runtime import OnnxRuntime
from partition.backends.quantised import Quantised
from partition.backends.sharing import Once

NAMES = ("eager", "folded", "channels-last", "compiled", "onnx", "quantised")
# What may be tried at every start: ready in milliseconds a piece, one set of weights for all cuts.
AUTO = ("folded", "channels-last")


def make(asked: str, *, threads: int = 1, device: str = "cpu", required: bool = True) -> tuple[Backend, ...]:
    """Return the backends to be tried beside eager; none for "eager" alone.

    Args:
        asked: "auto", or names in `NAMES`, comma separated.
        threads: for a backend with threads of its own.
        device: "cpu" or "cuda".
        required: whether one that this machine cannot run is an error; else it is left out.

    Raises:
        ConfigurationError: a name that is none, or a backend that this machine cannot run.
    """
    once = Once()
    built: dict[str, Backend] = {
        backend.name: backend
        for backend in (
            Eager(),
            Folded(once),
            ChannelsLast(once),
            Compiled(once),
            OnnxRuntime(threads, device),
            Quantised(threads, device),
        )
    }
    chosen: list[Backend] = []
    for name in AUTO if asked == "auto" else [part.strip() for part in asked.split(",")]:
        if name not in built:
            raise ConfigurationError(
                f"there is no backend {name!r}: choose auto, or of {', '.join(NAMES)}, comma separated"
            )
        missing = built[name].missing()
        if missing is not None and not required:
            continue
        if missing is not None:
            raise ConfigurationError(f"backend {name} cannot run: {missing}")
        if name != Eager.name and built[name] not in chosen:
            chosen.append(built[name])
    return tuple(chosen)
