"""The documentation builds without a warning, and every command has its page and manual page."""

import subprocess
import sys
from pathlib import Path

import pytest

from cans.__main__ import COMMANDS
from tests.support.documents import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site in `html`, manual pages in `man`, as `make docs` builds them."""
    folder = tmp_path_factory.mktemp("site")
    for kind in ("html", "man"):
        trees = ["-d", str(folder / "trees"), ".", str(folder / kind)]
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", kind, "-c", "docs", *trees],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_pages_from_its_help(built: Path, name: str) -> None:
    manual = (built / "man" / f"cans-{name}.1").read_text(encoding="utf-8")
    assert "SH NAME" in manual
    assert "Usage" in manual
    assert (built / "html" / "docs" / "commands" / f"{name}.html").is_file()


def test_examples_can_be_copied(built: Path) -> None:
    page = (built / "html" / "docs" / "commands" / "record.html").read_text(encoding="utf-8")
    assert "--max-size 1000 --rotate" in page
    assert "&#39;cans/v1/feedback/#&#39;" in page or "'cans/v1/feedback/#'" in page


def test_every_page_is_in_the_site(built: Path) -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "broker-config" / "README.md"]
    assert len(pages) > 60
    for page in pages:
        assert (built / "html" / page.relative_to(ROOT).with_suffix(".html")).is_file(), page
