"""``python -m bootstrapper``."""

import sys

from bootstrapper.cli import main

if __name__ == "__main__":
    sys.exit(main())
