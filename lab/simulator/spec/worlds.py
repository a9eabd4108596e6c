"""Worlds, in an experiment file; what a section means is in `synthetic.py` and `site.py` of the simulator."""

from typing import Annotated, Literal

from msgspec import Meta

from lab.simulator.spec.links import Link
from lab.simulator.spec.sections import Count, Name, NotNegative, Positive, Section, Share


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
        whole_ms: what the whole network takes such a device, instead of `slowness`, which follows from it: so
            the device is the same one whatever machine measured.
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
    whole_ms: Positive | None = None
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


class EdgeBatch(Section, frozen=True, kw_only=True):
    """A tail that takes several frames.

    Attributes:
        cut: whose.
        fixed: what a run costs besides its frames, in frames.
    """

    cut: Annotated[int, Meta(ge=0, le=4096)]
    fixed: NotNegative


class Site(Section, frozen=True, kw_only=True, tag="site", tag_field="kind"):
    """Devices of several types around one edge worker, with a network's measured table.

    Attributes:
        network: a table of `lab/tables/`, by name, or a file made by `cans profile`.
        frames: a device that is there from the beginning to the end, at the site's fps.
        devices_each: devices of each type, instead of what the types say.
        edge_slowness: of the edge worker, against the machine that measured.
        edge_whole_ms: what the whole network takes it, instead; see `DeviceType.whole_ms`.
        edge_workers: tails that the edge worker runs at a time, so that devices wait for each other; 0 for as
            many as come, one of a device.
        edge_batches: then, tails that take several frames; any other takes one at a time.
        edge_largest_batch: most frames of a run.
        bus_ms: what broker and event loops add to an offloaded frame.
        fps: frames a second and device.
        burst_frames: a device plays so many in a row, and then rests; None for no rest.
        burst_every_s: from the beginning of a burst to that of the next.
        deadline_ms, fallback_at: as `cans device` has them: after that part of the deadline without an
            answer a device finishes by itself, from the activation that it kept.
        patience: it does so sooner, after so many times what finishing takes; 0 for no such end.
        check_bytes: of what a device publishes after a frame that no edge worker has answered, whose
            acknowledgement says how the link does; 0 for none.
        long_check_bytes: of one after which no answer has come, since an answer was waited for in vain.
        look_ahead: a device that has had its answer publishes one of those shortly before its next frame too.
        traces: folder of recorded links; --traces names another.
        links_repeat_s: after so many seconds a generated link begins again, so that stretches of a long run
            can be compared; None for one that goes on.
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
    edge_whole_ms: Positive | None = None
    edge_workers: Annotated[int, Meta(ge=0, le=64)] = 0
    edge_batches: tuple[EdgeBatch, ...] = ()
    edge_largest_batch: Annotated[int, Meta(ge=1, le=64)] = 8
    bus_ms: NotNegative = 4.0
    fps: Positive = 1.0
    burst_frames: Count | None = None
    burst_every_s: Positive = 15.0
    deadline_ms: Positive = 1000.0
    fallback_at: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.7
    patience: NotNegative = 0.0
    check_bytes: NotNegative = 600.0
    long_check_bytes: NotNegative = 2000.0
    look_ahead: bool = True
    traces: str = ""
    links_repeat_s: Count | None = None
    devices_each: Count | None = None
    exit_bias: Positive = 1.0
    exit_thermal: Positive = 1.0
    noise: Noise = Noise()
    changes: tuple[Change, ...] = ()
    channel: Channel = Channel()


World = Synthetic | Site
