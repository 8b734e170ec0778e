"""Field errors, worded as Kubernetes words them (``field.Error`` of k8s.io/apimachinery).

Values and keys come from outside and may be of any type, depth and size; what is shown of them is bounded,
so that a message stays readable and an answer small.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

SHOWN_CHARACTERS = 64
"""How much of a value or of a key a message shows."""
SHOWN_ERRORS = 250
"""How many errors a message shows: more than any real object has, fewer than a hostile one can."""
ENOUGH_ERRORS = SHOWN_ERRORS + 1
"""How many errors of one kind are worth collecting: with one more than is shown, the message says so."""

_PLAIN_KEY = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,{SHOWN_CHARACTERS - 1}}}", re.ASCII)
_DELETE = "\x7f"  # the one control character that JSON does not escape
_ENCODER = json.JSONEncoder(default=str, skipkeys=True)


class ErrorType(StrEnum):
    """What is wrong with a field, in Kubernetes' words."""

    INVALID = "Invalid value"
    REQUIRED = "Required value"
    NOT_SUPPORTED = "Unsupported value"
    DUPLICATE = "Duplicate value"
    FORBIDDEN = "Forbidden"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field of an object."""

    path: str
    """From the object's root: ``spec.extensions[2].providerConfig.registryPort``. Empty for the root."""
    type: ErrorType
    value: object = None
    """What stands in the field; not shown for required and forbidden fields."""
    detail: str = ""

    def __str__(self) -> str:
        """Return one line: ``<path>: <type>: <value>: <detail>``."""
        parts = [self.path, self.type.value]
        if self.type not in {ErrorType.REQUIRED, ErrorType.FORBIDDEN}:
            parts.append(shown(self.value))
        parts.append(self.detail)
        return ": ".join(part for part in parts if part)


class InvalidObject(Exception):  # noqa: N818 - says of what it speaks, as Invalid does in Kubernetes
    """An object with errors in its fields: all of them."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        """Return the error, or several of them as Kubernetes' Aggregate prints them: ``[first, second]``."""
        if len(self.errors) == 1:
            return str(self.errors[0])
        lines = [str(error) for error in self.errors[:SHOWN_ERRORS]]
        if len(self.errors) > SHOWN_ERRORS:
            lines.append("and more")
        return f"[{', '.join(lines)}]"


def child(path: str, key: object) -> str:
    """Return the path of a field: ``path.key``, or ``path[key]`` where the key is no plain name."""
    if not isinstance(key, str):
        return f"{path}[{shown(key)}]"
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    rest = "..." if len(key) > SHOWN_CHARACTERS else ""
    return f"{path}[{_escaped(key[:SHOWN_CHARACTERS])}{rest}]"


def shown(value: object) -> str:
    """Return a value as JSON, in one line of bounded length; ``...`` stands for what is not shown."""
    if isinstance(value, str):
        rest = "..." if len(value) > SHOWN_CHARACTERS else ""
        return f'"{_escaped(value[:SHOWN_CHARACTERS])}"{rest}'
    text = ""
    try:
        # Lazily, so that neither a deep nor a large value is walked further than it is shown.
        for piece in _ENCODER.iterencode(value):
            text += piece.replace(_DELETE, r"\u007f")
            if len(text) > SHOWN_CHARACTERS:
                return f"{text[:SHOWN_CHARACTERS]}..."
    except ValueError:
        # An integer of more digits than Python is willing to print.
        return f"{text}..."
    return text


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())[1:-1].replace(_DELETE, r"\u007f")
