"""What the pages of results say, in one place: `python -m lab.results_index` (part of `make results`).

Each page of docs/results/ has a title, a question and a paragraph "In short: ...", all written by the run
that it names. This puts them into the table of docs/results/README.md and of the project's README, between
two comments, so that no figure there is typed by hand; a test holds both files to the pages.
"""

import argparse
import re
from pathlib import Path

from lab.simulator.report import IN_SHORT

BEGIN = "<!-- results: written by python -m lab.results_index -->"
END = "<!-- end of results -->"
_HEADING = "| experiment | asks | what came out (simulated, unless it says measured) |"
_ROOT = Path(__file__).parent.parent
README, INDEX = _ROOT / "README.md", _ROOT / "docs" / "results" / "README.md"


def table(pages: Path, prefix: str = "") -> str:
    """Return the table of all pages that say something in short.

    Args:
        pages: folder of the pages.
        prefix: of the links, from where the table will stand.

    Raises:
        ValueError: no page does.
    """
    rows = []
    for page in sorted(pages.glob("*.md")):
        parts = page.read_text(encoding="utf-8").split("\n\n")
        said = next((part for part in parts if part.startswith(IN_SHORT)), None)
        if said is not None:
            # Links of a page lead elsewhere from where the table stands.
            asks = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", parts[1])
            rows.append(
                f"| [{page.stem}]({prefix}{page.name}) | {asks} | {said.removeprefix(IN_SHORT).strip()} |"
            )
    if not rows:
        raise ValueError(f"no page in {pages} says what came out: run `make results`")
    return "\n".join([_HEADING, "|---|---|---|", *rows])


def with_table(text: str, rows: str) -> str:
    """Return a file's text with the table between its two comments.

    Raises:
        ValueError: it lacks them.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the file needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{rows}\n{END}{after}"


def main() -> None:
    """Write both tables."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for path, prefix in ((README, "docs/results/"), (INDEX, "")):
        said = with_table(path.read_text(encoding="utf-8"), table(INDEX.parent, prefix))
        path.write_text(said, encoding="utf-8")


if __name__ == "__main__":
    main()
