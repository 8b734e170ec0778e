"""Where the expressions of a TOML document stand in its text.

A document model loses the text it was read from, and one that keeps it (tomlkit) takes ten times as long to
build as tomllib needs to parse. An edit that leaves all other bytes alone needs neither, only spans. The
scanner relies on the text being valid TOML (1.0 or 1.1), so it only has to tell where things end.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """A table header or a key with its value."""

    key: Key
    """From the root of the document, unquoted: ``[a]`` with ``b.c = 1`` below are ``a`` and ``a.b.c``."""
    is_header: bool
    start: int
    """Start of its line; in an inline table start of its key."""
    value: int
    """Start of the value; of a header, the end of the brackets."""
    end: int
    """Start of the next line; in an inline table the end of its value."""


_BASIC = r'"(?:\\.|[^"\\])*+"'
_LITERAL = r"'[^']*+'"
# Up to two quotes may stand before the three that end a multi-line string.
_MULTILINE_BASIC = r'"""(?:\\.|"(?!"")|[^"\\])*+"{3,5}'
_MULTILINE_LITERAL = r"'''(?:'(?!'')|[^'])*+'{3,5}"
_COMMENT = r"#[^\n]*+"

_KEY_PART = re.compile(rf"[ \t]*+({_BASIC}|{_LITERAL}|[^\s\"'.=\]]++)[ \t]*+", re.DOTALL)
_SPACE = re.compile(r"[ \t]*+")
_REST_OF_LINE = re.compile(rf"[ \t]*+(?:{_COMMENT})?(?:\r?\n)?")
_BETWEEN_ENTRIES = re.compile(rf"(?:[\s,]|{_COMMENT})*+")
_TOKEN = re.compile(
    rf"{_MULTILINE_BASIC}|{_MULTILINE_LITERAL}|{_BASIC}|{_LITERAL}|{_COMMENT}"
    r"|(?P<open>[\[{])|(?P<close>[\]}])|(?P<separator>[,\n])|[^\"'#\[\]{},\n]++",
    re.DOTALL,
)


def expressions(text: str) -> list[Expression]:
    """Find the headers and key/value pairs of a valid TOML document, in their order."""
    found: list[Expression] = []
    table: Key = ()
    position = 0
    while position < len(text):
        start = _match_end(_SPACE, text, position)
        if text.startswith(("#", "\n", "\r\n"), start) or start == len(text):
            position = _match_end(_REST_OF_LINE, text, start)
        elif text[start] == "[":
            key, closing = _key(text, start + (2 if text.startswith("[[", start) else 1))
            table = key
            value = closing + (2 if text.startswith("]]", closing) else 1)
            end = _match_end(_REST_OF_LINE, text, value)
            found.append(Expression(key, is_header=True, start=position, value=value, end=end))
            position = end
        else:
            key, equals = _key(text, start)
            value = _match_end(_SPACE, text, equals + 1)
            end = min(_end_of_value(text, value) + 1, len(text))
            found.append(Expression(table + key, is_header=False, start=position, value=value, end=end))
            position = end
    return found


def inline_entries(text: str, table: Expression) -> list[Expression]:
    """Find the key/value pairs directly within an expression whose value is an inline table."""
    found: list[Expression] = []
    position = _match_end(_BETWEEN_ENTRIES, text, table.value + 1)
    while text[position] != "}":
        key, equals = _key(text, position)
        value = _match_end(_SPACE, text, equals + 1)
        end = _end_of_value(text, value)
        end = value + len(text[value:end].rstrip())
        found.append(Expression(table.key + key, is_header=False, start=position, value=value, end=end))
        position = _match_end(_BETWEEN_ENTRIES, text, end)
    return found


def _key(text: str, position: int) -> tuple[Key, int]:
    """Read a dotted key; return it and the position behind it."""
    parts: list[str] = []
    while part := _KEY_PART.match(text, position):
        parts.append(_unquote(part[1]))
        position = part.end()
        if not text.startswith(".", position):
            break
        position += 1
    return tuple(parts), position


def _unquote(part: str) -> str:
    if part[0] == '"' and "\\" in part:
        unquoted: str = tomllib.loads(f"key = {part}")["key"]
        return unquoted
    return part[1:-1] if part[0] in "\"'" else part


def _end_of_value(text: str, position: int) -> int:
    """Find the line break, comma or closing bracket that ends a value (and the comment behind it)."""
    depth = 0
    while token := _TOKEN.match(text, position):
        match token.lastgroup:
            case "open":
                depth += 1
            case "close" if depth:
                depth -= 1
            case "close":
                break
            case "separator" if not depth:
                break
        position = token.end()
    return position


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
