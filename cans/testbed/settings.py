"""What `cans testbed` was told, and which of it the folder holds already."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bus.errors import ConfigurationError
from cans.pages import write_whole
from cans.testbed.ground import Portable
from cans.testbed.inventory import Inventory
from lab.simulator import spec
from lab.simulator.experiment import load
from lab.simulator.grid import Cell
from lab.testbed.coordinator import path_of
from lab.testbed.plan import Plan


@dataclass(frozen=True, slots=True)
class TestbedSettings:
    """What `cans testbed` was told.

    Attributes:
        experiment: the TOML file.
        out: folder of results and logs.
        seeds: repetitions, instead of the experiment's own; None for those.
        policies: names to play, all when empty.
        traces: folder of recorded links that take the place of generated ones, None for none.
        overrides: "world.frames=40".
        mode: a key of `GROUNDS`.
        resume: go on with the repetitions that are not there yet; else begin anew.
        quiet: no progress.
        page: Markdown file to write, with the figures beside it; None for none.
        command: what was typed, for the report.
        inventory: what there is, of the mode "hardware"; None for the others.
        cell: of the experiment's grid; the experiment as it stands when empty.
    """

    __test__ = False  # no test, for pytest

    experiment: Path
    out: Path
    seeds: int | None = None
    policies: tuple[str, ...] = ()
    traces: Path | None = None
    overrides: tuple[str, ...] = ()
    mode: str = Portable.mode
    resume: bool = False
    quiet: bool = False
    page: Path | None = None
    command: str = ""
    inventory: Inventory | None = None
    cell: Cell = field(default_factory=dict)

    @property
    def said(self) -> tuple[str, ...]:
        """All that changes the experiment, as overrides of its file."""
        more = list(self.overrides)
        if self.seeds is not None:
            more.append(f"seeds={self.seeds}")
        if self.traces is not None:
            more.append(f"world.traces={json.dumps(str(self.traces.resolve()))}")
        return tuple(more)


def planned(settings: TestbedSettings) -> spec.Experiment:
    """Return the experiment with all that was said about it.

    Raises:
        ConfigurationError: something in it cannot be.
    """
    return load(settings.experiment, overrides=settings.said, only=settings.policies, cell=settings.cell)


def kept(settings: TestbedSettings, plan: Plan) -> set[int]:
    """Return the repetitions that need not be played again.

    Raises:
        ConfigurationError: the folder holds some, of this or of another experiment, and nobody said --resume.
    """
    there = {seed for seed in plan.seeds if path_of(settings.out, seed).exists()}
    any_there = any((settings.out / "rounds").glob("seed-*.json"))
    mark = settings.out / "experiment.json"
    said = json.dumps(
        {
            "experiment": settings.experiment.read_text(encoding="utf-8"),
            "said": list(settings.said),
            "mode": settings.mode,
            **({"inventory": settings.inventory.text} if settings.inventory is not None else {}),
            **({"cell": dict(settings.cell)} if settings.cell else {}),
        }
    )
    if any_there and not settings.resume:
        raise ConfigurationError(
            f"{settings.out} holds repetitions already: go on with --resume, or give another --out"
        )
    if any_there and mark.exists() and _but_seeds(mark.read_text()) != _but_seeds(said):
        raise ConfigurationError(
            f"{settings.out} holds repetitions of another experiment, or of other settings: "
            "give another --out"
        )
    write_whole(mark, said)
    return there


def _but_seeds(said: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    found = json.loads(said)
    found["said"] = [each for each in found["said"] if not each.startswith("seeds=")]
    return found
