"""Rivals, in an experiment file; who plays them is in `teams.py` of the simulator."""

from typing import Annotated, Literal

from msgspec import Meta

from lab.simulator.spec.family import Sharing
from lab.simulator.spec.sections import Count, NotNegative, Positive, Section, Share


class Async(Section, frozen=True, kw_only=True, tag="async_linucb", tag_field="learner"):
    """Async-LinUCB (`bandits/async_linucb.py`), all devices together."""

    regularisation: Positive = 0.1
    beta_s: NotNegative = 0.3
    gamma: Annotated[float, Meta(gt=1.0, lt=1e9)] = 6.0
    estimate: Literal["exchange", "frame"] = "exchange"


class DisLinUCB(Section, frozen=True, kw_only=True, tag="dis_linucb", tag_field="learner"):
    """DisLinUCB (`bandits/dis_linucb.py`), all devices together; `threshold` is its D."""

    regularisation: Positive = 0.1
    beta_s: NotNegative = 0.3
    threshold: NotNegative = 100.0


class Central(Section, frozen=True, kw_only=True, tag="shared_oful", tag_field="learner"):
    """One LinUCB that sees every row of its devices at once: what sharing can reach, at any traffic."""

    share: Sharing = "all"
    regularisation: Positive = 0.1
    beta_s: NotNegative = 0.3


class Forgetting(Section, frozen=True, kw_only=True):
    """What the rivals that forget have in common (`bandits/player.py`).

    Attributes:
        share: devices that are one learner, at no cost: all rows at once, the most that sharing could give.
        probes: whether a learner whose devices stay alone probes.
        The others are those of `bandits.settings.Settings`.
    """

    share: Sharing = "device"
    regularisation: Positive = 0.1
    beta_s: NotNegative | None = None
    beta_noise: NotNegative = 1.0
    beta_prior: NotNegative = 0.3
    feedback: Literal["split", "total"] = "split"
    probes: bool = True
    probe_after_frames: Count = 32
    probe_largest_gap_frames: Count = 256


class Discounted(Forgetting, frozen=True, kw_only=True, tag="discounted_linucb", tag_field="learner"):
    """D-LinUCB (`bandits/discounted_linucb.py`); gamma is for each frame of the learner's devices."""

    gamma: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.98


class Windowed(Forgetting, frozen=True, kw_only=True, tag="windowed_linucb", tag_field="learner"):
    """SW-LinUCB (`bandits/windowed_linucb.py`); the window is of frames of the learner's devices."""

    window_frames: Count = 200


class Detector(Forgetting, frozen=True, kw_only=True, tag="detector_linucb", tag_field="learner"):
    """LinUCB that forgets upon an alarm (`bandits/detector_linucb.py`)."""

    slack: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.5
    threshold: Positive = 8.0
    clip: Annotated[float, Meta(ge=1.0, lt=1e9)] = 3.0
    keep_frames: Annotated[int, Meta(ge=0, le=100_000)] = 4
    warm_up_frames: Count = 10


class Fixed(Section, frozen=True, kw_only=True, tag="fixed", tag_field="learner"):
    """One arm for ever, by its label: `end/none`, `0/uint8`, `0/jpeg`."""

    arm: str


class TwoArm(Section, frozen=True, kw_only=True, tag="two_arm", tag_field="learner"):
    """The two-arm switch between all on the device and one arm that sends the input."""

    edge_arm: str = "0/jpeg"
    opening_frames: Count = 2
    probe_every_frames: Annotated[int, Meta(ge=2, le=1_000_000)] = 40
    smoothing: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.1


class Ans(Section, frozen=True, kw_only=True, tag="ans", tag_field="learner"):
    """ANS / muLinUCB (`bandits/ans.py`), each device alone; it is given its device's true means.

    Attributes:
        key_frames: share of frames that differ from the last.
    """

    a_s: NotNegative = 0.3
    regularisation: Positive = 0.1
    key_frames: Share = 0.1


class Neurosurgeon(Section, frozen=True, kw_only=True, tag="neurosurgeon", tag_field="learner"):
    """Neurosurgeon (`bandits/neurosurgeon.py`): offline regressions of device and edge, measured bandwidth.

    Attributes:
        profiled: runs of each arm that the regressions are fitted on.
        drift_unit, drift_round_trip, link_noise, link_memory_frames: see `bandits/link_estimate.py`; its own,
            which need not be those of `default`.
        link_checks: whether it heeds them too.
    """

    profiled: Count = 10
    drift_unit: NotNegative = 0.1
    drift_round_trip: NotNegative = 0.1
    link_noise: Positive = 0.3
    link_memory_frames: Positive = 20.0
    link_checks: bool = True
    probe_after_frames: Count = 32
    probe_largest_gap_frames: Count = 256


class LinTs(Section, frozen=True, kw_only=True, tag="lin_ts", tag_field="learner"):
    """LinTS (`bandits/lin_ts.py`), each device alone."""

    regularisation: Positive = 0.1
    spread_s: NotNegative = 0.05


class EpsilonGreedy(Section, frozen=True, kw_only=True, tag="epsilon_greedy", tag_field="learner"):
    """Epsilon-greedy (`bandits/epsilon_greedy.py`), each device alone."""

    epsilon: Share = 0.01
    opening_frames: Positive = 20.0
    smoothing: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.1


class Oracle(Section, frozen=True, kw_only=True, tag="oracle", tag_field="learner"):
    """Knows each frame's true means."""


class BestFixed(Section, frozen=True, kw_only=True, tag="best_fixed", tag_field="learner"):
    """For each device the one arm that was best in hindsight."""


class Random(Section, frozen=True, kw_only=True, tag="random", tag_field="learner"):
    """Any arm."""
