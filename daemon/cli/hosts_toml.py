"""The text of a hosts.toml (containerd's docs/hosts.md): the mirror's hosts, and those that were there."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LITERAL = re.compile(r"[^'\x00-\x08\x0a-\x1f\x7f]*")
_SPECIAL = re.compile(r'["\\\x00-\x1f\x7f]')
_DIAL_TIMEOUT = "200ms"
"""A node whose registry is down must not cost a pull more than this."""


class InvalidHostsFileError(ValueError):
    """A hosts.toml cannot be read; the message says why."""


def mirror_hosts(
    server: str | None, targets: Sequence[str], *, resolve_tags: bool, authorization: str | None
) -> str:
    """Return a hosts.toml that asks ``targets``, in this order, before ``server``.

    Args:
        server: the registry's own URL; None for the configuration of all registries.
        targets: URLs of the mirrors.
        resolve_tags: whether the mirrors are asked for tags too.
        authorization: the value of the Authorization field to send to them.
    """
    host: dict[str, Any] = {
        "capabilities": ["pull", "resolve"] if resolve_tags else ["pull"],
        "dial_timeout": _DIAL_TIMEOUT,
    }
    if authorization is not None:
        host["header"] = {"Authorization": authorization}
    start = [f"server = {_value(server)}\n"] if server else []
    return "\n".join([*start, *(_host(target, host) for target in targets)])


def host_tables(text: str) -> str:
    """Return the tables of all hosts of a hosts.toml, in their order; empty when it has none.

    Raises:
        InvalidHostsFileError: it is not valid TOML.
    """
    try:
        hosts = tomllib.loads(text).get("host", {})
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidHostsFileError(f"no valid TOML: {error}") from error
    if not isinstance(hosts, dict) or not all(isinstance(host, dict) for host in hosts.values()):
        raise InvalidHostsFileError("host is no table of tables")
    return "\n".join(_host(url, host) for url, host in hosts.items())


def _host(url: str, host: Mapping[str, Any]) -> str:
    return "".join(f"{line}\n" for line in _table(["host", url], host))


def _table(path: list[str], table: Mapping[str, Any]) -> Iterator[str]:
    yield f"[{'.'.join(map(_key, path))}]"
    nested = {key: value for key, value in table.items() if isinstance(value, dict)}
    for key, value in table.items():
        if key not in nested:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in nested.items():
        yield from _table([*path, key], value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int() | float():
            return repr(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return f"{{{', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())}}}"
        case _:
            raise TypeError(f"{type(value).__name__} is no type of TOML")


def _text(text: str) -> str:
    if _LITERAL.fullmatch(text):
        return f"'{text}'"
    return '"' + _SPECIAL.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + '"'
