"""What tables of the dashboard show, as plain values. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bus.messages import Feedback, GroupWords
from bus.stages import stages_of
from bus.topics import Role
from cans.dashboard.site import DeviceSeen, Node, Seen, Site, is_there

Row = dict[str, Any]
Order = Literal["name", "slowest", "most late", "silent longest"]
ORDERS: tuple[Order, ...] = ("name", "slowest", "most late", "silent longest")
PAGE = 25
_LINK_FRAMES = 20


@dataclass(frozen=True, slots=True)
class Query:
    """Which devices to show: those whose name or type holds `text`, in an order, page by page from 1 on."""

    text: str = ""
    order: Order = "name"
    page: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a page, of how many pages and devices."""

    rows: list[Row]
    pages: int
    devices: int

    @property
    def in_words(self) -> str:
        """How many there are, for people."""
        devices = f"{self.devices} device{'s' * (self.devices != 1)}"
        return devices if self.pages == 1 else f"{devices}, {self.pages} pages"


def ms(value: float | None) -> str:
    """Return milliseconds for people."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.1f} ms" if value < 10.0 else f"{value:,.0f} ms"


def ago(at_s: float, now: float) -> str:
    """Return how long ago that was, for people."""
    left = max(0.0, now - at_s)
    if left < 60.0:
        return f"{left:.0f} s ago"
    return f"{left / 60.0:.0f} min ago" if left < 3600.0 else f"{left / 3600.0:.0f} h ago"


def share(part: float, whole: float) -> str:
    """Return a share in per cent."""
    return f"{100.0 * part / whole:.1f} %" if whole else "-"


def arm_of(said: Feedback) -> str:
    """Return an arm's label."""
    return "stays on the device" if said.codec == "none" else f"cut {said.cut}, {said.codec}"


def totals(site: Site, now: float) -> Row:
    """Return the last minute of the whole site."""
    site.settle(now)
    recent = site.recent
    latencies = np.array([brief.total_ms for brief in recent]) if recent else np.zeros(0)
    seconds = max(1.0, min(60.0, now - recent[0].at_s)) if recent else 60.0
    p50, p95 = np.quantile(latencies, (0.5, 0.95)) if latencies.size else (math.nan, math.nan)
    by = Counter(brief.answered_by for brief in recent)
    return {
        "frames a second": f"{len(recent) / seconds:.1f}",
        "median latency": ms(float(p50)),
        "95th percentile": ms(float(p95)),
        "answered by an edge worker": share(by["edge"], len(recent)),
        "deadline missed": share(sum(not brief.met for brief in recent), len(recent)),
    }


def types(site: Site) -> list[Row]:
    """Return a row for each device type: how many, how many are there, and how they do."""
    members: dict[str, list[str]] = defaultdict(list)
    for (role, id_), node in site.nodes.items():
        if role == Role.DEVICE and node.state is not None:
            members[node.state.type].append(id_)
    for id_, device in site.devices.items():
        if (Role.DEVICE, id_) not in site.nodes:
            members[device.type].append(id_)
    return [_type_row(site, name, ids) for name, ids in sorted(members.items())]


def _type_row(site: Site, name: str, ids: Sequence[str]) -> Row:
    seen = [site.devices[id_] for id_ in ids if id_ in site.devices and site.devices[id_].frames]
    frames = sum(device.frames for device in seen)
    there = sum(is_there(site.nodes.get((Role.DEVICE, id_), Node())) for id_ in ids)
    return {
        "type": name or "(none said)",
        "devices": len(ids),
        "there": there,
        "mean": ms(float(np.mean([device.mean_ms for device in seen])) if seen else None),
        "edge": share(sum(device.answered.get("edge", 0) for device in seen), frames),
        "late": share(sum(device.missed for device in seen), frames),
    }


