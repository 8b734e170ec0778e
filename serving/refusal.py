"""Why a connection came to nothing before a request could be made on it."""

from __future__ import annotations

import ssl


class ExpiredError(OSError):
    """The certificate with which a session was begun has ended."""


_CERTIFICATE = {
    2: "certificate_untrusted",  # unable to get issuer certificate
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    18: "certificate_untrusted",  # self-signed
    19: "certificate_untrusted",  # self-signed certificate in its chain
    20: "certificate_untrusted",  # unable to get local issuer certificate
    21: "certificate_untrusted",  # unable to verify the first certificate
    23: "certificate_revoked",
}
"""By the number that OpenSSL gives to the outcome of a verification."""
_HANDSHAKE = {
    "HTTP_REQUEST": "plain_http",
    "HTTPS_PROXY_REQUEST": "plain_http",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "UNSUPPORTED_PROTOCOL": "tls_version",
    "VERSION_TOO_LOW": "tls_version",
}


def reason(error: OSError) -> str | None:
    """Return one word for the figures; None when the client just went away."""
    if isinstance(error, ExpiredError):
        return "certificate_expired"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(error.verify_code, "certificate_invalid")
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or not isinstance(error, ssl.SSLError):
        return None
    cause = error.reason or ""
    if "_ALERT_" in cause:
        return "refused_by_client"
    return _HANDSHAKE.get(cause, "handshake")
