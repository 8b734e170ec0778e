"""The images, as far as they can be judged without building them."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import suppress
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = packages_distributions()
IMAGES = ("bootstrapper", "controller", "webhook")


def instructions(image: str, name: str) -> list[str]:
    """The arguments of every instruction of that name, continuation lines joined."""
    text = (REPOSITORY / image / "Dockerfile").read_text()
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text))
    return [line.split(maxsplit=1)[1] for line in joined.splitlines() if line.startswith(f"{name} ")]


def copied(image: str) -> list[str]:
    copies = instructions(image, "COPY")
    return [source for copy in copies if "--from" not in copy for source in copy.split()[:-1]]


@pytest.mark.parametrize("source", sorted({source for image in IMAGES for source in copied(image)}))
def test_what_is_copied_exists_and_is_not_ignored(source: str) -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    ignored, *rules = [line for line in lines if not line.startswith("#")]
    assert ignored == "*"
    assert (REPOSITORY / source).exists()
    assert f"!{source}" in rules


@pytest.mark.parametrize("image", IMAGES)
def test_the_image_installs_the_extra_of_its_name(image: str) -> None:
    setup = ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    (install,) = re.findall(r"pip --python \S+ install (.*?) &&", " ".join(instructions(image, "RUN")))
    *flags, target = install.split()
    assert all(flag.startswith("--") for flag in flags)
    assert target == f'".[{image}]"'
    assert image in setup["options.extras_require"]
    packages = setup["options.packages.find"]["include"].split()
    folders = [source for source in copied(image) if (REPOSITORY / source).is_dir()]
    assert folders
    assert all(any(fnmatch(folder, pattern) for pattern in packages) for folder in folders)


def imported(image: str) -> set[str]:
    """The top-level names that the image's package imports, be it by way of other packages of the project."""
    ours = {source for source in copied(image) if (REPOSITORY / source).is_dir()}
    waiting, seen, names = [*(REPOSITORY / image).rglob("*.py")], set[Path](), set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports(module):
            top = name.partition(".")[0]
            if top not in ours:
                names.add(top)
                continue
            path = REPOSITORY.joinpath(*name.split("."))
            candidates = [
                path.with_suffix(".py"),
                *(folder / "__init__.py" for folder in (path, *path.parents)),
            ]
            waiting += [
                found for found in candidates if found.is_relative_to(REPOSITORY / top) and found.exists()
            ]
    return names


def imports(module: Path) -> Iterator[str]:
    """What a module imports, by dotted names; that of an attribute may be among them."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def installed(distributions: set[str]) -> set[str]:
    """The distributions and all that they require in turn, by normalised name."""
    found: set[str] = set()
    waiting = list(distributions)
    while waiting:
        name = re.split(r"[^A-Za-z0-9._-]", waiting.pop())[0].replace("_", "-").lower()
        if name not in found:
            found.add(name)
            with suppress(PackageNotFoundError):  # for another platform
                waiting += [line for line in requires(name) or [] if "extra ==" not in line]
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_the_image_has_what_is_imported(image: str) -> None:
    setup = ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    available = installed(set(setup["options.extras_require"][image].split()))
    for name in imported(image) - sys.stdlib_module_names:
        distributions = {distribution.replace("_", "-").lower() for distribution in PACKAGES[name]}
        assert distributions & available, f"{name} is not in the extra {image}"


def test_every_stage_starts_from_the_same_pinned_python() -> None:
    bases = {stage.split()[0] for image in IMAGES for stage in instructions(image, "FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())


@pytest.mark.parametrize("image", IMAGES)
def test_the_image_runs_its_server_as_nobody_in_particular(image: str) -> None:
    assert instructions(image, "USER") == ["65532:65532"]
    assert instructions(image, "ENTRYPOINT") == [f'["python", "-m", "{image}"]']
    assert instructions(image, "CMD") == ['["run"]' if image == "controller" else '["serve"]']
