"""The page of an experiment in `docs/results/`: written by the run, never by hand."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.simulator import spec
from lab.simulator.summary import FIRST, FIRST_FRAMES, Report

IN_SHORT = "In short:"
"""How the paragraph begins that says what came out; `lab.results_index` looks for it."""
LIMIT = 1.02
"""How far `default` may lie above the best of the simple ones before the page says so in bold."""
_SIMPLE = ("device_only", "edge_only_uint8", "edge_only_jpeg", "two_arm")
JOINER_LIMIT = 1.1
"""How much more than a settled member a joiner may pay at first before the page says so in bold."""
_JOINERS = ("default", "fedlinucb_dw")
_HONEST, _GUARDED = "honest", "_guard"
GUARD_LIMIT = 1.1
"""How many times what they lose where nobody lies honest devices may lose behind the guard, likewise."""
_DECIMALS = {
    "regret": 2,
    "honest_regret": 2,
    "messages": 0,
    "bytes": 0,
    "regret_a_device": 3,
    "bytes_a_device": 0,
}


def write_page(
    experiment: spec.Experiment, report: Report, figures: Sequence[Path], page: Path, command: str
) -> None:
    """Write a page, and put the figures beside it.

    Args:
        experiment: what was asked.
        report: content of `summary.json`.
        figures: what this run has drawn, such as regret.png and regret.svg; a folder may hold older ones.
        page: NAME.md; figures become NAME-regret.png.
        command: what reproduces it.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    pictures = []
    for source in figures:
        if source.suffix == ".png":
            target = page.with_name(f"{page.stem}-{source.name}")
            shutil.copyfile(source, target)
            pictures.append(f"![{source.stem}]({target.name})")
    parts = [
        f"# {experiment.title}",
        experiment.asks,
        f"{IN_SHORT} {_in_short(experiment, report)}",
        (
            f"Simulated; {experiment.seeds} seeds from {experiment.first_seed} on; mean and 95 % interval "
            f"(Student's t). Written by\n\n    {command}"
        ),
        _table(report),
        *_published(experiment, report),
        *pictures,
        _provenance(report["provenance"]),
    ]
    page.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _table(report: Report) -> str:
    rows = report["policies"]
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"| policy | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for policy, row in rows.items():
        cells = [_cell(name, row[name]) if name in row else "" for name in names]
        lines.append(f"| {policy} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(name: str, value: Mapping[str, Any]) -> str:
    decimals = 3 if name.startswith(FIRST) else _DECIMALS.get(name, 1)
    mean, ci95 = value["mean"], value["ci95"]
    said = f"{mean:,.{decimals}f}"
    if ci95 is None or name.startswith(("messages", "bytes")):
        return said
    return f"{said} ({ci95[0]:,.{decimals}f} to {ci95[1]:,.{decimals}f})"


def _published(experiment: spec.Experiment, report: Report) -> list[str]:
    """Return what was published beside what came out."""
    if not experiment.published:
        return []
    lines = ["| policy | figure | published | here | difference |", "|---|---|---|---|---|"]
    for policy, figures in experiment.published.items():
        for name, expected in figures.items():
            row = report["policies"].get(policy, {})
            if name in row:  # it may not have played, or not for so long
                mean = row[name]["mean"]
                off = 100.0 * (mean / expected - 1.0)
                lines.append(f"| {policy} | {name} | {expected:g} | {mean:.1f} | {off:+.1f} % |")
    return ["\n".join(lines)]


def _means(report: Report, figure: str) -> dict[str, float]:
    return {name: row[figure]["mean"] for name, row in report["policies"].items() if figure in row}


def _in_short(experiment: spec.Experiment, report: Report) -> str:
    """Return what came out: beside others' figures, beside the oracle and rivals, or who lost least."""
    said = [
        *_worst_published(experiment, report),
        *_joiners(report),
        *_guarded(report),
        *_comparison(_where_default_plays(experiment, report), experiment.settle_frames),
    ]
    return " ".join(said or [_least_first(report)])


def _least_first(report: Report) -> str:
    """Return everybody's regret; of teams of several sizes what one device loses."""
    regret_of = _means(report, "regret_a_device") or _means(report, "regret")
    regrets = sorted(regret_of.items(), key=lambda pair: pair[1])
    return "regret, least first: " + ", ".join(f"`{name}` {regret:.3g}" for name, regret in regrets) + "."


def _guarded(report: Report) -> list[str]:
    """Return what lies cost honest devices at worst, without the guard and with it, against nobody lying."""
    regrets = _means(report, "honest_regret")
    if not regrets.get(_HONEST):
        return []
    ratios = {name: regret / regrets[_HONEST] for name, regret in regrets.items()}
    said = []
    for which, guarded in (("Without the guard", ""), ("With the guard", _GUARDED)):
        # Who plays with no guard beside is no liar's company, but a rival.
        some = [f"{name}{guarded}" for name in ratios if f"{name}{_GUARDED}" in ratios]
        worst = max(some, key=ratios.__getitem__, default="")
        if worst:
            sentence = (
                f"{which} the regret of honest devices is at most {ratios[worst]:.2f} times what it is where "
                f"nobody lies (`{worst}`)."
            )
            said.append(f"**{sentence}**" if guarded and ratios[worst] > GUARD_LIMIT else sentence)
    return [" ".join(said)]


def _where_default_plays(experiment: spec.Experiment, report: Report) -> Report:
    """Leave out who plays in another world than `default`: it is no rival of its."""
    worlds = experiment.worlds
    rows = report["policies"].items()
    return {"policies": {name: row for name, row in rows if worlds.get(name) == worlds.get("default")}}


def _worst_published(experiment: spec.Experiment, report: Report) -> list[str]:
    """Return how far what was published is from what came out, at most, for each figure."""
    worst: dict[str, float] = {}
    for policy, figures in experiment.published.items():
        for name, expected in figures.items():
            row = report["policies"].get(policy, {})
            if name in row:
                off = abs(row[name]["mean"] / expected - 1.0)
                worst[name] = max(worst.get(name, 0.0), off)
    if not worst:
        return []
    parts = " and ".join(f"{name} within {100.0 * off:.1f} %" for name, off in worst.items())
    return [f"the published figures come out, {parts}."]


def _comparison(report: Report, settle_frames: int) -> list[str]:
    """Return how far `default` is from the oracle, and from whoever else was fastest."""
    means, later = _means(report, "mean_ms"), _means(report, "later_mean_ms")
    ours = means.get("default")
    if ours is None:
        return []
    said = []
    if "oracle" in means:
        said.append(f"`default` takes {ours / means['oracle']:.3f} of the oracle's mean latency.")
    if {"default", "oracle"} <= later.keys():
        ratio = later["default"] / later["oracle"]
        said.append(f"From frame {settle_frames} on it takes {ratio:.3f} of it.")
    rivals = {name: mean for name, mean in means.items() if not name.startswith(("default", "oracle"))}
    if rivals:
        best = min(rivals, key=rivals.__getitem__)
        said.append(f"The fastest rival is `{best}`: `default` takes {ours / rivals[best]:.3f} of its mean.")
    simple = {name: mean for name, mean in rivals.items() if name in _SIMPLE}
    if simple:
        best = min(simple, key=simple.__getitem__)
        ratio = ours / simple[best]
        sentence = f"Against the best of {', '.join(simple)} (`{best}`) it takes {ratio:.3f}."
        said.append(f"**{sentence}**" if ratio > LIMIT else sentence)
    return [" ".join(said)]


def _joiners(report: Report) -> list[str]:
    """Return what joiners of ours paid at first, at worst, against settled members."""
    said = []
    for policy in _JOINERS:
        row = report["policies"].get(policy, {})
        ratios = {name.removeprefix(FIRST): row[name]["mean"] for name in row if name.startswith(FIRST)}
        if ratios:
            worst = max(ratios, key=ratios.__getitem__)
            sentence = (
                f"With `{policy}` the first {FIRST_FRAMES} frames of a joiner cost at most "
                f"{ratios[worst]:.3f} of what settled members paid meanwhile (`{worst}`)."
            )
            said.append(f"**{sentence}**" if ratios[worst] > JOINER_LIMIT else sentence)
    return [" ".join(said)] if said else []


def _provenance(provenance: Mapping[str, Any]) -> str:
    versions = provenance["versions"]
    said = ", ".join(f"{name} {versions[name]}" for name in ("cans", "python", "numpy"))
    source = f"`{provenance['experiment']}` (sha256 {provenance['sha256'][:12]})"
    return f"From {source}, {said}, {versions['machine']}."
