"""What the tables of a report hold. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.simulator import spec
from lab.simulator.compare import LEAST_SEEDS, Comparison, Results, compare_with
from lab.simulator.summary import Report
from lab.testbed.coordinator import Repetition
from lab.testbed.plan import ESTIMATED, SWEPT, Plan, TestDevice
from lab.testbed.report.ratios import means_on
from lab.testbed.results import shown, turns_of

SIMPLE = ("device_only", "edge_only_uint8", "edge_only_jpeg", "two_arm", "best_fixed")
"""What anybody could do without learning; `default` must not lose against the best of them."""
OURS, RIVAL = "default", "ans"
_STAGES = ("head", "encode", "wait", "link", "queue", "decode", "tail", "reply", "vain", "fallback")


@dataclass(frozen=True, slots=True)
class Named:
    """A policy as it is shown.

    Attributes:
        name: in the experiment. kind: "played", "estimated", or "swept" for an arm of the sweep.
    """

    name: str
    kind: str

    @property
    def label(self) -> str:
        """For people: arms by their label."""
        if self.kind != "swept":
            return self.name
        return "always " + self.name.removeprefix(SWEPT).replace(".", "/", 1)


@dataclass(frozen=True, slots=True)
class OnDevice:
    """Mean latency of a policy on each device in turn, ms; None where it answered nothing."""

    policy: Named
    means_ms: list[float | None]


@dataclass(frozen=True, slots=True)
class Spent:
    """Where a policy's frames spent their time: mean ms of each stage over all answered frames."""

    policy: Named
    stages_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Differences:
    """All policies against one; `why` says why there are no comparisons."""

    against: str
    comparisons: list[Comparison]
    why: str


def named(plan: Plan, report: Report) -> list[Named]:
    """Return the policies that the report has, as people want to see them."""
    return [Named(name, _kind(plan, name)) for name in shown(plan) if name in report["policies"]]


def _kind(plan: Plan, name: str) -> str:
    learner = plan.experiment.policies.get(name)
    if isinstance(learner, ESTIMATED):
        return "estimated"
    return "swept" if learner is None else "played"


def on_devices(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[OnDevice]:
    """Return the means by device, of policies that were played."""
    rows = []
    for policy in named(plan, report):
        if policy.kind != "estimated":
            each = [means_on(repetitions, policy.name, device.name) for device in plan.devices]
            rows.append(
                OnDevice(policy, [sum(seeds.values()) / len(seeds) if seeds else None for seeds in each])
            )
    return rows


def spent(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[Spent]:
    """Return where time went, of policies that were played."""
    found = []
    for policy in named(plan, report):
        rows = [
            row
            for repetition in repetitions
            for turn in turns_of(repetition, policy.name)
            for row in turn.played.rows
        ]
        if rows:
            means = {stage: sum(row.stages.get(stage, 0.0) for row in rows) / len(rows) for stage in _STAGES}
            found.append(Spent(policy, means))
    return found


def differences(plan: Plan, report: Report, against: str) -> Differences:
    """Return the paired differences of latency of all policies but the sweep's arms, against one."""
    by_seed = report["by_seed"]
    if against not in by_seed:
        return Differences(against, [], f"{against} was not played")
    only = [
        policy.name for policy in named(plan, report) if policy.kind != "swept" and policy.name != against
    ]
    if not only:
        return Differences(against, [], f"nothing else than {against} was played")
    if len(by_seed[against]) < LEAST_SEEDS:
        return Differences(against, [], too_few(len(by_seed[against])))
    worlds, settle_frames = report["provenance"]["worlds"], report["provenance"]["settle_frames"]
    compared = compare_with(Results("this run", by_seed, worlds, settle_frames), against, only)
    return Differences(against, [one for one in compared.comparisons if one.figure == "mean_ms"], "")


def too_few(seeds: int) -> str:
    """Return why there is no interval."""
    return f"no interval and no test: {_count(seeds)}, and {LEAST_SEEDS} are the least that say anything"


def _count(seeds: int) -> str:
    return "one repetition" if seeds == 1 else f"{seeds} repetitions"


def devices_of(plan: Plan, machines: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return each device's name, and in words what it is; `machines` says what real ones are.

    An edge worker that only pretends to be slow is among them.
    """
    said = [(device.name, _device(plan, device, machines)) for device in plan.devices]
    if plan.world.edge_slowness != 1.0 and not machines:
        said.append(("edge worker", _slower(plan.world.edge_whole_ms, plan.world.edge_slowness)))
    return said


def _device(plan: Plan, device: TestDevice, machines: Mapping[str, str] | None) -> str:
    fps = f"{device.kind.fps or plan.world.fps:g} frames/s at most"
    words = (
        f"{machines[device.name]}, {fps}, its own link as it is"
        if machines
        else f"{_slower(device.kind.whole_ms, device.kind.slowness)}, {fps}, {_link(device.kind.link)}"
    )
    return words + (f", joins in round {device.joins_round + 1}" if device.joins_round else "")


def _slower(whole_ms: float | None, slowness: float) -> str:
    slower = f"{slowness:.3g} times slower than this machine"
    return slower if whole_ms is None else f"the whole network in {whole_ms:g} ms, {slower}"


def _link(link: spec.Link) -> str:
    delay = f"{link.delay_ms:g} ms each way"
    match link:
        case spec.Constant():
            return f"a link of {link.mbit_s:g} Mbit/s, {delay}"
        case spec.TwoState():
            return f"a link of {link.mbit_s:g} or {link.bad_mbit_s:g} Mbit/s, {delay}"
        case spec.Lte():
            return (
                f"a generated LTE uplink (median {link.mbit_s:g} Mbit/s, sigma {link.sigma:g}, "
                f"{link.outages_per_hour:g} outages an hour), {delay}"
            )
    return f"the recorded link {link.file}, {delay}"
