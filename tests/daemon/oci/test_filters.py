import pytest

from daemon.oci.filters import Filters, InvalidFilterError, parse_filters, registry_host


@pytest.mark.parametrize("registries", [[], ["*"], ["_default"], ["https://docker.io", "*"]])
def test_no_list_or_a_wildcard_means_every_registry(registries):
    assert parse_filters(registries, []) == Filters()
    assert not Filters().excludes("anything.example", "a", "b")


def test_registries_that_are_not_listed_are_excluded():
    filters = parse_filters(["https://docker.io", "https://quay.io", "http://localhost:5000"], [])
    assert not filters.excludes("docker.io", "foo", "bar")
    assert not filters.excludes("localhost:5000", "foo", "bar")
    assert filters.excludes("localhost:6000", "foo", "bar")
    assert filters.excludes("localhost", "foo")


@pytest.mark.parametrize(
    ("expression", "excluded"),
    [("^docker.io", True), ("^ghcr.io", False), (":latest$", True), ("ubuntu:", True), ("^ubuntu", False)],
)
def test_an_expression_is_searched_in_registry_repository_and_tag(expression, excluded):
    assert parse_filters([], [expression]).excludes("docker.io", "library/ubuntu", "latest") is excluded


def test_an_expression_for_a_tag_leaves_content_by_digest_alone():
    assert not parse_filters([], [":latest$"]).excludes("docker.io", "library/ubuntu")


def test_sources_know_no_port():
    filters = parse_filters(["http://localhost:5000", "http://[::1]:80"], ["/secret"])
    assert not filters.excludes_source("localhost/foo")
    assert not filters.excludes_source("::1/foo")
    assert filters.excludes_source("localhost/secret/foo")
    assert filters.excludes_source("docker.io/foo")


@pytest.mark.parametrize(
    ("expression", "source", "excluded"),
    [
        (r"^registry\.example:5000/", "registry.example/app", True),
        (r"^registry\.example:5000/app$", "registry.example/app", True),
        (r"^registry\.example:5000/app$", "registry.example/other", False),
        (r"^registry\.example:5000/", "mirror.example/app", False),
        (r"^registry\.example:(443|8443)/", "registry.example/app", True),
        (r"^registry\.example:[0-9]+/", "registry.example/app", True),
        (r"^registry\.example(:[0-9]+)?/app", "registry.example/app", True),
        (r"^\[::1\]:5000/", "::1/app", True),
        (r"^registry\.example/", "registry.example/app", True),
        (r":latest$", "registry.example/app", False),
        (r":v?1\.2[0-9]", "registry.example/app", False),
        (r"app-15/", "registry.example/app", False),
        (r"^(?!registry\.example/)", "registry.example/app", False),
        (r"^(?!registry\.example/)", "mirror.example/app", True),
        (r"^(?:(?!registry\.example/))", "registry.example/app", False),
        (r"^(?i:(?!registry\.example/))", "registry.example/app", False),
        (r"^[^/]*[0-9]{4}/", "registry.example/app", False),
    ],
)
def test_an_expression_with_a_port_is_searched_in_sources_too(expression, source, excluded):
    assert parse_filters([], [expression]).excludes_source(source) is excluded


@pytest.mark.parametrize(
    "url",
    ["docker.io", "ftp://docker.io", "https://docker.io/foo", "https://docker.io/", "https://docker.io?foo=bar",
     "https://foo@docker.io", "https://", "https://[::1", "https://a b", ""],
)  # fmt: skip
def test_a_registry_is_given_as_a_bare_url(url):
    with pytest.raises(InvalidFilterError, match="registry"):
        registry_host(url)


@pytest.mark.parametrize(
    "url", ["https://docker.io", "http://registry", "http://registry:5000", "http://[::1]:80"]
)
def test_the_host_of_a_registry_url(url):
    assert registry_host(url) == url.partition("//")[2]


def test_two_wildcards_are_a_mistake():
    with pytest.raises(InvalidFilterError, match="more than one wildcard"):
        parse_filters(["*", "_default"], [])


@pytest.mark.parametrize("expression", ["(", "[[:alpha:]]+", "a{99999999999999}", "(?<x>a)"])
def test_an_expression_that_means_nothing_here_is_refused(expression):
    with pytest.raises(InvalidFilterError, match="regular expression"):
        parse_filters([], [expression])
