"""Everything that can be set about a device, and what one run of it came to."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from bandits.fedlinucb import FedLinUCBDW
from bandits.member import View
from bandits.settings import PRACTICE, Feedback, Link
from bandits.settings import Settings as LearnerSettings
from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.messages import AnsweredBy
from bus.names import require_name
from bus.topics import DEFAULT_PREFIX
from device.limits import Limits
from device.policies import require_names
from device.policy_names import LEARNER


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """One device.

    Attributes:
        id, type: its name on the bus, and its declared device type.
        broker: where, and how to log in.
        prefix: of all topics.
        model, weights, weights_seed, codecs, bottlenecks: the network; all parties must be given the same.
        models_dir: a model folder; `model` is then a hash or a name in it, and when the name comes to stand
            for another model, the device goes over to that one.
        poll_s: time between two looks into that folder.
        exits: a file of trained exits that may answer on the device, or None.
        threads: of torch; None for 1, or, with the backend "auto", for what is measured to be best.
        backend: what may run its heads, measured at the start: see `partition.backends`.
        min_agreement: arms whose answer is the uncut network's less often are banned; 0 measures nothing.
        agreement_images: a folder of images to measure that on; built-in frames when None.
        ban: labels of arms to do without, such as "0/jpeg".
        policy: the main policy; compare: others that play the same frames, in turns.
        learner: the learners' switches; its regularisation must be the aggregator's.
        deadline_ms: capture to answer. fallback_at: part of it after which a device finishes locally.
        patience: it does so sooner, after so many times what that takes.
        explored: share of the frames whose arm is drawn, so that a recording can be asked what if.
        look_ahead: look at the link shortly before a frame, where its moment is known.
        warm_start: rows of early-exit experience, taken once in the life of an install; 0 for none.
        profile: file of `cans profile` made on this machine: times for rivals, rows for the warm start.
        edge_profile: the same of the edge worker's machine, for `neurosurgeon`.
        state_dir: what was learnt is kept there over restarts; None forgets it at the end.
        source: "crops", "camera[:device]", a folder of images, an image or a video file.
        frames: stop after so many; None for as long as the source lasts.
        fps: frames a second; 0 takes the next when the last is answered.
        seed: of the moving crops, and of the choice among edge workers.
        wait_edge_s: before the first frame, how long to wait for an edge worker.
        flush_s: at the end, how long the last upload may take.
        metrics_s: time between metrics.
        wait_for_broker: go on alone if the broker cannot be reached at the start, instead of ending.
        detail: said in the retained state, such as what is emulated.
        version: of the software, for the retained state.

    Raises:
        ConfigurationError: a value that cannot work, in a sentence.
    """

    id: str
    type: str
    broker: BrokerAddress
    prefix: str = DEFAULT_PREFIX
    model: str = "mobilenet_v2"
    weights: Path | None = None
    weights_seed: int = 0
    codecs: tuple[str, ...] | None = None
    models_dir: Path | None = None
    poll_s: float = 2.0
    bottlenecks: tuple[Path, ...] = ()
    exits: Path | None = None
    threads: int | None = None
    backend: str = "eager"
    min_agreement: float = 0.0
    agreement_images: Path | None = None
    ban: tuple[str, ...] = ()
    policy: str = LEARNER
    compare: tuple[str, ...] = ()
    learner: LearnerSettings = PRACTICE
    deadline_ms: float = 1000.0
    fallback_at: float = 0.7
    patience: float = 0.0
    explored: float = 0.0
    look_ahead: bool = True
    warm_start: int = 40
    profile: Path | None = None
    edge_profile: Path | None = None
    state_dir: Path | None = None
    source: str = "crops"
    frames: int | None = None
    fps: float = 0.0
    seed: int = 0
    wait_edge_s: float = 10.0
    flush_s: float = 5.0
    metrics_s: float = 5.0
    wait_for_broker: bool = False
    detail: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        require_name(self.id, "device id")
        require_name(self.type, "device type")
        require_names(self.policy, self.compare)
        if self.frames is not None and self.frames < 1:
            raise ConfigurationError(f"--frames {self.frames} leaves nothing to do: give 1 or more")
        if not 0.0 <= self.fps <= 1000.0:
            raise ConfigurationError(f"--fps {self.fps:g} will not do: give 0 (closed loop) to 1000")
        if not 0 <= self.warm_start <= 10_000:
            raise ConfigurationError(f"--warm-start {self.warm_start} will not do: give 0 to 10000 rows")
        if not self.source:
            raise ConfigurationError(
                "--source is empty: give crops, camera, a folder of images, an image or a video file"
            )
        if self.models_dir is not None and self.weights is not None:
            raise ConfigurationError("a model of --models-dir has its own weights: leave one of the two out")
        # Written so that NaN fails too.
        if not 0.0 <= self.min_agreement <= 1.0:
            raise ConfigurationError(
                f"--min-agreement {self.min_agreement:g} will not do: give a share from 0 to 1, such as 0.95"
            )
        if self.agreement_images is not None and self.min_agreement == 0.0:
            raise ConfigurationError("--agreement-images is for --min-agreement: give the least share too")
        if not self.metrics_s > 0.0 or not self.poll_s > 0.0:
            raise ConfigurationError("the times between metrics and between looks must be positive")
        if self.exits is not None and "ans" in (self.policy, *self.compare):
            raise ConfigurationError(
                "the policy ans times whole heads, and an exit may answer sooner: leave out --exits or ans"
            )
        _ = self.limits  # it checks its own values

    @property
    def limits(self) -> Limits:
        """The session's times."""
        return Limits(
            deadline_ms=self.deadline_ms,
            fallback_at=self.fallback_at,
            patience=self.patience,
            explored=self.explored,
            look_ahead=self.look_ahead,
            frame_period_s=1.0 / self.fps if self.fps else 0.0,
            wait_edge_s=self.wait_edge_s,
            flush_s=self.flush_s,
        )


