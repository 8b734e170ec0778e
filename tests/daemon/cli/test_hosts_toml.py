from __future__ import annotations

import datetime
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.hosts_toml import InvalidHostsFileError, host_tables, mirror_hosts

TARGETS = ["http://127.0.0.1:5000", "http://[::1]:5001"]


def test_the_mirrors_stand_before_the_registry_in_their_order() -> None:
    text = mirror_hosts("http://foo.bar:5000", TARGETS, resolve_tags=True, authorization=None)
    assert text == (
        "server = 'http://foo.bar:5000'\n"
        "\n"
        "[host.'http://127.0.0.1:5000']\n"
        "capabilities = ['pull', 'resolve']\n"
        "dial_timeout = '200ms'\n"
        "\n"
        "[host.'http://[::1]:5001']\n"
        "capabilities = ['pull', 'resolve']\n"
        "dial_timeout = '200ms'\n"
    )


def test_all_registries_have_no_server_and_tags_need_not_be_resolved() -> None:
    text = mirror_hosts(None, TARGETS[:1], resolve_tags=False, authorization=None)
    assert text == "[host.'http://127.0.0.1:5000']\ncapabilities = ['pull']\ndial_timeout = '200ms'\n"


def test_every_mirror_gets_the_password() -> None:
    text = mirror_hosts(None, TARGETS, resolve_tags=True, authorization="Basic aGVsbG86d29ybGQ=")
    hosts = tomllib.loads(text)["host"]
    assert [host["header"] for host in hosts.values()] == [{"Authorization": "Basic aGVsbG86d29ybGQ="}] * 2


def test_existing_hosts_are_kept_in_order_without_the_server() -> None:
    text = """
server = "https://upstream"
ca = "root.crt"
[host."https://b:1"]
  client = [["c.crt", "c.key"], ["d.crt"]]  # comment
  skip_verify = true
[host."https://b:1".header]
  x-a = ["1", "2"]
[host."https://a"]
  capabilities = ["pull"]
  override_path = true
"""
    kept = host_tables(text)
    assert list(tomllib.loads(kept)) == ["host"]
    assert list(tomllib.loads(kept)["host"]) == ["https://b:1", "https://a"]
    assert tomllib.loads(kept)["host"] == tomllib.loads(text)["host"]


@pytest.mark.parametrize("text", ["", "server = 'x'", "[other]\na = 1"])
def test_a_file_without_hosts_has_nothing_to_keep(text: str) -> None:
    assert host_tables(text) == ""


@pytest.mark.parametrize("text", ["host = [", "[host", "host = 'x'", "host.a = 1", "a = " + "[" * 5000])
def test_what_is_no_hosts_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidHostsFileError):
        host_tables(text)


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | _texts
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.dates()
    | st.times()
)
_values = st.recursive(_scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(_texts, v, max_size=3))
_hosts = st.dictionaries(_texts, st.dictionaries(_texts, _values, max_size=4), min_size=1, max_size=3)


@given(_hosts)
def test_whatever_toml_can_say_of_a_host_is_kept(hosts: dict[str, dict[str, Any]]) -> None:
    # Written as one inline table each, in the writer's own notation, then read and written as tables.
    from daemon.cli.hosts_toml import _key, _value

    text = "".join(
        f"[host.{_key(url)}]\n" + "".join(f"{_key(k)} = {_value(v)}\n" for k, v in host.items())
        for url, host in hosts.items()
    )
    assert tomllib.loads(text) == {"host": hosts}
    assert tomllib.loads(host_tables(text)) == {"host": hosts}
    assert list(tomllib.loads(host_tables(text))["host"]) == list(hosts)
