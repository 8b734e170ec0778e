"""What a person sees: steps, progress, a table; colours and moving bars are for terminals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from demo.puller import Fetched, Part
from demo.upstream import Seen

_WIDTH = 100
"""Columns that are used at most."""
_LABEL = 14
_INDENT = 3 + _LABEL
_DIGEST = 12
"""Hexadecimal digits that tell digests apart well enough."""


@dataclass(frozen=True, slots=True)
class Pull:
    """What one node's pull was like."""

    node: str
    fetched: Sequence[Fetched]
    sources: Mapping[str, str]
    """By digest: from whom."""
    seconds: float
    seen: Seen | None
    """What upstream was asked for meanwhile; None when it had stopped."""


class PullView:
    """Shows how a pull goes on; a ``puller.Watch``."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rows: dict[str, TaskID] = {}

    def begins(self, part: Part) -> None:
        """See Watch."""
        self._rows[part.digest] = self._progress.add_task(
            part.name, total=part.size, digest=short(part.digest), size=size(part.size), took="", source=""
        )

    def moves(self, part: Part, size: int) -> None:
        """See Watch."""
        self._progress.update(self._rows[part.digest], completed=size)

    def ends(self, fetched: Fetched) -> None:
        """See Watch."""
        self._progress.update(self._rows[fetched.part.digest], took=duration(fetched.seconds))

    def came_from(self, sources: Mapping[str, str]) -> None:
        """Say from whom each digest came."""
        for digest, row in self._rows.items():
            self._progress.update(row, source=f"from {sources[digest]}")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave to the program what it makes of a reader that has gone."""
        raise BrokenPipeError


class Report:
    """Writes to standard output; raises BrokenPipeError when nobody reads it any more."""

    def __init__(self) -> None:
        self._console = _Console(highlight=False)
        self._console.width = min(self._console.width, _WIDTH)
        self._steps = 0

    @property
    def color(self) -> bool:
        """Whether colours are wanted."""
        return self._console.color_system is not None and not self._console.no_color

    def title(self, text: str) -> None:
        """Say what this is all about."""
        self._console.print(Text(text, style="bold"))

    def step(self, text: str) -> None:
        """Begin a step of the story."""
        self._steps += 1
        self.gap()
        self._console.print(Text(f"{self._steps}. {text}", style="bold cyan"))

    def line(self, label: str, *texts: str | Text) -> None:
        """Say something about something; each text on lines of its own."""
        left = f"   {label:<{_LABEL}}"
        for text in texts:
            whole = text if isinstance(text, Text) else Text(text)
            for line in whole.wrap(self._console, self._console.width - _INDENT, overflow="fold"):
                line.rstrip()
                self._console.print(Text.assemble((left, "bold"), line), soft_wrap=True)
                left = " " * _INDENT

    def gap(self) -> None:
        """Leave a line empty."""
        self._console.print()

    def note(self, text: str) -> None:
        """Explain."""
        self._console.print(Text(f"   {text}", style="dim"), soft_wrap=True)

    def plain(self, text: str) -> None:
        """Write a text as it is, lines of any length."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show, on a terminal, that something takes a moment."""
        with self._console.status(Text(text, style="dim"), spinner="line"):
            yield

    @contextmanager
    def pulling(self, node: str, text: str) -> Iterator[PullView]:
        """Show a pull while entered."""
        self.gap()
        self.line(node, text)
        with Progress(*self._columns(), console=self._console) as progress:
            yield PullView(progress)

    def table(self, pulls: Sequence[Pull]) -> None:
        """Show what came from where, in what time."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("")
        table.add_column("size", justify="right")
        for pull in pulls:
            table.add_column(pull.node)
        parts = [fetched.part for fetched in pulls[0].fetched]
        for number, part in enumerate(parts):
            cells = (_cell(pull.sources[part.digest], pull.fetched[number].seconds) for pull in pulls)
            table.add_row(part.name, size(part.size), *cells)
        total = sum(part.size for part in parts)
        table.add_row("all", size(total), *(duration(pull.seconds) for pull in pulls), style="bold")
        seen = [pull.seen for pull in pulls]
        table.add_row("upstream", "", *(f"{one.requests} requests" if one else "stopped" for one in seen))
        table.add_row("saw", "", *(size(one.bytes) if one else "" for one in seen))
        self._console.print(table)
        origins = Counter[bool]()
        for pull in pulls:
            for part in parts:
                origins[pull.sources[part.digest] == "upstream"] += part.size
        self.gap()
        self.note(f"upstream sent {size(origins[True])}, the nodes {size(origins[False])} to each other")

    def _columns(self) -> list[ProgressColumn]:
        bar = [BarColumn(24)] if self._console.is_terminal else []
        return [
            TextColumn("   {task.description:<8}"),
            TextColumn("[dim]{task.fields[digest]}"),
            *bar,
            TextColumn("{task.fields[size]:>8}"),
            TextColumn("{task.fields[took]:>7}"),
            TextColumn("{task.fields[source]}"),
        ]


def faint(text: str) -> Text:
    """Return a text that is beside the point."""
    return Text(text, style="dim")


def short(digest: str) -> str:
    """Return the beginning of a digest."""
    return digest.removeprefix("sha256:")[:_DIGEST]


def size(count: int) -> str:
    """Write a number of bytes for a person."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1000)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Write a time for a person."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _cell(source: str, seconds: float) -> str:
    return f"{source} {duration(seconds):>6}"
