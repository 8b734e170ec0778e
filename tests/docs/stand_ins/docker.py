"""For docker: looks whether an image could be built, where there is neither a daemon nor a registry for it.

That the Dockerfiles hold what is imported is tested elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="docker", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, dest="command")
    build = commands.add_parser("build", allow_abbrev=False)
    build.add_argument("-f", dest="file", type=Path, required=True)
    build.add_argument("-t", dest="tag", required=True)
    build.add_argument("--build-arg", action="append", default=[])
    build.add_argument("--platform")
    build.add_argument("--push", action="store_true")
    build.add_argument("context", type=Path)
    push = commands.add_parser("push", allow_abbrev=False)
    push.add_argument("tag")
    words = sys.argv[1:]
    arguments = parser.parse_args(words[1:] if words[:1] == ["buildx"] else words)
    if arguments.command == "build":
        for line in arguments.file.read_text().splitlines():
            match line.split():
                case ["COPY", *sources, _] if not sources[0].startswith("--from"):
                    missing = [source for source in sources if not (arguments.context / source).exists()]
                    if missing:
                        sys.exit(f"docker: {arguments.file} copies {', '.join(missing)}, which is not there")
    print(f"{arguments.tag}: stood in for")


if __name__ == "__main__":
    main()
