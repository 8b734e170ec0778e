"""``python -m tests.apiserver OBJECTS.yaml --kubeconfig FILE``: serve these objects until interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import yaml

from tests.apiserver.server import ApiServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.apiserver")
    parser.add_argument("objects", type=Path, help="YAML documents")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="file to write")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    things = yaml.load_all(arguments.objects.read_text(), yaml.CSafeLoader)
    with ApiServer(*(thing for thing in things if thing), port=arguments.port) as server:
        server.write_kubeconfig(arguments.kubeconfig)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
