"""Content of other nodes: find peers, race them, relay the winner's answer."""

from daemon.mirror.answer import UnsatisfiableError
from daemon.mirror.mirror import Mirror
from daemon.mirror.wanted import Wanted

__all__ = ["Mirror", "UnsatisfiableError", "Wanted"]
