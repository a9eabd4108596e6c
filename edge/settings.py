"""Everything that can be set about an edge worker."""

from dataclasses import dataclass
from pathlib import Path

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.names import require_name
from bus.topics import DEFAULT_PREFIX
from edge.session import Limits

MOST_MODELS = 15  # hashes that fit the one sentence of a retained state


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One network to serve.

    Attributes:
        name: built in, or "module:callable".
        weights: a state dictionary; None for seeded weights.
    """

    name: str
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """One edge worker.

    Attributes:
        id: its name on the bus.
        broker: where, and how to log in.
        prefix: of all topics.
        models: the networks it serves; all parties must be given the same weights and codecs.
        models_dir: a folder of models to serve besides, as it changes; None for none.
        poll_s: time between two looks into that folder.
        grace_s: how long a model that was removed from it is still answered.
        weights_seed: of weights without a file.
        codecs: names; None is all.
        bottlenecks: files, each of one of the models; all parties must be given the same.
        workers: tails at once, each in a thread of its own.
        threads: of torch, for each worker; None for 1, or, with the backend "auto", for what is measured to
            be best.
        backend: what may run its tails, measured at the start: see `partition.backends`.
        device: "cpu", "cuda" or "auto".
        largest_batch: most frames that one run of a tail answers, where that is faster; 1 for one each.
        waiting: jobs that may wait for a worker.
        drain_s: how long running tails may still take when told to stop.
        wait_for_broker: go on trying if the broker cannot be reached at the start, instead of ending.
        metrics_s: time between metrics.
        state_dir: where starts are counted; None counts by the clock.
        version: of the software, for the retained state.
        detail: said in the retained state, such as what is emulated.

    Raises:
        ConfigurationError: a value that cannot work, in a sentence.
    """

    id: str
    broker: BrokerAddress
    prefix: str = DEFAULT_PREFIX
    models: tuple[ModelChoice, ...] = (ModelChoice("mobilenet_v2"),)
    models_dir: Path | None = None
    poll_s: float = 2.0
    grace_s: float = 60.0
    weights_seed: int = 0
    codecs: tuple[str, ...] | None = None
    bottlenecks: tuple[Path, ...] = ()
    workers: int = 1
    threads: int | None = None
    backend: str = "eager"
    device: str = "cpu"
    largest_batch: int = 8
    waiting: int = 16
    drain_s: float = 5.0
    wait_for_broker: bool = False
    metrics_s: float = 5.0
    state_dir: Path | None = None
    version: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        """Refuse what would surface only later."""
        require_name(self.id, "edge worker id")
        least_models = 1 if self.models_dir is None else 0
        if not least_models <= len(self.models) <= MOST_MODELS:
            raise ConfigurationError(
                f"an edge worker serves {least_models} to {MOST_MODELS} models, not {len(self.models)}: "
                "start another one"
            )
        for name, value, least in (
            ("workers", self.workers, 1),
            ("threads", 1 if self.threads is None else self.threads, 1),
            ("waiting", self.waiting, 1),
            ("largest batch", self.largest_batch, 1),
        ):
            if value < least:
                raise ConfigurationError(f"{name} is {value}: give {least} or more")
        if not self.metrics_s > 0.0 or not self.drain_s >= 0.0:
            raise ConfigurationError("the times for metrics and drain must be positive")
        if not self.poll_s > 0.0 or not self.grace_s >= 0.0:
            raise ConfigurationError("the times between looks and of grace must be positive")

    @property
    def limits(self) -> Limits:
        """The session's bounds."""
        return Limits(
            waiting=self.waiting, drain_s=self.drain_s, metrics_s=self.metrics_s, grace_s=self.grace_s
        )
