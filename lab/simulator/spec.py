"""What an experiment file may say: one frozen struct a section, and nothing else is accepted.

This file must hold no behaviour; what a section means is in `synthetic.py`, `site.py` and `teams.py`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0.0, lt=1e9)]
NotNegative = Annotated[float, Meta(ge=0.0, lt=1e9)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: keyword fields, unknown keys refused."""


class Synthetic(Section, frozen=True, kw_only=True, tag="synthetic", tag_field="kind"):
    """Linear costs without a machine behind them, as in the literature on federated bandits.

    Each round draws `arms` contexts uniformly from [-1, 1]^d / sqrt d; theta is -1 / sqrt d in each
    coordinate, so that the cost to minimise is the reward of the literature with its sign turned; the
    noise is Gaussian. One device, drawn uniformly, plays a round.
    """

    devices: Count = 15
    rounds: Count = 30_000
    dimension: Annotated[int, Meta(ge=1, le=1000)] = 15
    arms: Annotated[int, Meta(ge=1, le=10_000)] = 25
    noise: NotNegative = 0.3


class Constant(Section, frozen=True, kw_only=True, tag="constant", tag_field="kind"):
    """A link of one rate. `delay_ms` is one way."""

    mbit_s: Positive
    delay_ms: NotNegative = 2.0


class TwoState(Section, frozen=True, kw_only=True, tag="two_state", tag_field="kind"):
    """A link that is good or bad for exponential times (Gilbert 1960, Elliott 1963, with rates for losses).

    Attributes:
        mbit_s: while it is good. bad_mbit_s: while it is bad.
        good_s, bad_s: mean seconds of a stay.
    """

    mbit_s: Positive
    bad_mbit_s: Positive
    good_s: Positive = 60.0
    bad_s: Positive = 15.0
    delay_ms: NotNegative = 2.0


class Lte(Section, frozen=True, kw_only=True, tag="lte", tag_field="kind"):
    """A generated mobile uplink: log-rate is an autoregressive process, with outages.

    Attributes:
        mbit_s: median. sigma: standard deviation of the natural logarithm of the rate.
        memory_s: seconds after which correlation has fallen to 1 / e.
        outages_per_hour, outage_s: how often it falls to `floor_mbit_s`, and for how long on average.
    """

    mbit_s: Positive = 6.0
    sigma: Annotated[float, Meta(ge=0.0, le=3.0)] = 0.7
    memory_s: Positive = 15.0
    outages_per_hour: NotNegative = 12.0
    outage_s: Positive = 5.0
    floor_mbit_s: Positive = 0.02
    delay_ms: NotNegative = 15.0


class Trace(Section, frozen=True, kw_only=True, tag="trace", tag_field="kind"):
    """A recorded link: a CSV file with the columns `second,mbit_per_s`, seconds increasing.

    A row holds until the next: rows may be missing, and the last rate is held over the gap.

    A device starts at a place of its own and goes on from the beginning at the end.

    Attributes:
        file: its name, in the folder that --traces names, or a path.
        scale: factor on every rate.
        floor_mbit_s: the least rate; a recorded 0 would never end a transfer.
    """

    file: str
    scale: Positive = 1.0
    floor_mbit_s: Positive = 0.02
    delay_ms: NotNegative = 15.0


Link = Constant | TwoState | Lte | Trace


class Lies(Section, frozen=True, kw_only=True):
    """What devices do to the statistics that they upload.

    Attributes:
        kind: costs with their sign turned; costs times `factor`; the first upload again under every new
            number; costs times `factor` to the power of the uploads so far.
        factor: see there; without meaning for the others.
    """

    kind: Literal["sign_flip", "scale", "replay", "slow_drift"]
    factor: Positive = 3.0


class DeviceType(Section, frozen=True, kw_only=True):
    """Devices that are alike.

    Attributes:
        devices: how many.
        lies: what they do to their uploads, None for nothing.
        slowness: how many times slower than the machine that measured the network's table.
        link: between such a device and the edge; each device has its own.
        declared: the type that they say they are of, and whose group they learn in; their own when empty.
        fps: frames a second and device; the site's when not given.
        join_at_s, join_after_frames: when they appear, in seconds or in frames that others have played by
            then (at the site's fps); there from the beginning when neither is given.
        leave_after_frames: frames of their own after which they hand in what they have learnt and go.
    """

    name: Name
    devices: Count = 1
    slowness: Positive = 1.0
    link: Link
    declared: str = ""
    fps: Positive | None = None
    join_at_s: NotNegative | None = None
    join_after_frames: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None
    leave_after_frames: Count | None = None
    lies: Lies | None = None

    @property
    def honest(self) -> bool:
        """Whether they say what they are and what they have measured."""
        return self.lies is None and not self.declared


