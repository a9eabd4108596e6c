"""What a group knows, without a matrix: its sums to milliseconds and megabits, each with an interval. Pure.

The columns of a context are shares of the whole network (`partition.contexts`), so a row of ones over the
columns of one party asks what the whole network takes there, and each other column is asked for by itself.
This file must never decide what is learned or merged; nothing reads its output but people.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from aggregator.sentences import text_of
from bandits.arrays import Vector
from bandits.intervals import Interval, intervals
from bandits.statistics import Statistics
from bus.messages import Columns, GroupParameters, GroupWords
from bus.statistics import unpack_symmetric
from bus.tensors import view

# Whose noise is in a question, and which columns it is about: the device's, or what follows it.
DEVICE, REST = ("front.", "encode."), ("back.", "decode.", "link.", "offload")
_LONGEST_MS = 1e9  # the wire's limit: what is beyond says nothing anyway
_FASTEST_MBIT_PER_S = 1e6


def describe(
    parameters: GroupParameters, columns: Columns | None, regularisation: float, changed: str = ""
) -> GroupWords:
    """Return what a group's parameters say.

    Args:
        parameters: as broadcast.
        columns: what their columns mean, None if nobody has said so.
        regularisation: the lambda in their gram.
        changed: when this version was made, for people.
    """
    words = GroupWords(
        group=parameters.group,
        model=parameters.model,
        schema=parameters.schema,
        origin=parameters.origin,
        version=parameters.version,
        members=parameters.members,
        count=parameters.count,
        sent=0,
        changed=changed,
    )
    if columns is not None:
        words = msgspec.structs.replace(words, **_known(_statistics(parameters), regularisation, columns))
    return msgspec.structs.replace(words, text=text_of(words))


def _statistics(parameters: GroupParameters) -> Statistics:
    """Return a group's sums."""
    d = parameters.dimension
    gram = unpack_symmetric(parameters.gram, d)
    return Statistics(
        gram, view(parameters.moment, "float64", (d,)), parameters.count, parameters.sum_squares
    )


def _known(statistics: Statistics, regularisation: float, columns: Columns) -> dict[str, float | str]:
    """Return the fields of what is known."""
    known: dict[str, float | str] = {
        "link": columns.link,
        "sent": round(_sent(statistics, regularisation, columns.names)),
    }
    for name, found in _answers(statistics, regularisation, columns).items():
        if found is not None:
            known |= _rate(found, columns.input_elements) if name == "link" else _ms(name, found)
    return known


def _answers(
    statistics: Statistics, regularisation: float, columns: Columns
) -> Mapping[str, Interval | None]:
    """Return the answer to each question that these columns can ask, seconds."""
    names = columns.names
    asked = {name: row for name, row in _questions(columns).items() if row.any()}
    if not asked:
        return {}
    rest = _row(names, REST)
    device_rows, rest_rows = _rows(statistics, regularisation, names)
    rows = [rest_rows if row @ rest else device_rows for row in asked.values()]
    found = intervals(statistics, regularisation, np.stack(list(asked.values())), rows)
    usual_s = (statistics.sum_squares / max(1, statistics.count)) ** 0.5
    return {name: _sensible(each, usual_s) for name, each in zip(asked, found, strict=True)}


def _questions(columns: Columns) -> dict[str, Vector]:
    """Return the row of each quantity, float64 (d,); zero where the columns cannot ask for it."""
    names = columns.names
    back, offload = _row(names, ("back.",)), _row(names, ("offload",))
    fixed = back * np.array([name in columns.fixed for name in names])
    return {
        "device": _row(names, ("front.",)),
        "encode": _row(names, ("encode.",)),
        "edge": back - fixed,
        "wait": offload + fixed,
        "away": back + offload,
        "link": _row(names, ("link.",)),
    }


def _row(names: tuple[str, ...], prefixes: tuple[str, ...]) -> Vector:
    """Return float64 (d,): 1 for each column whose name begins so."""
    return np.array([float(name.startswith(prefixes)) for name in names])


def _rows(statistics: Statistics, regularisation: float, names: tuple[str, ...]) -> tuple[float, float]:
    """Return how many rows may carry the device's noise, and the rest's.

    Where feedback is split no row has both: each kind is counted by itself, and each is taken to have made
    all residuals, since the two differ tenfold and the sums do not tell them apart. Otherwise every row has
    both.
    """
    device, rest = _row(names, DEVICE) > 0.0, _row(names, REST) > 0.0
    if statistics.gram[np.ix_(device, rest)].any():
        return statistics.count, statistics.count
    sent = _sent(statistics, regularisation, names)
    return statistics.count - sent, sent


def _sent(statistics: Statistics, regularisation: float, names: tuple[str, ...]) -> float:
    """Return how many rows are of frames that were sent: each has 1 in the offload column."""
    if "offload" not in names:
        return 0.0
    at = names.index("offload")
    return max(0.0, float(statistics.gram[at, at]) - regularisation)


def _sensible(found: Interval | None, usual_s: float) -> Interval | None:
    """Return a time as it can be: not below zero, and nothing where the interval says nothing.

    It says nothing if it is wider than both the estimate and what a row took in all, or wholly below zero
    (then cost is not linear there).
    """
    if found is None or not found.high > 0.0 or found.high * 1e3 > _LONGEST_MS:
        return None
    if found.high - found.low > max(found.mean, usual_s):
        return None
    return Interval(max(0.0, found.mean), max(0.0, found.low), found.high)


def _ms(name: str, time: Interval) -> dict[str, float]:
    """Return the fields of a time in milliseconds."""
    return {
        f"{name}_ms": time.mean * 1e3,
        f"{name}_low_ms": time.low * 1e3,
        f"{name}_high_ms": time.high * 1e3,
    }


def _rate(unit: Interval, input_elements: int) -> dict[str, float]:
    """Return the fields of the link's rate; the more seconds a unit takes, the slower it is."""
    megabits = 8e-6 * input_elements
    ends = {
        "link_mbit_per_s": unit.mean,
        "link_low_mbit_per_s": unit.high,
        "link_high_mbit_per_s": unit.low,
    }
    return {name: megabits / s for name, s in ends.items() if megabits < _FASTEST_MBIT_PER_S * s}
