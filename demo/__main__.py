"""The main job of the project, once, on this machine: ``python -m demo``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp

import documents
from demo import chain
from demo.errors import DemoError
from demo.report import Report

SAMPLE = Path(__file__).parent / "sample" / "osc.yaml"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Run all parts of registry-spegel on loopback: the webhook changes an "
        "OperatingSystemConfig, three nodes do what it says and pull an image, the first from a registry, "
        "the others from each other; a fresh node pulls it after the registry has stopped. Needs no root "
        "and no containerd, and leaves nothing behind.",
        epilog="Colours and moving bars on a terminal; NO_COLOR is respected. Exit status: 0 when all is as "
        "it should be, 1 when not, 2 for a wrong argument, 128 and its number after a signal.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        default=str(SAMPLE),
        help="OperatingSystemConfig, or AdmissionReview that holds one, as YAML or JSON [a small sample]",
    )
    parser.add_argument("--diff", action="store_true", help="show every line that the webhook changes")
    parser.add_argument("--keep", action="store_true", help="leave all of it running until Ctrl-C")
    arguments = parser.parse_args()
    options = chain.Options(arguments.file, diff=arguments.diff, keep=arguments.keep)
    try:
        return asyncio.run(_until_stopped(options))
    except BrokenPipeError:
        # Whoever read us has seen enough. Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (DemoError, documents.DocumentError, aiohttp.ClientError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before there was anything to end
        return 128 + signal.SIGINT


async def _until_stopped(options: chain.Options) -> int:
    """Tell the story to its end, or until a signal; what is running ends either way."""
    story = asyncio.create_task(chain.tell(options, Report()))
    received: list[int] = []

    def stop(number: int) -> None:
        if not received:  # a second Ctrl-C must not interrupt the cleaning up
            received.append(number)
            story.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    [outcome] = await asyncio.gather(story, return_exceptions=True)
    if received:
        print("demo: stopped", file=sys.stderr)
        return 128 + received[0]
    if outcome is not None:
        raise outcome
    return 0


if __name__ == "__main__":
    sys.exit(main())
