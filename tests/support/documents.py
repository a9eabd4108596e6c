"""The shell blocks of the documentation, and what is to happen to each of them.

A comment on the line before a block says so; readers do not see it:

    (none), or <!-- run: exit 1 -->   bash runs it, in one folder for the whole page; exit code 0, or that one
    <!-- serve: ready | http:// -->   each command is started and stays until the page ends; then it must stop
                                      by Ctrl-C. A text for each, which its output shows when it is ready
    <!-- try: http:// | ready -->     the same, but each is stopped before the next one starts
    <!-- not run: why -->             its `cans` commands are only held against the command line
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for folder in (".", "docs", "broker-config")
    for page in sorted((ROOT / folder).glob("*.md"))
    if page.name != "CHANGELOG.md"
]
HOW = ("run", "serve", "try", "not run")
# What the first line of a shell block begins with. Any other block shows a file or a formula.
_OURS = {"cans", "make", "pip", "python"}
_OTHERS = {"docker", "grafana", "mosquitto", "mosquitto_sub", "mqtt2prometheus", "node-red"}
_SYSTEM = {"cd", "curl", "echo", "git", "man", "printf", "sed", "sudo", "tar"}
_FIRST_WORDS = _OURS | _OTHERS | _SYSTEM
_SETS = re.compile(r"[A-Z_]+=")
_OPERATORS = frozenset({"&&", "||", ";", "|"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One shell block: where it stands, its text, how it is treated, and what the comment adds to that."""

    page: str
    line: int
    text: str
    how: str
    more: str

    @property
    def commands(self) -> list[str]:
        """The command lines, lines joined that belong together."""
        found, line = [], ""
        for piece in self.text.replace("\\\n", " ").splitlines():
            line = f"{line}\n{piece}" if line else piece
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # a quotation that goes on
                continue
            found += [line] if words else []
            line = ""
        return found

    @property
    def exit_code(self) -> int:
        """What `run` has to end with."""
        return int(self.more.removeprefix("exit ")) if self.more else 0

    @property
    def signs(self) -> list[str]:
        """What the output of each command shows when it is ready."""
        return [sign.strip() for sign in self.more.split("|")]


def shell_blocks(page: Path) -> Iterator[Block]:
    """Yield the shell blocks of a page, in order."""
    comment = ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            comment = token.content.strip().removeprefix("<!--").removesuffix("-->").strip()
        elif token.type in {"code_block", "fence"} and token.map is not None:
            first = (token.content.split() or [""])[0]
            if first in _FIRST_WORDS or _SETS.match(first):
                yield _block(page, token.map[0] + 1, token.content, comment)
            comment = ""
        elif token.level == 0:
            comment = ""


def _block(page: Path, line: int, text: str, comment: str) -> Block:
    how, _, more = comment.partition(":") if comment else ("run", "", "")
    if how not in HOW:
        raise ValueError(f"{page}:{line}: the comment above says {how!r}; it is one of {', '.join(HOW)}")
    return Block(page=str(page.relative_to(ROOT)), line=line, text=text, how=how, more=more.strip())


def calls_of_cans(command: str) -> Iterator[list[str]]:
    """Yield the arguments of every `cans` that a command line starts, `sudo` and redirections left away."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    part: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _OPERATORS:
            part.append(word)
            continue
        words = part[1:] if part[:1] == ["sudo"] else part
        if words and Path(words[0]).name == "cans":
            yield words[1 : words.index(">") if ">" in words else None]
        part = []
