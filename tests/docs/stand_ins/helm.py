"""For helm: Helm 4 itself, the library in helm-python-sdk, behind as much of its command line as is used."""

from __future__ import annotations

import argparse
import os
import sys
from functools import reduce
from pathlib import Path
from typing import Any

import helm_python


def main() -> None:
    parser = argparse.ArgumentParser(prog="helm", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, dest="command")
    for name in ("upgrade", "lint", "package", "push", "history", "rollback", "uninstall"):
        command = commands.add_parser(name, allow_abbrev=False)
        if name in ("upgrade", "history", "rollback", "uninstall"):
            command.add_argument("--namespace", "-n", default="default")
            command.add_argument("release")
        if name in ("upgrade", "lint", "package", "push"):
            command.add_argument("chart", type=Path)
        if name == "push":
            command.add_argument("registry")
        if name in ("upgrade", "lint"):
            command.add_argument("--set", action="append", default=[], dest="set_values")
            command.add_argument("--set-file", action="append", default=[])
        if name == "upgrade":
            command.add_argument("--install", action="store_true")
            command.add_argument("--create-namespace", action="store_true")
            command.add_argument("--reuse-values", action="store_true")
        if name == "rollback":
            command.add_argument("revision", type=int, nargs="?")
        if name == "package":
            command.add_argument("--destination", type=Path, default=Path())
    arguments = parser.parse_args()
    try:
        run(arguments)
    except helm_python.HelmError as error:
        sys.exit(f"Error: {error}")


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line says."""
    match arguments.command:
        case "package":
            print(helm_python.package(arguments.chart, destination=arguments.destination))
            return
        case "push":
            if not arguments.chart.is_file() or not arguments.registry.startswith("oci://"):
                sys.exit(f"helm: {arguments.chart} is no package, or {arguments.registry} no registry")
            print(f"{arguments.registry}/{arguments.chart.stem}: stood in for")
            return
        case "lint":
            findings = helm_python.lint(str(arguments.chart), values(arguments))["messages"]
            sys.exit("\n".join(finding["error"] for finding in findings) or 0)
    with helm_python.Config(
        kubeconfig_path=os.environ["KUBECONFIG"], namespace=arguments.namespace
    ) as config:
        match arguments.command:
            case "upgrade":
                upgrade(config, arguments)
            case "history":
                for release in config.history(arguments.release):
                    print(*(release[key] for key in ("revision", "status", "chart_name", "chart_version")))
            case "rollback":
                config.rollback(arguments.release, version=arguments.revision)
                print("Rollback was a success! Happy Helming!")
            case "uninstall":
                config.uninstall(arguments.release)
                print(f'release "{arguments.release}" uninstalled')


def upgrade(config: helm_python.Config, arguments: argparse.Namespace) -> None:
    """Install a release, or change it."""
    given = values(arguments)
    place = {"namespace": arguments.namespace}
    try:
        release = config.upgrade(
            arguments.chart, arguments.release, given, reuse_values=arguments.reuse_values, **place
        )
    except helm_python.HelmReleaseError as error:
        if not arguments.install or "has no deployed releases" not in str(error):
            raise
        release = config.install(
            arguments.chart, arguments.release, given, create_namespace=arguments.create_namespace, **place
        )
    print(f"NAME: {release['name']}\nNAMESPACE: {release['namespace']}\nSTATUS: {release['status']}")
    print(f"REVISION: {release['revision']}")


def values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what --set and --set-file say."""
    parts = [helm_python.parse_set_string(text) for text in arguments.set_values]
    parts += [helm_python.parse_set_file(text) for text in arguments.set_file]
    return reduce(merge, parts, {})


def merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return both, the other one's where they differ."""
    nested = {
        key: merge(one[key], value)
        for key, value in other.items()
        if isinstance(value, dict) and isinstance(one.get(key), dict)
    }
    return one | other | nested


if __name__ == "__main__":
    main()
