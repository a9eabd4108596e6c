"""Figures of the dashboard as ECharts options (https://echarts.apache.org/en/option.html). Pure.

Colours are those of Okabe and Ito, which people who see few colours can tell apart; who answered has a symbol
of its own besides.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bus.stages import STAGES, stages_of
from bus.topics import Role
from cans.dashboard.rows import arm_of
from cans.dashboard.site import Seen, Site, is_there

Options = dict[str, Any]
_BY = {"device": ("#0072B2", "circle"), "edge": ("#D55E00", "triangle"), "fallback": ("#CC79A7", "rect")}
_STAGES = dict(
    zip(
        STAGES,
        (
            "#999999",
            "#0072B2",
            "#56B4E9",
            "#E69F00",
            "#F0E442",
            "#CC79A7",
            "#D55E00",
            "#B0703C",
            "#5C5C5C",
            "#009E73",
        ),
        strict=True,
    )
)
_DRAWN_FRAMES = 120
_MOST_DRAWN = 12
_DEADLINE_SHOWN = 4.0
"""A deadline of so many times the slowest frame would leave no room for frames: the words have it."""


def _plain(*, dark: bool) -> Options:
    ink = _ink(dark=dark)
    faint = {"lineStyle": {"color": "#3a3a3a" if dark else "#dddddd"}}
    axis: Options = {
        "splitLine": faint,
        "axisLine": {"lineStyle": {"color": ink}},
        "axisLabel": {"color": ink},
        "nameTextStyle": {"color": ink},
    }
    return {
        "animation": False,
        "textStyle": {"color": ink},
        "grid": {"left": 60, "right": 20, "top": 46, "bottom": 46},
        "legend": {"top": 4, "textStyle": {"color": ink}},
        "tooltip": {"trigger": "item"},
        "xAxis": {"type": "value", **axis},
        # Where moments are seconds ago, all are below zero, and the axis still stands on the left.
        "yAxis": {"type": "value", **axis, "axisLine": {**axis["axisLine"], "onZero": False}},
    }


def _ink(*, dark: bool) -> str:
    return "#e4e4e4" if dark else "#222222"


def latency(turns: Sequence[Seen], now: float, *, dark: bool) -> Options:
    """Return a device's latency over time, by who answered, with what was expected and the deadline."""
    options, turns = _plain(dark=dark), list(turns)[-_DRAWN_FRAMES:]
    options["xAxis"] |= {"name": "seconds ago", "nameLocation": "middle", "nameGap": 28, "max": 0}
    options["yAxis"] |= {"name": "ms", "min": 0}
    ago = [round(turn.at_s - now, 2) for turn in turns]
    said = [turn.said for turn in turns]
    series: list[Options] = [
        {
            "name": f"answered by {by}" if by != "fallback" else "finished alone after all",
            "type": "scatter",
            "symbol": symbol,
            "symbolSize": 7,
            "itemStyle": {"color": colour},
            "data": [
                [at, round(each.total_ms, 1)]
                for at, each in zip(ago, said, strict=True)
                if each.answered_by == by
            ],
        }
        for by, (colour, symbol) in _BY.items()
    ]
    line: Options = {"type": "line", "showSymbol": False}
    expected = [
        [at, round(each.expected_ms, 1)] for at, each in zip(ago, said, strict=True) if each.expected_ms > 0.0
    ]
    most = _DEADLINE_SHOWN * max((each.total_ms for each in said), default=0.0)
    deadline = [
        [at, each.deadline_ms] for at, each in zip(ago, said, strict=True) if each.deadline_ms <= most
    ]
    series.append(
        {
            **line,
            "name": "expected",
            "data": expected,
            "lineStyle": {"color": "#009E73", "width": 1.5},
            "itemStyle": {"color": "#009E73"},
        }
    )
    series.append(
        {
            **line,
            "name": "deadline",
            "data": deadline,
            "lineStyle": {"color": "#999999", "type": "dashed"},
            "itemStyle": {"color": "#999999"},
        }
    )
    return {**options, "series": series}


def stage_times(turns: Sequence[Seen], *, dark: bool) -> Options:
    """Return the stages of a device's latest frames, one bar a frame."""
    options, said = _plain(dark=dark), [turn.said for turn in list(turns)[-40:]]
    options["xAxis"] |= {
        "type": "category",
        "data": [str(each.seq) for each in said],
        "name": "frame",
        "nameLocation": "middle",
        "nameGap": 28,
    }
    options["yAxis"] |= {"name": "ms"}
    taken = [stages_of(each) for each in said]
    series = [
        {
            "name": name,
            "type": "bar",
            "stack": "all",
            "itemStyle": {"color": colour},
            "data": [round(each[name], 1) for each in taken],
        }
        for name, colour in _STAGES.items()
        if any(each[name] > 0.0 for each in taken)
    ]
    return {**options, "series": series}


