"""Which networks can be cut: `python -m lab.models_table` tries `lab/networks` and writes docs/models.md.

Needs the libraries that the table names, none of which this project depends on; what is missing is said so.
Takes about ten seconds a network.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
}
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
    tried = [(entry, outcome) for entry, outcome in rows if outcome.ending != "not installed"]
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
        "Seconds are of the whole command, imports and checks included."
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
    seconds = f"{outcome.seconds:.0f}" if outcome.ending != "not installed" else ""
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
    parser.add_argument("--only", nargs="*", default=[], help="ids; the page is not written")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for one network")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time")
    parser.add_argument("--json", type=Path, help="all outcomes, for programs")
    parser.add_argument("--out", type=Path, default=PAGE, help="page to write")
    asked = parser.parse_args(arguments)
    chosen = [entry for entry in entries() if not asked.only or entry.id in asked.only]

    def tried(entry: Entry) -> Outcome:
        outcome = attempt(entry, asked.limit)
        print(f"{outcome.seconds:6.1f} s  {entry.id}: {_ENDINGS[outcome.ending]} {outcome.said}", flush=True)
        return outcome

    with ThreadPoolExecutor(asked.jobs) as pool:
        outcomes = list(pool.map(tried, chosen))
    if asked.json is not None:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(outcomes), indent=1))
    if not asked.only:
        asked.out.write_text(page(list(zip(chosen, outcomes, strict=True))), encoding="utf-8")


if __name__ == "__main__":
    main()
