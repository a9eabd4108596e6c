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
        tried: whether it could be looked at; what could not is no fault, and not well either.
    """

    needed_for: str
    name: str
    ok: bool
    found: str
    mend: str
    tried: bool = True


def informs(name: str, *, ok: bool, found: str, mend: str, tried: bool = True) -> Finding:
    """Return what only informs."""
    return Finding("", name, ok=ok, found=found, mend=mend, tried=tried)


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
        mend = "" if each.ok and each.tried else each.mend
        # Found words may hold brackets, which are no markup of ours.
        grid.add_row(
            each.needed_for,
            each.name,
            _verdict(each),
            each.found.replace("[", r"\["),
            mend.replace("[", r"\["),
        )
    console.print(grid)
    for name, works in can(findings).items():
        console.print(f"{name}: {'works' if works else 'does not work here'}")


def _verdict(finding: Finding) -> str:
    if finding.ok:
        return "ok" if finding.tried else "?"
    return "[bold]missing[/]" if finding.needed_for else "[bold]look[/]"
