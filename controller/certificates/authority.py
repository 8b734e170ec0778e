"""Certificates and their keys: ECDSA on P-256, signed with SHA-256, as PEM.

The extensions are those that RFC 5280 asks for and that OpenSSL insists on when told to be strict.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.certificates.rotation import Life

AUTHORITY_LIFE = timedelta(days=3650)
"""That of the shoot's own authorities, which are replaced by the same rotations."""
CERTIFICATE_LIFE = timedelta(days=365)
"""Renewal needs a reconciliation: a fifth of this is how long a shoot may go without one."""

_SKEW = timedelta(minutes=5)  # by which a peer's clock may be behind

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


class UnusableError(Exception):
    """PEM that is not a certificate, or not the key of that certificate."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Self:
        """Read PEM; of several certificates the first.

        Raises:
            UnusableError: what was given is no such pair.
        """
        try:
            loaded = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError, x509.UnsupportedGeneralNameType) as error:
            raise UnusableError(str(error)) from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != loaded.public_key():
            raise UnusableError("the key is not that of the certificate")
        return cls(loaded, private)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        """The key as PEM (PKCS #8, not encrypted)."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def life(self) -> Life:
        """When the certificate is valid."""
        return Life(self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc)

    def signed(self, certificate: x509.Certificate) -> bool:
        """Tell whether a certificate was signed with this key, under this name."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def names(self) -> frozenset[str]:
        """Return the host names that the certificate is for."""
        try:
            extension = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return frozenset()
        return frozenset(extension.value.get_values_for_type(x509.DNSName))


def new_authority(organization: str, now: datetime, life: timedelta = AUTHORITY_LIFE) -> Pair:
    """Make an authority that signs itself. Its name is of its own, so that two are never mistaken."""
    key = _new_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    subject = _name(organization, f"registry-spegel-ca-{identifier[:16]}")
    builder = _builder(subject, subject, key.public_key(), Life(now - _SKEW, now + life))
    # One authority may follow: the other one of a rotation, see cross_sign().
    return Pair(_sign_authority(builder, key.public_key(), key, path_length=1), key)


def cross_sign(subject: Pair, signer: Pair) -> x509.Certificate:
    """Let one authority vouch for another: as ``newWithOld`` and ``oldWithNew`` of RFC 4210, section 4.4."""
    builder = _builder(
        subject.certificate.subject, signer.certificate.subject, subject.key.public_key(), subject.life
    )
    return _sign_authority(builder, subject.key.public_key(), signer.key, path_length=0)


def new_certificate(
    authority: Pair, common_name: str, usage: x509.ObjectIdentifier, hosts: Iterable[str], now: datetime
) -> Pair:
    """Make a certificate for a server or a client; it ends with its authority, if not before."""
    key = _new_key()
    (organization,) = authority.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    subject = _name(str(organization.value), common_name)
    life = Life(now - _SKEW, min(now + CERTIFICATE_LIFE, authority.life.end))
    names = [x509.DNSName(host) for host in hosts]
    builder = _builder(subject, authority.certificate.subject, key.public_key(), life)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    return Pair(_sign(builder, key.public_key(), authority.key), key)


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: Life
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life.start)
        .not_valid_after(life.end)
    )


def _sign_authority(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    path_length: int,
) -> x509.Certificate:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return _sign(builder, key, signer)


def _sign(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    return (
        builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
