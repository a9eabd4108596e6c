"""A recording in figures, for people or for programs."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from cans.recording.contents import NODES, Contents, contents_of

_SHOWN = 20


def show(path: Path, out: TextIO, *, as_json: bool) -> None:
    """Print what a recording holds.

    Raises:
        ConfigurationError: no such file, or no recording.
    """
    found = contents_of(path)
    if as_json:
        print(json.dumps(_plain(path, found)), file=out)
        return
    console = Console(file=out, highlight=False, soft_wrap=True)
    assert found.ending is not None
    console.print(f"{path}: {found.ending.kind}, {path.stat().st_size / 1e6:.2f} MB", markup=False)
    for name, value in found.about.items():
        console.print(f"  {name}: {value}", markup=False)
    if found.last_ns:
        began = datetime.fromtimestamp(found.first_ns / 1e9, UTC)
        seconds = (found.last_ns - found.first_ns) / 1e9
        console.print(f"  {seconds:.1f} s from {began:%Y-%m-%d %H:%M:%S} UTC on, {found.retained} retained")
    for level in NODES:
        if found.nodes.get(level):
            console.print(f"  {level}: {', '.join(sorted(found.nodes[level])[:_SHOWN])}", markup=False)
    table = Table("topic", "messages", "bytes", "bytes each")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in sorted(found.rows.items()):
        table.add_row(name, f"{row.messages:,}", f"{row.bytes:,}", f"{row.bytes / row.messages:,.0f}")
    console.print(table)
    _ends(found, console)


def _ends(found: Contents, console: Console) -> None:
    """Say what may be missing."""
    assert found.ending is not None
    for gap in found.gaps:
        at_s = (gap.steady_ns - found.first_ns) / 1e9
        how = f"for {gap.seconds:.1f} s" if gap.seconds else f"{gap.lost} messages lost"
        console.print(f"  a gap at {at_s:.1f} s: {gap.kind.replace('_', ' ')}, {how}")
    if found.ending.detail:
        console.print(f"  {found.ending.detail}, at byte {found.ending.at}", markup=False)
    if found.ending.kind == "cut short":
        console.print(
            "  it is still being written, or its recorder was killed: cans recording repair", markup=False
        )


def _plain(path: Path, found: Contents) -> dict[str, Any]:
    assert found.ending is not None
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "about": found.about,
        "ending": found.ending.kind,
        "readable_bytes": found.ending.at,
        "messages": found.messages,
        "retained": found.retained,
        "nodes": {level: sorted(found.nodes.get(level, ())) for level in NODES},
        "seconds": (found.last_ns - found.first_ns) / 1e9,
        "gaps": [{"kind": gap.kind, "lost": gap.lost, "seconds": gap.seconds} for gap in found.gaps],
        "topics": {
            name: {"messages": row.messages, "bytes": row.bytes} for name, row in sorted(found.rows.items())
        },
    }
