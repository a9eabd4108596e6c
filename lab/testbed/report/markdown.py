"""The page of a testbed's run in `docs/results/`: written by the run, never by hand."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bus.errors import ConfigurationError
from lab.namespaces.quota_check import quotas_told
from lab.simulator.report import IN_SHORT
from lab.simulator.summary import Report
from lab.testbed.coordinator import Repetition
from lab.testbed.links_check import links_told
from lab.testbed.plan import Plan
from lab.testbed.report.aftermath import BACK_FRAMES, BACK_WITHIN, aftermaths_of, back_words
from lab.testbed.report.disturbance import disturbance_of
from lab.testbed.report.figures import draw
from lab.testbed.report.in_short import Sentence, in_short
from lab.testbed.report.newcomers import newcomers_of
from lab.testbed.report.prediction import prediction_of
from lab.testbed.report.tables import OURS, RIVAL, Named, devices_of, differences, named
from lab.testbed.report.trend import change_words, steadiness_of

# Heading, decimals and factor of each figure.
_COLUMNS = {
    "p50_ms": ("p50", 1, 1.0),
    "p95_ms": ("p95", 1, 1.0),
    "p99_ms": ("p99", 1, 1.0),
    "missed": ("missed %", 2, 100.0),
    "answered": ("answered %", 2, 100.0),
    "agreement": ("agreement %", 1, 100.0),
    "payload_bytes": ("payload bytes", 0, 1.0),
    "cpu_ms": ("CPU ms", 1, 1.0),
    "messages": ("messages", 0, 1.0),
    "bytes": ("bytes", 0, 1.0),
}


def write_page(plan: Plan, report: Report, repetitions: Sequence[Repetition], page: Path) -> None:
    """Write a page, and put the figures beside it.

    Args:
        plan: what was played.
        report: content of `summary.json`.
        repetitions: at least one.
        page: NAME.md; figures become NAME-means.png.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    try:
        _write(plan, report, repetitions, page)
    except OSError as error:
        raise ConfigurationError(f"cannot write the page {page}: {error.strerror}") from None


def _write(plan: Plan, report: Report, repetitions: Sequence[Repetition], page: Path) -> None:
    page.parent.mkdir(parents=True, exist_ok=True)
    pictures = []
    for drawn in draw(plan, report, repetitions):
        target = page.with_name(f"{page.stem}-{drawn.name}.png")
        drawn.png(target)
        pictures += [f"![{drawn.title}]({target.name})", f"{drawn.title}. {drawn.says}"]
    text = "\n\n".join([*_text(plan, report, repetitions), *pictures, _provenance(report["provenance"])])
    page.write_text(text + "\n", encoding="utf-8")


