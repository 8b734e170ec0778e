"""What ``--help`` prints and what docs/daemon.md says of the flags, both from the table of flags."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from daemon.cli.commands import COMMANDS, Common
from daemon.cli.flags import NamedFlag, flags_of

_INTRODUCTION = """\
spegel lets the nodes of a cluster pull images from each other.

Usage: spegel [--log-level LEVEL] COMMAND [FLAGS]

Commands:
"""
_FOOTER = """\
A flag can also be set by its environment variable, --registry-addr by REGISTRY_ADDR; the flag goes first.
Lists take several values behind one flag, or a comma-separated environment variable. Durations are
written 20ms, 1m30s, 1.5h.

Exit codes: 0 done or stopped by a signal, 1 failed, 2 the command line cannot be used.
"""


def help_text(command: str | None) -> str:
    """Return the help on a command, or on the program."""
    if command is None:
        rows = [(name, _summary(kind)) for name, kind in COMMANDS.items()]
        options = [_row(named) for named in flags_of(Common)]
        more = "\n`spegel COMMAND --help` tells the flags of a command.\n\n"
        return f"{_INTRODUCTION}{_columns(rows)}\nFlags:\n{_columns(options)}{more}{_FOOTER}"
    kind = COMMANDS[command]
    rows = [_row(named) for named in (*flags_of(kind), *flags_of(Common))]
    usage = f"Usage: spegel {command} [FLAGS]\n\nExample:\n  {kind.example}\n"
    return f"{_summary(kind)}\n\n{usage}\nFlags:\n{_columns(rows)}\n{_FOOTER}"


def reference() -> str:
    """Return the reference of all flags, as Markdown."""
    return "\n".join(_markdown())


def _markdown() -> Iterator[str]:
    for name, kind in {"(all commands)": Common, **COMMANDS}.items():
        yield f"### {name if kind is Common else f'`spegel {name}`'}\n\n{_summary(kind)}\n"
        yield "| flag | environment variable | default | |\n|---|---|---|---|"
        for named in flags_of(kind):
            variable = f"`{named.variable}`" if named.variable else ""
            yield f"| `--{named.option}` | {variable} | {_default(named, quote='`')} | {named.flag.help} |"
        yield ""


def _summary(command: type) -> str:
    return (command.__doc__ or "").strip()


def _row(named: NamedFlag) -> tuple[str, str]:
    default = _default(named)
    value = "" if named.flag.is_switch else " VALUE..." if named.flag.many else " VALUE"
    return f"--{named.option}{value}", f"{named.flag.help}{f' [{default}]' if default else ''}"


def _default(named: NamedFlag, quote: str = "") -> str:
    if named.flag.required:
        return "required"
    return f"{quote}{named.flag.default}{quote}" if named.flag.default else ""


def _columns(rows: list[tuple[str, str]]) -> str:
    """Return two columns, the right one wrapped below itself or, where the left is wide, on its own line."""
    lines = []
    for left, right in rows:
        indent = " " * 28
        first = f"  {left}".ljust(27) + " "
        if len(first) > 28:
            lines.append(first.rstrip())
            first = indent
        lines.append(textwrap.fill(right, 100, initial_indent=first, subsequent_indent=indent))
    return "\n".join(lines) + "\n"
