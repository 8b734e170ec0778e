"""The program ``spegel``: reads the command line and runs one command.

A command's own modules are imported when it is run, so that the short ones start fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from daemon.cli.commands import Cleanup, CleanupWait, Configuration, Registry, Version
from daemon.cli.help import help_text
from daemon.cli.parser import HelpRequested, UsageError, parse

EXIT_FAILED = 1
EXIT_USAGE = 2

_Logged = Registry | Configuration | Cleanup | CleanupWait


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    try:
        invocation = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
    except HelpRequested as request:
        return _print(help_text(request.command))
    except UsageError as error:
        name = f"spegel {error.command}" if error.command else "spegel"
        sys.stderr.write(f"{name}: {error} (see `{name} --help`)\n")
        return EXIT_USAGE
    command = invocation.command
    if isinstance(command, Version):
        from daemon.cli.version import version_text

        return _print(version_text(command))
    return _run_logged(command, invocation.common.log_level)


def _print(text: str) -> int:
    """Print on standard output; return the exit code."""
    if sys.stdout is None:  # so Python says that it was closed from the start
        sys.stderr.write("spegel: standard output is closed\n")
        return EXIT_FAILED
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stderr.write(f"spegel: standard output: {error.strerror}\n")
        return EXIT_FAILED
    return 0


def _run_logged(command: _Logged, level: int) -> int:
    """Run a command whose output is its log; what nobody expected is a line of it too."""
    import logging

    from daemon import logs

    logs.configure(level)
    try:
        return _run(command)
    except Exception:
        logging.getLogger(__name__).exception("unexpected failure")
        return EXIT_FAILED


def _run(command: _Logged) -> int:
    match command:
        case Registry():
            from daemon.run import run_registry

            return run_registry(command)
        case Configuration():
            from daemon.cli.configuration import run_configuration

            return run_configuration(command)
        case Cleanup():
            from daemon.cli.cleanup import run_cleanup

            return run_cleanup(command)
        case CleanupWait():
            from daemon.cli.cleanup_wait import run_cleanup_wait

            return run_cleanup_wait(command)
