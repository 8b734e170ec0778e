import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.oci.descriptor import BINARY, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from daemon.oci.manifest import (
    MAX_MANIFEST_SIZE,
    OCI_CONFIG,
    OCI_EMPTY,
    Children,
    NotAManifestError,
    children,
    media_type,
)

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def descriptor(digest, kind="application/x"):
    return {"mediaType": kind, "digest": digest, "size": 1}


INDEX = {"schemaVersion": 2, "manifests": [descriptor(A), descriptor(B)]}
MANIFEST = {"schemaVersion": 2, "config": descriptor(A), "layers": [descriptor(B), descriptor(C)]}
CONFIG = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}


def encode(document):
    return json.dumps(document, indent=1).encode()


@pytest.mark.parametrize("stated", [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_document_states_its_media_type(stated):
    assert media_type(encode({**MANIFEST, "mediaType": stated})) == stated


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (INDEX, OCI_INDEX),
        (MANIFEST, OCI_MANIFEST),
        (CONFIG, OCI_CONFIG),
        ({}, OCI_EMPTY),
        ({"unexpected": "value"}, BINARY),
        ({**MANIFEST, "mediaType": "text/html\r\nX: y"}, OCI_MANIFEST),
        ({**MANIFEST, "mediaType": 7}, OCI_MANIFEST),
        ([INDEX], BINARY),
    ],
)
def test_otherwise_its_structure_tells(document, expected):
    assert media_type(encode(document)) == expected


@pytest.mark.parametrize("data", [b"", b" ", b"\x1f\x8b layer", b"{", b'{"a":\xff}', b"null", b'"text"'])
def test_what_is_no_document_is_binary(data):
    assert media_type(data) == BINARY


def test_children_of_an_index_are_manifests():
    assert children(encode(INDEX)) == Children(manifests=(A, B), blobs=())


def test_children_of_a_manifest_are_its_config_and_layers():
    assert children(encode(MANIFEST)) == Children(manifests=(), blobs=(A, B, C))


def test_descriptors_without_a_valid_digest_are_left_out():
    layers = [descriptor("sha256:../../etc"), {"size": 1}, 3, None, descriptor(C), descriptor("md5:12")]
    assert children(encode({"layers": layers})) == Children((), (C,))


@pytest.mark.parametrize("document", [CONFIG, {}, [], {"manifests": {}}])
def test_other_documents_have_no_children(document):
    with pytest.raises(NotAManifestError):
        children(encode(document))


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"manifests":[' + b"[" * 1_000_000,
        b'{"manifests":[' + b"[" * 90_000 + b"]" * 90_000 + b"]}",
        b'{"manifests":[' + b"[]," * 1_300_000 + b"[]]}",
        b'{"a":' + b"9" * 100_000 + b"}",
        b'{"a":"' + b"a" * MAX_MANIFEST_SIZE + b'"}',
    ],
)
def test_a_hostile_document_costs_little_memory(hostile):
    tracemalloc.start()
    try:
        assert media_type(hostile) == BINARY
        assert tracemalloc.get_traced_memory()[1] < 3 * len(hostile) + 1_000_000
    finally:
        tracemalloc.stop()


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(encode))
def test_any_content_has_a_media_type(data):
    assert "/" in media_type(data)
