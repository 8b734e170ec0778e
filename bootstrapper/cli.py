"""The command line: serve, or print what would be served.

Exit status: 0 when all is well, 1 when the nodes or a certificate cannot be read, 2 when the command line or
a setting is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bootstrapper.answers import Answers, select
from bootstrapper.roster import Roster
from bootstrapper.settings import NodesSettings, ServerSettings
from bootstrapper.sources import configured
from bootstrapper.sources.base import SourceError
from serving.settings import SettingsError, add_flags, load

_EXAMPLES = """\
examples:
  python -m bootstrapper serve --tls-certificate tls.crt --tls-key tls.key --client-authorities ca.crt
  python -m bootstrapper nodes --kubeconfig kubeconfig
  kubectl get nodes --output yaml > nodes.yaml; python -m bootstrapper nodes --nodes-file nodes.yaml

exit status: 0 when all is well, 1 when nodes or certificate cannot be read, 2 for a wrong flag or setting
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; ``serve`` and usage errors end by SystemExit."""
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    run = flags.pop("run")
    from serving.certificate import CertificateError  # noqa: PLC0415 - --help is quicker without

    try:
        run(flags)
    except SettingsError as error:
        parser.exit(2, f"error: {error}\n")
    except (SourceError, CertificateError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    return 0


def _serve(flags: Mapping[str, Any]) -> None:
    settings = load(ServerSettings, flags)
    from bootstrapper.server.serve import serve  # noqa: PLC0415 - the other command is quicker without

    serve(settings)


def _nodes(flags: Mapping[str, Any]) -> None:
    settings = load(NodesSettings, flags)
    roster = Roster()
    configured.source(settings, None).read(roster)
    answers = Answers(select(roster.take(0), time.time(), settings.not_ready_seconds))
    answer = answers.topology if flags["topology"] else answers.nodes(settings.limit)
    sys.stdout.write(answer.body.decode() + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bootstrapper",
        description="Tells the nodes of a cluster which nodes there are.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="answer nodes under mutual TLS", allow_abbrev=False)
    add_flags(command, ServerSettings)
    command.set_defaults(run=_serve)

    command = commands.add_parser("nodes", help="print what would be served", allow_abbrev=False)
    command.add_argument(
        "--topology", action="store_true", help="print the answer of /topology, not of /bootstrap-nodes"
    )
    add_flags(command, NodesSettings)
    command.set_defaults(run=_nodes)
    return parser
