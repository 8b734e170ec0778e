"""Finds the first peers, over and over until one is reached, and again every half hour.

Where candidates come from is the business of a `Source`. Any of them may be this node itself, may be gone, or
may be named by its address alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from daemon.libp2p.host.errors import DialError, SelfDialError
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import TCP, UDP, Multiaddr
from daemon.libp2p.peer_info import PeerInfo

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0
"""Seconds from one attempt to the next; each pause is twice the one before."""
_INTERVAL = 30 * 60.0
"""Seconds after which candidates are looked for again although peers are known."""
_FIRST_REPEAT = 1.0
"""The same while not all were reached; then twice as long each time."""
_LOOK = 1.0
"""Seconds between two looks at whether peers are still known."""
_PATIENCE = 30.0
"""Seconds that one attempt may take."""


class BootstrapError(Exception):
    """No peer was found; the message says why."""


class AloneError(BootstrapError):
    """There is nobody to begin with but this node itself, as it is when the first node starts."""

    def __init__(self) -> None:
        super().__init__("there is no peer but this node itself")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who may be a peer."""

    id: PeerId | None
    """None when only the address is known."""
    addresses: tuple[Multiaddr, ...]
    """Those without a port are meant to have this node's own."""


class Source(Protocol):
    """Where candidates come from."""

    async def find(self) -> Sequence[Candidate]:
        """Return candidates.

        Raises:
            BootstrapError: they cannot be found out.
        """


class Connector(Protocol):
    """What the host does for it."""

    peer_id: PeerId

    def addresses(self) -> Sequence[Multiaddr]:
        """Return where this node listens."""

    async def connect(self, peer: PeerInfo) -> None:
        """Connect to a peer; DialError when that fails."""

    async def connect_to_unknown(self, addresses: Sequence[Multiaddr]) -> PeerId:
        """Connect to whoever is there; DialError when that fails, SelfDialError when it is this node."""


class Bootstrap:
    """Connects to candidates until one is reached, and when there are no peers any more."""

    def __init__(self, source: Source, host: Connector, port: int, connected: Callable[[], bool]) -> None:
        """Prepare.

        Args:
            source: where candidates come from.
            host: connects to them; whom it meets makes itself known to the router.
            port: this node's own, for addresses without one.
            connected: tells whether the router knows peers.
        """
        self._source = source
        self._host = host
        self._port = Multiaddr.parse(f"/tcp/{port}")
        self._connected = connected

    async def run(self) -> None:
        """Work until cancelled.

        Some peers are not enough, whether reached or come by themselves: in a cluster that starts as a whole
        they may know nobody else. So while any candidate was not reached it is soon tried again, though less
        and less often.
        """
        while True:
            settled = await self._reach_connectivity()
            pause = _INTERVAL if settled else _FIRST_REPEAT
            while await self._stay_connected(pause):
                pause = min(2 * pause, _INTERVAL)
                try:
                    if await self.attempt():
                        pause = _INTERVAL
                except BootstrapError as error:
                    logger.warning("no further peers: %s", error)

    async def attempt(self) -> bool:
        """Look for candidates once and connect to them; tell whether all of them were reached.

        Raises:
            BootstrapError: nobody was reached.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                candidates = await self._source.find()
                others = [one for one in map(self._completed, candidates) if not self._is_self(one)]
                if not others:
                    raise AloneError
                outcomes = await asyncio.gather(*map(self._connect, others))
        except TimeoutError:
            raise BootstrapError(f"that takes longer than {_PATIENCE:g} s") from None
        failures = [str(error) for error in outcomes if error and not isinstance(error, SelfDialError)]
        if None in outcomes:
            return not failures
        raise BootstrapError("; ".join(failures)) if failures else AloneError

    async def _reach_connectivity(self) -> bool:
        """Look for candidates until peers are known; tell whether all were reached, or there are none."""
        loop = asyncio.get_running_loop()
        started, pause, said = loop.time(), _FIRST_PAUSE, ""
        while True:
            try:
                settled = await self.attempt()
            except BootstrapError as error:
                settled = isinstance(error, AloneError)
                if str(error) != said and not self._connected():
                    said = str(error)
                    level = logging.INFO if settled else logging.WARNING
                    logger.log(level, "no peers yet: %s", said)
            if not self._connected():
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if self._connected():
                break
        logger.info("connected", extra={"seconds": round(loop.time() - started, 3)})
        return settled

    async def _stay_connected(self, seconds: float) -> bool:
        """Wait until it is time to look again; False as soon as no peers are known any more."""
        loop = asyncio.get_running_loop()
        again = loop.time() + seconds
        while self._connected() and loop.time() < again:
            await asyncio.sleep(_LOOK)
        return self._connected()

    async def _connect(self, candidate: Candidate) -> DialError | None:
        """Return why a candidate was not reached, or None when it was."""
        try:
            if candidate.id is None:
                await self._host.connect_to_unknown(candidate.addresses)
            else:
                await self._host.connect(PeerInfo(candidate.id, candidate.addresses))
        except DialError as error:
            return error
        return None

    def _completed(self, candidate: Candidate) -> Candidate:
        """Return a candidate with ports, and with the ID that its addresses may name."""
        peer_id = candidate.id
        addresses = []
        for address in candidate.addresses:
            peer_id = peer_id or address.peer_id
            bare = address.without_peer_id()
            if bare is not None:
                has_port = any(protocol in (TCP, UDP) for protocol, _ in bare.components())
                addresses.append(bare if has_port else bare.encapsulate(self._port))
        return Candidate(peer_id, tuple(addresses))

    def _is_self(self, candidate: Candidate) -> bool:
        return candidate.id == self._host.peer_id or not {*candidate.addresses}.isdisjoint(
            self._host.addresses()
        )
