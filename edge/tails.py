"""The edge worker's own computing: the tails of its models, called from worker threads.

`Tails` is the seam where an emulator of a slower or busier edge worker goes: wrap one, and stretch what
`run` takes. `PartitionedTails` is the real one. This file must never touch the event loop.
"""

from collections.abc import Mapping
from typing import Protocol

from bus.errors import ConfigurationError, RemoteProtocolError
from bus.messages import ActivationRequest
from bus.tensors import buffer_of
from bus.topics import KIB, REPLY
from edge.events import Output
from edge.served import Arms
from edge.settings import EdgeSettings
from partition.arms import NO_CODEC
from partition.backends.threads import asked
from partition.bottleneck import load, require_used
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build
from partition.results import answer_of


class Tails(Protocol):
    """What an edge worker computes with."""

    @property
    def models(self) -> Mapping[str, Arms]:
        """What each model hash can be asked for."""
        ...

    @property
    def names(self) -> str:
        """The models' names, for people."""
        ...

    def warm_up(self) -> None:
        """Make the first tail cost what later ones do; called once, in a worker thread."""
        ...

    def run(self, request: ActivationRequest) -> Output:
        """Run one tail; called in a worker thread.

        Raises:
            RemoteProtocolError: the payload is not what the cut needs.
        """
        ...


class PartitionedTails:
    """Tails of partitioned networks.

    Args:
        models: with different hashes.

    Raises:
        ConfigurationError: the same network twice, or one whose output no reply can carry.
    """

    def __init__(self, models: tuple[PartitionedModel, ...]) -> None:
        self._models: dict[str, PartitionedModel] = {}
        for model in models:
            if model.hash in self._models:
                raise ConfigurationError("a model is named twice with the same weights: name it once")
            self.add(model)

    def add(self, model: PartitionedModel) -> None:
        """Run the tails of this model too; in any thread.

        Raises:
            ConfigurationError: no reply can carry its output.
        """
        output_bytes = model.answer_elements * 4
        if output_bytes > REPLY.limit_bytes - KIB:
            raise ConfigurationError(
                f"{model.name} gives {output_bytes} bytes, a reply carries {REPLY.limit_bytes - KIB}: "
                "serve a network with a smaller output"
            )
        # A new dictionary each time: other threads read the old one at this moment.
        self._models = {**self._models, model.hash: model}

    def drop(self, hash_: str) -> None:
        """Forget a model; a tail of it that runs goes on. In any thread."""
        self._models = {known: model for known, model in self._models.items() if known != hash_}

    @property
    def models(self) -> Mapping[str, Arms]:
        """What each model hash can be asked for."""
        return {
            hash_: frozenset((arm.cut, arm.codec) for arm in model.arms if arm.codec != NO_CODEC)
            for hash_, model in self._models.items()
        }

    @property
    def names(self) -> str:
        """The models' names with their weights, and what runs their tails, for people."""
        return ", ".join(
            f"{model.name} ({', '.join(filter(None, (model.weights_label, model.backend_words)))})"
            for model in self._models.values()
        )

    def warm_up(self) -> None:
        """Choose what runs the tails, and run every one once."""
        for model in self._models.values():
            model.choose_backends(heads=False)
            model.warm_up()

    def run(self, request: ActivationRequest) -> Output:
        """Decode, run the tail, find the best class."""
        model = self._models.get(request.model)
        if model is None:
            raise RemoteProtocolError("foreign", f"model {request.model} is not served here")
        result = model.run_tail(request.cut, request.codec, request.dtype, request.shape, request.payload)
        answer = answer_of(result.logits)
        return Output(
            top=answer.top1,
            confidence=answer.confidence,
            dtype="float32",
            shape=result.logits.shape,
            payload=buffer_of(result.logits),
            decode_ms=result.decode_ms,
            tail_ms=result.tail_ms,
        )


def load_tails(settings: EdgeSettings) -> PartitionedTails:
    """Load the networks; takes seconds, so call it in a thread.

    Raises:
        ConfigurationError: no such model, file, codec, device or backend.
    """
    trained = [load(path) for path in settings.bottlenecks]
    models = tuple(
        build(
            load_model(choice.name, weights=choice.weights, seed=settings.weights_seed),
            codecs=settings.codecs,
            bottlenecks=trained,
            threads=asked(settings.threads, settings.backend, settings.workers),
            device=settings.device,
            backend=settings.backend,
        )
        for choice in settings.models
    )
    require_used(trained, [model.hash for model in models])
    return PartitionedTails(models)
