"""Transcripts: commands behind "$ ", each followed by what it printed.

In what was printed "..." stands for any text within a line and, alone on a line, for any number of lines. A
line that begins with "> " goes on with the command before it, as a shell shows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what it prints."""

    command: str
    output: str

    def matches(self, printed: str) -> bool:
        """Tell whether that is what was printed."""
        return re.fullmatch(_pattern(self.output), _tidy(printed)) is not None


def steps(text: str) -> list[Step]:
    """Return the commands of a transcript with their outputs.

    Raises:
        ValueError: it does not begin with a command.
    """
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif not found:
            raise ValueError(f"no command before {line!r}")
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [Step("\n".join(command), "\n".join(output)) for command, output in found]


def _pattern(output: str) -> str:
    lines = _tidy(output).splitlines()
    parts = [
        r"(?:.*\n)*?" if line == "..." else r".*?".join(map(re.escape, line.split("..."))) + r"\n"
        for line in lines
    ]
    return "".join(parts)


def _tidy(text: str) -> str:
    """Return a text with a line end behind each line, and no spaces or empty lines at the ends."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "".join(f"{line}\n" for line in lines)