def devices(site: Site, query: Query, now: float) -> Page:
    """Return a page of devices."""
    wanted = query.text.strip().lower()
    known = {id_ for role, id_ in site.nodes if role == Role.DEVICE} | site.devices.keys()
    named = [(id_, *_of(site, id_)) for id_ in known]
    kept = [each for each in named if wanted in each[0].lower() or wanted in _type_of(*each[1:]).lower()]
    kept.sort(key=lambda each: _rank(query.order, *each))
    pages = max(1, -(-len(kept) // PAGE))
    first = PAGE * (min(max(1, query.page), pages) - 1)
    return Page([_device_row(*each, now) for each in kept[first : first + PAGE]], pages, len(kept))


def _of(site: Site, id_: str) -> tuple[Node | None, DeviceSeen | None]:
    return site.nodes.get((Role.DEVICE, id_)), site.devices.get(id_)


def _type_of(node: Node | None, seen: DeviceSeen | None) -> str:
    if node is not None and node.state is not None:
        return node.state.type
    return "" if seen is None else seen.type


def _rank(order: Order, id_: str, node: Node | None, seen: DeviceSeen | None) -> tuple[float, str]:
    match order:
        case "slowest":
            return (-(seen.mean_ms if seen else 0.0), id_)
        case "most late":
            return (-(seen.missed / seen.frames if seen and seen.frames else 0.0), id_)
        case "silent longest":
            heard = [node.heard_s] if node else []
            heard += [seen.turns[-1].at_s] if seen and seen.turns else []
            return (max(heard, default=0.0), id_)
        case _:
            return (0.0, id_)


def _device_row(id_: str, node: Node | None, seen: DeviceSeen | None, now: float) -> Row:
    turn = seen.turns[-1] if seen is not None and seen.turns else None
    said = turn.said if turn is not None else None
    return {
        "id": id_,
        "type": _type_of(node, seen),
        "state": node.state.state if node is not None and node.state is not None else "not said",
        "arm": arm_of(said) if said else "-",
        "by": said.answered_by if said else "-",
        "latest": ms(said.total_ms if said else None),
        "mean": ms(seen.mean_ms if seen and seen.frames else None),
        "late": share(seen.missed, seen.frames) if seen else "-",
        "heard": ago(turn.at_s, now) if turn else "-",
    }


def arms(turns: Sequence[Seen]) -> list[Row]:
    """Return what each arm has taken a device lately, the fastest first: its alternatives."""
    taken: dict[str, list[Feedback]] = defaultdict(list)
    for turn in turns:
        taken[arm_of(turn.said)].append(turn.said)
    medians = {arm: float(np.median([each.total_ms for each in said])) for arm, said in taken.items()}
    return [
        {
            "arm": arm,
            "frames": len(taken[arm]),
            "median": ms(median_ms),
            "expected": ms(taken[arm][-1].expected_ms or None),
            "fallbacks": sum(each.answered_by == "fallback" for each in taken[arm]),
        }
        for arm, median_ms in sorted(medians.items(), key=lambda pair: pair[1])
    ]


def link(turns: Sequence[Seen]) -> str:
    """Return what the latest transfers say of a device's link, in words."""
    sent = [turn.said for turn in turns if turn.said.answered_by == "edge" and turn.said.link_ms > 0.0]
    sent = sent[-_LINK_FRAMES:]
    if not sent:
        return "Nothing was sent lately, so nothing is known of the link."
    rates = [8e-3 * said.sent_bytes / said.link_ms for said in sent]
    took = float(np.median([said.link_ms for said in sent]))
    return (
        f"The latest {len(sent)} transfers took {ms(took)} in the median, there and back with the broker: at "
        f"least {np.median(rates):.2f} Mbit/s."
    )


def stages(said: Feedback) -> list[Row]:
    """Return the stages of a frame that took time, in their order, with when each began; ms."""
    rows, began = [], 0.0
    for name, took in stages_of(said).items():
        if took > 0.0:
            rows.append({"stage": name, "began": round(began, 2), "took": round(took, 2)})
            began += took
    return rows


def frames(turns: Sequence[Seen], now: float, most: int = 15) -> list[Row]:
    """Return the latest frames, the latest first."""
    return [
        {
            "key": f"{turn.said.seq}:{turn.said.policy}",
            "frame": turn.said.seq,
            "policy": turn.said.policy,
            "arm": arm_of(turn.said),
            "by": turn.said.answered_by + (f" ({turn.said.reason})" if turn.said.reason else ""),
            "took": ms(turn.said.total_ms),
            "expected": ms(turn.said.expected_ms or None),
            "deadline": "met" if turn.said.deadline_met else "missed",
            "when": ago(turn.at_s, now),
        }
        for turn in list(turns)[: -most - 1 : -1]
    ]


_QUANTITIES = (
    ("whole network on a device", "device", "ms"),
    ("writing what is sent", "encode", "ms"),
    ("whole network on the edge worker", "edge", "ms"),
    ("waiting there", "wait", "ms"),
    ("link", "link", "mbit_per_s"),
)


def learned(words: GroupWords) -> list[Row]:
    """Return what a group knows, each with its interval."""
    rows = []
    for name, field, unit in _QUANTITIES:
        value, low, high = (getattr(words, f"{field}_{part}{unit}") for part in ("", "low_", "high_"))
        if value is None and low is None:
            continue
        shown = "Mbit/s" if unit == "mbit_per_s" else "ms"
        between = f"{_plain(low)} to {_plain(high)} {shown}"
        rows.append({"what": name, "value": f"{_plain(value)} {shown}", "between": between})
    return rows


def _plain(value: float | None) -> str:
    return "?" if value is None else f"{value:,.2f}" if abs(value) < 10.0 else f"{value:,.0f}"


def edges(site: Site, now: float) -> list[Row]:
    """Return a row for each edge worker."""
    rows = []
    for id_, node in site.of_role(Role.EDGE):
        notices, numbers = site.notices.get(id_), node.numbers
        left_s = max(0.0, notices[-1][0] + notices[-1][1] - now) if notices else 0.0
        rows.append(
            {
                "id": id_,
                "state": node.state.state if node.state is not None else "not said",
                "jobs": f"{node.state.load:g}" if node.state is not None else "-",
                "wait": ms(1e3 * left_s),
                "answered": _count(numbers, "answered"),
                "batch": f"{numbers['batch_mean']:.2f}" if "batch_mean" in numbers else "-",
                "tail": ms(numbers.get("tail_ms_p50")),
                "detail": node.state.detail if node.state is not None else "",
            }
        )
    return rows


def refusals(site: Site) -> list[Row]:
    """Return what was refused, by whom and why, from what nodes count; the most first."""
    rows = [
        (int(value), f"{role} {id_}", name)
        for (role, id_), node in site.nodes.items()
        for name, value in node.numbers.items()
        if value > 0.0
        and math.isfinite(value)
        and name.startswith(("rejected_", "refused_", "fault_", "parkings"))
    ]
    rows.sort(key=lambda row: (-row[0], row[1:]))
    return [
        {"key": f"{who} {name}", "who": who, "why": name.replace("_", " "), "count": count}
        for count, who, name in rows[:100]
    ]


def aggregators(site: Site) -> list[Row]:
    """Return a row for each aggregator."""
    return [
        {
            "id": id_,
            "state": node.state.state if node.state is not None else "not said",
            "merged": _count(node.numbers, "merged"),
            "broadcasts": _count(node.numbers, "broadcasts"),
            "detail": node.state.detail if node.state is not None else "",
        }
        for id_, node in site.of_role(Role.AGGREGATOR)
    ]


def alarms(site: Site, now: float, most: int = 100) -> list[Row]:
    """Return the latest alarms, the latest first."""
    return [
        {
            "key": str(number),
            "when": ago(told.at_s, now),
            "who": f"{told.alarm.role} {told.alarm.id}",
            "kind": told.alarm.kind,
            "what": told.alarm.what,
        }
        for number, told in list(enumerate(site.alarms))[: -most - 1 : -1]
    ]


def broker(site: Site) -> list[Row]:
    """Return what the broker says of itself."""
    return [{"name": name, "value": value} for name, value in sorted(site.broker.items())]


def _count(numbers: dict[str, float], name: str) -> str:
    return f"{numbers[name]:,.0f}" if name in numbers else "-"
