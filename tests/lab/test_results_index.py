"""README and index hold what the pages of results say, and nothing that was typed by hand."""

from pathlib import Path

import pytest

from lab.results_index import BEGIN, END, INDEX, README, table, with_table

PAGE = "# Links\n\nWho wins?\n\nIn short: `a` by 3 %.\n\n| policy | mean |\n"


@pytest.mark.parametrize(("path", "prefix"), [(README, "docs/results/"), (INDEX, "")])
def test_the_figures_are_those_of_the_pages(path: Path, prefix: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == with_table(text, table(INDEX.parent, prefix)), "run python -m lab.results_index"


def test_a_page_becomes_a_row_and_one_that_says_nothing_does_not(tmp_path: Path) -> None:
    (tmp_path / "links.md").write_text(PAGE)
    (tmp_path / "README.md").write_text("# Index\n\nNothing.\n")
    rows = table(tmp_path, "there/")
    assert rows.splitlines()[-1] == "| [links](there/links.md) | Who wins? | `a` by 3 %. |"
    assert with_table(f"x\n{BEGIN}\nold\n{END}\ny", rows) == f"x\n{BEGIN}\n{rows}\n{END}\ny"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make results"):
        table(tmp_path)
    for text in ("nothing", BEGIN, END):
        with pytest.raises(ValueError, match="needs the lines"):
            with_table(text, "rows")
