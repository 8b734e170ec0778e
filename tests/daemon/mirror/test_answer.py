"""What a peer may answer, and what it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.http.response_head import ResponseHead, ResponseHeadReader
from daemon.mirror.answer import Offer, UnsatisfiableError, agree
from daemon.mirror.fault import Fault, PeerError
from daemon.mirror.wanted import Wanted
from daemon.oci.descriptor import BINARY, MANIFEST_MEDIA_TYPES, OCI_INDEX, OCI_MANIFEST
from daemon.oci.digest import Digest
from tests.daemon.mirror.peers import LAYER, blob, manifest, tag

DATA = b"some content"
DIGEST = blob(DATA).key
OTHER = "sha256:" + "0" * 64


numbers = st.integers(0, 40)


def parse(text: str) -> ResponseHead:
    head = ResponseHeadReader().feed(text.replace("\n", "\r\n").encode("latin-1"))
    assert head is not None
    return head


def head(status: int = 200, **changes: str | None) -> ResponseHead:
    """A good head for a blob of 12 bytes but for what is changed; underscores stand for hyphens."""
    fields: dict[str, str | None] = {
        "content_type": LAYER,
        "content_length": "12",
        "docker_content_digest": DIGEST,
    }
    lines = [f"{name.replace('_', '-')}: {value}\n" for name, value in (fields | changes).items() if value]
    return parse(f"HTTP/1.1 {status} X\n{''.join(lines)}\n")


def fault(wanted: Wanted, answer: ResponseHead, size: int | None = None) -> Fault:
    with pytest.raises(PeerError) as raised:
        agree(wanted, answer, size)
    return raised.value.fault


class TestBlob:
    def test_is_offered_as_the_peer_says(self) -> None:
        offer = agree(blob(DATA), head())
        assert offer == Offer(
            digest=Digest(DIGEST),
            media_type=LAYER,
            size=12,
            first=0,
            length=12,
            reusable=True,
        )

    def test_without_digest_and_type_is_what_was_asked_for(self) -> None:
        offer = agree(blob(DATA), head(docker_content_digest=None, content_type=None))
        assert (offer.digest, offer.media_type) == (DIGEST, BINARY)

    def test_may_be_empty(self) -> None:
        assert agree(blob(b""), head(docker_content_digest=None, content_length="0")).length == 0

    def test_may_be_empty_only_where_the_digest_is_that_of_nothing(self) -> None:
        assert fault(blob(DATA), head(content_length="0")) is Fault.LIED

    def test_keeps_its_media_type_without_parameters(self) -> None:
        assert (
            agree(blob(DATA), head(content_type="Application/X-Tar; a=b")).media_type == "application/x-tar"
        )

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (head(404), Fault.MISSING),
            (head(416), Fault.REFUSED),
            (head(429), Fault.REFUSED),
            (head(500), Fault.REFUSED),
            (head(307, location="http://127.0.0.1/"), Fault.REFUSED),
            (head(301), Fault.REFUSED),
            (head(401), Fault.REFUSED),
            (head(204), Fault.LIED),
            (head(206, content_range="bytes 0-11/12"), Fault.LIED),
            (head(100), Fault.LIED),
            (head(content_length=None), Fault.LIED),
            (head(content_length=None, transfer_encoding="chunked"), Fault.LIED),
            (head(content_encoding="gzip"), Fault.LIED),
            (head(content_range="bytes 0-11/12"), Fault.LIED),
            (head(docker_content_digest=OTHER), Fault.LIED),
            (head(docker_content_digest="sha256:12"), Fault.LIED),
            (head(docker_content_digest=DIGEST.upper()), Fault.LIED),
            (head(content_type="text"), Fault.LIED),
            (head(content_type="a/b/c"), Fault.LIED),
            (head(content_type="text/ä"), Fault.LIED),
        ],
    )
    def test_is_refused_when_the_head_disagrees(self, answer: ResponseHead, expected: Fault) -> None:
        assert fault(blob(DATA), answer) is expected

    def test_of_another_size_than_elsewhere_is_refused(self) -> None:
        assert fault(blob(DATA), head(), size=13) is Fault.REFUSED
        assert agree(blob(DATA), head(), size=12).size == 12


class TestRange:
    @pytest.mark.parametrize(
        ("asked", "content_range", "length", "first"),
        [
            ((0, None), "bytes 0-11/12", "12", 0),
            ((5, None), "bytes 5-11/12", "7", 5),
            ((5, 7), "bytes 5-7/12", "3", 5),
            ((11, 11), "bytes 11-11/12", "1", 11),
            ((5, 99), "bytes 5-11/12", "7", 5),
            ((None, 5), "bytes 7-11/12", "5", 7),
            ((None, 99), "bytes 0-11/12", "12", 0),
        ],
    )
    def test_is_offered(
        self, asked: tuple[int | None, int | None], content_range: str, length: str, first: int
    ) -> None:
        offer = agree(blob(DATA, "GET", asked), head(206, content_range=content_range, content_length=length))
        assert (offer.first, offer.length, offer.size) == (first, int(length), 12)

    @pytest.mark.parametrize(
        ("content_range", "length"),
        [
            (None, "3"),
            ("bytes 5-7/12", "4"),
            ("bytes 5-7/12", "12"),
            ("bytes 5-8/12", "4"),
            ("bytes 4-7/12", "4"),
            ("bytes 5-6/12", "2"),
            ("bytes 5-6/8", "2"),
            ("bytes 5-7/*", "3"),
            ("bytes */12", "3"),
            ("bytes 5-7/7", "3"),
            ("bytes 7-5/12", "3"),
            ("items 5-7/12", "3"),
            ("bytes 5-7", "3"),
            ("bytes 5-7/12, bytes 9-9/12", "3"),
            ("bytes 5-7/" + "9" * 19, "3"),
        ],
    )
    def test_that_is_not_the_one_asked_for_is_refused(self, content_range: str | None, length: str) -> None:
        answer = head(206, content_range=content_range, content_length=length)
        assert fault(blob(DATA, "GET", (5, 7)), answer) is Fault.LIED

    def test_that_is_answered_with_everything_is_of_no_use(self) -> None:
        assert fault(blob(DATA, "GET", (5, 7)), head(200)) is Fault.REFUSED

    @pytest.mark.parametrize("asked", [(12, None), (12, 20), (None, 0)])
    def test_that_holds_nothing_tells_the_size(self, asked: tuple[int | None, int | None]) -> None:
        with pytest.raises(UnsatisfiableError) as raised:
            agree(blob(DATA, "GET", asked), head(416, content_range="bytes */12"))
        assert raised.value.size == 12
        assert raised.value.fault is Fault.UNSATISFIABLE

    @pytest.mark.parametrize(
        ("content_range", "expected"),
        [("bytes */12", Fault.LIED), (None, Fault.MISSING), ("bytes 0-1/12", Fault.MISSING)],
    )
    def test_that_is_said_to_hold_nothing_but_does(self, content_range: str | None, expected: Fault) -> None:
        assert fault(blob(DATA, "GET", (5, 7)), head(416, content_range=content_range)) is expected

    def test_of_other_content_is_refused(self) -> None:
        answer = head(206, content_range="bytes 5-7/12", content_length="3")
        assert fault(blob(DATA, "GET", (5, 7)), answer, size=13) is Fault.REFUSED

    def test_behind_the_end_is_missing(self) -> None:
        assert fault(blob(DATA, "GET", (12, None)), head(416)) is Fault.MISSING

    @given(
        asked=st.tuples(numbers, st.none() | numbers),
        got=st.tuples(numbers, numbers),
        total=numbers,
        length=numbers,
    )
    def test_is_only_accepted_when_all_numbers_fit(
        self, asked: tuple[int, int | None], got: tuple[int, int], total: int, length: int
    ) -> None:
        (first, last), (got_first, got_last) = asked, got
        answer = head(206, content_range=f"bytes {got_first}-{got_last}/{total}", content_length=str(length))
        right = list(range(40))[:total][first : None if last is None else last + 1]
        try:
            offer = agree(blob(DATA, "GET", (first, last)), answer)
        except PeerError:
            fits = got_last < total and bool(right) and (got_first, got_last) == (right[0], right[-1])
            assert not (fits and length == len(right))
        else:
            assert right == list(range(offer.first, offer.first + offer.length))
            assert offer.size == total


class TestManifest:
    GOOD = head(content_type=OCI_INDEX)

    @pytest.mark.parametrize("media_type", sorted(MANIFEST_MEDIA_TYPES))
    def test_has_a_manifests_media_type(self, media_type: str) -> None:
        assert agree(manifest(DATA), head(content_type=media_type)).media_type == media_type

    @pytest.mark.parametrize("media_type", [None, BINARY, LAYER, "text/html", "application/json"])
    def test_of_another_type_is_refused(self, media_type: str | None) -> None:
        assert fault(manifest(DATA), head(content_type=media_type)) is Fault.LIED

    @pytest.mark.parametrize("length", ["0", str(4 * 1024 * 1024 + 1)])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_of_no_or_enormous_size_is_refused(self, method: str, length: str) -> None:
        answer = head(content_type=OCI_MANIFEST, content_length=length)
        assert fault(manifest(DATA, method), answer) is Fault.LIED

    def test_by_tag_has_the_digest_that_the_peer_says(self) -> None:
        assert agree(tag(), self.GOOD).digest == DIGEST

    def test_by_tag_without_digest_is_refused(self) -> None:
        assert fault(tag(), head(content_type=OCI_INDEX, docker_content_digest=None)) is Fault.LIED
