"""The front of the package: from what is wanted to a response."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.oci.errors import ErrorCode, OciError

if TYPE_CHECKING:
    from daemon.http.message import Response
    from daemon.metrics import Metrics
    from daemon.mirror.wanted import Wanted
    from daemon.routing.base import Router


class Mirror:
    """Answers requests from what other nodes have."""

    def __init__(
        self,
        router: Router,
        metrics: Metrics,
        *,
        resolve_timeout: float = 0.02,
        resolve_retries: int = 3,
        credentials: tuple[str, str] | None = None,
        verify_blobs: bool = False,
    ) -> None:
        """Take what it works with.

        Args:
            router: finds peers.
            metrics: the daemon's figures.
            resolve_timeout: seconds to wait for a peer while none is being asked.
            resolve_retries: how many peers are asked for one piece of content.
            credentials: user name and password for the peers' basic authentication.
            verify_blobs: compare each whole blob with its digest; costs a copy and a hash.
        """
        self._router = router
        self._metrics = metrics
        self._resolve_timeout = resolve_timeout
        self._resolve_retries = resolve_retries
        self._credentials = credentials
        self._verify_blobs = verify_blobs

    async def fetch(self, wanted: Wanted) -> Response:
        """Return the answer of a peer.

        Raises:
            OciError: MANIFEST_UNKNOWN or BLOB_UNKNOWN when no peer has it, or none answers in time.
        """
        code = ErrorCode.MANIFEST_UNKNOWN if wanted.kind == "manifest" else ErrorCode.BLOB_UNKNOWN
        raise OciError(HTTPStatus.NOT_FOUND, code, f"no peer has {wanted.key}", {"attempts": 0})

    async def aclose(self) -> None:
        """Close idle connections and pipes."""
