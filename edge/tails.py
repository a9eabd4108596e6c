"""The edge worker's own computing: the tails of its models, called from worker threads.

`Tails` is the seam where an emulator of a slower or busier edge worker goes: wrap one, and stretch what
`run` takes. `PartitionedTails` is the real one. This file must never touch the event loop.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from bus.errors import ConfigurationError, RemoteProtocolError
from bus.messages import ActivationRequest
from bus.tensors import buffer_of
from bus.topics import KIB, REPLY
from edge.batching import Batch, Batches
from edge.events import Failure, Output
from edge.served import Arms
from edge.settings import EdgeSettings
from partition.arms import NO_CODEC
from partition.backends.threads import asked
from partition.batch_choice import Meeting, choose_batches
from partition.batches import run_tail_batch
from partition.bottleneck import load, require_used
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build
from partition.results import TailResult, answer_of

_log = structlog.get_logger("edge")


class Tails(Protocol):
    """What an edge worker computes with."""

    @property
    def models(self) -> Mapping[str, Arms]:
        """What each model hash can be asked for."""
        ...

    @property
    def batches(self) -> Mapping[str, Batches]:
        """How many frames the tails of each model hash take at once; known once they are warm."""
        ...

    @property
    def names(self) -> str:
        """The models' names, for people."""
        ...

    def warm_up(self) -> None:
        """Make the first tail cost what later ones do; called once, in a worker thread."""
        ...

    def run(self, requests: Sequence[ActivationRequest]) -> tuple[Output | Failure, ...]:
        """Run one tail for requests that differ in their payloads only; called in a worker thread.

        Returns:
            One outcome each, in their order; a failure for a payload that is not what the cut needs.
        """
        ...


class PartitionedTails:
    """Tails of partitioned networks.

    Args:
        models: with different hashes.
        largest_batch: most frames that a tail is tried with at once; 1 for no batches.

    Raises:
        ConfigurationError: the same network twice, or one whose output no reply can carry.
    """

    def __init__(self, models: tuple[PartitionedModel, ...], largest_batch: int = 1) -> None:
        self._largest_batch = largest_batch
        self._models: dict[str, PartitionedModel] = {}
        self._meetings: dict[str, Mapping[int, Meeting]] = {}
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
        self._meetings = {known: each for known, each in self._meetings.items() if known != hash_}

    @property
    def models(self) -> Mapping[str, Arms]:
        """What each model hash can be asked for."""
        return {
            hash_: frozenset((arm.cut, arm.codec) for arm in model.arms if arm.codec != NO_CODEC)
            for hash_, model in self._models.items()
        }

    @property
    def batches(self) -> Mapping[str, Batches]:
        """How many frames the tails of each model hash take at once."""
        return {
            hash_: {cut: Batch(tail.most, tail.fixed) for cut, tail in each.items()}
            for hash_, each in self._meetings.items()
        }

    @property
    def names(self) -> str:
        """The models' names with their weights, and what runs their tails, for people."""
        return ", ".join(
            f"{model.name} ({', '.join(filter(None, (model.weights_label, model.backend_words)))})"
            for model in self._models.values()
        )

    def warm_up(self) -> None:
        """Make all ready."""
        for model in self._models.values():
            self.prepare(model)

    def prepare(self, model: PartitionedModel) -> None:
        """Choose what runs the tails of a model, run every one once, and try how many frames each takes.

        Raises:
            ConfigurationError: it gives no answer to a black frame.
        """
        model.choose_backends(heads=False)
        model.warm_up()
        self._meetings = {**self._meetings, model.hash: choose_batches(model, self._largest_batch)}

    def run(self, requests: Sequence[ActivationRequest]) -> tuple[Output | Failure, ...]:
        """Decode, run the tail, find the best classes."""
        first = requests[0]
        model = self._models.get(first.model)
        if model is None:
            why = Failure("foreign", f"model {first.model} is not served here")
            return (why,) * len(requests)
        payloads = [request.payload for request in requests]
        meeting = self._meetings.get(first.model, {}).get(first.cut)
        meet = None if meeting is None else meeting.meet
        found = run_tail_batch(model, first.cut, first.codec, first.dtype, first.shape, payloads, meet=meet)
        return tuple(map(_outcome, found))


def _outcome(found: TailResult | RemoteProtocolError) -> Output | Failure:
    if isinstance(found, RemoteProtocolError):
        return Failure(found.fault, found.detail)
    answer = answer_of(found.logits)
    return Output(
        top=answer.top1,
        confidence=answer.confidence,
        dtype="float32",
        shape=found.logits.shape,
        payload=buffer_of(found.logits),
        decode_ms=found.decode_ms,
        tail_ms=found.tail_ms,
    )


def load_tails(settings: EdgeSettings) -> PartitionedTails:
    """Load the networks; takes seconds, so call it in a thread.

    Raises:
        ConfigurationError: no such model, file, codec, device or backend.
    """
    _log.info("loading", edge=settings.id, models=tuple(choice.name for choice in settings.models))
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
    return PartitionedTails(models, settings.largest_batch)
