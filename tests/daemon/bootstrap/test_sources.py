"""Where candidates come from: a list by hand, a domain, a server."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.bootstrap import BootstrapError, Candidate
from daemon.bootstrap.certificates import CertificateError, client_context
from daemon.bootstrap.dns import DnsSource
from daemon.bootstrap.http import HttpSource, parse_candidates
from daemon.bootstrap.id_server import IdServer
from daemon.bootstrap.static import StaticSource
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import InvalidMultiaddrError, Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from demo.certificates import Authority, make
from tests.virtual_time import virtual_time

PEER = PrivateKey.generate().peer_id
ADDRESS = Multiaddr.parse("/ip4/10.0.0.2/tcp/5001")
LIST = json.dumps([{"ID": str(PEER), "Addrs": [str(ADDRESS)]}]).encode()
CANDIDATE = Candidate(PEER, (ADDRESS,))

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


# --- by hand ---------------------------------------------------------------------------------------------


async def test_static_peers_are_what_was_named() -> None:
    text = f"{ADDRESS}/p2p/{PEER}"
    assert await StaticSource([text]).find() == [Candidate(PEER, (Multiaddr.parse(text),))]
    assert await StaticSource([]).find() == []


@pytest.mark.parametrize(
    "text",
    ["/ip4/10.0.0.2/tcp/5001", "10.0.0.2:5001", "", f"/ip4/x/p2p/{PEER}"],
    ids=["no peer", "no multiaddr", "empty", "no address"],
)
def test_static_peers_have_to_be_whole(text: str) -> None:
    with pytest.raises(InvalidMultiaddrError):
        StaticSource([text])


# --- a domain --------------------------------------------------------------------------------------------


def resolve(monkeypatch: pytest.MonkeyPatch, answer: list[str] | Exception) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[tuple[Any, ...]]:
        if isinstance(answer, Exception):
            raise answer
        return [(0, socket.SOCK_STREAM, 0, "", (address, 0)) for address in answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_of_a_domain_the_lowest_three_of_either_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    four = [f"10.0.0.{number}" for number in (30, 4, 200, 100, 4)]
    resolve(monkeypatch, ["fd00::b", "fd00::a", *four, "fd00::1:0", "fd00::9"])
    found = await DnsSource("spegel.example.com").find()
    assert [str(one.addresses[0]) for one in found] == [
        "/ip4/10.0.0.4",
        "/ip4/10.0.0.30",
        "/ip4/10.0.0.100",
        "/ip6/fd00::9",
        "/ip6/fd00::a",
        "/ip6/fd00::b",
    ]
    assert all(one.id is None for one in found)


async def test_a_domain_of_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, ["fd00::1"])
    assert await DnsSource("spegel.example.com").find() == [
        Candidate(None, (Multiaddr.parse("/ip6/fd00::1"),))
    ]


async def test_a_domain_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    with pytest.raises(BootstrapError, match=r"spegel\.example\.com cannot be looked up: .*not known"):
        await DnsSource("spegel.example.com").find()


async def test_the_systems_resolver_is_asked() -> None:
    addresses = [one.addresses[0] for one in await DnsSource("localhost").find()]
    assert Multiaddr.parse("/ip4/127.0.0.1") in addresses


# --- a server --------------------------------------------------------------------------------------------


def response(body: bytes = LIST, status: str = "200 OK", fields: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


@asynccontextmanager
async def serving(
    answer: bytes = b"", *, context: ssl.SSLContext | None = None, serve: Serve | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run a server that gives one answer; yield its URL and the requests that came."""
    requests: list[bytes] = []

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve or give, "127.0.0.1", 0, ssl=context)
    async with server:
        scheme = "https" if context else "http"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/bootstrap-nodes?zone=a", requests


async def test_a_list_over_http() -> None:
    async with serving(response()) as (url, requests):
        assert await HttpSource(url, None).find() == [CANDIDATE]
        (request,) = requests
        assert request.startswith(b"GET /bootstrap-nodes?zone=a HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_a_password_in_the_url_gets_into_no_message() -> None:
    async with serving(response(status="503 Unavailable")) as (url, _):
        with pytest.raises(BootstrapError) as raised:
            await HttpSource(url.replace("http://", "http://user:secret@"), None).find()
    assert str(raised.value).startswith(url)
    assert "secret" not in str(raised.value)


async def test_an_answer_in_chunks() -> None:
    halves = (LIST[:30], LIST[30:])
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(half), half) for half in halves)
    async with serving(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n") as (
        url,
        _,
    ):
        assert await HttpSource(url, None).find() == [CANDIDATE]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (response(b"no", "404 Not Found"), "the answer is 404, not 200"),
        (response(b"", "301 Moved", "Location: /x\r\n"), "the answer is 301"),
        (response(b"<html>"), "no JSON"),
        (response(b'{"ID": ""}'), "no JSON list of objects"),
        (response(b"[1]"), "no JSON list of objects"),
        (response(b"[" * 100_000), "no JSON"),
        (response(bytes(600_000)), "longer than 524288 bytes"),
        (b"SSH-2.0-OpenSSH\r\n", "http://127.0.0.1:"),
        (b"", "the answer is empty"),
        (
            response(status="101 Switching Protocols", fields="Upgrade: x\r\nConnection: upgrade\r\n"),
            "another protocol",
        ),
    ],
)
async def test_answers_that_are_of_no_use(answer: bytes, message: str) -> None:
    async with serving(answer) as (url, _):
        with pytest.raises(BootstrapError, match=message):
            await HttpSource(url, None).find()


