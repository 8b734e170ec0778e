"""What is kept of certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Data = Mapping[str, bytes]
"""Data of a Secret, decoded."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Data of the three Secrets of a shoot; empty where there is no Secret yet."""

    authority: Data
    """``ca.crt``, ``ca.key`` and ``initiated``; during a rotation the predecessor as ``former.crt``,
    ``former.key`` and ``former-initiated``, and the authorities signed by each other as
    ``ca-by-former.crt`` and ``former-by-ca.crt``. The one thing that cannot be made again."""
    server: Data
    """``ca.crt``: all that is to be trusted; ``tls.crt``: the bootstrapper's certificate and what goes
    with it; ``tls.key``."""
    client: Data
    """The same for the nodes."""


EMPTY = Certificates({}, {}, {})
