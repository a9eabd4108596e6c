"""Links, in an experiment file."""

from typing import Annotated

from msgspec import Meta

from lab.simulator.spec.sections import NotNegative, Positive, Section


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
