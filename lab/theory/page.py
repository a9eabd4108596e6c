"""The page and the figure: measured regret, its bound, and how far they are apart."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from bandits.radius import information
from lab.simulator.report import IN_SHORT
from lab.theory.bounds import most_regret, most_uploads
from lab.theory.play import ARMS, DELTA, DIMENSION, NOISE, REGULARISATION, Case, Played

Array = npt.NDArray[np.float64]
HEADINGS = (
    "case",
    "T",
    "radius",
    "farthest",
    "uploads",
    "at most",
    "regret",
    "bound after",
    "bound before",
    "after / regret",
    "before / regret",
    "2LST",
)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Runs of one case over one horizon."""

    case: Case
    horizon: int
    runs: Sequence[Played]

    def before(self) -> Array:
        """Return the bound that is known before anything is played, at each point."""
        setting = self.case.setting(self.horizon)
        return np.array(
            [most_regret(setting, int(t), self._most_information(int(t)))[0] for t in self.runs[0].rounds]
        )

    def after(self, run: Played) -> Array:
        """Return the bound with what a run has realised, at each point."""
        setting = self.case.setting(self.horizon)
        realised = zip(run.rounds, run.information, run.uploads, strict=True)
        return np.array([most_regret(setting, int(t), g, uploads=n)[0] for t, g, n in realised])

    @property
    def holds(self) -> bool:
        """Whether every curve lies below both bounds, everywhere."""
        before = self.before()
        return all((run.regret <= np.minimum(before, self.after(run))).all() for run in self.runs)

    @property
    def distance(self) -> float:
        """The farthest that any estimate was from the truth, in radii."""
        return max(run.distance for run in self.runs)

    def last(self) -> tuple[float, float, float]:
        """Return regret, bound after and bound before at the horizon, means over runs."""
        regret = float(np.mean([run.regret[-1] for run in self.runs]))
        return regret, float(np.mean([self.after(run)[-1] for run in self.runs])), float(self.before()[-1])

    def row(self) -> list[str]:
        """Return the cells of a table, means over runs."""
        setting = self.case.setting(self.horizon)
        regret, after, before = self.last()
        uploads = float(np.mean([run.uploads[-1] for run in self.runs]))
        return [
            self.case.name,
            f"{self.horizon:,}",
            f"{setting.beta_s:.2f}",
            f"{self.distance:.2f}",
            f"{uploads:,.0f}",
            f"{most_uploads(setting, self._most_information(self.horizon)):,.0f}",
            f"{regret:,.1f}",
            f"{after:,.0f}",
            f"{before:,.0f}",
            f"{after / regret:.0f}",
            f"{before / regret:.0f}",
            f"{2 * self.horizon:,}",
        ]

    def _most_information(self, rounds: int) -> float:
        # V0 is at least lambda I; what offline rows save is seen in "bound after" only.
        return information(dimension=DIMENSION, rows=rounds, regularisation=REGULARISATION)


def write(outcomes: Sequence[Outcome], page: Path, seeds: int) -> None:
    """Write the page, and the figure beside it."""
    page.parent.mkdir(parents=True, exist_ok=True)
    picture = page.with_name(f"{page.stem}-regret.png")
    with mpl.rc_context({"font.size": 8}):
        _figure([one for one in outcomes if one.horizon == max(o.horizon for o in outcomes)]).savefig(
            picture, dpi=130
        )
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    lines += [f"| {' | '.join(one.row())} |" for one in outcomes]
    horizons = " ".join(f"--rounds {T}" for T in sorted({one.horizon for one in outcomes}))
    parts = [
        "# The regret bound, with all constants",
        "Does the bound of [theory](../theory.md) lie above what the learner pays, and how far?",
        f"{IN_SHORT} {in_short(outcomes)}",
        (
            f"Simulated; {seeds} seeds from 1000 on, means; d = {DIMENSION}, {ARMS} arms drawn anew each "
            f"round, noise R = {NOISE:g}, lambda = {REGULARISATION:g}, delta = {DELTA:g}, S = L = 1. "
            f"Written by\n\n    python -m lab.theory --seeds {seeds} {horizons} --out docs/results/theory.md"
        ),
        "\n".join(lines),
        _legend(),
        f"![regret]({picture.name})",
        f"From `lab/theory`, python {platform.python_version()}, numpy {np.__version__}.",
    ]
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def in_short(outcomes: Sequence[Outcome]) -> str:
    """Return what came out, in a paragraph."""
    ratios = np.array(
        [(after / regret, before / regret) for regret, after, before in map(Outcome.last, outcomes)]
    )
    low, high = ratios.min(axis=0), ratios.max(axis=0)
    says = sum(2.0 * one.horizon > one.last()[2] for one in outcomes)
    farthest = max(one.distance for one in outcomes)
    verdict = (
        f"every measured curve lies below both bounds, at every point ({len(outcomes)} cases, "
        f"{sum(len(one.runs) for one in outcomes)} runs)"
        if all(one.holds for one in outcomes)
        else "**a measured curve lies above its bound** (allowed in a share delta of runs, see the table)"
    )
    return (
        f"{verdict}. At the horizon the bound with realised uploads and ln det is {low[0]:.0f} to "
        f"{high[0]:.0f} times the regret, the bound known beforehand {low[1]:.0f} to {high[1]:.0f} times; in "
        f"{says} of {len(outcomes)} cases the latter says more than that a round costs at most 2LS. The "
        f"estimate was never farther from the truth than {farthest:.2f} of the radius."
    )


def _legend() -> str:
    return (
        "*radius*: proved for this case (theorem 1) and played. *farthest*: the largest distance of estimate "
        "and truth in any round of any run, over the radius; the confidence set held in all runs if it is at "
        "most 1. *at most*: theorem 3. *bound after*: theorem 2 with the realised uploads and ln det; *bound "
        "before*: with nothing but T, M, alpha, d. *2LST*: what no learner can exceed; a bound above it says "
        "nothing yet. The ratio is large because theorem 2 holds for any contexts whatever, and these are "
        "kind: see section 17 of the theory."
    )


def _figure(outcomes: Sequence[Outcome]) -> Figure:
    """Return one panel a case: regret of each run, and both bounds."""
    columns = 3
    rows = -(-len(outcomes) // columns)
    figure = Figure(figsize=(9.6, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, one in zip(panels, outcomes, strict=False):
        t = one.runs[0].rounds
        axes.plot(t, one.before(), color="#cc3311", label="bound before")
        axes.plot(
            t, np.mean([one.after(run) for run in one.runs], axis=0), color="#ee7733", label="bound after"
        )
        axes.plot(t, 2.0 * t, color="#888888", linestyle=":", label="2LST")
        for i, run in enumerate(one.runs):
            # A log axis has no place for a regret that is still 0.
            shown = np.where(run.regret > 0.0, run.regret, np.nan)
            axes.plot(t, shown, color="#0077bb", linewidth=0.8, label="regret" if i == 0 else None)
        axes.set(yscale="log", title=one.case.name.replace(" offline rows each", " rows"))
        axes.grid(alpha=0.3)
    for axes in panels[len(outcomes) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=7)
    figure.supxlabel("rounds of the group")
    return figure


def summary(outcomes: Sequence[Outcome]) -> Mapping[str, bool]:
    """Return whether the bound held, by case and horizon."""
    return {f"{one.case.name}, T = {one.horizon}": one.holds for one in outcomes}
