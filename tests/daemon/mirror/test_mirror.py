"""Finding and racing: what a client gets, from whom, and how long it waits at most."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from http import HTTPStatus

import pytest

from daemon.mirror import Mirror, Wanted
from daemon.mirror.history import Outcome
from daemon.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from daemon.oci.errors import ErrorCode, OciError
from daemon.routing.base import Peer
from tests.daemon.mirror.peers import (
    LAYER,
    MANIFEST,
    Asked,
    Honest,
    KnownPeers,
    Script,
    blob,
    digest_of,
    honest_manifest,
    manifest,
    pattern,
    resets,
    says,
    scene,
    silent,
    status,
    tag,
    take,
)
from tests.daemon.mirror.test_connection import V4, blackhole, free_port
from tests.virtual_time import now, virtual_time

OTHER = b'{"schemaVersion": 2, "config": {}, "layers": [{}]}'
RESOLVE = 0.02


async def miss(mirror: Mirror, wanted: Wanted) -> OciError:
    with pytest.raises(OciError) as raised:
        await mirror.fetch(wanted)
    assert raised.value.status is HTTPStatus.NOT_FOUND, "never anything else: containerd goes on at 404"
    return raised.value


class TestMiss:
    @virtual_time
    async def test_nobody_has_it(self) -> None:
        async with scene() as stage:
            error = await miss(stage.mirror, manifest(MANIFEST))
            assert error.code is ErrorCode.MANIFEST_UNKNOWN
            assert json.loads(error.document())["errors"][0]["detail"] == {"attempts": 0}
            assert (await miss(stage.mirror, blob(b"x"))).code is ErrorCode.BLOB_UNKNOWN
            assert now() == 0, "the router said at once that there is nobody"

    @pytest.mark.parametrize("wanted", [tag(), manifest(MANIFEST), blob(b"x"), blob(b"x", "GET", (1, 2))])
    @virtual_time
    async def test_comes_within_the_resolve_timeout_when_the_router_never_answers(
        self, wanted: Wanted
    ) -> None:
        async with scene(router=KnownPeers([], endless=True)) as stage:
            await miss(stage.mirror, wanted)
            assert now() == pytest.approx(RESOLVE)
            assert stage.router.abandoned == 1

    @virtual_time
    async def test_comes_within_the_resolve_timeout_when_the_router_answers_late(self) -> None:
        router = KnownPeers([], delay=RESOLVE + 0.001)
        async with scene(honest_manifest(), router=router) as stage:
            await miss(stage.mirror, manifest(MANIFEST))
            assert now() == pytest.approx(RESOLVE)
            assert stage.nodes[0].connections == 0

    @virtual_time
    async def test_is_none_when_the_router_answers_just_in_time(self) -> None:
        async with scene(honest_manifest(), router=KnownPeers([], delay=RESOLVE - 0.001)) as stage:
            assert (await stage.mirror.fetch(manifest(MANIFEST))).body == MANIFEST

    @pytest.mark.parametrize("found", [0, 1])
    @virtual_time
    async def test_comes_when_the_router_breaks(self, found: int) -> None:
        class Broken(KnownPeers):
            async def lookup(self, key: str, count: int) -> AsyncGenerator[Peer, None]:
                for _ in range(found):
                    yield Peer("gone", (V4,), free_port())
                raise RuntimeError("not connected")

        async with scene(router=Broken([])) as stage:
            assert (await miss(stage.mirror, tag())).detail == {"attempts": found}
            assert now() == 0

    @virtual_time
    async def test_is_counted(self) -> None:
        async with scene(status(404)) as stage:
            await miss(stage.mirror, tag())
            labels = {"registry": "docker.io", "cache": "miss"}
            assert stage.count("spegel_mirror_requests_total", **labels) == 1
            assert stage.count("spegel_mirror_peers_tried_sum", cache="miss") == 1
            (record,) = stage.mirror.history
            assert (record.outcome, record.tried, record.peers) == (Outcome.MISS, 1, ())

    @virtual_time
    async def test_is_the_answer_when_too_much_is_under_way(self) -> None:
        async with scene(router=KnownPeers([], endless=True)) as stage:
            waiting = [asyncio.ensure_future(stage.mirror.fetch(tag())) for _ in range(256)]
            await asyncio.sleep(0)
            lookups = len(stage.router.lookups)
            started = now()
            await miss(stage.mirror, tag())
            assert now() == started
            assert len(stage.router.lookups) == lookups
            await asyncio.gather(*waiting, return_exceptions=True)
            await miss(stage.mirror, tag())
            assert now() > started, "there is room again"


class TestManifest:
    @virtual_time
    async def test_is_answered_whole(self) -> None:
        async with scene(honest_manifest()) as stage:
            response = await stage.mirror.fetch(manifest(MANIFEST))
            assert response.status is HTTPStatus.OK
            assert response.body == MANIFEST
            assert dict(response.headers) == {
                "Content-Type": OCI_MANIFEST,
                "Docker-Content-Digest": digest_of(MANIFEST),
                "OCI-Namespace": "docker.io",
            }
            assert response.attributes == {"handler": "mirror", "registry": "docker.io", "source": "peer"}

    @virtual_time
    async def test_head_tells_the_length_without_a_body(self) -> None:
        async with scene(honest_manifest()) as stage:
            response = await stage.mirror.fetch(tag("HEAD"))
            assert (response.body, response.head_length) == (b"", len(MANIFEST))
            assert ("Docker-Content-Digest", digest_of(MANIFEST)) in response.headers
            assert stage.nodes[0].asked[0].method == "HEAD"

    @virtual_time
    async def test_by_tag_is_looked_up_by_its_full_name(self) -> None:
        async with scene(honest_manifest()) as stage:
            assert (await stage.mirror.fetch(tag("GET"))).body == MANIFEST
            assert stage.router.lookups == ["docker.io/library/alpine:3.20"]

    @virtual_time
    async def test_is_never_asked_for_in_part(self) -> None:
        async with scene(honest_manifest()) as stage:
            digest = digest_of(MANIFEST)
            wanted = Wanted("manifest", "docker.io", "library/alpine", digest, digest, range=(1, 2))
            assert (await stage.mirror.fetch(wanted)).body == MANIFEST
            assert stage.nodes[0].ranges == [None]

    @virtual_time
    async def test_success_is_counted(self) -> None:
        async with scene(resets, honest_manifest()) as stage:
            await stage.mirror.fetch(manifest(MANIFEST))
            registry = {"registry": "docker.io"}
            assert stage.count("spegel_mirror_requests_total", **registry, cache="hit") == 1
            assert stage.count("spegel_mirror_last_success_timestamp_seconds") > 0
            assert stage.count("spegel_mirror_peers_tried_sum", cache="hit") == 2
            assert stage.count("spegel_received_bytes_total", **registry) == len(MANIFEST)
            assert stage.count("spegel_served_bytes_total", **registry, source="peer") == len(MANIFEST)
            (record,) = stage.mirror.history
            assert (record.outcome, record.peers, record.tried) == (Outcome.HIT, ("peer-2",), 2)
            assert (record.bytes, record.reference) == (len(MANIFEST), digest_of(MANIFEST))


WRONG: dict[str, Script] = {
    "wrong bytes": honest_manifest(OTHER, headers={"Docker-Content-Digest": digest_of(MANIFEST)}),
    "wrong bytes of the right length": honest_manifest(
        MANIFEST.replace(b"2", b"1"), headers={"Docker-Content-Digest": digest_of(MANIFEST)}
    ),
    "wrong digest header": honest_manifest(headers={"Docker-Content-Digest": digest_of(OTHER)}),
    "other content": honest_manifest(OTHER),
    "too long a length": honest_manifest(headers={"Content-Length": "99"}, keep_alive=False),
    "too short a length": honest_manifest(headers={"Content-Length": "9"}),
    "no length": honest_manifest(headers={"Content-Length": None}, keep_alive=False),
    "a layer": honest_manifest(headers={"Content-Type": LAYER}),
    "dies in the head": says(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "dies in the body": honest_manifest(dies_after=10),
    "stalls in the body": honest_manifest(stalls_after=10),
    "resets": resets,
    "silence": silent,
    "not HTTP": says(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "nothing": says(b""),
    "giant head": says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n"),
    "chunked": says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30\r\n" + MANIFEST + b"\r\n0\r\n\r\n"
    ),
    "redirect": status(307, "Location: http://127.0.0.1:1/\r\n"),
    "404": status(404),
    "500": status(500),
    "429": status(429, "Retry-After: 100\r\n"),
    "401": status(401),
    "100": status(100),
    "206": status(206),
}


class TestNextPeer:
    @pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
    @virtual_time
    async def test_answers_when_the_first_is_wrong(self, wrong: Script) -> None:
        async with scene(wrong, honest_manifest()) as stage:
            response = await stage.mirror.fetch(manifest(MANIFEST))
            assert response.body == MANIFEST
            assert now() <= 0.15, "at once, or when a hedge is due"

    @pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
    @virtual_time
    async def test_is_missing_when_all_are_wrong(self, wrong: Script) -> None:
        async with scene(wrong, wrong) as stage:
            error = await miss(stage.mirror, manifest(MANIFEST))
            assert error.detail == {"attempts": 2}
            assert now() <= 2

    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    @virtual_time
    async def test_is_awaited_three_seconds_in_all_at_most(self, method: str) -> None:
        async with scene(silent, silent, silent, silent, router=KnownPeers([], endless=True)) as stage:
            await miss(stage.mirror, tag(method))
            assert now() <= 2
            assert sum(node.connections for node in stage.nodes) == 3, "no more than the retries"
            for node in stage.nodes[:3]:
                async with asyncio.timeout(1):
                    await node.let_go.wait()

    @virtual_time
    async def test_head_that_never_ends_is_bounded(self) -> None:
        async def endless(_: Asked, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.1)

        async with scene(endless) as stage:
            await miss(stage.mirror, tag())
            assert now() <= 2

    @virtual_time
    async def test_a_blob_without_a_head_is_bounded_too(self) -> None:
        async with scene(silent, silent, silent) as stage:
            await miss(stage.mirror, blob(b"x"))
            assert now() <= 2

    @virtual_time
    async def test_a_slow_peer_is_outrun_by_the_next_one_and_let_go(self) -> None:
        async with scene(honest_manifest(delay=0.5), honest_manifest(delay=0.01)) as stage:
            await stage.mirror.fetch(manifest(MANIFEST))
            assert now() == pytest.approx(0.06), "50 ms to the hedge, 10 ms for its answer"
            assert stage.nodes[0].connections == 1
            async with asyncio.timeout(1):
                await stage.nodes[0].let_go.wait()

    @virtual_time
    async def test_a_peer_that_is_only_slow_is_waited_for(self) -> None:
        async with scene(honest_manifest(delay=0.9)) as stage:
            assert (await stage.mirror.fetch(manifest(MANIFEST))).body == MANIFEST

    @virtual_time
    async def test_no_more_peers_are_tried_than_allowed(self) -> None:
        async with scene(*[status(404)] * 5, retries=2) as stage:
            assert (await miss(stage.mirror, tag())).detail == {"attempts": 2}
            assert [node.connections for node in stage.nodes] == [1, 1, 0, 0, 0]

    @virtual_time
    async def test_the_client_that_goes_away_leaves_nothing_behind(self) -> None:
        async with scene(silent, router=KnownPeers([], endless=True)) as stage:
            fetching = asyncio.ensure_future(stage.mirror.fetch(tag()))
            await asyncio.sleep(0.01)
            assert stage.nodes[0].open == 1
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching
            async with asyncio.timeout(1):
                await stage.nodes[0].let_go.wait()
            assert stage.router.abandoned == 1


class TestTroubleOfUpstreamUsers:
    @virtual_time
    async def test_a_blackholed_peer_costs_half_a_second_once(self) -> None:
        """spegel-org/spegel#739, #1311: 30 s for every object there."""
        with blackhole("127.0.0.1") as port:
            dead = Peer("dead", (V4,), port)
            async with scene(router=KnownPeers([dead])) as stage:
                await miss(stage.mirror, tag())
                assert now() <= 0.5 + RESOLVE
                started = now()
                for _ in range(10):
                    await miss(stage.mirror, tag())
                assert now() - started <= 10 * 0.1 + 0.001

    @virtual_time
    async def test_a_blackholed_peer_is_tried_last_afterwards(self) -> None:
        with blackhole("127.0.0.1") as port:
            dead = Peer("dead", (V4,), port)
            router = KnownPeers([])
            async with scene(honest_manifest(), router=router) as stage:
                good = stage.nodes[0]
                router.nodes = [dead, good]
                await stage.mirror.fetch(manifest(MANIFEST))
                assert now() == pytest.approx(0.05), "the hedge"
                # Being outrun is no fault. Being the only one and never answering is.
                router.nodes = [dead]
                await miss(stage.mirror, manifest(MANIFEST))
                router.nodes = [dead, good]
                started = now()
                await stage.mirror.fetch(manifest(MANIFEST))
                assert now() == started

    @virtual_time
    async def test_a_tag_whose_digest_is_gone_is_found_at_another_peer(self) -> None:
        """#1378: the node that answers HEAD by tag with 200 answers GET by digest with 404."""

        async def stale(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            script = honest_manifest() if asked.method == "HEAD" else status(404)
            return await script(asked, writer)

        async with scene(stale, honest_manifest()) as stage:
            head = await stage.mirror.fetch(tag("HEAD"))
            assert ("Docker-Content-Digest", digest_of(MANIFEST)) in head.headers
            assert (await stage.mirror.fetch(manifest(MANIFEST))).body == MANIFEST
            assert [len(node.asked) for node in stage.nodes] == [2, 1]

    @virtual_time
    async def test_a_tag_whose_digest_is_gone_everywhere_is_a_quick_miss(self) -> None:
        async def stale(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            script = honest_manifest() if asked.method == "HEAD" else status(404)
            return await script(asked, writer)

        async with scene(stale) as stage:
            for _ in range(5):
                await stage.mirror.fetch(tag("HEAD"))
                await miss(stage.mirror, manifest(MANIFEST))
            assert now() < 0.1

    @virtual_time
    async def test_a_peer_without_the_content_is_tried_last_for_it_only(self) -> None:
        data = pattern(100)

        async def half(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            return await (Honest(data) if "/blobs/" in asked.target else status(404))(asked, writer)

        async with scene(half, honest_manifest()) as stage:
            for _ in range(3):
                await stage.mirror.fetch(manifest(MANIFEST))
            assert [len(node.asked) for node in stage.nodes] == [1, 3]
            response = await stage.mirror.fetch(blob(data))
            assert (await take(response.body)).data == data
            assert [len(node.asked) for node in stage.nodes] == [2, 3]

    @virtual_time
    async def test_a_liar_is_tried_last_for_everything(self) -> None:
        liar = honest_manifest(OTHER, headers={"Docker-Content-Digest": digest_of(MANIFEST)})
        async with scene(liar, honest_manifest()) as stage:
            for _ in range(3):
                assert (await stage.mirror.fetch(manifest(MANIFEST))).body == MANIFEST
            assert [len(node.asked) for node in stage.nodes] == [1, 3]

    @virtual_time
    async def test_a_failure_is_forgotten_after_a_while(self) -> None:
        async with scene(status(500), honest_manifest()) as stage:
            await stage.mirror.fetch(manifest(MANIFEST))
            stage.nodes[0].script = honest_manifest()
            await asyncio.sleep(31)
            await stage.mirror.fetch(manifest(MANIFEST))
            assert [len(node.asked) for node in stage.nodes] == [2, 1]

    @virtual_time
    async def test_peers_that_turn_slow_are_not_given_up_for_ever(self) -> None:
        """#1469: where every fetch was cancelled after 100 ms, and none was ever observed."""
        async with scene(honest_manifest()) as stage:
            for _ in range(100):
                await stage.mirror.fetch(manifest(MANIFEST))
            stage.nodes[0].script = honest_manifest(delay=1.4)
            misses = 0
            for _ in range(50):
                try:
                    await stage.mirror.fetch(manifest(MANIFEST))
                except OciError:
                    misses += 1
                    await asyncio.sleep(31)
            assert misses < 10

    @virtual_time
    async def test_peers_that_need_long_from_the_start_are_not_given_up(self) -> None:
        async with scene(honest_manifest(delay=1.4)) as stage:
            misses = 0
            for _ in range(30):
                try:
                    await stage.mirror.fetch(manifest(MANIFEST))
                except OciError:
                    misses += 1
                    await asyncio.sleep(31)
            assert misses < 10


@virtual_time
async def test_an_index_keeps_its_type() -> None:
    async with scene(Honest(MANIFEST, OCI_INDEX)) as stage:
        response = await stage.mirror.fetch(manifest(MANIFEST))
        assert ("Content-Type", OCI_INDEX) in response.headers
