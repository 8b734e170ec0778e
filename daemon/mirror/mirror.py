"""The front of the package: from what is wanted to a response."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.http.message import Response
from daemon.mirror.answer import UnsatisfiableError
from daemon.mirror.client import Answer, Client
from daemon.mirror.contest import Arena, NoAnswerError, Won
from daemon.mirror.history import History, Outcome
from daemon.mirror.journal import Journal
from daemon.mirror.movers import Hasher, Mover, Splicer, verify
from daemon.mirror.pipes import PipePool
from daemon.mirror.relay import Relay
from daemon.oci.errors import ErrorCode, OciError

if TYPE_CHECKING:
    from daemon.metrics import Metrics
    from daemon.mirror.answer import Offer
    from daemon.mirror.wanted import Wanted
    from daemon.routing.base import Peer, Router

_SEARCHES = 256
"""Requests at once that look for a peer; for those beyond, the next host is the better choice."""
_TRANSFERS = 128
"""Blobs at once."""


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
        self.history = History()
        self._metrics = metrics
        self._verify_blobs = verify_blobs
        self._client = Client(credentials)
        self._arena = Arena(router, resolve_timeout, resolve_retries)
        self._pipes = PipePool()
        self._searches = 0
        self._transfers = 0

    async def fetch(self, wanted: Wanted) -> Response:
        """Return the answer of a peer.

        Raises:
            OciError: MANIFEST_UNKNOWN or BLOB_UNKNOWN when no peer has it, or none answers in time.
            UnsatisfiableError: a peer has it, but nothing in the range that is wanted.
        """
        if wanted.kind == "manifest" or wanted.method == "HEAD":
            wanted = replace(wanted, range=None)
        journal = Journal(wanted, self.history, self._metrics)
        answer = self._transfer if wanted.kind == "blob" and wanted.method == "GET" else self._whole
        try:
            return await answer(wanted, journal)
        except NoAnswerError as error:
            journal.missed(error.tried)
            if isinstance(error.last, UnsatisfiableError):
                raise error.last from error
            code = ErrorCode.MANIFEST_UNKNOWN if wanted.kind == "manifest" else ErrorCode.BLOB_UNKNOWN
            detail = {"attempts": error.tried}
            raise OciError(HTTPStatus.NOT_FOUND, code, f"{wanted.key}: {error}", detail) from error

    async def aclose(self) -> None:
        """Close idle connections and pipes."""
        self._client.close()
        self._pipes.close()

    async def _whole(self, wanted: Wanted, journal: Journal) -> Response:
        won = await self._find(wanted)
        won.answer.close()
        journal.answered(won.tried)
        journal.moved(len(won.answer.rest))
        journal.ended(Outcome.HIT, [won.answer.peer.id])
        return _response(wanted, won.answer.offer, won.answer.rest)

    async def _transfer(self, wanted: Wanted, journal: Journal) -> Response:
        if self._transfers >= _TRANSFERS:
            raise NoAnswerError(0)
        self._transfers += 1
        try:
            won = await self._find(wanted)
            mover = self._mover(won)
        except BaseException:
            self._transfers -= 1
            raise

        def ended(relay: Relay) -> None:
            self._transfers -= 1
            journal.ended(relay.outcome, relay.sources)

        journal.answered(won.tried)
        relay = Relay(
            wanted,
            won.answer,
            mover,
            self._client,
            self._arena,
            moved=journal.moved,
            resumed=journal.resumed,
            ended=ended,
        )
        return _response(wanted, won.answer.offer, relay)

    async def _find(self, wanted: Wanted) -> Won[Answer]:
        if self._searches >= _SEARCHES:
            raise NoAnswerError(0)
        self._searches += 1
        try:
            return await self._arena.contest(wanted.key, lambda peer: self._ask(peer, wanted))
        finally:
            self._searches -= 1

    async def _ask(self, peer: Peer, wanted: Wanted) -> Answer:
        """Ask one peer. Of a blob only the head is read; everything else is read and checked whole."""
        answer = await self._client.ask(peer, wanted)
        try:
            if wanted.method == "HEAD":
                answer.finish(surplus=bool(answer.rest))
            elif wanted.kind == "manifest":
                await answer.read_all()
                verify(answer.rest, answer.offer.digest)
                self._arena.praise(peer.id, wanted.key)
        except BaseException:
            answer.close()
            raise
        return answer

    def _mover(self, won: Won[Answer]) -> Mover:
        offer = won.answer.offer
        if self._verify_blobs and offer.length == offer.size:
            return Hasher(offer.digest)
        try:
            return Splicer(self._pipes)
        except OSError as error:  # no more files may be open
            won.answer.close()
            raise NoAnswerError(won.tried) from error


def _response(wanted: Wanted, offer: Offer, body: bytes | Relay) -> Response:
    headers = [("Content-Type", offer.media_type), ("Docker-Content-Digest", offer.digest)]
    status = HTTPStatus.OK
    if wanted.registry:
        headers.append(("OCI-Namespace", wanted.registry))
    if wanted.kind == "blob":
        headers.append(("Accept-Ranges", "bytes"))
    if wanted.range is not None:
        last = offer.first + offer.length - 1
        headers.append(("Content-Range", f"bytes {offer.first}-{last}/{offer.size}"))
        status = HTTPStatus.PARTIAL_CONTENT
    attributes = {"handler": "mirror", "registry": wanted.registry, "source": "peer"}
    head_length = offer.length if wanted.method == "HEAD" else None
    return Response(status, tuple(headers), body, head_length, attributes)
