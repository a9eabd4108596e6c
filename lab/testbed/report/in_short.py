"""What came out, in computed sentences: where `default` loses as loudly as where it wins. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.simulator.compare import LEAST_SEEDS
from lab.simulator.summary import Report
from lab.testbed.coordinator import Repetition
from lab.testbed.plan import Plan
from lab.testbed.report.aftermath import aftermaths_of, happened_words
from lab.testbed.report.newcomers import first_words, newcomers_of
from lab.testbed.report.ratios import Ratio, mean_between, means_of, means_on, ratio
from lab.testbed.report.tables import OURS, RIVAL, SIMPLE, named, too_few
from lab.testbed.report.trend import steadiness_of, trend_words

_VERDICTS = {
    "faster": "Faster.",
    "slower": "Slower.",
    "level": "No difference shown.",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A finding.

    Attributes:
        verdict: one or two words that stand before it, as loud whichever way they go; may be empty.
        good: whether that is to our favour; None for neither.
        text: the rest.
        headline: whether it belongs where there is room for little.
    """

    verdict: str
    good: bool | None
    text: str
    headline: bool = False


def in_short(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[Sentence]:
    """Return the findings, the most important first."""
    said = []
    seeds = len(repetitions)
    if seeds < LEAST_SEEDS and len(report["by_seed"]) > 1:
        said.append(Sentence("Unproven.", False, f"Of ratios there is {too_few(seeds)}.", headline=True))
    if OURS in report["by_seed"]:
        said += [*_against_rival(report), *_when(plan, repetitions, RIVAL), *_against_simple(report)]
        said += [*_by_device(plan, report, repetitions), *_who_is_faster(plan, report)]
    else:
        said.append(Sentence("", None, f"{OURS} was not played, so nothing is said of it."))
    said += [*_joined(plan, report, repetitions), *_broken(plan, report, repetitions)]
    said += _steady(plan, repetitions)
    return [*said, *_answers(report)]


def _joined(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[Sentence]:
    """Return what the first frames of newcomers cost, against everybody."""
    said = []
    for found in newcomers_of(plan, report, repetitions):
        each = {
            verdict: [one.against for one in found.ratios if one.verdict == verdict]
            for verdict in ("slower", "faster", "unproven")
        }
        words = {
            "slower": "Slower at first than",
            "faster": "Faster at first than",
            "unproven": "Unproven against",
        }
        shown = next((verdict for verdict, others in each.items() if others), "")
        verdict = f"{words[shown]} {', '.join(each[shown])}:" if shown else "No difference shown at first:"
        if found.ratios:
            good = {"slower": False, "faster": True}.get(shown)
            said.append(Sentence(verdict, good, f"on {found.device}, {first_words(found)}", headline=True))
    return said


def _broken(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[Sentence]:
    """Return what came of each event."""
    said = []
    for found in aftermaths_of(plan, report, repetitions):
        lost = sum(row.lost for row in found.rows)
        verdict = f"{lost} frames were lost:" if lost else "No frame was lost:"
        said.append(Sentence(verdict, not lost, happened_words(found), headline=True))
    return said


def _steady(plan: Plan, repetitions: Sequence[Repetition]) -> list[Sentence]:
    """Return whether memory and latency are flat: what is not shown to be counts as loudly as what grows."""
    said = []
    for found in steadiness_of(plan, repetitions):
        for unit, what in (("MiB", "Memory"), ("ms", "Latency")):
            trends = [trend for trend in found.trends if trend.unit == unit]
            if not trends:
                continue  # nothing was answered, which other sentences say
            flat = all(trend.verdict == "flat" for trend in trends)
            verdict = f"{what} is flat:" if flat else f"{what} is not flat, or not shown to be:"
            said.append(Sentence(verdict, flat, trend_words(found, trends), headline=True))
    return said


def _against_rival(report: Report) -> list[Sentence]:
    found = _ratio(report, RIVAL)
    if found is None:
        return [Sentence("", None, f"{RIVAL} was not played: how {OURS} stands to it is not known.")]
    return [_judged(found, "", headline=True), _tail(report, RIVAL)]


def _when(plan: Plan, repetitions: Sequence[Repetition], against: str) -> list[Sentence]:
    """Return whether a difference is one of first frames only, where exploring costs most."""
    size = plan.testbed.block_frames
    parts = [(0, size), (size, plan.world.frames)]
    own, other = ([mean_between(repetitions, name, *part) for part in parts] for name in (OURS, against))
    if None in own or None in other:
        return []
    faster = [a < b for a, b in zip(own, other, strict=True) if a is not None and b is not None]
    words = ["faster" if each else "slower" for each in faster]
    verdict = f"{words[0].capitalize()} at first, {words[1]} later:"
    if faster[0] == faster[1]:
        verdict = f"{words[0].capitalize()} at first and later:"
    text = f"on the first {size} frames {own[0]:,.1f} against {other[0]:,.1f} ms of {against}, "
    return [Sentence(verdict, all(faster), f"{text}afterwards {own[1]:,.1f} against {other[1]:,.1f} ms.")]


def _against_simple(report: Report) -> list[Sentence]:
    """Compare with the best of the simple ones: picked with hindsight, which is to its favour."""
    means = {name: _mean(report, name, "mean_ms") for name in SIMPLE if name in report["policies"]}
    if not means:
        return [Sentence("", None, f"None of {', '.join(SIMPLE)} was played.")]
    best = min(means, key=means.__getitem__)
    found = _ratio(report, best)
    assert found is not None  # both are of the same repetitions
    missing = [name for name in SIMPLE if name not in means]
    of = f" It is the best of {', '.join(means)}, picked with hindsight." if len(means) > 1 else ""
    of += f" Not played: {', '.join(missing)}." if missing else ""
    return [_judged(found, of, headline=True), _tail(report, best)]


def _by_device(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[Sentence]:
    """Return how each device fares against the simple policy that is best on it: a mean may hide one."""
    said = []
    simple = [name for name in SIMPLE if any(name == each.name for each in named(plan, report))]
    for device in plan.devices if len(plan.devices) > 1 else []:
        own = means_on(repetitions, OURS, device.name)
        each = [ratio(OURS, own, name, means_on(repetitions, name, device.name)) for name in simple]
        found = [one for one in each if one is not None]
        if found:
            best = min(found, key=lambda one: one.other_ms)
            said.append(_judged(best, "", before=f"On {device.name}, against its best simple policy, "))
    return said


def _who_is_faster(plan: Plan, report: Report) -> list[Sentence]:
    """Return everybody whose mean is below ours, and what would have been possible."""
    ours = _mean(report, OURS, "mean_ms")
    others = [each for each in named(plan, report) if each.name != OURS]
    said = []
    faster = {
        each.label: _mean(report, each.name, "mean_ms")
        for each in others
        if each.kind != "estimated" and _mean(report, each.name, "mean_ms") < ours
    }
    if faster:
        listed = ", ".join(
            f"{name} ({ours / mean:.3f})" for name, mean in sorted(faster.items(), key=_second)
        )
        said.append(
            Sentence(
                "Not the fastest.",
                False,
                f"Below {OURS} in mean latency, with how many times it takes: {listed}.",
            )
        )
    elif others:
        text = f"Nobody who was played beside {OURS} has a lower mean latency."
        said.append(Sentence("The fastest.", True, text))
    if "oracle" in report["policies"]:
        times = ours / _mean(report, "oracle", "mean_ms")
        text = f"{OURS} takes {times:.3f} times what the oracle takes, estimated from the arms "
        text += "that were swept: an arm that was not cannot be in it."
        said.append(Sentence("", None, text))
    return said


def _answers(report: Report) -> list[Sentence]:
    """Return whether all frames were answered in time, and alike."""
    said = []
    answered = _shares(report, "answered")
    lost = {name: share for name, share in answered.items() if share < 1.0}
    if lost:
        text = f"Means are over answered frames only, and not all were: {_listed(lost)} answered."
        said.append(Sentence("Frames were lost.", False, text, headline=True))
    else:
        said.append(Sentence("All frames were answered", True, "under every policy.", headline=True))
    late = {name: share for name, share in _shares(report, "missed").items() if share > 0.0}
    if late:
        said.append(
            Sentence("Deadlines were missed:", False, f"{_listed(late)} of all frames late.", headline=True)
        )
    else:
        said.append(Sentence("No deadline was missed.", True, ""))
    agreement = _shares(report, "agreement")
    if not agreement:
        text = "Nobody kept a frame on the device to the end, so nobody knows the uncut network's answers."
        return [*said, Sentence("Agreement is not known.", False, text)]
    if OURS in agreement:
        worst = min(agreement, key=agreement.__getitem__)
        text = f"of the answers of {OURS} are the uncut network's"
        text += f"; the least of all is {100 * agreement[worst]:.1f} %, of {worst}." if worst != OURS else "."
        good = agreement[OURS] >= 0.99
        said.append(Sentence(f"{100 * agreement[OURS]:.1f} %", good, text, headline=True))
    return said


def _judged(found: Ratio, more: str, *, before: str = "", headline: bool = False) -> Sentence:
    own, other = found.own_ms, found.other_ms
    text = f"{before}{found.policy} takes {found.value:.3f} times the mean latency of {found.against}: "
    text += f"{own:,.1f} against {other:,.1f} ms"
    if found.ci95 is None:
        text += ", no interval."
        verdict = "Faster here." if found.value < 1.0 else "Slower here."
        return Sentence(verdict, found.value < 1.0, text + more, headline)
    low, high = found.ci95
    text += f"; 95 % interval of the ratio {low:.3f} to {high:.3f}, {found.seeds} repetitions, paired."
    good = {"faster": True, "slower": False}.get(found.verdict)
    return Sentence(_VERDICTS[found.verdict], good, text + more, headline)


def _tail(report: Report, against: str) -> Sentence:
    """Return the same of slow frames: a mean says little of them."""
    figures = ("p50_ms", "p95_ms", "p99_ms")
    each = {figure: _mean(report, OURS, figure) / _mean(report, against, figure) for figure in figures}
    listed = ", ".join(f"{figure.removesuffix('_ms')} {value:.3f}" for figure, value in each.items())
    worse = any(value > 1.0 for value in each.values())
    verdict = "Slower somewhere in the distribution:" if worse else "Faster all along the distribution:"
    return Sentence(verdict, not worse, f"{listed} times those of {against}.")


def _ratio(report: Report, against: str) -> Ratio | None:
    by_seed = report["by_seed"]
    return ratio(OURS, means_of(by_seed, OURS), against, means_of(by_seed, against))


def _mean(report: Report, policy: str, figure: str) -> float:
    return float(report["policies"][policy][figure]["mean"])


def _shares(report: Report, figure: str) -> dict[str, float]:
    return {name: float(row[figure]["mean"]) for name, row in report["policies"].items() if figure in row}


def _listed(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.2f} %" for name, share in shares.items())


def _second(pair: tuple[str, float]) -> float:
    return pair[1]
