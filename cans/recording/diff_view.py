"""A difference between two recordings, for people or for programs."""

import dataclasses
import json
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from cans.recording.diff import Difference, answers_of, difference

_SHOWN = 10


def show_difference(first: Path, second: Path, out: TextIO, *, as_json: bool) -> bool:
    """Print it; return whether the answers are the same.

    Raises:
        ConfigurationError: one is not there, or no recording.
    """
    found = difference(answers_of(first), answers_of(second))
    if as_json:
        print(json.dumps({"same": found.same, **dataclasses.asdict(found)}), file=out)
    else:
        _tell(found, Console(file=out, highlight=False, soft_wrap=True))
    return found.same


def _tell(found: Difference, console: Console) -> None:
    if not found.compared:
        console.print(
            "no request is answered in both: record infer/# and reply/#, replay infer/#, and give the edge "
            "worker the recorded one's --id (cans recording info) and the replay's --prefix"
        )
        return
    console.print(
        f"{found.compared} requests are answered in both: {len(found.other)} by another class, {found.exact} "
        f"the same to the bit, values off by at most {found.off:.2g} of an output's largest"
    )
    if found.reasons:
        said = ", ".join(f"{reason} {count}" for reason, count in sorted(found.reasons.items()))
        console.print(
            f"rejected in the second: {said}; a replay waits for no answer: --speed 0.5 gives each more time"
        )
    console.print(f"so the answers are {'the same' if found.same else 'NOT the same'}")
    for count, words in (
        (found.unanswered, "are answered in the first alone"),
        (found.rejected, "are rejected in the second alone"),
        (found.alone, "are not in the second at all"),
    ):
        if count:
            console.print(f"{count} requests {words}")
    for device, request in found.other[:_SHOWN]:
        console.print(f"  another class: {device}, request {request}", markup=False)
    table = Table("", "first, ms", "second, ms", "ratio")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, (one, two) in (
        ("request to answer, p50", found.waited_ms),
        ("request to answer, p95", found.waited_p95_ms),
        ("tail, p50", found.tail_ms),
    ):
        table.add_row(name, f"{one:.2f}", f"{two:.2f}", f"{two / one:.2f}" if one > 0.0 else "")
    console.print(table)
