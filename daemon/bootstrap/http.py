"""Peers that a server names: the bootstrapper of the cluster, or another node's ``/id``.

The answer is a JSON list of ``{"ID": "12D3Koo…", "Addrs": ["/ip4/10.0.0.1", …]}``, as upstream has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

import httptools

from daemon.bootstrap.base import BootstrapError, Candidate
from daemon.bootstrap.certificates import CertificateError, client_context
from daemon.libp2p.identity import InvalidPeerIdError, PeerId
from daemon.libp2p.multiaddr import InvalidMultiaddrError, Multiaddr

_PATIENCE = 10.0
"""Seconds from the start to the end of the answer."""
_MAX_ANSWER = 512 * 1024
_MAX_CANDIDATES = 3
_MAX_ADDRESSES = 16
_STEP = 64 * 1024
_AS_THEY_ARE = "%/?:@!$&'()*+,;=[]"
"""In a path and query; spaces and what is not ASCII are written as their bytes."""


class HttpSource:
    """Whatever a URL answers with."""

    def __init__(self, url: str, certificates: Path | None) -> None:
        """Prepare to ask.

        Args:
            url: http or https.
            certificates: directory with ``ca.crt``, ``tls.crt`` and ``tls.key``; it is read anew each time.

        Raises:
            CertificateError: the files cannot be used.
        """
        self._url = urlsplit(url)
        self._certificates = certificates
        client_context(certificates)

    async def find(self) -> Sequence[Candidate]:
        """Ask.

        Raises:
            BootstrapError: there is no usable answer.
        """
        url = self._url._replace(netloc=_authority(self._url)).geturl()  # without a password, for the log
        try:
            context = client_context(self._certificates) if self._url.scheme == "https" else None
            async with asyncio.timeout(_PATIENCE):
                answer = await _get(self._url, context)
        except TimeoutError:
            raise BootstrapError(f"{url} does not answer within {_PATIENCE:g} s") from None
        except (OSError, httptools.HttpParserError, CertificateError, _AnswerError) as error:
            raise BootstrapError(f"{url}: {error}") from error
        except ValueError as error:
            raise BootstrapError(f"{url}: its host is no name: {error}") from error
        return parse_candidates(answer)


def parse_candidates(answer: bytes) -> list[Candidate]:
    """Read the first entries of an answer; those that say nothing usable are left out.

    Raises:
        BootstrapError: it is no JSON list of objects.
    """
    try:
        entries = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise BootstrapError(f"the list of peers is no JSON: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BootstrapError("the list of peers is no JSON list of objects")
    candidates = (_candidate(entry) for entry in entries[:_MAX_CANDIDATES])
    return [candidate for candidate in candidates if candidate is not None]


def _candidate(entry: dict[str, object]) -> Candidate | None:
    fields = {name.lower(): value for name, value in entry.items()}  # Go does not mind the case either
    texts = fields.get("addrs")
    addresses = []
    for text in texts[:_MAX_ADDRESSES] if isinstance(texts, list) else ():
        with contextlib.suppress(InvalidMultiaddrError):
            addresses.append(Multiaddr.parse(str(text)))
    try:
        peer_id = PeerId.parse(str(fields["id"])) if fields.get("id") else None
    except InvalidPeerIdError:
        return None
    return Candidate(peer_id, tuple(addresses)) if addresses else None


def _authority(url: SplitResult) -> str:
    return url.netloc.rpartition("@")[2]


class _AnswerError(Exception):
    """The answer is not what was asked for."""


async def _get(url: SplitResult, context: ssl.SSLContext | None) -> bytes:
    port = url.port or (443 if context else 80)
    host = str(url.hostname)
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_STEP)
    try:
        target = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=_AS_THEY_ARE)
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: {_authority(url)}\r\nAccept: application/json\r\n"
            "User-Agent: spegel\r\nConnection: close\r\n\r\n".encode("ascii")
        )
        answer = _Answer()
        while not answer.complete and (data := await reader.read(_STEP)):
            answer.receive(data)
        return answer.body()
    finally:
        writer.transport.abort()


class _Answer:
    """Callbacks of httptools, which knows chunks and lengths."""

    def __init__(self) -> None:
        self.complete = False
        self._body = bytearray()
        self._received = 0
        self._parser = httptools.HttpResponseParser(self)

    def receive(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > _MAX_ANSWER:
            raise _AnswerError(f"the answer is longer than {_MAX_ANSWER} bytes")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise _AnswerError("the answer is the beginning of another protocol") from error

    def body(self) -> bytes:
        status: int = self._parser.get_status_code()
        if status != 200:
            raise _AnswerError(f"the answer is {status or 'empty'}, not 200")
        return bytes(self._body)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self.complete = True
