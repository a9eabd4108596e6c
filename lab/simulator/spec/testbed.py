"""What an experiment needs to be played on a testbed (`cans testbed`); a simulation skips it."""

from typing import Annotated, Literal

from msgspec import Meta

from lab.simulator.spec.sections import Count, NotNegative, Positive, Section


class Event(Section, frozen=True, kw_only=True):
    """Something that breaks in every policy's block of one round, and is mended within it.

    Attributes:
        what: "link_gone": every device's link carries nothing, either way, and goes on where it stopped;
            "edge_killed": the edge worker is killed (SIGKILL), and started again; "broker_restarted": the
            broker is stopped, and started on the same port with what it had saved.
        round: number of the round, from 0 on.
        at_s: seconds into the block.
        for_s: until it is mended; an edge worker takes some more to load its network.
    """

    what: Literal["link_gone", "edge_killed", "broker_restarted"]
    round: Annotated[int, Meta(ge=0)]
    at_s: NotNegative
    for_s: Positive


class Testbed(Section, frozen=True, kw_only=True):
    """How an experiment is played for real.

    Attributes:
        product: what it stands for, in words.
        model: the network, as `cans device --model` takes it; the world's when empty.
        weights: a file of the network's weights, "photographs" for a network that is trained for a minute on
            built-in photographs first, or empty for drawn weights.
        source: a folder of images, "photographs" for other crops of those that the network was trained on, or
            empty for moving crops.
        codecs: as `--codecs`; the default ones when empty.
        block_frames: frames that a policy plays in a row before the next one has its turn.
        sweep: arms that are played as policies of their own, by label: what `best_fixed` and `oracle` are
            estimated from.
        down_mbit_s: rate of every link on the way back.
        probe_drift: a block beside which the machine was so much slower than usual is played again.
        repeats: how often at most.
        lanes: sites that play repetitions beside each other, each with all processes of its own; as many as
            the machine carries without a device that is late.
        edge_workers: tails that the edge worker runs at once.
        largest_batch: frames that one of them answers at most; 1 for one each.
        trend_after_s: the report says whether memory and latency are flat from that second of a repetition
            on; None for nothing of that.
        events: what breaks, and when.
    """

    product: str = ""
    model: str = ""
    weights: str = ""
    source: str = ""
    codecs: tuple[str, ...] = ()
    block_frames: Count = 10
    sweep: tuple[str, ...] = ()
    down_mbit_s: Positive = 20.0
    probe_drift: Positive = 0.10
    repeats: Annotated[int, Meta(ge=0, le=10)] = 2
    lanes: Annotated[int, Meta(ge=1, le=64)] = 1
    edge_workers: Annotated[int, Meta(ge=1, le=64)] = 1
    largest_batch: Annotated[int, Meta(ge=1, le=64)] = 8
    trend_after_s: Positive | None = None
    events: tuple[Event, ...] = ()
