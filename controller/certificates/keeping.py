"""From what is stored to what is to be stored: authorities rotated, certificates renewed, the rest as it was.

During a rotation the nodes' certificate is of the new authority and the bootstrapper's of the old one, and
both sides trust both. Nodes and bootstrapper learn of it at different times, so the two authorities also sign
each other, and a certificate is sent with the signature of the other authority behind it. Whoever still, or
already, trusts one authority alone can verify it all the same:

    nodes show          certificate <- new, new <- old
    bootstrapper shows  certificate <- old, old <- new
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from controller.certificates.authority import (
    CLIENT,
    SERVER,
    Pair,
    UnusableError,
    cross_sign,
    new_authority,
    new_certificate,
    pem,
)
from controller.certificates.model import Certificates, Data
from controller.certificates.rotation import Rotation, Step, Term, next_step


def renew(
    stored: Certificates, *, organization: str, host: str, rotation: Rotation, now: datetime
) -> Certificates:
    """Return what is to be stored; the same again when nothing is due.

    What is stored but cannot be read is replaced, since no one could use it either.

    Args:
        stored: what the last call returned; EMPTY at first.
        organization: whose certificates they are, at most 64 characters.
        host: name under which nodes reach the bootstrapper.
        rotation: what the Shoot says.
        now: the time, with its zone.
    """
    authorities = _rotate(_Authorities.load(stored.authority), organization, rotation, now)
    bundle = b"".join(pair.certificate_pem for pair in authorities.trusted)
    server = _leaf(
        stored.server,
        authorities.for_server,
        now,
        name="registry-spegel-bootstrapper",
        usage=SERVER,
        hosts=frozenset([host]),
    )
    client = _leaf(stored.client, authorities.for_client, now, name="registry-spegel-node", usage=CLIENT)
    return Certificates(authorities.dump(), {"ca.crt": bundle, **server}, {"ca.crt": bundle, **client})


@dataclass(frozen=True, slots=True)
class _Signer:
    """An authority, and its signature by the other one during a rotation."""

    pair: Pair
    crossed: x509.Certificate | None

    @property
    def chain(self) -> bytes:
        return pem(self.crossed) if self.crossed else b""


@dataclass(frozen=True, slots=True)
class _Former:
    pair: Pair
    initiated: str | None
    by_current: x509.Certificate
    current_by_it: x509.Certificate

    @property
    def term(self) -> Term:
        return Term(self.pair.life, self.initiated)


@dataclass(frozen=True, slots=True)
class _Authorities:
    pair: Pair
    initiated: str | None
    former: _Former | None = None

    @classmethod
    def load(cls, data: Data) -> _Authorities | None:
        try:
            current = Pair.load(data["ca.crt"], data["ca.key"])
        except (KeyError, UnusableError):
            return None
        return cls(current, _text(data, "initiated"), cls._load_former(data))

    @staticmethod
    def _load_former(data: Data) -> _Former | None:
        try:
            return _Former(
                Pair.load(data["former.crt"], data["former.key"]),
                _text(data, "former-initiated"),
                x509.load_pem_x509_certificate(data["former-by-ca.crt"]),
                x509.load_pem_x509_certificate(data["ca-by-former.crt"]),
            )
        except (KeyError, UnusableError, ValueError):
            return None

    def dump(self) -> Data:
        data = {
            "ca.crt": self.pair.certificate_pem,
            "ca.key": self.pair.key_pem,
            "initiated": (self.initiated or "").encode(),
        }
        if former := self.former:
            data |= {
                "former.crt": former.pair.certificate_pem,
                "former.key": former.pair.key_pem,
                "former-initiated": (former.initiated or "").encode(),
                "former-by-ca.crt": pem(former.by_current),
                "ca-by-former.crt": pem(former.current_by_it),
            }
        return data

    @property
    def term(self) -> Term:
        return Term(self.pair.life, self.initiated)

    @property
    def trusted(self) -> list[Pair]:
        return [self.pair, *([self.former.pair] if self.former else [])]

    @property
    def for_server(self) -> _Signer:
        if self.former:
            return _Signer(self.former.pair, self.former.by_current)
        return _Signer(self.pair, None)

    @property
    def for_client(self) -> _Signer:
        return _Signer(self.pair, self.former.current_by_it if self.former else None)


def _rotate(
    stored: _Authorities | None, organization: str, rotation: Rotation, now: datetime
) -> _Authorities:
    former = stored.former.term if stored and stored.former else None
    step = next_step(stored.term if stored else None, former, rotation, now)
    if stored is None or step is Step.FIRST:
        return _Authorities(new_authority(organization, now), rotation.initiated)
    match step:
        case Step.BEGIN:
            old, new = stored.pair, new_authority(organization, now)
            crossed = _Former(old, stored.initiated, cross_sign(old, new), cross_sign(new, old))
            return _Authorities(new, rotation.initiated or stored.initiated, crossed)
        case Step.END:
            return _Authorities(stored.pair, stored.initiated)
        case _:
            return stored


def _leaf(
    stored: Data,
    signer: _Signer,
    now: datetime,
    *,
    name: str,
    usage: x509.ObjectIdentifier,
    hosts: frozenset[str] = frozenset(),
) -> Data:
    try:
        pair = Pair.load(stored["tls.crt"], stored["tls.key"])
    except (KeyError, UnusableError):
        pair = None
    if (
        pair is None
        or pair.life.is_due(now)
        or pair.names() != hosts
        or not signer.pair.signed(pair.certificate)
    ):
        pair = new_certificate(signer.pair, name, usage, sorted(hosts), now)
    return {"tls.crt": pair.certificate_pem + signer.chain, "tls.key": pair.key_pem}


def _text(data: Data, key: str) -> str | None:
    return data.get(key, b"").decode("ascii", "replace") or None