class Noise(Section, frozen=True, kw_only=True):
    """What a frame deviates from its mean.

    Attributes:
        sigma: of the log-normal factor on each stage; its mean is 1.
        hiccups: share of offloaded frames that are held up on the link.
        hiccup_ms: mean of an exponential hold-up.
    """

    sigma: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.05
    hiccups: Share = 0.02
    hiccup_ms: NotNegative = 30.0


class Change(Section, frozen=True, kw_only=True):
    """Something that gets slower for a while.

    Attributes:
        what: "device" (it throttles), "link", "edge" (its worker computes for others too), or "queue" (a
            request waits for a free edge worker).
        factor: times slower; not for a queue. wait_ms: mean of an exponential wait; for a queue only.
        at_s, for_s: from when, and for how long.
        per_hour: instead, spells that begin at random so often an hour, `for_s` long on average; for each
            device or link by itself, for the edge worker once.
        types: of the devices that it concerns, all when empty.
    """

    what: Literal["device", "link", "edge", "queue"]
    factor: Positive = 1.0
    wait_ms: NotNegative = 0.0
    at_s: NotNegative = 0.0
    for_s: Positive = 1e8
    per_hour: NotNegative = 0.0
    types: tuple[Name, ...] = ()


class Channel(Section, frozen=True, kw_only=True):
    """What happens to messages. Nothing is lost and nothing takes time unless it is said here.

    Uploads that are not acknowledged are sent again as real devices do; replies belong to a frame and are
    not. Delays are drawn for each copy of a message, so messages overtake each other.

    Attributes:
        upload_loss, ack_loss, broadcast_loss: shares that never arrive.
        delay_s: mean of an exponential delay of each of these, cut at `delay_most_s`.
        duplicated: share of them that is sent twice.
        reply_loss: share of offloaded frames whose answer never comes.
        broadcast_every_s: shortest time between two broadcasts of a group, the newest version wins
            (0.1 s for a real aggregator); 0 sends every version.
    """

    upload_loss: Share = 0.0
    ack_loss: Share = 0.0
    broadcast_loss: Share = 0.0
    delay_s: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.0
    delay_most_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 10.0
    duplicated: Share = 0.0
    reply_loss: Share = 0.0
    broadcast_every_s: NotNegative = 0.0


class Site(Section, frozen=True, kw_only=True, tag="site", tag_field="kind"):
    """Devices of several types around one edge worker, with a network's measured table.

    Attributes:
        network: a table of `lab/tables/`, by name, or a file made by `cans profile`.
        frames: a device that is there from the beginning to the end, at the site's fps.
        devices_each: devices of each type, instead of what the types say.
        edge_slowness: of the edge worker, against the machine that measured.
        bus_ms: what broker and event loops add to an offloaded frame.
        fps: frames a second and device.
        deadline_ms, fallback_at: as `cans device` has them: after that part of the deadline without an
            answer a device finishes by itself, from the activation that it kept.
        patience: it does so sooner, after so many times what finishing takes; 0 for no such end.
        check_bytes: of what a device publishes after a frame that no edge worker has answered, whose
            acknowledgement says how the link does; 0 for none.
        traces: folder of recorded links; --traces names another.
        changes: what gets slower for a while.
        exit_bias: factor on the time of the deepest early exit; that of others is in proportion to their
            place, and 1 at the first, so that exits lie about what deeper layers take.
        exit_thermal: factor on the time of every early exit: below 1 the device was cool when it ran them
            and is throttled since.
        channel: what happens to messages.
    """

    network: str = "mobilenet_v2"
    frames: Count = 300
    types: Annotated[tuple[DeviceType, ...], Meta(min_length=1)]
    edge_slowness: Positive = 1.0
    bus_ms: NotNegative = 4.0
    fps: Positive = 1.0
    deadline_ms: Positive = 1000.0
    fallback_at: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.7
    patience: NotNegative = 0.0
    check_bytes: NotNegative = 600.0
    traces: str = ""
    devices_each: Count | None = None
    exit_bias: Positive = 1.0
    exit_thermal: Positive = 1.0
    noise: Noise = Noise()
    changes: tuple[Change, ...] = ()
    channel: Channel = Channel()


World = Synthetic | Site
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
    safety: NotNegative | None = None
    safety_frames: Positive = 10.0


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


Engine = Literal["auto", "plain", "batched"]

Learner = (
    Family
    | Async
    | DisLinUCB
    | Central
    | Discounted
    | Windowed
    | Detector
    | Fixed
    | TwoArm
    | Ans
    | Neurosurgeon
    | LinTs
    | EpsilonGreedy
    | Oracle
    | BestFixed
    | Random
)

