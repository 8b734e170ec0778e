"""The figures that nodes of one network agree on, upstream Spegel's and go-libp2p-kad-dht's."""

from __future__ import annotations

PROTOCOL = "/spegel/kad/1.0.0"

K = 20
"""Peers that hold a record; peers in a bucket; peers in an answer."""
ALPHA = 10
"""Peers that a lookup asks at once."""
BETA = 3
"""A lookup has come close enough when this many of the closest peers have answered."""

PROVIDE_INTERVAL = 15 * 60.0
"""Seconds after which a record is sent again."""
PROVIDE_DELAY = 2 * 60.0
"""Seconds by which that may be late."""
RECORD_VALIDITY = PROVIDE_INTERVAL + 2 * PROVIDE_DELAY
"""Seconds for which a record is believed."""
ADDRESS_VALIDITY = 60 * 60.0
"""Seconds for which the addresses of a provider are."""

REFRESH_INTERVAL = 10 * 60.0
"""Seconds between two refreshes of a routing table."""
