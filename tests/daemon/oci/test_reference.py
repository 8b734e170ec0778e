import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.oci.reference import InvalidReferenceError, Reference, is_registry, is_tag, parse_reference

DIGEST = "sha256:" + "a1" * 32
REGISTRIES = [
    "docker.io", "example.com:2135", "127.0.0.1", "127.0.0.1:3", "[::1]:8080", "[::1]", "localhost",
    "localhost:5000", "registry:5000", "1234.dkr.ecr.eu-west-1.amazonaws.com",
]  # fmt: skip


@pytest.mark.parametrize("registry", REGISTRIES)
@pytest.mark.parametrize(
    ("rest", "repository", "tag", "digest"),
    [
        ("library/alpine:3.18.0", "library/alpine", "3.18.0", None),
        (f"jetstack/controller:v1@{DIGEST}", "jetstack/controller", "v1", DIGEST),
        (f"fluxcd/helm@{DIGEST}", "fluxcd/helm", None, DIGEST),
        ("pause:3.9", "pause", "3.9", None),
    ],
)
def test_a_complete_name_is_taken_apart(registry, rest, repository, tag, digest):
    reference = parse_reference(f"{registry}/{rest}")
    assert reference == Reference(registry, repository, tag, digest)
    assert reference.tag_name == (f"{registry}/{repository}:{tag}" if tag else None)


@pytest.mark.parametrize(
    "name",
    [
        DIGEST,  # the CRI plugin's name for an image's config
        "alpine", "alpine:3.20", "library/alpine:3.20",  # not complete
        "docker.io/library/alpine",  # neither tag nor digest
        "docker.io/:tag", "docker.io/Library/alpine:1", "docker.io/library//alpine:1",
        "docker.io/library/alpine:", "docker.io/library/alpine:-1", "docker.io/alpine@",
        "docker.io/alpine@sha256:12",
        "https://docker.io/library/alpine:1", "example%#$.com/foo:1", "::1/library/ubuntu:latest",
        "docker.io/" + "a/" * 128 + "a:1", "docker.io/alpine:" + "a" * 129, "docker.io/alpine:1\n", "",
    ],
)  # fmt: skip
def test_other_names_are_refused(name):
    with pytest.raises(InvalidReferenceError):
        parse_reference(name)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        return
    assert is_registry(reference.registry)
    assert reference.tag is None or is_tag(reference.tag)
    assert text.startswith(f"{reference.registry}/{reference.repository}")