async def test_nobody_listens() -> None:
    with pytest.raises(BootstrapError, match=r"http://127\.0\.0\.1:1/id: .*Connect call failed"):
        await HttpSource("http://127.0.0.1:1/id", None).find()


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "[fe80::1%25lo]", "\N{SNOWMAN}"])
async def test_what_cannot_be_a_server(host: str) -> None:
    with pytest.raises(BootstrapError, match="http"):
        await HttpSource(f"https://{host}:1/", None).find()


async def test_a_path_is_written_in_ascii() -> None:
    async with serving(response()) as (url, requests):
        await HttpSource(f"{url}&who=%C3%A4 \u00e4", None).find()
        assert requests[0].startswith(b"GET /bootstrap-nodes?zone=a&who=%C3%A4%20%C3%A4 HTTP/1.1\r\n")


@virtual_time
async def test_a_server_that_takes_too_long() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            writer.write(b"X: y\r\n")
            await asyncio.sleep(1)
            if writer.is_closing():
                return

    async with serving(serve=drip) as (url, _):
        with pytest.raises(BootstrapError, match="does not answer within 10 s"):
            await HttpSource(url, None).find()
        await asyncio.sleep(3)


# --- what it says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        {"Addrs": [str(ADDRESS)]},
        {"ID": "", "Addrs": [str(ADDRESS)]},
        {"ID": None, "Addrs": [str(ADDRESS)], "Zone": "a"},
        {"id": "", "addrs": [str(ADDRESS), "/what/is/this", 7]},
    ],
)
def test_an_id_may_be_missing_and_more_may_be_there(entry: dict[str, object]) -> None:
    assert parse_candidates(json.dumps([entry]).encode()) == [Candidate(None, (ADDRESS,))]


def test_the_first_three_entries_are_taken() -> None:
    entries = [{"ID": "", "Addrs": [f"/ip4/10.0.0.{number}"]} for number in range(5)]
    found = parse_candidates(json.dumps(entries).encode())
    assert [str(one.addresses[0]) for one in found] == [f"/ip4/10.0.0.{number}" for number in range(3)]


@pytest.mark.parametrize(
    "entry", [{}, {"ID": str(PEER)}, {"ID": "x", "Addrs": [str(ADDRESS)]}, {"ID": str(PEER), "Addrs": "x"}]
)
def test_an_entry_that_says_nothing_usable_is_left_out(entry: dict[str, object]) -> None:
    assert parse_candidates(json.dumps([entry, *json.loads(LIST)]).encode()) == [CANDIDATE]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["ID", "Addrs", "x"]), inner),
)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    with suppress(BootstrapError):
        parse_candidates(json.dumps(value).encode())


# --- certificates ----------------------------------------------------------------------------------------


def server_context(directory: Path, *, mutual: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    if mutual:
        context.load_verify_locations(directory / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    make(tmp_path)
    return tmp_path


async def test_mutual_tls(certificates: Path) -> None:
    async with serving(response(), context=server_context(certificates, mutual=True)) as (url, _):
        assert await HttpSource(url, certificates).find() == [CANDIDATE]


async def test_the_authority_alone_is_enough_where_nobody_asks_for_more(certificates: Path) -> None:
    context = server_context(certificates)
    (certificates / "tls.crt").unlink()
    (certificates / "tls.key").unlink()
    async with serving(response(), context=context) as (url, _):
        assert await HttpSource(url, certificates).find() == [CANDIDATE]


async def test_an_authority_that_is_not_known_is_refused(certificates: Path) -> None:
    async with serving(response(), context=server_context(certificates)) as (url, _):
        with pytest.raises(BootstrapError, match="certificate verify failed"):
            await HttpSource(url, None).find()


async def test_certificates_that_were_replaced_are_used(certificates: Path) -> None:
    other = Authority()
    certificate, key = other.issue()
    for name, data in (("ca.crt", other.pem), ("tls.crt", certificate), ("tls.key", key)):
        (certificates / name).write_bytes(data)
    async with serving(response(), context=server_context(certificates, mutual=True)) as (url, _):
        source = HttpSource(url, certificates)
        assert await source.find() == [CANDIDATE]
        (certificates / "ca.crt").write_bytes(Authority().pem)
        with pytest.raises(BootstrapError, match="certificate verify failed"):
            await source.find()


@pytest.mark.parametrize("missing", ["tls.key", "tls.crt"])
def test_a_certificate_needs_its_key(certificates: Path, missing: str) -> None:
    (certificates / missing).unlink()
    with pytest.raises(CertificateError, match=f"{missing} is missing"):
        HttpSource("https://example.com/", certificates)


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
def test_a_file_that_holds_something_else(certificates: Path, name: str) -> None:
    (certificates / name).write_text("no certificate")
    with pytest.raises(CertificateError, match=f"the certificates in {certificates} cannot be used"):
        HttpSource("https://example.com/", certificates)


def test_a_directory_without_any_of_them_means_the_systems_authorities(tmp_path: Path) -> None:
    context = client_context(tmp_path)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_old_tls_is_not_spoken(certificates: Path) -> None:
    assert client_context(certificates).minimum_version == ssl.TLSVersion.TLSv1_2


# --- /id -------------------------------------------------------------------------------------------------


async def test_a_node_can_be_the_server_of_another() -> None:
    address = Multiaddr.parse("/ip6/fd00::1/tcp/5001")
    server = IdServer("127.0.0.1:0", lambda: PeerInfo(PEER, (ADDRESS, address)))
    running = asyncio.create_task(server.run())
    url = f"http://127.0.0.1:{server.port}"
    assert await HttpSource(f"{url}/id", None).find() == [Candidate(PEER, (ADDRESS, address))]
    with pytest.raises(BootstrapError, match="404"):
        await HttpSource(f"{url}/other", None).find()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(BootstrapError):
        await HttpSource(f"{url}/id", None).find()
