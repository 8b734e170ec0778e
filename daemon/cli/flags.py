"""Flags as fields of a dataclass: the one table that parser, help and documentation are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from daemon.cli.durations import parse_duration
from daemon.cli.values import parse_bool, parse_int, parse_text


@dataclass(frozen=True, slots=True)
class Flag:
    """What is known of one flag, apart from its name, which is its field's."""

    help: str
    default: str | None
    """As the user would write it; None for lists, which are empty, and for flags that must be given."""
    parse: Callable[[str], Any]
    """Makes one value from its text; raises ValueError saying what is wrong."""
    many: bool
    """Whether the flag takes a list."""
    required: bool
    in_environment: bool

    @property
    def is_switch(self) -> bool:
        """Whether the flag may stand without a value."""
        return self.parse is parse_bool

    @property
    def is_number(self) -> bool:
        """Whether a value may start with a minus sign."""
        return self.parse in {parse_int, parse_duration}


@dataclass(frozen=True, slots=True)
class NamedFlag:
    """A flag with the names it goes by."""

    field: str
    flag: Flag

    @property
    def option(self) -> str:
        """The flag without its dashes: ``registry-addr``."""
        return self.field.replace("_", "-")

    @property
    def variable(self) -> str | None:
        """The environment variable that sets it too, None when there is none."""
        return self.field.upper() if self.flag.in_environment else None


def flag(
    help: str,  # noqa: A002  # the word of every command line library
    default: str | None = "",
    parse: Callable[[str], Any] = parse_text,
    *,
    many: bool = False,
    required: bool = False,
    in_environment: bool = True,
) -> Any:
    """Declare the field of a flag.

    ``metrics_addr: str = flag("Address of the metrics.", ":9090", parse_address)``
    """
    default = None if many or required else default
    metadata = {"flag": Flag(help, default, parse, many, required, in_environment)}
    if required:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=() if default is None else parse(default), metadata=metadata)


def flags_of(command: type) -> Iterator[NamedFlag]:
    """Yield the flags of a dataclass, in the order of their declaration."""
    for field in dataclasses.fields(command):
        if "flag" in field.metadata:
            yield NamedFlag(field.name, field.metadata["flag"])