def learner_of(
    *,
    alpha: float,
    beta_s: float | None,
    regularisation: float,
    view: View,
    feedback: Feedback,
    link: Link = "measured",
    link_checks: bool = True,
) -> LearnerSettings:
    """Return the learners' switches that a person may set; see `bandits.settings.Settings`.

    Raises:
        ConfigurationError: a value that cannot work, in a sentence.
    """
    try:
        learner = replace(
            PRACTICE if link == "measured" else LearnerSettings(),
            regularisation=regularisation,
            alpha=alpha,
            beta_s=beta_s,
            feedback=feedback,
            view=view,
            link_checks=link_checks and link == "measured",
        )
        # Built for nothing: the learner knows its own limits, and says so before a network is loaded.
        FedLinUCBDW((True, False), learner, link_column=1)
    except ValueError as error:
        raise ConfigurationError(f"the learner cannot be set so: {error}") from None
    return learner


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """What one policy came to.

    Attributes:
        sent: turns, one a frame.
        answered: by whom.
        rejected: turns without an answer, by reason.
        masked: played on the device because nobody could be asked.
        total_ms: capture to answer, one number an answer, in order.
        deadlines_met: answers within the deadline.
        payload_bytes: published.
    """

    sent: int
    answered: dict[AnsweredBy, int]
    rejected: dict[str, int]
    masked: int
    total_ms: tuple[float, ...]
    deadlines_met: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """What one run came to. `frames_*` are the main policy's; every policy is in `policies`.

    Attributes:
        frames_sent, frames_answered: of the main policy; the difference was rejected with a reason.
        answered_by: of the main policy.
        statistics_sent, statistics_merged, statistics_refused: uploads, counted once however often repeated.
        policies: by name.
        metrics: the last leaves published.
        label: network and weights, for people.
        banned: of the arms that were not played, label to reason.
    """

    frames_sent: int
    frames_answered: int
    answered_by: dict[AnsweredBy, int]
    statistics_sent: int
    statistics_merged: int
    statistics_refused: int
    policies: dict[str, PolicySummary] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    label: str = ""
    banned: dict[str, str] = field(default_factory=dict)
