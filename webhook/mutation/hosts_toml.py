"""The local host comes first in a containerd hosts.toml, and every other byte of the file stays.

containerd orders the hosts of a file in one of two ways (``core/remotes/docker/config/hosts.go``):

* 1.6 and 1.7 (go-toml v1) sort them by the line of their first mention: the header of the host or of one of
  its sub-tables, or a dotted key. A host that is an inline table has no line: it comes before all others, and
  two of them come in random order. Escapes in quoted keys are not decoded.
* 2.0 and later take the headers ``[host."x"]`` and ``[host."x".header]`` in their order. A host without any
  header is not asked at all.

So the local host becomes a table with a header in front of the first header of a host. Where a dotted key or
an inline table at the root of the document speaks of hosts earlier, no header may stand in front of it (it
would take in the keys that follow), and the local host is written in the same form. If such a document has
hosts with headers as well, an empty ``[host."x".header]`` in front of them makes containerd 2 ask the local
host first.

Out of reach remain inline tables: 1.6 and 1.7 ask them before a local host that has a header, or in random
order where all hosts share one inline table; 2.0 and later never see them.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from webhook.mutation.host_url import is_local
from webhook.mutation.model import LocalHost
from webhook.mutation.toml_spans import Expression, expressions, inline_entries

_BYTE_ORDER_MARK = "\ufeff"
_ERROR_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
# The time tomllib takes for a dotted key grows with the square of its parts: 24 s for one of 40 KB.
_LONG_KEY = re.compile(r"^(?:[^.#=\n]*+\.){200}", re.MULTILINE)

_Edit = tuple[int, int, str]
"""Start and end of the text to be replaced, and its replacement."""


class HostsTomlError(ValueError):
    """A hosts.toml cannot be edited: it is not TOML, or its ``host`` is not a table of tables.

    ``line`` and ``column`` count from 1.
    """

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


def prepend(text: str, host: LocalHost) -> str:
    """Make the local host the first host of a hosts.toml and remove its copies, however they are spelled.

    The result is the text with the local host inserted (in one piece, save for the case named above) and its
    copies cut out. Where it already stands first and says the same, the result is the text itself.

    Raises:
        HostsTomlError: the text is not TOML (as this Python's tomllib reads it), or a host is no table.
    """
    body = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        return text if (result := _prepend(body, host)) is body else text[: len(text) - len(body)] + result
    except RecursionError:  # of tomllib, or of repr
        raise HostsTomlError(1, 1, "nested too deeply") from None


def _prepend(text: str, host: LocalHost) -> str:
    before = _read(text)
    if _is_in_force(before, host):
        return text
    result = _apply(text, _edits(before, host))
    after = _read(result)
    if not _is_in_force(after, host) or _others(after, host) != _others(before, host):
        raise HostsTomlError(1, 1, f"no place found for the host {host.url} that leaves the others alone")
    return result


@dataclass(frozen=True, slots=True)
class _Document:
    text: str
    content: dict[str, Any]
    expressions: list[Expression]

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        hosts: dict[str, dict[str, Any]] = self.content.get("host", {})
        return hosts

    def copies(self, host: LocalHost) -> set[str]:
        """Return the names under which the local host stands in the document."""
        return {name for name in self.hosts if is_local(name, host)}


def _read(text: str) -> _Document:
    document = _Document(text, _parse(text), expressions(text))
    if not isinstance(document.hosts, dict):
        raise _error_at(document, ("host",), "host must be a table")
    for name, value in document.hosts.items():
        if not isinstance(value, dict):
            raise _error_at(document, ("host", name), f"host {name!r} must be a table")
    return document


def _parse(text: str) -> dict[str, Any]:
    if long_key := _LONG_KEY.search(text):
        raise HostsTomlError(*_line_and_column(text, long_key.start()), "a key of more than 200 parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        line, column = _line_and_column(text, len(text))
        if position := _ERROR_POSITION.search(reason):
            reason = reason[: position.start()]
            if position[1]:
                line, column = int(position[1]), int(position[2])
        raise HostsTomlError(line, column, reason) from error
    except ValueError:  # int() refuses it
        raise HostsTomlError(1, 1, "an integer has too many digits") from None


def _error_at(document: _Document, key: tuple[str, ...], reason: str) -> HostsTomlError:
    mentions = [expression for expression in document.expressions if expression.key[:1] == key[:1]]
    exact = (expression for expression in mentions if expression.key[: len(key)] == key)
    start = next(exact, mentions[0]).start
    indentation = re.compile(r"\s*").match(document.text, start)
    return HostsTomlError(
        *_line_and_column(document.text, indentation.end() if indentation else start), reason
    )


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _is_in_force(document: _Document, host: LocalHost) -> bool:
    """Tell whether the local host stands first and just as it should, and no copy of it further down."""
    if next(iter(document.hosts), None) != host.url or document.copies(host) != {host.url}:
        return False
    says = {field: value for field, value in document.hosts[host.url].items() if value != {}}
    if says != {"capabilities": list(host.capabilities)}:
        return False
    with_header = (e.key[1] for e in document.expressions if e.is_header and _is_host(e))
    return next(with_header, host.url) == host.url


def _others(document: _Document, host: LocalHost) -> str:
    """Return all that is to stay, as a text: in it NaN equals NaN, 1 is not true, and the order counts."""
    copies = document.copies(host)
    hosts = [item for item in document.hosts.items() if item[0] not in copies]
    return repr((hosts, {key: value for key, value in sorted(document.content.items()) if key != "host"}))


def _is_host(expression: Expression) -> bool:
    return len(expression.key) > 1 and expression.key[0] == "host"


def _edits(document: _Document, host: LocalHost) -> list[_Edit]:
    text = document.text
    newline = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    capabilities = "capabilities = [{}]".format(", ".join(f'"{name}"' for name in host.capabilities))
    table = f'[host."{host.url}"]{newline}{capabilities}{newline}'

    own: list[Expression] = []
    others: list[Expression] = []
    copies = document.copies(host)
    for expression in document.expressions:
        if expression.key[0] == "host":
            is_own = len(expression.key) > 1 and expression.key[1] in copies
            (own if is_own else others).append(expression)

    edits = [(expression.start, expression.end, "") for expression in own]
    own_header = next((expression for expression in own if expression.is_header), None)
    first = others[0] if others else None
    if own_header and (first is None or own_header.start < first.start):
        edits.append((own_header.start, own_header.start, table))
    elif first is None:
        unterminated = newline if text and not text.endswith("\n") else ""
        blank_line = newline if text else ""
        edits.append((len(text), len(text), unterminated + blank_line + table))
    elif first.is_header:
        edits.append(_insert_above(document, first, table + newline))
    elif first.key == ("host",):
        edits += _inline_edits(text, first, copies, f'"{host.url}" = {{ {capabilities} }}')
    else:
        edits.append(_insert_above(document, first, f'host."{host.url}".{capabilities}{newline}'))
        if with_header := next((expression for expression in others if expression.is_header), None):
            header = f'[host."{host.url}".header]{newline}{newline}'
            edits.append(_insert_above(document, with_header, header))
    return edits


def _insert_above(document: _Document, expression: Expression, piece: str) -> _Edit:
    """Insert a piece above an expression and the comment that belongs to it.

    A comment that opens the file belongs to the file.
    """
    gap = max((e.end for e in document.expressions if e.end <= expression.start), default=0)
    position = _start_of_comment(document.text, gap, expression.start) or expression.start
    return position, position, piece


def _start_of_comment(text: str, start: int, end: int) -> int:
    """Find where the comment lines begin that end at a position."""
    while start < end:
        line = max(text.rfind("\n", start, end - 1) + 1, start)
        if not text[line:end].lstrip().startswith("#"):
            break
        end = line
    return end


def _inline_edits(text: str, table: Expression, copies: set[str], piece: str) -> list[_Edit]:
    """Edit ``host = { .. }``.

    Commas are what makes it more than cutting: copies before the first other host go with the comma behind
    them, later ones with the comma before them.
    """
    entries = inline_entries(text, table)
    kept = next((i for i, entry in enumerate(entries) if entry.key[1] not in copies), len(entries))
    start = table.value + 1
    edits = [(start, start, f" {piece}," if kept < len(entries) else f" {piece}")]
    if kept > 0:
        cut_end = entries[kept].start if kept < len(entries) else entries[-1].end
        edits.append((entries[0].start, cut_end, ""))
    for previous, entry in pairwise(entries[kept:]):
        if entry.key[1] in copies:
            edits.append((previous.end, entry.end, ""))
    return edits


def _apply(text: str, edits: list[_Edit]) -> str:
    parts: list[str] = []
    position = 0
    for start, end, piece in sorted(edits):
        parts += [text[position:start], piece]
        position = end
    return "".join([*parts, text[position:]])
