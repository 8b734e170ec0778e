"""Certificates made by the openssl program, as an operator would make them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority with a directory of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir()
        self._directory = directory
        self.certificate = directory / "ca.crt"
        self._key = directory / "ca.key"
        self._number = 0
        _openssl(
            "req", "-x509", *_CURVE, "-subj", f"/CN={name}", "-days", "30",
            "-addext", "basicConstraints=critical,CA:true",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", self._key, "-out", self.certificate,
        )  # fmt: skip

    def issue(
        self, usage: str, *, days: int = 10, names: tuple[str, ...] = ("DNS:localhost", "IP:127.0.0.1")
    ) -> Pair:
        """Sign a certificate for ``serverAuth`` or ``clientAuth``; days below 1 make one that has ended."""
        self._number += 1
        base = self._directory / f"{usage}-{self._number}"
        pair = Pair(base.with_suffix(".crt"), base.with_suffix(".key"))
        request, extensions = base.with_suffix(".csr"), base.with_suffix(".ext")
        extensions.write_text(
            "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n"
            f"extendedKeyUsage={usage}\n"
            f"subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nsubjectAltName={','.join(names)}\n"
        )
        _openssl("req", *_CURVE, "-subj", f"/CN={usage}", "-keyout", pair.key, "-out", request)
        # Before version 3.4 the program takes no dates here, but days below zero.
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
            "-set_serial", self._number, "-days", days, "-extfile", extensions, "-out", pair.certificate,
        )  # fmt: skip
        return pair


def _openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
