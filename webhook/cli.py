"""The command line: serve on a cluster, or do the same offline for people and pipelines.

Exit status: 0 when all is well, 1 when the input is not (one line for each reason on standard error),
2 when the command line or a setting is not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import api
import documents
from documents import DocumentError
from serving.settings import SettingsError, add_flags, load
from webhook.admission import mutating, validating
from webhook.admission.review import Kind, one_line
from webhook.context.landscape import SECRET, LandscapeError
from webhook.context.resolve import url_problem
from webhook.diff import render
from webhook.mutation import (
    Bootstrap,
    Mutation,
    MutationError,
    NodeContext,
    Ports,
    is_candidate,
    mutate,
)
from webhook.mutation.files import CERTIFICATE_KEYS
from webhook.patched import patched
from webhook.settings import ProgramSettings, ServerSettings
from webhook.validation import validate

_EXAMPLES = """\
examples:
  python -m webhook serve --tls-certificate tls.crt --tls-key tls.key
  python -m webhook mutate osc.yaml
  kubectl get osc NAME -n NAMESPACE -o yaml | python -m webhook mutate - --output patch
  python -m webhook validate shoot.yaml

exit status: 0 when all is well, 1 when the input is not, 2 for a wrong flag or setting
"""

_LINE_LENGTH = 4096


class _InputError(Exception):
    """Input that cannot be used, for one or more reasons."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; ``serve`` and usage errors end by SystemExit."""
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    run = flags.pop("run")
    try:
        status: int = run(flags)
        sys.stdout.flush()
    except SettingsError as error:
        parser.exit(2, f"error: {error}\n")
    except DocumentError as error:
        return _fail([str(error)])
    except _InputError as error:
        return _fail(error.reasons)
    except BrokenPipeError:
        # Whoever read us has seen enough. Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _serve(flags: Mapping[str, Any]) -> int:
    settings = load(ServerSettings, flags)
    # The other commands are quicker without these.
    from serving.certificate import CertificateError  # noqa: PLC0415
    from webhook.server.serve import serve  # noqa: PLC0415

    try:
        serve(settings)
    except (LandscapeError, CertificateError) as error:
        raise _InputError([str(error)]) from error
    return 0


def _mutate(flags: Mapping[str, Any]) -> int:
    program = load(ProgramSettings, flags).program
    name = flags["osc"]
    try:
        osc = _object(name, mutating.KIND)
        config = _config(flags["config"], flags["networking_type"])
        bootstrap = Bootstrap(flags["bootstrap_url"], _certificate_secret(flags["certificate_dir"]))
        ports = Ports(config.registry_port, config.router_port, config.metrics_port)
        mutation = mutate(osc, NodeContext(ports, config.resolve_tags, program, bootstrap))
        lacking = _lacking(bootstrap) if is_candidate(osc) else []
    except MutationError as error:
        raise _InputError([f"{name}: {error}"]) from error
    _warn([*lacking, *mutation.warnings])
    _print(osc, mutation, flags)
    return 0


def _validate(flags: Mapping[str, Any]) -> int:
    name = flags["shoot"]
    findings = validate(_object(name, validating.KIND))
    _warn(findings.warnings)
    if findings.errors:
        raise _InputError([f"{name}: {error}" for error in findings.errors])
    print(f"{name}: valid")  # noqa: T201 - this is a command
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m webhook",
        description="The admission webhook of registry-spegel.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="answer API servers over HTTPS", allow_abbrev=False)
    add_flags(command, ServerSettings)
    command.set_defaults(run=_serve)

    command = commands.add_parser(
        "mutate", help="show what the webhook changes in an OperatingSystemConfig", allow_abbrev=False
    )
    command.add_argument("osc", metavar="OSC.yaml", help="file with an OperatingSystemConfig; - is stdin")
    command.add_argument("--config", metavar="FILE", help="file with a SpegelConfig [the defaults]")
    command.add_argument(
        "--output",
        choices=["diff", "patch", "yaml"],
        default="diff",
        help="the difference for a person, the JSON patch, or the whole result [diff]",
    )
    command.add_argument(
        "--color",
        choices=["auto", "always", "never"],
        default="auto",
        help="colours in the difference; auto: on a terminal, unless NO_COLOR is set [auto]",
    )
    command.add_argument(
        "--bootstrap-url",
        metavar="URL",
        type=_url,
        help="URL of the bootstrapper; without it no bootstrap",
    )
    command.add_argument(
        "--certificate-dir",
        metavar="DIR",
        type=Path,
        help=f"directory with {', '.join(CERTIFICATE_KEYS)}; without it no certificate files",
    )
    command.add_argument(
        "--networking-type",
        metavar="TYPE",
        help="spec.networking.type of the Shoot, such as cilium",
    )
    add_flags(command, ProgramSettings)
    command.set_defaults(run=_mutate)

    command = commands.add_parser(
        "validate", help="check a Shoot's use of registry-spegel", allow_abbrev=False
    )
    command.add_argument("shoot", metavar="SHOOT.yaml", help="file with a Shoot; - is stdin")
    command.set_defaults(run=_validate)
    return parser


def _object(name: str, kind: Kind) -> dict[str, Any]:
    document = documents.read(name)
    api_version = f"{kind.group}/{kind.version}"
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != (
        api_version,
        kind.kind,
    ):
        raise DocumentError(f"{name}: must be of kind {kind.kind}, apiVersion {api_version}")
    return document


def _config(name: str | None, networking_type: str | None) -> api.SpegelConfig:
    raw = None if name is None else documents.read(name)
    try:
        return api.load(raw, path="", networking_type=networking_type)
    except api.InvalidObject as error:
        raise _InputError([f"{name or 'defaults'}: {each}" for each in error.errors]) from error


def _certificate_secret(directory: Path | None) -> str | None:
    """Name the Secret that will hold the certificate, once its files are seen to be there."""
    if directory is None:
        return None
    lacking = [key for key in CERTIFICATE_KEYS if not _has_content(directory / key)]
    if lacking:
        raise _InputError([f"{directory}: {', '.join(lacking)}: missing, empty or not readable"])
    return SECRET


def _has_content(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK) and path.stat().st_size > 0


def _lacking(bootstrap: Bootstrap) -> list[str]:
    lacking = []
    if bootstrap.url is None:
        lacking.append("no --bootstrap-url: the bootstrap flags are left out")
    if bootstrap.certificate_secret is None:
        lacking.append("no --certificate-dir: the certificate files are left out")
    return lacking


def _print(osc: Mapping[str, Any], mutation: Mutation, flags: Mapping[str, Any]) -> None:
    if flags["output"] == "patch":
        text = json.dumps(mutation.patch, indent=2) + "\n"
    elif flags["output"] == "yaml":
        text = documents.dump(patched(osc, mutation.patch))
    else:
        auto = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        color = {"auto": auto, "always": True, "never": False}[flags["color"]]
        text = render(osc, patched(osc, mutation.patch), color=color)
    sys.stdout.write(text)


def _url(text: str) -> str:
    if problem := url_problem(text):
        raise argparse.ArgumentTypeError(problem)
    return text


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        sys.stderr.write(f"warning: {one_line(warning, _LINE_LENGTH)}\n")


def _fail(reasons: Iterable[str]) -> int:
    for reason in reasons:
        sys.stderr.write(f"error: {one_line(reason, _LINE_LENGTH)}\n")
    return 1
