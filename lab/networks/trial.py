"""One network of the trial: `cans partition` in a process of its own, so that none ends the others."""

import subprocess
import sys
import time
from typing import Any, Literal

import msgspec

from lab.networks.entries import Entry

Ending = Literal["cut", "refused", "not installed", "not exact", "failed", "too slow", "not tried"]
# The last lines of a traceback say what happened.
_LINES_KEPT = 12


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one network.

    Attributes:
        id: of the entry.
        version: of its library.
        ending: "cut" is every place exact; "refused" is one sentence; "failed" is a bug.
        said: the sentence, or the end of a traceback.
        seconds: for all: imports, weights, tracing, checks.
        traced, nodes, macs, macs_by_torch: as `cans partition --json` has them.
        places: where it can be cut at all, without input and end.
        useful: how many of them can ever be best.
        most_tensors: that cross at one of them.
        exact: by batch size, whether all places are exact.
        not_checked: by batch size, why not.
    """

    id: str
    version: str | None
    ending: Ending
    said: str = ""
    seconds: float = 0.0
    traced: str = ""
    nodes: int = 0
    macs: int = 0
    macs_by_torch: int = 0
    places: int = 0
    useful: int = 0
    most_tensors: int = 0
    exact: dict[str, bool] = {}
    not_checked: dict[str, str] = {}


def attempt(entry: Entry, limit_s: float) -> Outcome:
    """Run `cans partition` on an entry, for at most `limit_s` seconds."""
    if entry.version is None:
        return Outcome(id=entry.id, version=None, ending="not installed")
    inputs = [part for text in entry.inputs for part in ("--input", text)]
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "cans",
        "partition",
        entry.model,
        *inputs,
        "--json",
        "--no-measure",
    ]
    started = time.perf_counter()
    try:
        done = subprocess.run(  # noqa: S603 - our own table
            command, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(
            id=entry.id,
            version=entry.version,
            ending="too slow",
            said=f"no answer within {limit_s:g} s",
            seconds=limit_s,
        )
    seconds = time.perf_counter() - started
    if done.returncode in {0, 1} and done.stdout.startswith("{"):
        return outcome_of(entry, msgspec.json.decode(done.stdout), seconds)
    return Outcome(
        id=entry.id,
        version=entry.version,
        ending="refused" if done.returncode == 2 else "failed",
        said="\n".join(done.stderr.strip().splitlines()[-_LINES_KEPT:]) or f"exit code {done.returncode}",
        seconds=seconds,
    )


def outcome_of(entry: Entry, seen: dict[str, Any], seconds: float) -> Outcome:
    """Return what the object of `cans partition --json` says of an entry."""
    cuts = seen["cuts"]
    inner = [cut for cut in cuts[1:-1] if cut["useful"]]
    sizes = sorted({size for cut in cuts for size in cut["exact"]}, key=int)
    exact = {size: all(cut["exact"].get(size, True) for cut in cuts) for size in sizes}
    return Outcome(
        id=entry.id,
        version=entry.version,
        ending="cut" if all(exact.values()) else "not exact",
        seconds=seconds,
        traced=seen["traced"],
        nodes=seen["nodes"],
        macs=seen["macs"],
        macs_by_torch=seen["macs_by_torch"],
        places=len(cuts) - 2,
        useful=len(inner),
        most_tensors=max((len(cut["tensors"]) for cut in inner), default=0),
        exact=exact,
        not_checked=seen["refused"],
    )
