"""Settings from environment variables ``<PREFIX><NAME>`` and, for a person, flags ``--<name>``.

What a settings class says about a setting (name, default, meaning, range) is all there is: the flags,
their help and the table in the documentation are made of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

Settings = TypeVar("Settings", bound=BaseSettings)


class SettingsError(Exception):
    """Settings that cannot be used; the message says of each how it is spelled and what is wrong."""


def configuration(prefix: str) -> SettingsConfigDict:
    """Return the ``model_config`` of a settings class whose variables begin with a prefix."""
    return SettingsConfigDict(env_prefix=prefix, env_ignore_empty=True, frozen=True, validate_default=True)


def add_flags(parser: argparse.ArgumentParser, settings: type[BaseSettings]) -> None:
    """Give a command a flag for each setting."""
    group = parser.add_argument_group(
        "settings",
        "Each may also be given as an environment variable: "
        f"--some-name as {_variable(settings, 'some_name')}.",
    )
    for name, field in settings.model_fields.items():
        default = "" if field.default is None else f" [{field.default}]"
        help_text = f"{field.description}{default}".replace("%", "%%")
        metavar = name.rpartition("_")[2].upper()
        group.add_argument(_flag(name), metavar=metavar, help=help_text)


def load(settings: type[Settings], flags: Mapping[str, object]) -> Settings:
    """Read the settings; flags that are not None win over the environment.

    Raises:
        SettingsError: naming all that is wrong.
    """
    given: dict[str, Any] = {
        name: flags[name] for name in settings.model_fields if flags.get(name) is not None
    }
    try:
        return settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(settings, detail) for detail in error.errors())) from None


def markdown_table(settings: type[BaseSettings]) -> str:
    """Return the table of all settings for the documentation."""
    lines = ["| flag | environment variable | default | meaning |", "|---|---|---|---|"]
    for name, field in settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{_flag(name)}` | `{_variable(settings, name)}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _variable(settings: type[BaseSettings], name: str) -> str:
    return f"{settings.model_config['env_prefix']}{name.upper()}"


def _describe(settings: type[BaseSettings], error: Mapping[str, object]) -> str:
    location = error["loc"]
    if not isinstance(location, tuple) or not location:
        return str(error["msg"])
    name = str(location[0])
    return f"{_flag(name)} ({_variable(settings, name)}): {error['msg']}, not {error['input']!r}"
