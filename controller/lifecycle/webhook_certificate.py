"""When the webhook's own authority and serving certificate are replaced: a state machine without keys.

API servers must trust what the webhook serves at every moment, or nothing of a shoot can be written. So the
order is: a new authority is made and trusted beside the former one; once every API server has had time to
notice, a certificate of it is served; once every replica has had time to serve that, the former is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.certificates.rotation import Life

AUTHORITY_LIFE = timedelta(days=30)
SETTLED_AFTER = timedelta(minutes=10)
"""Age from which an authority is taken to be known to all API servers. A certificate begins some minutes
before it is made."""
KEPT_AFTER = timedelta(hours=24)
"""For how long a former authority is trusted beside its successor."""


@dataclass(frozen=True, slots=True)
class Served:
    """The certificate that is served."""

    life: Life
    by_authority: bool
    """Whether the authority of today has signed it."""
    fits: bool
    """Whether it has a key and the names that API servers ask for."""


def needs_authority(authority: Life | None, now: datetime) -> bool:
    """Tell whether a new authority is to be made."""
    return authority is None or authority.is_due(now)


def trusted(authority: Life, former: Sequence[Life], served: Served | None, now: datetime) -> list[bool]:
    """Say of each former authority whether it is still to be trusted."""
    in_use = served is not None and served.fits and not served.by_authority
    recent = now < authority.start + KEPT_AFTER
    return [(in_use or recent) and not life.is_over(now) for life in former]


def needs_certificate(authority: Life, served: Served | None, now: datetime, *, announced: bool) -> bool:
    """Tell whether a new certificate is to be made.

    Args:
        authority: that is to sign it.
        served: what is served so far.
        now: the time.
        announced: whether API servers were told of the authority before, and not just now.
    """
    if served is None or not served.fits or served.life.is_over(now):
        return True  # nothing works as it is, so there is nothing to wait for
    if served.by_authority:
        return served.life.is_due(now)
    return announced and now >= authority.start + SETTLED_AFTER
