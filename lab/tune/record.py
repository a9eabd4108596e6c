"""What tuning came to: `tuning.json`, and `tuning.md`, which is made from it and from nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bus.errors import ConfigurationError
from lab.tune.plan import Plan, file_of, settings_at
from lab.tune.search import Point

Record = dict[str, Any]
"""{"policies": {NAME: {"experiment", "seeds": [first, last], "frames", "grid", "winner", "trials"}}}; a trial
is {"settings", "mean_ms", "ci95", "messages"}, settings are {knob: value}."""

JSON, PAGE = "tuning.json", "tuning.md"
_ABOUT = """\
What every policy's settings were chosen from, on seeds and links that evaluation never sees (seeds below
1000, generated links). One knob at a time around the best so far, from the first value of each list; the
least mean latency wins and is in bold, and an arrow marks a winning value at an end of its list.
Intervals are of the mean over seeds; all settings meet the same frames, so differences between them are
surer than the intervals look. Simulated. Written by

    python -m lab.tune"""


def read_record(folder: Path) -> Record:
    """Return what is recorded so far, nothing where there is no file.

    Raises:
        ConfigurationError: a file that cannot be read.
    """
    path = folder / JSON
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"policies": {}}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None
    return record


def entry_of(plan: Plan, policy: str, winner: Point, figures: Mapping[Point, Mapping[str, Any]]) -> Record:
    """Return one policy's part of the record.

    Args:
        plan: what was asked.
        policy: its name.
        winner: where the search ended.
        figures: of each point that was played, in that order: `mean_ms` and `messages` of `summary.json`.
    """
    trials = [
        {
            "settings": settings_at(plan, policy, point),
            "mean_ms": round(each["mean_ms"]["mean"], 4),
            "ci95": each["mean_ms"]["ci95"] and [round(end, 4) for end in each["mean_ms"]["ci95"]],
            "messages": each["messages"]["mean"],
        }
        for point, each in figures.items()
    ]
    return {
        "experiment": file_of(plan, policy),
        "seeds": [plan.first_seed, plan.first_seed + plan.seeds - 1],
        "frames": plan.frames,
        "grid": {knob: list(values) for knob, values in plan.policies[policy].items()},
        "winner": settings_at(plan, policy, winner),
        "trials": trials,
    }


def write_record(record: Record, folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(page_of(record), encoding="utf-8")


def page_of(record: Record) -> str:
    """Return the page."""
    parts = [
        "# Tuning",
        _ABOUT,
    ]
    for policy, entry in record["policies"].items():
        parts += [f"## {policy}", _asked(entry), _table(entry)]
    return "\n\n".join(parts) + "\n"


def _asked(entry: Mapping[str, Any]) -> str:
    first, last = entry["seeds"]
    knobs = "; ".join(
        f"`{knob}` {', '.join(map(str, values))}{_edge(entry['winner'][knob], values)}"
        for knob, values in entry["grid"].items()
    )
    return f"`{entry['experiment']}`, seeds {first} to {last}, {entry['frames']} frames a device: {knobs}."


def _edge(winner: object, values: list[Any]) -> str:
    """Return an arrow where a number won that is the least or the greatest of three or more."""
    if isinstance(winner, str | bool) or len(values) < 3:
        return ""
    return " ↓" if winner == min(values) else " ↑" if winner == max(values) else ""


def _table(entry: Mapping[str, Any]) -> str:
    knobs = list(entry["grid"])
    lines = [f"| {' | '.join(knobs)} | mean_ms | messages |", "|---" * (len(knobs) + 2) + "|"]
    for trial in entry["trials"]:
        mean = f"{trial['mean_ms']:.2f}"
        if trial["ci95"]:
            mean += f" ({trial['ci95'][0]:.1f} to {trial['ci95'][1]:.1f})"
        cells = [*(str(trial["settings"][knob]) for knob in knobs), mean, f"{trial['messages']:,.0f}"]
        if trial["settings"] == entry["winner"]:
            cells = [f"**{cell}**" for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
