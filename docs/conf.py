"""The documentation site, and manual pages from the help of each command: `make docs`."""

import importlib
from pathlib import Path

from sphinx.application import Sphinx

from cans.__main__ import COMMANDS
from cans.version import __version__

project = "CANS"
author = "the CANS project"
version = release = __version__
extensions = ["myst_parser", "sphinx_click", "sphinx_copybutton"]
# The sources are the files that a reader of the repository sees; links between them work in both places.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "broker-config/README.md"]
exclude_patterns = [".*", "out", "docs/pictures", "docs/results/*.html"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
highlight_language = "text"
# Quotes and dashes of examples stay what a shell understands.
smartquotes = False
html_theme = "furo"
html_title = f"CANS {release}"
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .c1"

_PAGES = Path(__file__).parent / "commands"
# These pages list their folder.
_FOLDERS = {"docs/adr/README", "docs/results/README"}


def _summary(name: str) -> str:
    command = getattr(importlib.import_module(f"cans.commands.{name}"), name)
    return command.get_short_help_str(limit=200).rstrip(".")


man_pages = [("docs/commands/cans", "cans", "collaborative DNN inference over MQTT", author, 1)] + [
    (f"docs/commands/{name}", f"cans-{name}", _summary(name), author, 1) for name in COMMANDS
]


def _write_command_pages(_: Sphinx) -> None:
    """One page a command, from its own help: made anew each time, never committed."""
    _PAGES.mkdir(exist_ok=True)
    pages = {"cans": ("cans.__main__:main", "cans", "none")} | {
        name: (f"cans.commands.{name}:{name}", f"cans {name}", "full") for name in COMMANDS
    }
    for name, (where, prog, nested) in pages.items():
        (_PAGES / f"{name}.rst").write_text(
            f"{prog}\n{'=' * len(prog)}\n\n.. click:: {where}\n   :prog: {prog}\n   :nested: {nested}\n",
            encoding="utf-8",
        )


def _list_folder(_: Sphinx, docname: str, source: list[str]) -> None:
    """Decisions and results are listed by the site; on the repository's page the folder is the list."""
    if docname in _FOLDERS:
        source[0] += "\n```{toctree}\n:glob:\n:maxdepth: 1\n*\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", _write_command_pages)
    app.connect("source-read", _list_folder)