PRESETS: dict[str, dict[str, object]] = {
    "linucb": {"learner": "fedlinucb_dw", "share": "device"},
    "linucb_w": {"learner": "fedlinucb_dw", "share": "device", "warm_start": 40},
    "fedlinucb": {"learner": "fedlinucb_dw", "share": "all"},
    "fedlinucb_w": {"learner": "fedlinucb_dw", "share": "all", "warm_start": 40},
    "fedlinucb_d": {"learner": "fedlinucb_dw", "share": "type"},
    "fedlinucb_dw": {"learner": "fedlinucb_dw", "share": "type", "warm_start": 40},
    # The same as `bandits.settings.PRACTICE`; a test compares them.
    "default": {
        "learner": "fedlinucb_dw",
        "share": "type",
        "warm_start": 40,
        "link": "measured",
        "slowness": "measured",
        "beta_prior": 0.1,
        "link_checks": True,
        "look_within": 2.0,
        "safety": 0.1,
    },
    "discounted": {"learner": "discounted_linucb"},
    "windowed": {"learner": "windowed_linucb"},
    "detector": {"learner": "detector_linucb"},
    "device_only": {"learner": "fixed", "arm": "end/none"},
    "edge_only_uint8": {"learner": "fixed", "arm": "0/uint8"},
    "edge_only_jpeg": {"learner": "fixed", "arm": "0/jpeg"},
}
"""What a name stands for; an experiment may change any of its settings."""

TUNED: dict[str, dict[str, object]] = {
    "two_arm": {"edge_arm": "0/jpeg", "probe_every_frames": 30, "smoothing": 1.0, "opening_frames": 1},
    "neurosurgeon": {
        "drift_unit": 0.2,
        "link_noise": 0.5,
        "link_memory_frames": 20.0,
        "probe_after_frames": 32,
    },
    "ans": {"a_s": 0.1, "regularisation": 3.0},
    "linucb": {"beta_prior": 1.0, "beta_noise": 1.0},
    "linucb_w": {"beta_prior": 1.0, "beta_noise": 1.0},
    "fedlinucb": {"beta_prior": 3.0, "beta_noise": 0.3, "alpha": 1.0},
    "fedlinucb_w": {"beta_prior": 3.0, "beta_noise": 1.0, "alpha": 1.0},
    "fedlinucb_d": {"beta_prior": 1.0, "beta_noise": 1.0, "alpha": 1.0},
    "fedlinucb_dw": {"beta_prior": 1.0, "beta_noise": 1.0, "alpha": 1.0},
    "lin_ts": {"spread_s": 0.02, "regularisation": 0.3},
    "epsilon_greedy": {"epsilon": 0.01, "opening_frames": 15.0, "smoothing": 0.1},
    "async_linucb": {"beta_s": 0.2, "gamma": 6.0, "estimate": "frame"},
    "dis_linucb": {"beta_s": 0.2, "threshold": 100.0},
}
"""Settings of policies at their best, by the same names: docs/results/tuning.md, which a test holds them to.

Unlike a preset's they yield to an experiment's [family], which says what was published.
"""


FIGURES = ("regret", "messages", "bytes")
"""What every run comes to."""
TIMED_FIGURES = ("mean_ms", "later_mean_ms", "p50_ms", "p95_ms", "p99_ms")
"""What a run comes to where costs are durations; `later_mean_ms` where it is long enough."""


class Experiment(Section, frozen=True, kw_only=True):
    """One experiment.

    Attributes:
        title, asks: for people.
        seeds: runs of each policy, numbered from `first_seed`.
        first_seed: evaluation starts at 1000; seeds below that are for tuning.
        world: where it happens.
        family: settings of all members of the family, unless a policy says otherwise.
        policies: who plays; each meets the same frames, links and noise, seed by seed.
        worlds: for each policy, what it has changed of the world.
        published: figures of others that should come out, by policy.
        settle_frames: `later_mean_ms` counts from this frame of each device on.
        engine: "plain" plays a run at a time, "batched" many together with the same choices, "auto" batches
            what has a batched form (`batch/scope.py`); over a cluster all is plain.
    """

    title: str
    asks: str = ""
    seeds: Annotated[int, Meta(ge=1, le=10_000)] = 10
    first_seed: Annotated[int, Meta(ge=0)] = 1000
    world: World
    policies: dict[str, Learner]
    worlds: dict[str, World]
    published: dict[str, dict[str, Positive]] = {}
    settle_frames: Annotated[int, Meta(ge=1, le=10_000_000)] = 200
    engine: Engine = "auto"
