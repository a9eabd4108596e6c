"""`report.html` of `cans testbed`: one page that needs nothing else, for somebody who doubts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cans.pages import environment, write_whole
from cans.partition_rows import percent
from lab.namespaces.quota_check import quotas_told
from lab.simulator.summary import Report
from lab.testbed.coordinator import Repetition
from lab.testbed.links_check import links_told
from lab.testbed.plan import Plan
from lab.testbed.report.aftermath import BACK_FRAMES, BACK_WITHIN, aftermaths_of, back_words
from lab.testbed.report.disturbance import disturbance_of
from lab.testbed.report.figures import Drawn, draw
from lab.testbed.report.in_short import in_short
from lab.testbed.report.newcomers import newcomers_of
from lab.testbed.report.prediction import prediction_of
from lab.testbed.report.tables import (
    OURS,
    RIVAL,
    devices_of,
    differences,
    named,
    on_devices,
    spent,
)
from lab.testbed.report.trend import change_words, steadiness_of
from partition.profiles.profile_file import Profile

_TEMPLATE = "testbed_report.html.jinja"


def write(
    plan: Plan, report: Report, repetitions: Sequence[Repetition], profile: Profile | None, path: Path
) -> None:
    """Write the page; what was there before stays until all of it is written.

    Args:
        plan: what was played.
        report: content of `summary.json`.
        repetitions: at least one.
        profile: of the machine; None where it was not measured.
        path: of the page.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    write_whole(path, page(plan, report, repetitions, profile))


def page(
    plan: Plan, report: Report, repetitions: Sequence[Repetition], profile: Profile | None = None
) -> str:
    """Return the page: everything that comes from an experiment or a person is escaped."""
    pages = environment(
        percent=percent,
        value=_value,
        mean=_mean,
        signed=_signed,
        change=change_words,
        back=back_words,
        spread=_spread,
    )
    policies = named(plan, report)
    machines = report["provenance"].get("machines")
    prediction = prediction_of(report, [each.name for each in policies if each.kind == "estimated"])
    return pages.get_template(_TEMPLATE).render(
        plan=plan,
        experiment=plan.experiment,
        testbed=plan.testbed,
        world=plan.world,
        report=report,
        provenance=report["provenance"],
        seeds=len(repetitions),
        sentences=in_short(plan, report, repetitions),
        policies=policies,
        devices=devices_of(plan, machines),
        machines=machines,
        on_devices=on_devices(plan, report, repetitions),
        spent=spent(plan, report, repetitions),
        differences=[differences(plan, report, against) for against in (RIVAL, OURS)],
        figures={drawn.name: as_figure(drawn) for drawn in draw(plan, report, repetitions)},
        prediction=prediction,
        disturbance=disturbance_of(plan, repetitions),
        links=links_told(report),
        quotas=quotas_told(report),
        steadiness=steadiness_of(plan, repetitions),
        newcomers=newcomers_of(plan, report, repetitions),
        aftermaths=aftermaths_of(plan, report, repetitions),
        back_within=BACK_WITHIN,
        back_frames=BACK_FRAMES,
        profile=profile,
    )


def as_figure(drawn: Drawn) -> dict[str, Any]:
    """Return a figure for a template: title, says, and the SVG as safe markup."""
    label = Markup.escape(f"{drawn.title}. {drawn.says}")
    svg = drawn.svg().replace("<svg ", f'<svg class="drawn" role="img" aria-label="{label}" ', 1)
    # Drawn here; names of policies and arms are text nodes that matplotlib has escaped.
    return {"title": drawn.title, "says": drawn.says, "svg": Markup(svg)}  # noqa: S704


def _mean(row: Mapping[str, Any], figure: str, decimals: int = 1, factor: float = 1.0) -> str:
    """Return a figure's mean, or a dash where the policy has none."""
    return f"{factor * row[figure]['mean']:,.{decimals}f}" if figure in row else "-"


def _spread(found: Mapping[str, Any] | None) -> str:
    """Return a mean with its interval, or a dash."""
    return "-" if found is None else _value({"": found}, "")


def _value(row: Mapping[str, Any], figure: str) -> str:
    """Return a mean with its interval, where there is one."""
    if figure not in row:
        return "-"
    mean, ci95 = row[figure]["mean"], row[figure]["ci95"]
    return f"{mean:,.1f}" if ci95 is None else f"{mean:,.1f} ({ci95[0]:,.1f} to {ci95[1]:,.1f})"


def _signed(share: float) -> str:
    """Return 0.123 as +12.3 %."""
    return f"{100.0 * share:+.1f} %"
