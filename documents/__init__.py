"""YAML documents from people's files, as the JSON values that Kubernetes makes of them.

Built from the parser's events rather than by a YAML loader, which would make dates of strings, drop
duplicate keys, follow aliases without bounds and overflow the stack on deep nesting.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

_MAX_BYTES = 64 << 20
_MAX_DEPTH = 200
_MAX_VALUES = 1_000_000
_SHOWN = 64
_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name for name in ("null", "bool", "int", "float", "str")}
_STRINGS = {_TAG + name for name in ("timestamp", "value", "merge")}
_ABSENT = object()

_Parsed = TypeVar("_Parsed")


class DocumentError(Exception):
    """A document that cannot be used; the message is one line with the file, and the place where known."""


def read(name: str) -> Any:
    """Read the one document of a file; ``-`` is standard input.

    Raises:
        DocumentError: there is no such file, or no single document of JSON values in it.
    """
    return _read(name, parse)


def read_all(name: str) -> list[Any]:
    """Read all documents of a file but empty ones; otherwise as read()."""
    return _read(name, _parse_all)


def parse(text: str) -> Any:
    """Return the one document in a text.

    Raises:
        DocumentError: see read(); the message does not name a file.
    """
    found = _build(_Builder(text, several=False))
    if not found:
        raise DocumentError("holds no document")
    return found[0]


def _parse_all(text: str) -> list[Any]:
    return [document for document in _build(_Builder(text, several=True)) if document is not None]


def _read(name: str, parse_text: Callable[[str], _Parsed]) -> _Parsed:
    shown = "standard input" if name == "-" else name
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise DocumentError(f"{shown}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > _MAX_BYTES:
        raise DocumentError(f"{shown}: larger than {_MAX_BYTES >> 20} MiB")
    try:
        return parse_text(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DocumentError(f"{shown}: not UTF-8: invalid byte at offset {error.start}") from None
    except DocumentError as error:
        raise DocumentError(f"{shown}: {error}") from None


def _build(builder: _Builder) -> list[Any]:
    try:
        return builder.build()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise DocumentError(f"{_place(mark)}: {problem}" if mark else problem) from None
    except yaml.reader.ReaderError as error:
        raise DocumentError(f"offset {error.position}: {error.reason}") from None
    except ValueError as error:
        raise DocumentError(f"{_place(builder.mark)}: {error}") from None


def dump(document: Any) -> str:
    """Return a document as YAML, keys in their order, text of several lines as text."""
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
    assert isinstance(text, str)  # noqa: S101 - no stream was given
    return text


class _Builder:
    """Values from events, with a stack of the collections that are open."""

    def __init__(self, text: str, *, several: bool) -> None:
        self._loader = yaml.CSafeLoader(text)
        self._several = several
        self._documents: list[Any] = []
        self._open: list[_Collection] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0
        self.mark: Any = None

    def build(self) -> list[Any]:
        while event := self._loader.get_event():
            self.mark = event.start_mark
            self._take(event)
        return self._documents

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                if self._documents and not self._several:
                    raise ValueError("a second document begins; only one is expected")
                self._anchors.clear()
            case yaml.ScalarEvent():
                self._count(1)
                self._put(self._scalar(event), event.anchor, 1)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise ValueError(f"alias *{event.anchor} of nothing that is complete")
                value, size = self._anchors[event.anchor]
                self._count(size)
                self._put(copy.deepcopy(value), None, size)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                if event.tag not in (None, "!", _TAG + "map", _TAG + "seq"):
                    raise ValueError(f"tag {event.tag} is not supported")
                if len(self._open) == _MAX_DEPTH:
                    raise ValueError(f"nested more than {_MAX_DEPTH} deep")
                self._count(1)
                empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                self._open.append(_Collection(empty, event.anchor, self._values))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                self._put(done.value, done.anchor, self._values - done.first + 1)
            case _:
                pass

    def _put(self, value: Any, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if self._open:
            self._open[-1].put(value)
        else:
            self._documents.append(value)

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > _MAX_VALUES:
            raise ValueError(f"more than {_MAX_VALUES} values, aliases followed")

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        # Kubernetes knows neither dates nor numbers to the base of 60.
        if tag in _STRINGS or (tag in (_TAG + "int", _TAG + "float") and ":" in event.value):
            return event.value
        if tag not in _SCALARS:
            raise ValueError(f"tag {tag} is not supported")
        try:
            value = self._loader.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, LookupError):
            shown = event.value if len(event.value) <= _SHOWN else f"{event.value[:_SHOWN]}..."
            raise ValueError(f"{shown!r} is no {tag.removeprefix(_TAG)}, or too long") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{event.value} is not a JSON value")
        return value


class _Collection:
    """A mapping or a sequence that is still open."""

    def __init__(self, value: Any, anchor: str | None, first: int) -> None:
        self.value = value
        self.anchor = anchor
        self.first = first
        self._key: Any = _ABSENT

    def put(self, value: Any) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self._key is not _ABSENT:
            self.value[self._key] = value
            self._key = _ABSENT
        elif not isinstance(value, str):
            raise ValueError(f"a key must be a string, not {type(value).__name__}")
        elif value == "<<":
            raise ValueError("merge keys (<<) are not supported")
        elif value in self.value:
            raise ValueError(f"duplicate key {value!r}")
        else:
            self._key = value


class _Dumper(yaml.CSafeDumper):
    """Of aliases, which JSON has none of, it makes copies."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(_TAG + "str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _place(mark: Any) -> str:
    return f"line {mark.line + 1} column {mark.column + 1}" if mark else "somewhere"
