"""The controller's command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import api
import documents
from controller import rendering
from controller.certificates.keeping import renew
from controller.certificates.model import EMPTY, Certificates
from controller.desired import desired, host
from controller.lifecycle.extension import is_ours
from controller.lifecycle.operation import Operation, operation_of
from controller.objects import certificate_secrets
from controller.settings import ControllerSettings, ObjectSettings
from controller.shoot import ShootError, read
from documents import DocumentError
from serving.settings import SettingsError, add_flags, load

_EXAMPLES = """\
examples:
  python -m controller run --namespace extension-registry-spegel
  python -m controller render extension.yaml --cluster cluster.yaml
  python -m controller render extension.yaml --cluster cluster.yaml --output names
  python -m controller render extension.yaml --cluster cluster.yaml --exposure nginx
  kubectl get secrets -n NAMESPACE -o yaml |
    python -m controller render extension.yaml --cluster cluster.yaml --secrets -

exit status: 0 when all is well, 1 when the input is not, 2 for a wrong flag or setting
"""

_TAKEN_AWAY = {Operation.DELETE: "is being deleted", Operation.MIGRATE: "moves to another seed"}
_GROUP = "extensions.gardener.cloud/v1alpha1"


class _InputError(Exception):
    """Input that cannot be used, for one or more reasons."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; usage errors end by SystemExit."""
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    run = flags.pop("run")
    try:
        status: int = run(flags)
        sys.stdout.flush()
    except SettingsError as error:
        parser.exit(2, f"error: {error}\n")
    except (DocumentError, ShootError) as error:
        return _fail([str(error)])
    except _InputError as error:
        return _fail(error.reasons)
    except BrokenPipeError:
        # Whoever read us has seen enough. Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _run(flags: Mapping[str, Any]) -> int:
    settings = load(ControllerSettings, flags)
    # The other command is quicker without these.
    from controller.operator.login import NoApiServerError  # noqa: PLC0415
    from controller.operator.run import RegistrationError, run  # noqa: PLC0415
    from controller.operator.web import ListenError  # noqa: PLC0415
    from serving import logs  # noqa: PLC0415

    logs.configure(settings.log_level)
    try:
        run(settings)
    except (NoApiServerError, RegistrationError, ListenError) as error:
        raise _InputError([str(error)]) from error
    return 0


def _render(flags: Mapping[str, Any]) -> int:
    options = load(ObjectSettings, flags).options
    extension = _object(flags["extension"], "Extension")
    if not is_ours(extension):
        raise DocumentError(f"{flags['extension']}: must be of type registry-spegel and class shoot")
    try:
        shoot = read(extension, _object(flags["cluster"], "Cluster"))
    except api.InvalidObject as error:
        raise _InputError([f"{flags['extension']}: {each}" for each in error.errors]) from error
    if (operation := operation_of(extension)) in _TAKEN_AWAY:
        what = _TAKEN_AWAY[operation]
        sys.stderr.write(f"note: {flags['extension']} {what}: the controller would take away what follows\n")
    certificates = renew(
        _stored(flags["secrets"]),
        organization=shoot.namespace,
        host=host(shoot, options),
        rotation=shoot.rotation,
        now=flags["now"] or datetime.now(UTC),
    )
    objects = desired(shoot, certificates, options)
    if flags["output"] == "names":
        sys.stdout.write(rendering.names(objects))
    else:
        sys.stdout.write(rendering.yaml(objects, show_keys=flags["show_keys"]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m controller",
        description="The controller of registry-spegel.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="reconcile the Extensions of a seed", allow_abbrev=False)
    add_flags(command, ControllerSettings)
    command.set_defaults(run=_run)

    command = commands.add_parser(
        "render", help="print every object that would be made for a shoot", allow_abbrev=False
    )
    command.add_argument("extension", metavar="EXTENSION.yaml", help="file with an Extension; - is stdin")
    command.add_argument(
        "--cluster", required=True, metavar="CLUSTER.yaml", help="file with the Cluster; - is stdin"
    )
    command.add_argument(
        "--secrets",
        metavar="FILE",
        help="file with Secrets that exist, one or many documents or a List; - is stdin; without it all "
        "certificates are made anew",
    )
    command.add_argument(
        "--now", metavar="TIME", type=_time, help="time for which to render, as 2026-03-02T10:00:00Z [now]"
    )
    command.add_argument("--show-keys", action="store_true", help="show all of Secrets, private keys too")
    command.add_argument(
        "--output",
        choices=["yaml", "names"],
        default="yaml",
        help="the objects, or a line for each of them [yaml]",
    )
    add_flags(command, ObjectSettings)
    command.set_defaults(run=_render)
    return parser


def _object(name: str, kind: str) -> dict[str, Any]:
    document = documents.read(name)
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != (_GROUP, kind):
        raise DocumentError(f"{name}: must be of kind {kind}, apiVersion {_GROUP}")
    return document


def _stored(name: str | None) -> Certificates:
    if name is None:
        return EMPTY
    found: list[Any] = []
    for document in documents.read_all(name):
        if not isinstance(document, dict):
            raise DocumentError(f"{name}: must hold Kubernetes objects")
        items = document.get("items")
        found += items if isinstance(items, list) else [document]
    return certificate_secrets.certificates(
        each for each in found if isinstance(each, dict) and each.get("kind") == "Secret"
    )


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time with a zone, as 2026-03-02T10:00:00Z is")
    return time


def _fail(reasons: Iterable[str]) -> int:
    for reason in reasons:
        sys.stderr.write(f"error: {reason}\n")
    return 1
