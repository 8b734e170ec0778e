"""Nodes and bootstrappers that hold certificates, and whether they accept each other."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from controller.certificates.model import Certificates, Data

# A client has no host name, so its certificate has no names either.
_CLIENT = ExtensionPolicy.webpki_defaults_ee().may_be_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)


def accept(node: Data, server: Data, host: str, now: datetime) -> bool:
    """Whether a node accepts a server and the server accepts it, at any time."""
    leaf, *others = x509.load_pem_x509_certificates(server["tls.crt"])
    client, *client_others = x509.load_pem_x509_certificates(node["tls.crt"])
    try:
        _policy(node, now).build_server_verifier(x509.DNSName(host)).verify(leaf, others)
        _policy(server, now).extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_CLIENT
        ).build_client_verifier().verify(client, client_others)
    except VerificationError:
        return False
    return True


def shake_hands(node: Data, server: Data, host: str) -> None:
    """Let OpenSSL do the same at the present time, as strict as it can be.

    Raises:
        ssl.SSLError: one does not accept the other.
    """
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = _context(ssl.PROTOCOL_TLS_CLIENT, node).wrap_bio(theirs, ours, server_hostname=host)
    serving = _context(ssl.PROTOCOL_TLS_SERVER, server).wrap_bio(ours, theirs, server_side=True)
    waiting = {client, serving}
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    # With TLS 1.3 the client learns only now whether it was accepted.
    serving.write(b"x")
    assert client.read() == b"x"


def _policy(peer: Data, now: datetime) -> PolicyBuilder:
    return PolicyBuilder().store(Store(x509.load_pem_x509_certificates(peer["ca.crt"]))).time(now)


def _context(protocol: int, data: Data) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=data["ca.crt"].decode())
    with TemporaryDirectory() as directory:
        certificate, key = Path(directory, "tls.crt"), Path(directory, "tls.key")
        certificate.write_bytes(data["tls.crt"])
        key.write_bytes(data["tls.key"])
        context.load_cert_chain(certificate, key)
    return context


def everyone_accepts_everyone(before: Certificates, after: Certificates, host: str, now: datetime) -> bool:
    """Whether nodes and servers that hold either get on with each other."""
    nodes, servers = (before.client, after.client), (before.server, after.server)
    return all(accept(node, server, host, now) for node in nodes for server in servers)
