"""The import rules of the architecture, read from the source with ast, so that no import can be missed.

A package may import the project's packages listed beside it, and none else. Pure code may not reach for
the outside world: no framework, no file, no socket, no clock, no chance.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PRODUCT = {"api", "webhook", "controller", "bootstrapper", "daemon", "documents", "serving"}
MAY_IMPORT = {
    "api": set(),
    "webhook": {"api", "documents", "serving"},
    "controller": {"api", "documents", "serving"},
    "bootstrapper": {"documents", "serving"},
    "daemon": set(),
    "documents": set(),
    "serving": set(),
    "demo": PRODUCT,
    "benchmarks": PRODUCT | {"demo", "tests"},  # a cluster to measure is set up as the tests set it up
    "binary": set(),
    "tests": PRODUCT | {"demo", "benchmarks", "binary"},
}

PURE = (
    "api",
    "bootstrapper/answers.py",
    "bootstrapper/backoff.py",
    "bootstrapper/events.py",
    "bootstrapper/node.py",
    "bootstrapper/rate.py",
    "controller/certificates/model.py",
    "controller/certificates/rotation.py",
    "controller/desired.py",
    "controller/lifecycle",
    "controller/objects",
    "controller/shoot.py",
    "daemon/cli/parser.py",
    "daemon/http/bucket.py",
    "daemon/http/head.py",
    "daemon/mirror/answer.py",
    "daemon/mirror/latency.py",
    "daemon/mirror/race.py",
    "daemon/mirror/reputation.py",
    "daemon/oci",
    "daemon/registry/patience.py",
    "daemon/registry/ranges.py",
    "daemon/registry/target.py",
    "daemon/sync/backlog.py",
    "daemon/sync/ledger.py",
    "daemon/web/page.py",
    "webhook/admission",
    "webhook/context/landscape.py",
    "webhook/context/resolve.py",
    "webhook/mutation",
    "webhook/validation",
)
PURE_EXCEPT = {"api/__main__.py"}
IMPURE_MODULES = {
    # frameworks and clients
    "aiohttp", "concurrent", "cryptography", "documents", "flask", "gunicorn", "httpx", "kopf", "kubernetes",
    "prometheus_client", "pydantic_settings", "requests", "serving", "urllib3", "werkzeug",
    # files, processes, the network
    "asyncio", "ctypes", "fileinput", "ftplib", "glob", "http.client", "http.server", "io", "mmap",
    "multiprocessing", "os", "pathlib", "select", "selectors", "shutil", "signal", "socket", "socketserver",
    "ssl", "subprocess", "sys", "tempfile", "threading", "urllib.request",
    # what makes two runs differ
    "random", "secrets", "time", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "exec", "eval"}


def modules(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted name of all that is imported anywhere in a module of ``package``."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package.split(".")[: 1 - level or None] if level else []
                origin = ".".join(filter(None, [*base, module]))
                yield from (f"{origin}.{name.name}".removeprefix(".") for name in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def within(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def offences(source: str, path: str, packages: Iterable[str]) -> list[str]:
    """Return what a file of the project imports or calls against the rules; ``path`` is from the root."""
    tree = ast.parse(source)
    *folders, _ = path.split("/")
    top = folders[0]
    imported = sorted(set(modules(tree, ".".join(folders))))
    forbidden = set(packages) - MAY_IMPORT[top] - {top}
    found = [f"{path} imports {module}" for module in imported if within(module, forbidden)]
    if is_pure(path):
        found += [f"{path} is pure and imports {module}" for module in imported if impure(module)]
        found += [
            f"{path} is pure and calls {node.func.id}()"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS
        ]
    return found


def is_pure(path: str) -> bool:
    return path not in PURE_EXCEPT and any(path == pure or path.startswith(f"{pure}/") for pure in PURE)


def impure(module: str) -> bool:
    """Tell whether pure code may not import a module, be it a stranger or an impure part of its package."""
    if within(module, {"bootstrapper", "controller", "webhook"}):
        # ``import webhook`` alone loads nothing: that package's __init__ is empty.
        pure = {name_of(path) for path in PURE}
        return module not in {"bootstrapper", "controller", "webhook"} and not within(module, pure)
    return within(module, IMPURE_MODULES)


def name_of(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def packages() -> list[str]:
    """Return the folders at the project's root that hold Python source which can be imported."""
    return sorted(
        folder.name
        for folder in ROOT.iterdir()
        if folder.is_dir() and folder.name.isidentifier() and any(folder.rglob("*.py"))
        if folder.name not in {"build", "dist"}
    )


