"""FedLinUCB-DW and its members, in an experiment file."""

from typing import Annotated, Literal

from msgspec import Meta

from lab.simulator.spec.sections import Count, NotNegative, Positive, Section, Share

Sharing = Literal["device", "type", "all"]


class Family(Section, frozen=True, kw_only=True, tag="fedlinucb_dw", tag_field="learner"):
    """The one class of the family (`bandits/fedlinucb.py`); its members differ by switches.

    Attributes:
        share: who is one group: each device alone, devices of one type, or all.
        warm_start: rows of early-exit experience a device joins with.
        download: who receives a new version: all members, or only the device whose upload made it, as in
            FedLinUCB.
        guard: whether a device that differs from the rest of its group is kept out (`bandits/watch.py`).
        link: "learned" by theta, or "measured" by each device for itself.
        link_checks: whether a measured link heeds what the world's checks say.
        link_optimism, drift_unit, drift_round_trip, link_noise, link_prior: see `bandits/link_estimate.py`.
        offsets, probes: whether arms have offsets of their own, and whether a device that stays alone probes.
        The others are those of `bandits.settings.Settings`.
    """

    share: Sharing = "type"
    warm_start: Annotated[int, Meta(ge=0, le=100_000)] = 0
    download: Literal["members", "uploader"] = "members"
    guard: bool = False
    regularisation: Positive = 0.1
    alpha: NotNegative = 1.0
    beta_s: NotNegative | None = None
    beta_noise: NotNegative = 1.0
    beta_prior: NotNegative = 3.0
    feedback: Literal["split", "total"] = "split"
    view: Literal["fresh", "strict"] = "fresh"
    start: Literal["ridge", "zero"] = "ridge"
    link: Literal["learned", "measured"] = "learned"
    link_optimism: NotNegative = 0.3
    drift_unit: NotNegative = 0.2
    drift_round_trip: NotNegative = 0.2
    link_noise: Positive = 0.2
    link_prior: Positive = 1.0
    link_memory_frames: Positive = 10.0
    link_usual_weight: Share = 0.02
    link_checks: bool = False
    slowness: Literal["shared", "measured"] = "shared"
    slowness_drift: NotNegative = 0.1
    slowness_noise: Positive = 0.15
    slowness_memory_frames: Positive = 50.0
    offsets: bool = True
    offset_pseudo_rows: Positive = 2.0
    offset_forgetting: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    probes: bool = True
    probe_after_frames: Count = 32
    probe_largest_gap_frames: Count = 256
    look_within: NotNegative | None = None
    toll: NotNegative = 0.0
    safety: NotNegative | None = None
    safety_frames: Positive = 10.0