def waterfall(stages: Sequence[dict[str, Any]], *, dark: bool) -> Options:
    """Return one frame's stages, each where it began."""
    options = _plain(dark=dark)
    names = [row["stage"] for row in stages]
    options["xAxis"] |= {"name": "ms since capture", "nameLocation": "middle", "nameGap": 28}
    options["yAxis"] |= {"type": "category", "data": names, "inverse": True}
    options["grid"] = {"left": 80, "right": 20, "top": 10, "bottom": 46}
    began = {
        "type": "bar",
        "stack": "all",
        "silent": True,
        "itemStyle": {"color": "transparent"},
        "data": [row["began"] for row in stages],
    }
    took = {
        "type": "bar",
        "stack": "all",
        "data": [{"value": row["took"], "itemStyle": {"color": _STAGES[row["stage"]]}} for row in stages],
    }
    return {**options, "series": [began, took]}


def queues(site: Site, now: float, *, dark: bool) -> Options:
    """Return for how long a request would have waited at each edge worker."""
    options = _plain(dark=dark)
    options["xAxis"] |= {"name": "seconds ago", "nameLocation": "middle", "nameGap": 28, "max": 0}
    options["yAxis"] |= {"name": "ms", "min": 0}
    colours = [colour for colour, _ in _BY.values()]
    series = [
        {
            "name": edge,
            "type": "line",
            "step": "end",
            "showSymbol": False,
            "lineStyle": {"color": colours[i % len(colours)]},
            "itemStyle": {"color": colours[i % len(colours)]},
            "data": [[round(at - now, 2), round(1e3 * wait, 1)] for at, wait, _ in notices],
        }
        for i, (edge, notices) in enumerate(sorted(site.notices.items())[:_MOST_DRAWN])
    ]
    return {**options, "series": series}


def site_map(site: Site, type_rows: Sequence[dict[str, Any]], *, dark: bool) -> Options:
    """Return who is there, around the broker: device types left, edge workers and aggregators right."""
    left = [
        _Place(f"{row['type']}\n{row['there']} of {row['devices']} there", "circle", there=row["there"] > 0)
        for row in type_rows[:_MOST_DRAWN]
    ]
    right = [
        _Place(
            f"{role}\n{id_}\n{node.state.state if node.state else 'not said'}", symbol, there=is_there(node)
        )
        for role, symbol in ((Role.EDGE, "rect"), (Role.AGGREGATOR, "diamond"))
        for id_, node in list(site.of_role(role))[:_MOST_DRAWN]
    ]
    data: list[Options] = [
        {
            "name": "broker",
            "value": [0, 0],
            "symbol": "roundRect",
            "symbolSize": [70, 36],
            "itemStyle": {"color": "#0072B2"},
            "label": {"position": "inside", "color": "#ffffff"},
        }
    ]
    data += [each for side, places in ((-1, left), (1, right)) for each in _placed(side, places)]
    axis = {"show": False, "min": -1.3, "max": 1.3}
    graph = {
        "type": "graph",
        "coordinateSystem": "cartesian2d",
        "label": {"show": True, "position": "bottom", "color": _ink(dark=dark), "lineHeight": 15},
        "lineStyle": {"color": "#999999", "width": 1.5},
        "data": data,
        "links": [{"source": "broker", "target": each["name"]} for each in data[1:]],
    }
    return {"animation": False, "xAxis": axis, "yAxis": axis, "series": [graph]}


class _Place(NamedTuple):
    name: str
    symbol: str
    there: bool


def _placed(side: int, places: Sequence[_Place]) -> list[Options]:
    """Return nodes of the map, one below the other."""
    return [
        {
            "name": place.name,
            "value": [0.7 * side, 1.0 - (2 * i + 1) / len(places)],
            "symbol": place.symbol,
            "symbolSize": 26,
            # Outside, where no other node is: below one stands the next.
            "label": {"position": "right" if side > 0 else "left"},
            "itemStyle": {"color": "#009E73" if place.there else "#999999"},
        }
        for i, place in enumerate(places)
    ]


def words_of_latency(turns: Sequence[Seen]) -> str:
    """Return what the figure of a device shows, for who cannot see it."""
    if not turns:
        return "Latency over time: no frame yet."
    said = turns[-1].said
    latest = f"{min(len(turns), _DRAWN_FRAMES)} frames; the last took {said.total_ms:.0f} ms"
    return (
        f"Latency over time of the latest {latest} ({arm_of(said)}, answered by {said.answered_by}), "
        f"its deadline was {said.deadline_ms:.0f} ms."
    )
