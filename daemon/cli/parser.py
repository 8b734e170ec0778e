"""The command line, by the rules of go-arg, which upstream Spegel uses (github.com/alexflint/go-arg).

``--flag value``, ``--flag=value`` and ``-flag value`` are the same. A list takes all values up to the next
flag, or the one behind ``=``; given twice, the later list counts. A switch needs no value, and takes one
only behind ``=``. Environment variables go before defaults and are read even where a flag overrides them;
lists in them are comma-separated (CSV). Flags of all commands may stand before the command or behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daemon.cli.commands import COMMANDS, Command, Common, UnusableFlagError
from daemon.cli.flags import Flag, NamedFlag, flags_of


class UsageError(Exception):
    """The command line cannot be used; the message is one line that says why."""

    def __init__(self, message: str, command: str | None) -> None:
        """Make the error; ``command`` is the command that was recognised before it, if any."""
        super().__init__(message)
        self.command = command


class HelpRequested(Exception):  # noqa: N818  # it is no error
    """The user asks for help."""

    def __init__(self, command: str | None) -> None:
        """``command`` is the command to explain; None for all."""
        super().__init__(command)
        self.command = command


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the command line says."""

    common: Common
    command: Command


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Read the arguments behind the program's name.

    Raises:
        UsageError: they cannot be used.
        HelpRequested: help is asked for; that goes before any error.
    """
    reader = _Reader(list(arguments), environment)
    try:
        return reader.read()
    except UsageError as error:
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        if "-h" in options or "--help" in options:
            raise HelpRequested(reader.command) from error
        raise


@dataclass(slots=True)
class _Reader:
    rest: list[str]
    environment: Mapping[str, str]
    command: str | None = None
    known: dict[str, NamedFlag] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    """By field; what was not given is absent."""

    def read(self) -> Invocation:
        self._learn(Common)
        only_words = False
        while self.rest:
            argument = self.rest.pop(0)
            if argument == "--" and not only_words:
                only_words = True
            elif only_words or not _is_flag(argument):
                self._take_word(argument)
            elif argument in {"-h", "--help"}:
                raise HelpRequested(self.command)
            else:
                self._take_flag(argument)
        if self.command is None:
            raise self._error(f"a command is needed: {', '.join(COMMANDS)}")
        return self._build(self.command)

    def _learn(self, command: type) -> None:
        """Take the flags of a command, and their environment variables."""
        for named in flags_of(command):
            self.known[named.option] = named
            if named.variable is not None and named.variable in self.environment:
                self.values[named.field] = self._from_environment(named, named.variable)

    def _from_environment(self, named: NamedFlag, variable: str) -> Any:
        text = self.environment[variable]
        where = f"environment variable {variable}"
        if not named.flag.many:
            return self._value(named.flag, text, where)
        return tuple(self._value(named.flag, part, where) for part in self._split(text, where))

    def _take_word(self, word: str) -> None:
        if self.command is not None:
            raise self._error(f"{word!r} is not expected here")
        if word not in COMMANDS:
            raise self._error(f"unknown command {word!r}{_suggest(word, COMMANDS, '')}")
        self.command = word
        self._learn(COMMANDS[word])

    def _take_flag(self, argument: str) -> None:
        option, equals, value = argument.lstrip("-").partition("=")
        named = self.known.get(option)
        if named is None:
            raise self._error(f"unknown flag {argument}{_suggest(option, self.known, '--')}")
        where = f"--{option}"
        if named.flag.many:
            words = [value] if value else self._following(named.flag)
            self.values[named.field] = tuple(self._value(named.flag, word, where) for word in words)
            return
        if not value and named.flag.is_switch:
            value = "true"
        elif not value:
            if not self.rest or not self._is_value(named.flag, self.rest[0]):
                raise self._error(f"{where}{equals} needs a value")
            value = self.rest.pop(0)
        self.values[named.field] = self._value(named.flag, value, where)

    def _following(self, flag: Flag) -> list[str]:
        words = []
        while self.rest and self.rest[0] != "--" and self._is_value(flag, self.rest[0]):
            words.append(self.rest.pop(0))
        return words

    def _is_value(self, flag: Flag, word: str) -> bool:
        if not _is_flag(word):
            return True
        if not flag.is_number:
            return False
        try:
            flag.parse(word)
        except ValueError:
            return False
        return True

    def _split(self, text: str, where: str) -> list[str]:
        import csv  # noqa: PLC0415  # only lists in the environment need it

        if not text.strip():
            return []
        try:
            return next(csv.reader(text.splitlines(), strict=True))
        except csv.Error as error:
            raise self._error(f"{where}: {text[:80]!r} is no comma-separated list: {error}") from error

    def _value(self, flag: Flag, text: str, where: str) -> Any:
        try:
            return flag.parse(text)
        except ValueError as error:
            raise self._error(f"{where}: {error}") from error

    def _build(self, name: str) -> Invocation:
        for named in self.known.values():
            if named.flag.required and named.field not in self.values:
                raise self._error(f"--{named.option} (or environment variable {named.variable}) is needed")
        common = {named.field for named in flags_of(Common)}
        values = dict(self.values)
        given = {key: values.pop(key) for key in common & values.keys()}
        try:
            return Invocation(Common(**given), COMMANDS[name](**values))
        except UnusableFlagError as error:
            raise self._error(str(error)) from error

    def _error(self, message: str) -> UsageError:
        return UsageError(message, self.command)


def _is_flag(argument: str) -> bool:
    return argument.startswith("-") and argument.lstrip("-") != ""


def _suggest(word: str, known: Mapping[str, object], dashes: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  # only mistakes need it

    closest = get_close_matches(word, known, n=1)
    return f", did you mean {dashes}{closest[0]}?" if closest else ""
