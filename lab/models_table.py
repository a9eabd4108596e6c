"""Which networks can be cut: `python -m lab.models_table` tries `lab/networks` and writes docs/models.md.

Needs the libraries that the table names, none of which this project depends on; what is missing is said so.
Takes about ten seconds a network, on a quiet machine. What has ended is kept in --json FILE at once; --resume
takes it from there, so a trial may be stopped at any time. What was not tried is said to be so.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import msgspec

from lab.networks.entries import Entry, entries
from lab.networks.trial import Outcome, attempt

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
LIMIT_S = 240.0
_ENDINGS = {
    "cut": "exact",
    "not exact": "NOT exact",
    "refused": "refused",
    "failed": "FAILED",
    "too slow": "no answer",
    "not installed": "not installed",
    "not tried": "not tried",
}
_NOT_TRIED = {"not installed", "not tried"}
_HEAD = (
    "network",
    "library",
    "family",
    "outcome",
    "traced",
    "nodes",
    "places",
    "useful",
    "tensors",
    "MMAC",
    "MACs over torch's",
    "s",
)


def page(rows: Sequence[tuple[Entry, Outcome]]) -> str:
    """Return the page."""
    tried = [(entry, outcome) for entry, outcome in rows if outcome.ending not in _NOT_TRIED]
    exact = [(entry, outcome) for entry, outcome in tried if outcome.ending == "cut"]
    refused = [outcome for _, outcome in tried if outcome.ending == "refused"]
    other = len(tried) - len(exact) - len(refused)
    libraries = len({entry.library for entry, _ in tried})
    families = len({entry.family for entry, _ in tried})
    asks = (
        "Which networks of other people's libraries does `cans partition` cut, with drawn weights and small "
        "sizes? Written by `python -m lab.models_table`; the networks stand in "
        "[lab/networks/networks.toml](../lab/networks/networks.toml), each as the command takes it."
    )
    in_short = (
        f"In short: of {len(tried)} networks of {families} families from {libraries} libraries, {len(exact)} "
        f"are cut and exact to the bit wherever they can be cut, {len(refused)} are refused in one sentence, "
        f"{other} end in another way."
    )
    legend = (
        "Exact: head, then a copy of what crosses, then tail give the bits of the whole network, with batch "
        "1 and 8 unless a note says otherwise. Places: where it can be cut; useful: those that can be best "
        "for some link, because no earlier one sends less; a text of some tokens is so small that none is. "
        "Tensors: the most that cross at a useful place. MACs are held against `torch.utils.flop_counter`, "
        "which counts no LSTM of a processor. "
        "Seconds are of the whole command, imports and checks included. With `--resume` a page holds several "
        "runs, perhaps of several versions of this code."
    )
    parts = ["# Networks that can be cut", asks, in_short, legend, _table(rows)]
    notes = _notes(rows)
    if notes:
        parts += ["## Refusals and notes", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[tuple[Entry, Outcome]]) -> str:
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    lines += ["| " + " | ".join(_cells(entry, outcome)) + " |" for entry, outcome in rows]
    return "\n".join(lines)


def _cells(entry: Entry, outcome: Outcome) -> tuple[str, ...]:
    library = f"{entry.library} {outcome.version or ''}".rstrip()
    start = (entry.id, library, entry.family, _ENDINGS[outcome.ending])
    seconds = f"{outcome.seconds:.0f}" if outcome.ending not in _NOT_TRIED else ""
    if not outcome.traced:
        return (*start, *("" for _ in _HEAD[len(start) : -1]), seconds)
    ratio = f"{outcome.macs / outcome.macs_by_torch:.3f}" if outcome.macs_by_torch else "none counted"
    counts = (outcome.nodes, outcome.places, outcome.useful, outcome.most_tensors)
    numbers = (*map(str, counts), f"{outcome.macs / 1e6:.1f}", ratio)
    return (*start, outcome.traced, *numbers, seconds)


def _notes(rows: Sequence[tuple[Entry, Outcome]]) -> list[str]:
    notes = []
    for entry, outcome in rows:
        said = " ".join(outcome.said.split())
        if said:
            notes.append(f"- **{entry.id}**: {said}")
        notes += [f"- **{entry.id}**, batch {size}: {why}" for size, why in outcome.not_checked.items()]
        wrong = [size for size, same in outcome.exact.items() if not same]
        if wrong:
            notes.append(f"- **{entry.id}** gives other bits with batch {', '.join(wrong)}")
    return notes


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the networks, show each as it ends, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="ids of the networks to try now")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for one network")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time")
    parser.add_argument("--json", type=Path, default=Path("out/models.json"), help="keeps all outcomes")
    parser.add_argument("--resume", action="store_true", help="take what --json holds as tried")
    parser.add_argument("--out", type=Path, default=PAGE, help="page to write")
    asked = parser.parse_args(arguments)
    known = _kept(asked.json) if asked.resume else {}
    wanted = [each for each in entries() if not asked.only or each.id in asked.only]
    chosen = [each for each in wanted if each.id not in known]
    writing = Lock()

    def tried(entry: Entry) -> None:
        outcome = attempt(entry, asked.limit)
        ending = f"{outcome.seconds:6.1f} s  {entry.id}: {_ENDINGS[outcome.ending]} {outcome.said}"
        print(" ".join(ending.split()), flush=True)
        with writing:
            known[entry.id] = outcome
            asked.json.parent.mkdir(parents=True, exist_ok=True)
            asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(list(known.values())), indent=1))

    with ThreadPoolExecutor(asked.jobs) as pool:
        try:
            list(pool.map(tried, chosen))
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            print("stopped: --resume goes on from here", flush=True)
    never = {each.id: Outcome(id=each.id, version=None, ending="not tried") for each in entries()}
    rows = [(each, known.get(each.id, never[each.id])) for each in entries()]
    asked.out.write_text(page(rows), encoding="utf-8")


def _kept(path: Path) -> dict[str, Outcome]:
    """Return what an earlier trial has kept, by id."""
    if not path.is_file():
        return {}
    return {each.id: each for each in msgspec.json.decode(path.read_bytes(), type=list[Outcome])}


if __name__ == "__main__":
    main()
