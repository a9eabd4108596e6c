"""The device's own computing: heads, fallbacks and early exits, one call at a time in a worker thread.

`Compute` is the seam where an emulator of a slower device goes: wrap one, stretch what it returns and how
long it takes, and set `emulated`. `PartitionedCompute` is the real one.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import structlog

from bus.errors import ConfigurationError
from bus.messages import Columns
from device.agreements import agreements
from device.events import ExitRow, Head
from device.plan import Plan, PlanArm, PlanExit
from device.settings import DeviceSettings
from partition.backends.threads import asked
from partition.bottleneck import load as load_bottleneck
from partition.bottleneck import require_used
from partition.models.entries import load
from partition.models.folder import read, resolve
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build

_log = structlog.get_logger("device")

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """What finishing locally gave, and how long it took."""

    top: int
    confidence: float
    fallback_ms: float


class Compute(Protocol):
    """Runs pieces of one network. Called from one worker thread only; may block."""

    @property
    def plan(self) -> Plan:
        """Arms and contexts."""
        ...

    @property
    def exit_count(self) -> int:
        """Early exits that `run_exits` knows, the network's own end included."""
        ...

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of a frame."""
        ...

    @property
    def emulated(self) -> bool:
        """Whether times are stretched; said in feedback and state."""
        ...

    @property
    def label(self) -> str:
        """Network and weights, for people."""
        ...

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        """Run the device side of one arm on a frame (height, width, 3), as `RunHead` says."""
        ...

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        """Finish from what a head kept, at an exit or at the end."""
        ...

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        """Run the network to one exit: a row of early-exit experience."""
        ...


class PartitionedCompute:
    """Implements `Compute` with a partitioned model on this machine."""

    emulated = False

    def __init__(
        self,
        model: PartitionedModel,
        agreement: tuple[float, ...] = (),
        trained: tuple[str, ...] = (),
    ) -> None:
        self._model = model
        self.label = ", ".join(filter(None, (f"{model.name} {model.weights_label}", model.backend_words)))
        self.exit_count = model.exit_count
        self.input_size: tuple[int, int] = (model.input_size[0], model.input_size[1])
        self.plan = Plan(
            model=model.hash,
            schema=model.schema.hash,
            arms=tuple(PlanArm(arm.cut, arm.codec) for arm in model.arms),
            contexts=model.contexts,
            front=tuple(bool(column) for column in model.schema.front),
            device_arm=model.device_only.index,
            link=model.schema.link,
            columns=Columns(
                names=model.schema.columns,
                input_elements=model.cuts[0].elements,
                fixed=model.schema.fixed(model.contexts),
            ),
            agreement=agreement,
            exits=tuple(
                PlanExit(cut, tuple(model.exit_context(number).tolist()), sure, answered)
                for number, (cut, sure, answered) in enumerate(model.trained_exits)
            ),
            trained=trained,
        )

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        """As `Compute.run_head`."""
        result = self._model.run_head(frame, self._model.arms[arm], early=True, until=until)
        answer = result.answer
        return Head(
            payload=b"" if result.payload is None else result.payload,
            dtype=result.dtype,
            shape=result.shape,
            head_ms=result.head_ms,
            encode_ms=result.encode_ms,
            kept=result.kept,
            top=None if answer is None else (answer.top1, answer.confidence),
            exit=result.exit_index,
            forced=result.forced,
        )

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        """As `Compute.finish`."""
        found: Any = kept  # opaque since `run_head` gave it
        model = self._model
        answer = model.finish(found) if exit_index is None else model.finish_at(found, exit_index)
        return LocalAnswer(answer.top1, answer.confidence, answer.tail_ms)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        """As `Compute.run_exits`."""
        run = self._model.run_exits(frame, exit_index)
        return ExitRow(tuple(float(x) for x in run.context), run.latency_ms / 1000.0)


def load_compute(settings: DeviceSettings) -> PartitionedCompute:
    """Load the network and what runs its pieces, and run each once; takes seconds, so call it in a thread.

    Raises:
        ConfigurationError: no such model, file, codec or backend, or no image to measure agreement on.
    """
    _log.info("loading", device=settings.id, model=settings.model)
    codecs = [load_bottleneck(path) for path in settings.bottlenecks]
    trained: tuple[str, ...] = ()
    threads = asked(settings.threads, settings.backend)
    if settings.models_dir is not None:
        hash_ = resolve(settings.models_dir, settings.model)
        # Read before the model is: what changes meanwhile is then noticed, and loaded once more.
        trained = read(settings.models_dir, hash_).trained_sha256
        model = load(
            settings.models_dir,
            hash_,
            codecs=settings.codecs,
            bottlenecks=codecs,
            exits=settings.exits,
            threads=threads,
            backend=settings.backend,
        )
    else:
        network = load_model(
            settings.model, weights=settings.weights, seed=settings.weights_seed, exits=settings.exits
        )
        model = build(
            network,
            codecs=settings.codecs,
            bottlenecks=codecs,
            threads=threads,
            backend=settings.backend,
        )
        require_used(codecs, [model.hash])
    if model.trained_exits and "ans" in (settings.policy, *settings.compare):
        raise ConfigurationError(
            f"the policy ans times whole heads, and exits of {model.name} may answer sooner: leave ans out"
        )
    model.choose_backends()
    model.warm_up()
    if settings.min_agreement == 0.0:
        return PartitionedCompute(model, trained=trained)
    # After the backends were chosen: what is measured is what will be played.
    return PartitionedCompute(
        model, agreements(model, settings.agreement_images, settings.state_dir), trained
    )
