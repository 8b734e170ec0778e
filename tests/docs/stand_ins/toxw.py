"""For ./toxw: looks whether the command could work, since most environments run for minutes.

The environment has to exist, whatever stands behind "--" has to be known to its program, and a path there has
to be one. Who really runs the environments: ``.ci/run`` some, ``./toxw -e docs`` all that documents name.
"""

from __future__ import annotations

import configparser
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path


class CommandError(Exception):
    """The command would not work; the message says why."""


def main() -> None:
    try:
        for line in look(sys.argv[1:], Path()):
            print(line)
    except CommandError as error:
        sys.exit(f"toxw: {error}")


def look(arguments: Sequence[str], root: Path) -> list[str]:
    """Return what is printed for arguments of ./toxw in a checkout.

    Raises:
        CommandError: the command would not work.
    """
    split = list(arguments).index("--") if "--" in arguments else len(arguments)
    options, given = list(arguments[:split]), list(arguments[split + 1 :])
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(root / "tox.ini")
    match options:
        case ["list"]:
            return [
                f"{section.removeprefix('testenv:')} -> {tox[section]['description']}"
                for section in tox.sections()
                if section.startswith("testenv:")
            ]
        case []:
            names = re.split(r"[,\s]+", tox["tox"]["env_list"])
        case ["-e", chosen]:
            names = chosen.split(",")
        case _:
            raise CommandError(f"{shlex.join(options)} is not known")
    for name in names:
        if f"testenv:{name}" not in tox:
            raise CommandError(f"tox.ini has no environment {name}")
        if given:
            _check(tox[f"testenv:{name}"]["commands"], given, root)
    return [f"  {name}: stood in for" for name in names]


def _check(commands: str, given: list[str], root: Path) -> None:
    lines = commands.replace("\\\n", " ").splitlines()
    [words] = [line.partition("{posargs")[0].split() for line in lines if "{posargs" in line]
    flags = {word.partition("=")[0] for word in given if word.startswith("-")}
    match words:
        case ["pytest", *_]:
            known = {"-k", "-m", "-x"}
        case ["pip-compile", *_]:
            known = {"--upgrade"}
        case ["python", "-m", package, *_]:
            known = _flags_of(root / package, given[0])
        case _:
            known = set()
    if unknown := flags - known:
        raise CommandError(f"{words[0]} is not known to take {', '.join(sorted(unknown))}")
    if missing := [word for word in given if "/" in word and not (root / word).exists()]:
        raise CommandError(f"{', '.join(missing)}: not there")


def _flags_of(package: Path, command: str) -> set[str]:
    """Flags that the code of a package has, or the module in it that is called like a command."""
    module = package / f"{command}.py"
    sources = [module] if module.exists() else sorted(package.glob("*.py"))
    return {flag for path in sources for flag in re.findall(r'"(--[a-z-]+)"', path.read_text())}


if __name__ == "__main__":
    main()
