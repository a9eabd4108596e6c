"""What `cans doctor` says: findings, which of them something cannot do without, and how they are shown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        needed_for: what cannot be done without it; empty for what only informs.
        name: of it, short.
        ok: whether it is well.
        found: what is there, for people.
        mend: what to do where it is not.
    """

    needed_for: str
    name: str
    ok: bool
    found: str
    mend: str


def can(findings: Sequence[Finding]) -> dict[str, bool]:
    """Return what can be done, by name: where nothing that it needs is amiss."""
    names = dict.fromkeys(each.needed_for for each in findings if each.needed_for)
    return {name: all(each.ok for each in findings if each.needed_for == name) for name in names}


def as_json(findings: Sequence[Finding]) -> str:
    """Return findings for programs."""
    return json.dumps({"can": can(findings), "findings": [asdict(each) for each in findings]}, indent=1)


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print findings for people, and how to mend what is amiss."""
    grid = Table("for", "what", "", "found", "how to mend it", box=None)
    for each in findings:
        verdict = "ok" if each.ok else "[bold]missing[/]" if each.needed_for else "[bold]look[/]"
        mend = "" if each.ok else each.mend
        # Found words may hold brackets, which are no markup of ours.
        grid.add_row(
            each.needed_for, each.name, verdict, each.found.replace("[", r"\["), mend.replace("[", r"\[")
        )
    console.print(grid)
    for name, works in can(findings).items():
        console.print(f"{name}: {'works' if works else 'does not work here'}")
