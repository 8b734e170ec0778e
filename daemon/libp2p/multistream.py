"""multistream-select 1.0: two peers agree on what to speak next, on a connection or on a stream.

Both machines take bytes as they come and give back the bytes to send. Once ``protocol`` is set the
negotiation is over, and ``rest`` holds what came in behind it: the first bytes of the agreed protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from daemon.libp2p import varint
from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError

PROTOCOL = "/multistream/1.0.0"
MAX_MESSAGE = 1024
"""Bytes of a message, its line end included, as go-multistream has it."""
MAX_PROPOSALS = 32
"""How many protocols, or lists, a peer may ask for before it has to settle."""

_NOT_AVAILABLE = "na"
_LIST = "ls"


class NotSupportedError(Exception):
    """The peer speaks none of the protocols that were proposed. Nobody's fault."""


class Initiator:
    """The side that proposes. With one protocol, the usual case, it need not wait for the answer.

    What belongs to the protocol can be sent right behind ``start()``, in the same packet. When the peer
    then turns out not to speak it, ``receive`` tells so, and nothing that was sent counts.
    """

    def __init__(self, protocols: Sequence[str]) -> None:
        """Prepare to propose protocols, the most wanted first; at least one."""
        self.protocol: str | None = None
        self._messages = _Messages()
        self._proposed = protocols[0]
        self._further = list(protocols[1:])

    def start(self) -> bytes:
        """Return what opens the negotiation: the header and the first proposal."""
        return _HEADER + _message(self._proposed)

    def receive(self, data: bytes) -> bytes:
        """Take in what was received and return what is to be sent, often nothing.

        Raises:
            RemoteProtocolError: the peer does not speak multistream-select, or answers what was not asked.
            NotSupportedError: the peer refuses the last proposal.
        """
        _check_open(self.protocol)
        for message in self._messages.feed(data):
            if message == self._proposed:
                self.protocol = message
                break
            if message != _NOT_AVAILABLE:
                raise RemoteProtocolError(f"{message[:64]!r} answers the proposal of {self._proposed!r}")
            if not self._further:
                raise NotSupportedError(f"the peer does not speak {self._proposed}")
            self._proposed = self._further.pop(0)
            return _message(self._proposed)
        return b""

    @property
    def rest(self) -> bytes:
        """What was received behind the agreement."""
        return self._messages.rest


class Responder:
    """The side that chooses. It answers the header when that has come, so that it sends once, not twice."""

    def __init__(self, supported: Collection[str]) -> None:
        """Prepare to accept any of some protocols."""
        self.protocol: str | None = None
        self._messages = _Messages()
        self._supported = supported
        self._proposals = 0

    def receive(self, data: bytes) -> bytes:
        """Take in what was received and return what is to be sent.

        Raises:
            RemoteProtocolError: the peer does not speak multistream-select, or proposes without end.
        """
        _check_open(self.protocol)
        greeted = self._messages.greeted
        answers = []
        for message in self._messages.feed(data):
            self._proposals += 1
            if self._proposals > MAX_PROPOSALS:
                raise RemoteProtocolError(f"more than {MAX_PROPOSALS} protocols proposed")
            if message in self._supported:
                self.protocol = message
                answers.append(_message(message))
                break
            answers.append(self._list() if message == _LIST else _message(_NOT_AVAILABLE))
        if self._messages.greeted and not greeted:
            answers.insert(0, _HEADER)
        return b"".join(answers)

    def _list(self) -> bytes:
        return varint.delimit(b"".join(map(_message, self._supported)) + b"\n")

    @property
    def rest(self) -> bytes:
        """What was received behind the agreement."""
        return self._messages.rest


class _Messages:
    """Cuts what comes in into messages: a varint, then so many bytes of text, the last of them a line end.

    The first has to be the header. A stranger that says something else is found out by its first bytes.
    """

    def __init__(self) -> None:
        self._data = b""
        self.greeted = False
        """Whether the header has come."""

    @property
    def rest(self) -> bytes:
        return self._data

    def feed(self, data: bytes) -> Iterator[str]:
        """Add data and yield the messages that are whole; stop early to leave the others in ``rest``."""
        self._data += data
        if not self.greeted:
            opening = self._data[: len(_HEADER)]
            if not _HEADER.startswith(opening):
                raise RemoteProtocolError(f"the peer opens with {opening!r}, not with {PROTOCOL}")
            if len(opening) < len(_HEADER):
                return
            self._data = self._data[len(_HEADER) :]
            self.greeted = True
        while prefix := varint.decode(self._data):
            length, start = prefix
            if not 0 < length <= MAX_MESSAGE:
                raise RemoteProtocolError(f"a negotiation message has 1 to {MAX_MESSAGE} bytes, not {length}")
            end = start + length
            if len(self._data) < end:
                return
            message = self._data[start : end - 1]
            if self._data[end - 1 : end] != b"\n":
                raise RemoteProtocolError("a negotiation message does not end in a line end")
            self._data = self._data[end:]
            yield message.decode("utf-8", "replace")


def _message(text: str) -> bytes:
    return varint.delimit(text.encode() + b"\n")


def _check_open(agreed: str | None) -> None:
    if agreed is not None:
        raise LocalProtocolError(f"{agreed} was agreed on: what comes in now is its business")


_HEADER = _message(PROTOCOL)
