"""For journalctl on a node: what a service has written, without what the journal puts before each line."""

from __future__ import annotations

import argparse
import sys

from tests.docs.stand_ins.systemctl import file


def main() -> None:
    parser = argparse.ArgumentParser(prog="journalctl", allow_abbrev=False)
    parser.add_argument("-u", dest="unit", required=True)
    parser.add_argument("-o", dest="output", choices=["cat"], required=True)
    parser.add_argument("-n", dest="count", type=int, default=0)
    arguments = parser.parse_args()
    lines = file(arguments.unit, "log").read_text().splitlines(keepends=True)
    sys.stdout.writelines(lines[-arguments.count :])


if __name__ == "__main__":
    main()
