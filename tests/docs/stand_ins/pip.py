"""For pip: looks whether this project has what is to be installed; where the tests run it is installed."""

from __future__ import annotations

import configparser
import re
import sys


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] != "install":
        sys.exit(f"pip: {sys.argv[1:]} is not known")
    wanted = re.fullmatch(r"\.\[([\w,]+)\]", sys.argv[2])
    setup = configparser.ConfigParser(interpolation=None)
    setup.read("setup.cfg")
    if wanted is None or not set(wanted[1].split(",")) <= set(setup["options.extras_require"]):
        sys.exit(f"pip: {sys.argv[2]} is nothing that this project can be installed as")


if __name__ == "__main__":
    main()
