"""All switches of FedLinUCB-DW in one value; each member of the family is a choice of them."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from bandits.link_estimate import DEFAULT as DEFAULT_LINK
from bandits.link_estimate import LinkSettings
from bandits.member import Start, View
from bandits.safety import Safety
from bandits.slowness_estimate import DEFAULT as DEFAULT_SLOWNESS
from bandits.slowness_estimate import SlownessSettings

Feedback = Literal["total", "split"]
Link = Literal["learned", "measured"]
Slowness = Literal["shared", "measured"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a learner is.

    The group key is the aggregator's: all devices one key is FedLinUCB, a key a type adds the D, a key a
    device is LinUCB. Early-exit rows given to `Member.join` add the W.

    Attributes:
        regularisation: lambda; the same for the group and its members.
        alpha: upload when ln det grew by more than ln(1 + alpha).
        beta_s: exploration in seconds, or None: `beta_noise` R + `beta_prior` sqrt(lambda) S, the two parts
            of the theory's radius with R the rows' residual and S their root mean square. Measured, they
            serve costs of 3 ms and of 3 s alike, and misfit counts as noise and is explored.
        beta_noise: exploration that lasts, in residual standard deviations.
        beta_prior: exploration of directions never seen; it fades with the first rows along them.
        feedback: "total" adds one row a frame; "split" adds the device part and the rest as two.
        view: "fresh" uses own rows at once; "strict" only what came back from the group.
        start: "ridge" or "zero": the Sigma that the upload trigger starts from.
        link: "learned" leaves the link to theta, one for the group; "measured" takes it from this device's
            own estimate (`link_estimate.py`), so that theta holds only what devices of a type have in common.
        link_optimism: exploration of the link, in standard deviations of that estimate.
        link_settings: of that estimate.
        link_checks: whether that estimate heeds link checks too (`bandits.policy.LinkCheck`).
        slowness: "shared" takes device and edge to be as the group knows them; "measured" lets each device
            follow how slow they are at present (`slowness_estimate.py`). It needs a measured link.
        slowness_settings: of those estimates.
        offset_pseudo_rows: shrinkage of the arms' own offsets (`offsets.py`), None for none.
        offset_forgetting: how fast offsets forget, 1 for never.
        probe_after_frames: forced offload after so many device-only frames (`probing.py`), None for never.
        probe_largest_gap_frames: bound of its doubling.
        look_within: the device-only arm is played once before anything that offloads, if it is believed to
            cost at most so many times as much; None for never. Early exits may lie about the layers that
            a device will not run again while it believes them.
        toll: a device whose job would wait counts what its tail takes from others: so many times for each job
            in the line (`fedlinucb.py`); 0 for a device that looks after itself. It needs a measured link.
        safety: how much dearer than the device-only arm a device may become for good (`safety.py`), as a
            share; None for no such bound.
        safety_frames: how much dearer for once, in costs of the device-only arm.

    Raises:
        ValueError: a setting out of range.
    """

    regularisation: float = 0.1
    alpha: float = 1.0
    beta_s: float | None = None
    beta_noise: float = 1.0
    beta_prior: float = 3.0
    feedback: Feedback = "split"
    view: View = "fresh"
    start: Start = "ridge"
    link: Link = "learned"
    link_optimism: float = 0.3
    link_settings: LinkSettings = DEFAULT_LINK
    link_checks: bool = False
    slowness: Slowness = "shared"
    slowness_settings: SlownessSettings = DEFAULT_SLOWNESS
    offset_pseudo_rows: float | None = 2.0
    offset_forgetting: float = 1.0
    probe_after_frames: int | None = 32
    probe_largest_gap_frames: int = 256
    look_within: float | None = None
    toll: float = 0.0
    safety: float | None = None
    safety_frames: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what would surface only frames later."""
        if self.feedback not in get_args(Feedback):
            raise ValueError(f"feedback {self.feedback!r} is none of {get_args(Feedback)}")
        if self.link not in get_args(Link):
            raise ValueError(f"link {self.link!r} is none of {get_args(Link)}")
        if self.slowness not in get_args(Slowness):
            raise ValueError(f"slowness {self.slowness!r} is none of {get_args(Slowness)}")
        if self.slowness == "measured" and self.link != "measured":
            raise ValueError(
                "a measured slowness needs a measured link: without it nobody knows the edge's part"
            )
        if self.feedback == "total" and self.link == "measured":
            raise ValueError("feedback 'total' says nothing of the link alone: it needs link 'learned'")
        if self.safety is not None:
            Safety(self.safety, self.safety_frames)
        for name in ("beta_s", "beta_noise", "beta_prior", "link_optimism", "look_within", "toll"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} is {value}, expected a finite number, not negative")


PRACTICE = Settings(
    link="measured",
    slowness="measured",
    beta_prior=0.1,
    link_checks=True,
    look_within=2.0,
    toll=1.0,
    probe_after_frames=128,
    safety=0.1,
)
"""What devices run and experiments call `default`: tuned as docs/results/tuning.md tells."""
