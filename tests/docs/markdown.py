"""What a Markdown document holds that can be tried: blocks of commands, commands within sentences, links.

Commands stand in fenced blocks. The first word behind the fence says what the block is, the others where it
runs:

    ```sh                 a script, in a checkout
    ```console            the same as a transcript: commands behind "$ ", and what each prints
    ```sh cluster         where kubectl and helm lead to a landscape
    ```console node       on a node
    ```sh machine         on a machine where all ports are free, with a registry
    ```sh server          a command that goes on; it runs until the end of the document

Blocks of other languages hold no commands. Indented blocks and raw HTML would be a way around that, so there
are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "manifests/README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("tests/*/README.md")),
)
"""In the order in which their commands run."""


COMMANDS = frozenset({"sh", "console"})
DATA = frozenset({"text", "yaml", "json", "toml", "ini", "promql"})
PLACES = frozenset({"checkout", "cluster", "node", "machine"})
PROGRAM = re.compile(
    r"\./toxw|bash|containerd|crane|crictl|ctr|curl|docker|git|helm|journalctl|kubectl|npm|openssl|osv-scanner"
    r"|pip|promtool|python3?|skopeo|spegel|sudo|systemctl|tox"
)
"""First words that make a command of what is quoted within a sentence, when more words follow."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    document: Path
    line: int
    """Of the fence, from 1."""
    language: str
    place: str
    """Where it runs."""
    goes_on: bool
    """Whether it is a server."""
    text: str

    @property
    def where(self) -> str:
        """Where it stands."""
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Inline:
    """A command quoted within a sentence."""

    document: Path
    line: int
    text: str

    @property
    def where(self) -> str:
        """Where it stands."""
        return f"{self.document.relative_to(ROOT)}:{self.line}"


class MarkdownError(Exception):
    """A document has something that would not be run; the message says where."""


def blocks(document: Path) -> Iterator[Block]:
    """Yield all fenced blocks.

    Raises:
        MarkdownError: a block could hold commands and yet would not be run.
    """
    for token in _tokens(document):
        where = f"{document.relative_to(ROOT)}:{_line(token)}"
        if token.type == "code_block":
            raise MarkdownError(f"{where}: an indented block; fence it, and say what it is")
        if token.type == "html_block" and not token.content.lstrip().startswith("<!--"):
            raise MarkdownError(f"{where}: HTML")
        if token.type == "fence":
            yield _block(document, token, where)


def inline_commands(document: Path) -> Iterator[Inline]:
    """Yield what is quoted within sentences and is a command."""
    for token in _tokens(document):
        for child in token.children or ():
            if child.type == "code_inline" and is_command(child.content):
                yield Inline(document, _line(token), child.content)


def is_command(text: str) -> bool:
    """Tell whether a line calls a program with arguments, perhaps with variables set before it."""
    words = text.split()
    while words and "=" in words[0] and words[0].partition("=")[0].isupper():
        words = words[1:]
    return words[:1] == ["./toxw"] or (len(words) > 1 and PROGRAM.fullmatch(words[0]) is not None)


def links(document: Path) -> Iterator[str]:
    """Yield the targets of links and images."""
    for token in _tokens(document):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                yield str(target)


def headings(document: Path) -> set[str]:
    """Return the anchors that headings get, as GitHub makes them."""
    tokens = _tokens(document)
    titles = [
        tokens[number + 1].content for number, token in enumerate(tokens) if token.type == "heading_open"
    ]
    return {
        "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
        for title in titles
    }


def _block(document: Path, token: Token, where: str) -> Block:
    language, *rest = token.info.split() or [""]
    if language in DATA and not rest:
        for line in token.content.splitlines():
            if line.startswith("$ ") or is_command(line):
                raise MarkdownError(f"{where}: a command in a block of {language}: {line}")
    elif language not in COMMANDS:
        raise MarkdownError(f"{where}: {token.info!r} does not say what the block is")
    goes_on = "server" in rest
    places = [word for word in rest if word != "server"] or ["checkout"]
    if len(places) > 1 or places[0] not in PLACES:
        raise MarkdownError(f"{where}: {token.info!r} does not say where to run it")
    return Block(document, _line(token), language, places[0], goes_on, token.content)


@cache
def _tokens(document: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))


def _line(token: Token) -> int:
    return (token.map or [0])[0] + 1
