"""The difference between two OperatingSystemConfigs, for a person.

Of hundreds of kilobytes only the files, units, registries and plugins that differ are shown, each under
its own name; content in base64 is shown as the text it stands for, permissions as a shell shows them.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from documents import dump

_CONTEXT_LINES = 3
_LINE_LENGTH = 200
_NEW_LINES = 30  # of what is new as a whole: enough for a unit; a script makes its point sooner
_RESET = "\x1b[0m"
_COLORS = {"+": "\x1b[32m", "-": "\x1b[31m", "head": "\x1b[1m", "faint": "\x1b[2m"}
_LISTS = {
    ("spec", "criConfig", "containerd", "registries"): "upstream",
    ("spec", "criConfig", "containerd", "plugins"): "path",
    ("spec", "files"): "path",
    ("spec", "units"): "name",
}

_Element = tuple[int, Any]


def render(before: Mapping[str, Any], after: Mapping[str, Any], *, color: bool) -> str:
    """Return the difference as text, with colours for a terminal if wanted; empty when there is none."""
    lines = []
    tally: Counter[str] = Counter()
    for sign, title, old, new in _changes(before, after):
        tally[sign] += 1
        lines.append(_paint(f"{sign} {title}", "head", color=color))
        lines += [f"    {line}" for line in _lines(old, new, color=color)]
    if tally:
        words = {"+": "added", "~": "changed", "-": "removed"}
        lines.append(", ".join(f"{tally[sign]} {word}" for sign, word in words.items() if tally[sign]))
    return "".join(f"{line}\n" for line in lines)


def _changes(before: Any, after: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """Sign, title, old and new of each thing that differs; None for what is not there."""
    rest_before, rest_after = before, after
    for location, key in _LISTS.items():
        old = dict(_elements(_at(before, location), key))
        new = dict(_elements(_at(after, location), key))
        for name in [*new, *(name for name in old if name not in new)]:
            was, now = old.get(name), new.get(name)
            index, _ = now or was or (0, None)
            title = f"{'.'.join(location)}[{index}]  {_escaped(name[0])}"
            if was is None or now is None:
                yield "+" if now else "-", title, was and was[1], now and now[1]
            elif was[1] != now[1]:
                yield "~", title, was[1], now[1]
        rest_before, rest_after = _without(rest_before, location), _without(rest_after, location)
    if rest_before != rest_after:
        yield "~", "the rest of the document", rest_before, rest_after


def _elements(elements: Any, key: str) -> Iterator[tuple[tuple[str, int], _Element]]:
    """Elements by name and, for several of a name (files of one node only), by their order."""
    seen: Counter[str] = Counter()
    for index, element in enumerate(elements if isinstance(elements, list) else []):
        name = element.get(key) if isinstance(element, Mapping) else None
        if not isinstance(name, str):
            name = json.dumps(name, default=str)
        yield (name, seen[name]), (index, element)
        seen[name] += 1


def _lines(old: Any, new: Any, *, color: bool) -> Iterator[str]:
    was, now = ([] if side is None else dump(_readable(side)).splitlines() for side in (old, new))
    left_out = len(now) - _NEW_LINES if old is None else 0
    if left_out > 0:
        del now[_NEW_LINES:]
    difference = list(difflib.unified_diff(was, now, n=_CONTEXT_LINES, lineterm=""))[2:]
    for number, line in enumerate(difference):
        if line.startswith("@@"):
            if number:
                yield _paint("  ...", "faint", color=color)
            continue
        cut = len(line) - _LINE_LENGTH
        shown = line if cut <= 0 else f"{line[:_LINE_LENGTH]}... ({cut} more)"
        yield _paint(f"{shown[0]} {shown[1:]}", line[0], color=color)
    if left_out > 0:
        yield _paint(f"  ... ({left_out} more lines)", "faint", color=color)


def _readable(element: Any) -> Any:
    """A copy in which encoded content is text and permissions are octal."""
    if not isinstance(element, Mapping):
        return element
    result = dict(element)
    permissions = result.get("permissions")
    if isinstance(permissions, int) and permissions >= 0:
        result["permissions"] = f"0{permissions:03o}"
    content = result.get("content")
    inline = content.get("inline") if isinstance(content, Mapping) else None
    if isinstance(content, Mapping) and isinstance(inline, Mapping) and inline.get("encoding") == "b64":
        decoded = {**inline, "data": _decoded(inline.get("data"))}
        result["content"] = {**content, "inline": decoded}
    return result


def _decoded(data: Any) -> Any:
    try:
        raw = base64.b64decode(data, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return data
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return f"({len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()})"
    return text


def _at(document: Any, location: Iterable[str]) -> Any:
    for key in location:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _without(document: Any, location: tuple[str, ...]) -> Any:
    """The document less the member at a location."""
    if not isinstance(document, Mapping) or location[0] not in document:
        return document
    first, *rest = location
    result = dict(document)
    if rest:
        result[first] = _without(result[first], tuple(rest))
    elif isinstance(result[first], list):
        del result[first]
    return result


def _paint(text: str, style: str, *, color: bool) -> str:
    return f"{_COLORS[style]}{text}{_RESET}" if color and style in _COLORS else text


def _escaped(name: str) -> str:
    return name if name.isprintable() else json.dumps(name)
