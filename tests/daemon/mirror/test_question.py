"""The request that goes to a peer."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from daemon.mirror.question import compose
from daemon.mirror.wanted import Wanted
from tests.daemon.mirror.peers import blob, tag


def lines(wanted: Wanted, credentials: tuple[str, str] | None = None, address: str = "10.1.2.3") -> list[str]:
    data = compose(wanted, ip_address(address), 15500, credentials)
    assert data.endswith(b"\r\n\r\n")
    return data.decode().removesuffix("\r\n\r\n").split("\r\n")


def test_asks_for_a_blob_of_the_peer_itself() -> None:
    wanted = blob(b"x")
    assert lines(wanted) == [
        f"GET /v2/library/alpine/blobs/{wanted.key}?ns=docker.io HTTP/1.1",
        "Host: 10.1.2.3:15500",
        "User-Agent: spegel",
        "X-Spegel-Mirrored: true",
    ]


def test_asks_for_a_manifest_with_what_the_client_accepts() -> None:
    wanted = replace(tag("HEAD"), accept="application/vnd.oci.image.index.v1+json, */*")
    assert lines(wanted)[0] == "HEAD /v2/library/alpine/manifests/3.20?ns=docker.io HTTP/1.1"
    assert "Accept: application/vnd.oci.image.index.v1+json, */*" in lines(wanted)


def test_asks_for_any_manifest_when_the_client_does_not_say() -> None:
    (accept,) = (line for line in lines(tag()) if line.startswith("Accept: "))
    assert accept.count("application/vnd.") == 4


@pytest.mark.parametrize(
    ("wanted_range", "field"), [((5, 9), "Range: bytes=5-9"), ((5, None), "Range: bytes=5-")]
)
def test_asks_for_a_part(wanted_range: tuple[int, int | None], field: str) -> None:
    assert field in lines(blob(b"x", "GET", wanted_range))


def test_encodes_the_registrys_port() -> None:
    first = lines(replace(blob(b"x"), registry="registry.local:5000"))[0]
    assert "?ns=registry.local%3A5000 " in first


def test_leaves_out_an_unknown_registry() -> None:
    assert "?" not in lines(replace(blob(b"x"), registry=""))[0]


def test_puts_a_version_6_address_into_brackets() -> None:
    assert "Host: [fd00::1]:15500" in lines(blob(b"x"), address="fd00::1")


def test_shows_credentials() -> None:
    assert "Authorization: Basic dXNlcjpwYXNz" in lines(blob(b"x"), ("user", "pass"))


@pytest.mark.parametrize("field", ["registry", "name", "reference"])
def test_cannot_be_split_by_what_is_asked_for(field: str) -> None:
    texts = {"registry": "docker.io", "name": "library/alpine", "reference": "3.20"}
    texts[field] = "a b\r\nX: y"
    asked = Wanted("manifest", texts["registry"], texts["name"], texts["reference"], "key")
    assert len(lines(asked)) == len(lines(tag()))