def _text(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> Iterator[str]:
    said = in_short(plan, report, repetitions)
    provenance, seeds = report["provenance"], len(repetitions)
    yield f"# {plan.experiment.title}"
    yield plan.experiment.asks or "What comes out?"
    yield f"{IN_SHORT} measured, not simulated. " + " ".join(map(_said, (s for s in said if s.headline)))
    yield "\n".join(f"- {_said(sentence)}" for sentence in said if not sentence.headline)
    if plan.testbed.product:
        yield f"What it stands for: {plan.testbed.product}"
    yield "\n".join(f"- {device}: {words}" for device, words in devices_of(plan, provenance.get("machines")))
    yield (
        f"Emulated: {provenance['emulated']}. {seeds} repetition{'s' * (seeds > 1)}; in brackets 95 % "
        f"intervals (Student's t), where there are any. Written by\n\n    {provenance['command']}"
    )
    yield _policies(report, named(plan, report))
    for against in (RIVAL, OURS):
        found = differences(plan, report, against)
        yield f"Paired differences of mean latency against `{against}`, ms" + (
            f": not compared, {found.why}." if found.why else ":"
        )
        if found.comparisons:
            rows = (
                (
                    one.policy,
                    f"{one.difference:+,.1f}",
                    f"{one.ci95[0]:+,.1f} to {one.ci95[1]:+,.1f}",
                    f"{one.p_holm:.4f}",
                    str(one.verdict),
                )
                for one in found.comparisons
            )
            yield _table(("policy", "difference", "95 % interval", "p, Holm", "latency is"), rows)
    yield from _newcomers(plan, report, repetitions)
    yield from _aftermaths(plan, report, repetitions)
    yield from _predicted(plan, report)
    yield from _trends(plan, repetitions)
    yield _steady(plan, repetitions)
    yield from _links(report)
    yield from _quotas(report)


def _said(sentence: Sentence) -> str:
    return f"**{sentence.verdict}** {sentence.text}".strip() if sentence.verdict else sentence.text


def _policies(report: Report, policies: Sequence[Named]) -> str:
    headings = ("policy", "mean ms", *(heading for heading, _, _ in _COLUMNS.values()))
    return _table(headings, (_row(policy, report["policies"][policy.name]) for policy in policies))


def _row(policy: Named, row: Mapping[str, Any]) -> Iterator[str]:
    yield policy.label + (" (estimated)" if policy.kind == "estimated" else "")
    mean, ci95 = row["mean_ms"]["mean"], row["mean_ms"]["ci95"]
    yield f"{mean:,.1f}" + (f" ({ci95[0]:,.1f} to {ci95[1]:,.1f})" if ci95 else "")
    for figure, (_, decimals, factor) in _COLUMNS.items():
        yield f"{factor * row[figure]['mean']:,.{decimals}f}" if figure in row else ""


def _predicted(plan: Plan, report: Report) -> Iterator[str]:
    estimated = [each.name for each in named(plan, report) if each.kind == "estimated"]
    found = prediction_of(report, estimated)
    if found.mean_error is None:
        return
    rank = "" if found.rank is None else f", rank correlation {found.rank:.2f} (Spearman)"
    yield f"Predicted before by the simulator: mean absolute error {100.0 * found.mean_error:.1f} %{rank}."
    rows = (
        (row.policy, f"{row.predicted_ms:,.1f}", f"{row.measured_ms:,.1f}", f"{100.0 * row.error:+.1f} %")
        for row in found.rows
        if not row.estimated
    )
    yield _table(("policy", "predicted ms", "measured ms", "error"), rows)


def _links(report: Report) -> Iterator[str]:
    found = links_told(report)
    if not found:
        return
    yield (
        "Its kind of link by itself, before the run: goodput while it is busy, and how long 64 bytes wait "
        "behind 256 KiB of another connection."
    )
    rows = (
        (
            f"{link.rate_mbit:.3g}",
            f"{link.goodput_mbit:.3g}",
            f"{100 * link.off:+.2f} %" if link.as_set else f"**{100 * link.off:+.2f} %**",
            "" if link.waits_ms is None else f"{link.waits_ms:,.0f}",
        )
        for link in found
    )
    yield _table(("set to, Mbit/s", "goodput, Mbit/s", "off", "waits ms"), rows)


def _quotas(report: Report) -> Iterator[str]:
    found = quotas_told(report)
    if not found:
        return
    yield "CPU quotas by themselves, before the run: the whole network, after rests."
    rows = (
        (
            name,
            f"{tried.wanted_ms:,.0f}",
            f"{tried.whole_ms:,.0f}",
            f"{100 * tried.off:+.1f} %" if tried.as_set else f"**{100 * tried.off:+.1f} %**",
            f"1/{tried.slowness:.1f}",
        )
        for name, tried in found.items()
    )
    yield _table(("type", "set to, ms", "takes ms", "off", "of a processor"), rows)


def _steady(plan: Plan, repetitions: Sequence[Repetition]) -> str:
    found = disturbance_of(plan, repetitions)
    kept = f"**{found.kept} disturbed ones count all the same**" if found.kept else "no disturbed one counts"
    return (
        f"The machine beside blocks, against its median so far: {100 * found.median:+.1f} % slower in the "
        f"median, {100 * found.p95:+.1f} % at the 95th percentile. {found.again} of {len(found.blocks)} "
        f"blocks were played again (limit {100 * found.limit:g} %); {kept}."
    )


def _newcomers(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> Iterator[str]:
    for found in newcomers_of(plan, report, repetitions):
        yield f"First frames of {found.device}, which comes {found.joins} frames after the others, mean ms:"
        headings = ("policy", *(f"first {frames}" for frames in found.first), "later")
        rows = (
            (row.policy.label, *(_mean(each) for each in (*row.first_ms, row.later_ms))) for row in found.rows
        )
        yield _table(headings, rows)


def _mean(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    mean, ci95 = found["mean"], found["ci95"]
    return f"{mean:,.1f}" + (f" ({ci95[0]:,.1f} to {ci95[1]:,.1f})" if ci95 else "")


def _aftermaths(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> Iterator[str]:
    for found in aftermaths_of(plan, report, repetitions):
        yield (
            f"What broke: {found.title}. Of the frames from then to the end of the block; back is with the "
            f"first frame from which on the median of {BACK_FRAMES} is at most {BACK_WITHIN:g} times that of "
            "before:"
        )
        rows = (
            (
                row.policy.label,
                str(row.frames),
                str(row.lost),
                str(row.alone),
                _plain(row.worst_ms),
                _plain(row.before_ms),
                back_words(row),
            )
            for row in found.rows
        )
        headings = ("policy", "frames", "lost", "answered alone", "worst ms", "median before", "back after")
        yield _table(headings, rows)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _trends(plan: Plan, repetitions: Sequence[Repetition]) -> Iterator[str]:
    for found in steadiness_of(plan, repetitions):
        overs = dict.fromkeys(trend.over for trend in found.trends)
        yield (
            f"What the processes hold, and latency, over time (seed {found.seed}): slopes by Theil and Sen "
            f"from second {found.settled_s:.0f} on, over {' and '.join(overs)}."
        )
        rows = (
            (
                trend.name,
                f"{trend.median:,.1f} {trend.unit}",
                change_words(trend),
                trend.verdict,
                f"{found.cores[trend.name]:.3f}" if trend.name in found.cores else "",
            )
            for trend in found.trends
        )
        yield _table(("of", "median", "change an hour (95 % interval)", "verdict", "processor cores"), rows)


def _table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _provenance(provenance: Mapping[str, Any]) -> str:
    versions = provenance["versions"]
    said = ", ".join(f"{name} {versions[name]}" for name in ("cans", "python", "torch", "numpy"))
    commit = f", commit {provenance['commit']}" if provenance.get("commit") else ""
    return f"From `{provenance['experiment']}`, {said}{commit}, {provenance['machine']}."