def test_every_package_has_a_rule():
    assert set(packages()) <= set(MAY_IMPORT)


@pytest.mark.parametrize("package", packages())
def test_package_keeps_the_rules(package: str):
    files = sorted((ROOT / package).rglob("*.py"))
    assert [
        offence
        for file in files
        for offence in offences(file.read_text("utf-8"), file.relative_to(ROOT).as_posix(), MAY_IMPORT)
    ] == []


@pytest.mark.parametrize(
    ("path", "source", "offence"),
    [
        ("api/x.py", "import webhook", "api/x.py imports webhook"),
        ("api/x.py", "from webhook.mutation import mutate", "api/x.py imports webhook.mutation.mutate"),
        ("webhook/server/x.py", "import tests.unit", "webhook/server/x.py imports tests.unit"),
        ("webhook/server/x.py", "from controller import y", "webhook/server/x.py imports controller.y"),
        ("controller/x.py", "def f():\n    import webhook.cli", "controller/x.py imports webhook.cli"),
        ("daemon/x.py", "from api import load", "daemon/x.py imports api.load"),
        ("serving/x.py", "import webhook", "serving/x.py imports webhook"),
        ("bootstrapper/x.py", "if 1:\n    import daemon as d", "bootstrapper/x.py imports daemon"),
        ("bootstrapper/a/x.py", "from ... import api", "bootstrapper/a/x.py imports api"),
        ("daemon/x.py", "__import__('api')", "daemon/x.py imports api"),
        (
            "daemon/x.py",
            "import importlib\nimportlib.import_module('api.field')",
            "daemon/x.py imports api.field",
        ),
        ("demo/x.py", "from tests import samples", "demo/x.py imports tests.samples"),
        ("benchmarks/x.py", "import binary", "benchmarks/x.py imports binary"),
        (
            "webhook/mutation/x.py",
            "from pathlib import Path",
            "webhook/mutation/x.py is pure and imports pathlib.Path",
        ),
        (
            "webhook/validation/x.py",
            "import os.path",
            "webhook/validation/x.py is pure and imports os.path",
        ),
        (
            "webhook/admission/x.py",
            "from flask import request",
            "webhook/admission/x.py is pure and imports flask.request",
        ),
        (
            "webhook/context/resolve.py",
            "import kubernetes.client",
            "webhook/context/resolve.py is pure and imports kubernetes.client",
        ),
        (
            "webhook/mutation/x.py",
            "from webhook.server import app",
            "webhook/mutation/x.py is pure and imports webhook.server.app",
        ),
        (
            "webhook/mutation/x.py",
            "from ..settings import Settings",
            "webhook/mutation/x.py is pure and imports webhook.settings.Settings",
        ),
        ("webhook/mutation/x.py", "open('f')", "webhook/mutation/x.py is pure and calls open()"),
        ("bootstrapper/node.py", "import time", "bootstrapper/node.py is pure and imports time"),
        (
            "bootstrapper/answers.py",
            "from bootstrapper.roster import Roster",
            "bootstrapper/answers.py is pure and imports bootstrapper.roster.Roster",
        ),
    ],
)
def test_the_checker_finds(path: str, source: str, offence: str):
    assert offences(source, path, MAY_IMPORT) == [offence]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("webhook/context/kubernetes.py", "import kubernetes, socket\nfrom api import load"),
        (
            "webhook/mutation/x.py",
            "import importlib.resources, json\nfrom .model import Ports\nimport tomlkit",
        ),
        (
            "webhook/admission/x.py",
            "from webhook.mutation import mutate\nfrom webhook import validation\nimport api",
        ),
        ("tests/unit/x.py", "import webhook, daemon\nfrom tests.unit import y"),
        ("daemon/x.py", "import apiclient, socket\nfrom . import wire"),
        ("bootstrapper/answers.py", "from bootstrapper.node import Node"),
        ("bootstrapper/sources/x.py", "import documents, kubernetes, time"),
    ],
)
def test_the_checker_allows(path: str, source: str):
    assert offences(source, path, MAY_IMPORT) == []
