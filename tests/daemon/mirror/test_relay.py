"""A blob on its way: whatever peers do, the client gets exactly the blob, or a connection that is cut."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.http.message import Sink
from daemon.mirror.answer import UnsatisfiableError
from daemon.mirror.connection import Connection
from daemon.mirror.fault import PeerError
from daemon.mirror.history import Outcome
from daemon.mirror.relay import Relay
from daemon.oci.errors import OciError
from tests.daemon.mirror.peers import (
    LAYER,
    Asked,
    Honest,
    KnownPeers,
    Scene,
    Script,
    SocketSink,
    blob,
    digest_of,
    pattern,
    pull,
    resets,
    says,
    scene,
    status,
)
from tests.virtual_time import now, virtual_time

DATA = pattern(400_000)
SIZE = len(DATA)
TENTHS = [SIZE * tenth // 10 for tenth in range(1, 10)]


def outcome(stage: Scene) -> Outcome:
    return next(iter(stage.mirror.history)).outcome


class TestWhole:
    @virtual_time
    async def test_blob_comes_byte_for_byte(self) -> None:
        async with scene(Honest(DATA)) as stage:
            response, taken = await pull(stage.mirror, blob(DATA))
            assert taken.data == DATA
            assert taken.cut is None
            assert response.status is HTTPStatus.OK
            assert dict(response.headers) == {
                "Content-Type": LAYER,
                "Docker-Content-Digest": digest_of(DATA),
                "OCI-Namespace": "docker.io",
                "Accept-Ranges": "bytes",
            }
            assert response.attributes["source"] == "peer"

    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65537])
    @virtual_time
    async def test_blob_of_any_size(self, size: int) -> None:
        data = pattern(size)
        async with scene(Honest(data)) as stage:
            response, taken = await pull(stage.mirror, blob(data))
            assert not isinstance(response.body, bytes)
            assert (taken.data, taken.cut, response.body.length) == (data, None, size)

    @virtual_time
    async def test_blob_comes_without_anybody_waiting(self) -> None:
        data = pattern(3_000_001)
        async with scene(Honest(data)) as stage:
            _, taken = await pull(stage.mirror, blob(data))
            assert (taken.data, taken.cut) == (data, None)
            assert now() == 0

    @virtual_time
    async def test_blob_is_counted(self) -> None:
        async with scene(Honest(DATA)) as stage:
            await pull(stage.mirror, blob(DATA))
            assert stage.count("spegel_served_bytes_total", registry="docker.io", source="peer") == SIZE
            assert stage.count("spegel_received_bytes_total", registry="docker.io") == SIZE
            (record,) = stage.mirror.history
            assert (record.outcome, record.bytes, record.peers) == (Outcome.HIT, SIZE, ("peer-1",))

    @virtual_time
    async def test_head_has_no_body(self) -> None:
        async with scene(Honest(DATA)) as stage:
            response = await stage.mirror.fetch(blob(DATA, "HEAD", (1, 2)))
            assert (response.body, response.head_length) == (b"", SIZE)
            assert stage.nodes[0].ranges == [None]

    @virtual_time
    async def test_connections_are_used_again_after_a_blob(self) -> None:
        async with scene(Honest(DATA)) as stage:
            for _ in range(3):
                await pull(stage.mirror, blob(DATA))
            assert stage.nodes[0].connections == 1

    @virtual_time
    async def test_a_body_that_nobody_reads_is_released(self) -> None:
        async with scene(Honest(DATA)) as stage:
            response = await stage.mirror.fetch(blob(DATA))
            assert not isinstance(response.body, bytes)
            await response.body.aclose()
            async with asyncio.timeout(5):
                await stage.nodes[0].let_go.wait()
            assert outcome(stage) is Outcome.LEFT


class TestRange:
    @pytest.mark.parametrize(
        ("asked", "content_range"),
        [
            ((0, None), f"bytes 0-{SIZE - 1}/{SIZE}"),
            ((1000, 1999), f"bytes 1000-1999/{SIZE}"),
            ((SIZE - 1, None), f"bytes {SIZE - 1}-{SIZE - 1}/{SIZE}"),
            ((5, 10**12), f"bytes 5-{SIZE - 1}/{SIZE}"),
        ],
    )
    @virtual_time
    async def test_is_relayed(self, asked: tuple[int, int | None], content_range: str) -> None:
        first, last = asked
        async with scene(Honest(DATA)) as stage:
            response, taken = await pull(stage.mirror, blob(DATA, "GET", asked))
            assert response.status is HTTPStatus.PARTIAL_CONTENT
            assert ("Content-Range", content_range) in response.headers
            assert taken.data == DATA[first : None if last is None else last + 1]
            assert stage.nodes[0].ranges == [asked]

    @virtual_time
    async def test_that_a_peer_answers_with_everything_comes_from_the_next(self) -> None:
        async with scene(Honest(DATA, status=200, headers={"Content-Range": None}), Honest(DATA)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA, "GET", (7, None)))
            assert taken.data == DATA[7:]

    @virtual_time
    async def test_behind_the_end_is_said_to_be_so(self) -> None:
        async with scene(status(416, f"Content-Range: bytes */{SIZE}\r\n")) as stage:
            for _ in range(3):
                with pytest.raises(UnsatisfiableError) as raised:
                    await stage.mirror.fetch(blob(DATA, "GET", (SIZE, None)))
                assert raised.value.size == SIZE

    @virtual_time
    async def test_behind_the_end_is_missing_when_nobody_says_where_it_is(self) -> None:
        async with scene(status(416)) as stage:
            with pytest.raises(OciError):
                await stage.mirror.fetch(blob(DATA, "GET", (SIZE, None)))

    @virtual_time
    async def test_of_the_last_bytes_is_resumed_by_offset(self) -> None:
        async with scene(Honest(DATA, dies_after=SIZE - 100), Honest(DATA)) as stage:
            response, taken = await pull(stage.mirror, blob(DATA, "GET", (None, 5000)))
            assert ("Content-Range", f"bytes {SIZE - 5000}-{SIZE - 1}/{SIZE}") in response.headers
            assert (taken.data, taken.cut) == (DATA[-5000:], None)
            assert stage.nodes[1].ranges == [(SIZE - 100, SIZE - 1)]

    @virtual_time
    async def test_is_resumed_within_itself(self) -> None:
        async with scene(Honest(DATA, dies_after=5000), Honest(DATA)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA, "GET", (1000, 9999)))
            assert (taken.data, taken.cut) == (DATA[1000:10000], None)
            assert stage.nodes[1].ranges == [(5000, 9999)]


class TestPeerDies:
    @pytest.mark.parametrize("verify", [False, True])
    @pytest.mark.parametrize("tenth", TENTHS)
    @virtual_time
    async def test_at_any_tenth_and_the_client_does_not_notice(self, tenth: int, *, verify: bool) -> None:
        async with scene(Honest(DATA, dies_after=tenth), Honest(DATA), verify_blobs=verify) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert taken.data == DATA
            assert taken.cut is None
            assert stage.nodes[1].ranges == [(tenth, SIZE - 1)]
            assert stage.count("spegel_mirror_resumed_total", registry="docker.io") == 1
            (record,) = stage.mirror.history
            assert (record.outcome, record.peers) == (Outcome.HIT, ("peer-1", "peer-2"))

    @virtual_time
    async def test_nine_times_over(self) -> None:
        peers = [Honest(DATA, dies_after=tenth) for tenth in TENTHS]
        async with scene(*peers, Honest(DATA)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)

    @virtual_time
    async def test_with_a_few_bytes_on_their_way_and_nobody_waits(self) -> None:
        async with scene(Honest(DATA, dies_after=70_000), Honest(DATA)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)
            assert now() == 0

    @virtual_time
    async def test_before_the_first_byte(self) -> None:
        async with scene(Honest(DATA, dies_after=0), Honest(DATA)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)

    @virtual_time
    async def test_by_a_reset(self) -> None:
        async def script(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode()
            writer.write(head + DATA[:1000])
            await writer.drain()
            await asyncio.sleep(0.01)
            return await resets(asked, writer)

        async with scene(script, Honest(DATA)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)

    @virtual_time
    async def test_and_when_none_is_left_the_connection_is_cut(self) -> None:
        async with scene(Honest(DATA, dies_after=1000), Honest(DATA, dies_after=2000)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert isinstance(taken.cut, PeerError)
            assert taken.data == DATA[:2000], "what came is right, so that the client can resume"
            assert outcome(stage) is Outcome.CUT

    @virtual_time
    async def test_and_is_not_asked_again_for_the_rest(self) -> None:
        async with scene(Honest(DATA, dies_after=1000)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert taken.cut is not None
            assert len(stage.nodes[0].asked) == 1

    @virtual_time
    async def test_and_the_client_may_resume_there_by_a_new_request(self) -> None:
        async with scene(Honest(DATA, dies_after=1000)) as stage:
            await pull(stage.mirror, blob(DATA))
            stage.nodes[0].script = Honest(DATA)
            _, taken = await pull(stage.mirror, blob(DATA, "GET", (1000, None)))
            assert (taken.data, taken.cut) == (DATA[1000:], None)

    @virtual_time
    async def test_and_the_next_ones_fail_too_until_one_does_not(self) -> None:
        async with scene(Honest(DATA, dies_after=1000), status(404), resets, Honest(DATA)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)

    @virtual_time
    async def test_and_the_router_is_asked_for_more_than_failed(self) -> None:
        counts: list[int] = []

        class Counting(KnownPeers):
            def lookup(self, key, count):  # type: ignore[no-untyped-def]
                counts.append(count)
                return super().lookup(key, count)

        async with scene(Honest(DATA, dies_after=9), Honest(DATA), router=Counting([])) as stage:
            await pull(stage.mirror, blob(DATA))
            assert counts == [6, 7]

    @given(cuts=st.lists(st.integers(0, 5000), max_size=6), asked=st.integers(0, 4999))
    @settings(max_examples=40, deadline=None)
    def test_anywhere_and_the_client_gets_a_right_prefix_or_everything(
        self, cuts: list[int], asked: int
    ) -> None:
        data = pattern(5000)

        async def story() -> None:
            peers = [Honest(data, dies_after=max(cut, asked)) for cut in cuts]
            async with scene(*peers, retries=2) as stage:
                try:
                    response, taken = await pull(stage.mirror, blob(data, "GET", (asked, None)))
                except OciError:
                    assert not cuts
                    return
                assert not isinstance(response.body, bytes)
                assert data[asked:].startswith(taken.data)
                assert (taken.cut is None) == (len(taken.data) == response.body.length == 5000 - asked)

        virtual_time(story)()


LIES: dict[str, Script] = {
    "a smaller size": Honest(DATA[:-1], headers={"Docker-Content-Digest": digest_of(DATA)}),
    "a larger size": Honest(DATA + b"x", headers={"Docker-Content-Digest": digest_of(DATA)}),
    "everything": Honest(DATA, status=200, headers={"Content-Range": None, "Content-Length": str(SIZE)}),
    "another range": Honest(DATA, headers={"Content-Range": f"bytes 0-9/{SIZE}", "Content-Length": "10"}),
    "another digest": Honest(DATA, headers={"Docker-Content-Digest": digest_of(b"")}),
    "a redirect": status(302, "Location: http://127.0.0.1:1/\r\n"),
    "chunks": says(
        f"HTTP/1.1 206 X\r\nContent-Range: bytes 1000-{SIZE - 1}/{SIZE}\r\n".encode()
        + b"Transfer-Encoding: chunked\r\n\r\n"
    ),
}


class TestNextPeerLies:
    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
    @virtual_time
    async def test_and_the_one_after_it_goes_on(self, lie: Script) -> None:
        async with scene(Honest(DATA, dies_after=1000), lie, Honest(DATA)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)

    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
    @virtual_time
    async def test_and_nothing_of_it_reaches_the_client(self, lie: Script) -> None:
        async with scene(Honest(DATA, dies_after=1000), lie) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert taken.data == DATA[:1000]
            assert taken.cut is not None


class TestLength:
    @virtual_time
    async def test_longer_than_the_body_never_looks_complete(self) -> None:
        peer = Honest(DATA, headers={"Content-Length": str(SIZE + 1)}, keep_alive=False)
        async with scene(peer) as stage:
            response, taken = await pull(stage.mirror, blob(DATA))
            assert not isinstance(response.body, bytes)
            assert response.body.length == SIZE + 1
            assert taken.cut is not None

    @virtual_time
    async def test_shorter_than_the_body_never_looks_complete(self) -> None:
        """What follows gives it away, before the last byte went out."""
        async with scene(Honest(DATA, headers={"Content-Length": "1000"})) as stage:
            response, taken = await pull(stage.mirror, blob(DATA))
            assert not isinstance(response.body, bytes)
            assert response.body.length == 1000
            assert len(taken.data) < 1000
            assert taken.cut is not None


class TestVerification:
    WRONG = Honest(DATA[:-1] + b"x", headers={"Docker-Content-Digest": digest_of(DATA)})

    @virtual_time
    async def test_wrong_bytes_never_look_complete(self) -> None:
        async with scene(self.WRONG, verify_blobs=True) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert taken.cut is not None
            assert len(taken.data) < SIZE
            assert outcome(stage) is Outcome.CUT

    @virtual_time
    async def test_the_peer_is_shunned_afterwards(self) -> None:
        async with scene(self.WRONG, Honest(DATA), verify_blobs=True) as stage:
            await pull(stage.mirror, blob(DATA))
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)
            assert [len(node.asked) for node in stage.nodes] == [1, 1]

    @virtual_time
    async def test_all_that_had_a_part_in_it_are_shunned(self) -> None:
        first = Honest(b"x" + DATA[1:], headers={"Docker-Content-Digest": digest_of(DATA)}, dies_after=1000)
        async with scene(first, Honest(DATA), Honest(DATA), verify_blobs=True) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert taken.cut is not None
            await asyncio.sleep(60)  # dying alone would be forgotten by now
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)
            assert [len(node.asked) for node in stage.nodes] == [1, 1, 1]

    @virtual_time
    async def test_right_bytes_pass(self) -> None:
        async with scene(Honest(DATA), verify_blobs=True) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert (taken.data, taken.cut) == (DATA, None)

    @virtual_time
    async def test_parts_cannot_be_verified_and_are_relayed(self) -> None:
        async with scene(Honest(DATA), verify_blobs=True) as stage:
            _, taken = await pull(stage.mirror, blob(DATA, "GET", (1, None)))
            assert (taken.data, taken.cut) == (DATA[1:], None)

    @virtual_time
    async def test_without_it_wrong_bytes_are_the_clients_to_find(self) -> None:
        async with scene(self.WRONG) as stage:
            _, taken = await pull(stage.mirror, blob(DATA))
            assert taken.cut is None


class TestClientLeaves:
    @pytest.mark.parametrize("verify", [False, True])
    @virtual_time
    async def test_and_the_peer_is_let_go_at_once(self, *, verify: bool) -> None:
        data = pattern(8_000_000)
        async with scene(Honest(data), verify_blobs=verify) as stage:
            _, taken = await pull(stage.mirror, blob(data), leave_after=100_000)
            assert isinstance(taken.cut, OSError)
            async with asyncio.timeout(1):
                await stage.nodes[0].let_go.wait()
            assert now() == 0
            assert outcome(stage) is Outcome.LEFT

    @virtual_time
    async def test_while_the_peer_says_nothing(self) -> None:
        async with scene(Honest(DATA, stalls_after=1000)) as stage:
            _, taken = await pull(stage.mirror, blob(DATA), leave_after=1000)
            assert isinstance(taken.cut, ConnectionError)
            async with asyncio.timeout(1):
                await stage.nodes[0].let_go.wait()
            assert now() == 0

    @virtual_time
    async def test_and_is_not_held_against_the_peer(self) -> None:
        async with scene(Honest(DATA, stalls_after=1000), Honest(DATA)) as stage:
            await pull(stage.mirror, blob(DATA), leave_after=1000)
            stage.nodes[0].script = Honest(DATA)
            await pull(stage.mirror, blob(DATA))
            assert stage.nodes[1].asked == []

    @virtual_time
    async def test_a_hundred_times_and_no_file_stays_open(self) -> None:
        files = Path("/proc/self/fd")
        async with scene(Honest(DATA, stalls_after=1000)) as stage:
            await pull(stage.mirror, blob(DATA), leave_after=10)
            await stage.nodes[0].let_go.wait()
            before = len(list(files.iterdir()))
            for _ in range(100):
                await pull(stage.mirror, blob(DATA), leave_after=10)
                await stage.nodes[0].let_go.wait()
            assert len(list(files.iterdir())) == before


class TestManyAtOnce:
    async def test_sixty_four_are_relayed_byte_for_byte(self) -> None:
        data = pattern(2_000_000)
        async with scene(Honest(data), Honest(data), Honest(data)) as stage:
            pulls = await asyncio.gather(*(pull(stage.mirror, blob(data)) for _ in range(64)))
            assert all(digest_of(taken.data) == digest_of(data) for _, taken in pulls)
            assert all(taken.cut is None for _, taken in pulls)

    @virtual_time
    async def test_more_than_the_limit_are_a_miss_at_once(self) -> None:
        peers = [Honest(DATA, stalls_after=0) for _ in range(5)]
        async with scene(*peers, retries=5) as stage:
            responses = [await stage.mirror.fetch(blob(DATA)) for _ in range(128)]
            started = now()
            with pytest.raises(OciError) as raised:
                await stage.mirror.fetch(blob(DATA))
            assert raised.value.status is HTTPStatus.NOT_FOUND
            assert now() == started
            assert max(node.open for node in stage.nodes) <= 64, "no peer has to serve them all"
            assert (await stage.mirror.fetch(blob(DATA, "HEAD"))).head_length == SIZE
            for response in responses:
                assert not isinstance(response.body, bytes)
                await response.body.aclose()
            last = await stage.mirror.fetch(blob(DATA))
            assert not isinstance(last.body, bytes)
            await last.body.aclose()

    @virtual_time
    async def test_what_was_not_found_does_not_count(self) -> None:
        async with scene(status(404)) as stage:
            for _ in range(130):
                with pytest.raises(OciError):
                    await stage.mirror.fetch(blob(DATA))
            stage.nodes[0].script = Honest(DATA)
            _, taken = await pull(stage.mirror, blob(DATA))
            assert taken.data == DATA

    async def test_every_step_leaves_others_their_turn(self) -> None:
        """Also when neither side ever makes it wait."""

        fills: list[int] = []

        class Tap:
            level = 0

            def put(self, data: bytes) -> int:
                return len(data)

            def fill(self, connection: Connection, most: int) -> int:
                fills.append(most)
                return 1000

            def complete(self) -> None:
                pass

            def drain(self, sink: Sink) -> int:
                return 1000

            def close(self) -> None:
                pass

        async with scene(Honest(DATA)) as stage:
            answer = await stage.mirror._client.ask(stage.nodes[0].peer, blob(DATA))
            relay = Relay(
                blob(DATA),
                answer,
                Tap(),
                stage.mirror._client,
                stage.mirror._arena,
                moved=lambda count: None,
                resumed=lambda: None,
                ended=lambda relay: None,
            )
            ours, theirs = socket.socketpair()
            with ours, theirs:
                writing = asyncio.ensure_future(relay.write_to(SocketSink(ours)))
                turns = 0
                while not writing.done():
                    turns += 1
                    await asyncio.sleep(0)
                await writing
                await relay.aclose()
            assert turns >= len(fills) > 100

    async def test_a_small_one_does_not_wait_for_large_ones(self) -> None:
        large, small = pattern(16_000_000), pattern(1000)

        async def script(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            data = small if digest_of(small) in asked.target else large
            return await Honest(data)(asked, writer)

        async with scene(script) as stage:
            pulling = [asyncio.ensure_future(pull(stage.mirror, blob(large))) for _ in range(8)]
            while stage.count("spegel_received_bytes_total", registry="docker.io") < len(large):
                await asyncio.sleep(0)
            _, taken = await pull(stage.mirror, blob(small))
            assert taken.data == small
            assert not any(task.done() for task in pulling)
            for task in pulling:
                task.cancel()
            await asyncio.gather(*pulling, return_exceptions=True)
