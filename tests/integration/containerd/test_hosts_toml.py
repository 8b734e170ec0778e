"""Truth from containerd: every spelling of a hosts.toml, before and after the local host was put first."""

from __future__ import annotations

import pytest

from tests.integration.containerd.containerd import Containerd
from tests.integration.containerd.registries import Registries
from webhook.mutation.hosts_toml import prepend
from webhook.mutation.model import LocalHost

pytestmark = pytest.mark.root

# {a} and {b} are mirrors without the image, {registry} has it.
SPELLINGS = {
    "tables": 'server = "{registry}"\n\n[host."{a}"]\n  capabilities = ["pull", "resolve"]\n\n[host."{b}"]\n',
    "single quotes": "server = '{registry}'\n[host.'{a}']\n[host.'{b}']\n",
    "spaces in headers": 'server="{registry}"\n  [ host."{a}" ]\n  [host . "{b}"]',
    "quoted host": 'server = "{registry}"\n["host"."{a}"]\n[\'host\'."{b}"]\n',
    "sub-tables of host": 'server = "{registry}"\n[host]\n  [host."{a}"]\n  [host."{b}"]\n',
    "CRLF": 'server = "{registry}"\r\n# first\r\n[host."{a}"]\r\n[host."{b}"]\r\n',
    "another table": 'server = "{registry}"\n[header]\nx = "y"\n[host."{a}"]\n[host."{b}"]\n',
    "host behind its sub-tables": '[host."{a}"]\n[host."{b}"]\n[host]\n[header]\nx = "y"\n',
    "sub-table alone": 'server = "{registry}"\n[host."{a}".header]\nx = "y"\n[host."{b}"]\n',
    "sub-table before its table": (
        'server = "{registry}"\n[host."{a}".header]\nx = "y"\n[host."{b}"]\n[host."{a}"]\nca = []\n'
    ),
    "header in a string": (
        'server = "{registry}"\nnote = """\n[host."http://127.0.0.1:1"]\n"""\n[host."{a}"]\n[host."{b}"]\n'
    ),
    "dotted keys": 'host."{a}".ca = []\nhost."{b}".header.x = "y"\nserver = "{registry}"\n',
    "dotted keys below host": 'server = "{registry}"\n[host]\n"{a}".ca = []\n"{b}".header.x = "y"\n',
    "dotted keys and tables": 'server = "{registry}"\nhost."{a}".ca = []\n[host."{b}"]\n',
    "no hosts": 'server = "{registry}" # only\n',
    "empty": "",
    "byte order mark": '\ufeffserver = "{registry}"\n[host."{a}"]\n[host."{b}"]\n',
    "a copy of the local host": (
        'server = "{registry}"\n[host."{a}"]\n[host."{local}/"]\nca = []\n[host."{b}"]\n[host."{local}"]\n'
    ),
    "the local host below others": (
        'server = "{registry}"\n[host]\n"{a}".ca = []\n"{local}" = {{}}\n"{b}".ca = []\n'
    ),
}

UNREAD_BY_CONTAINERD_2 = {"dotted keys", "byte order mark"}
"""It takes hosts from headers only, and a byte order mark for an error."""

INLINE = {
    "inline tables below host": 'server = "{registry}"\n[host]\n"{a}" = {{}}\n"{b}" = {{ ca = [] }}\n',
    "inline tables by dotted keys": 'server = "{registry}"\nhost."{a}" = {{}}\nhost."{b}" = {{ ca = [] }}\n',
    "one inline table": 'server = "{registry}"\nhost = {{ "{a}" = {{}}, "{b}" = {{ ca = [] }} }}\n',
}


class Site:
    """A registry with two mirrors, beside a local host."""

    def __init__(self, containerd: Containerd, registries: Registries) -> None:
        self.containerd = containerd
        self.registries = registries
        ports = {name: registries.start(name, status=404) for name in ("local", "a", "b")}
        self.name = f"127.0.0.1:{registries.start('registry')}"
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.urls |= {"registry": f"http://{self.name}", "local": f"http://localhost:{ports['local']}"}

    def prepend(self, text: str) -> str:
        return prepend(text, LocalHost(self.urls["local"], ("pull", "resolve")))

    def asked(self, text: str) -> list[list[str]]:
        """Pull with a hosts.toml; return who was asked for the tag and for each digest."""
        path = self.containerd.certs_d / self.name / "hosts.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
        self.registries.renew_image()
        self.containerd.pull_with_ctr(f"{self.name}/team/app:v1")
        asked = self.registries.asked()
        assert asked.keys() == {"v1", *self.registries.image.blobs}
        return list(asked.values())

    def order(self, text: str) -> list[str]:
        """Pull with a hosts.toml; return the order that hosts were asked in for everything."""
        order, *others = self.asked(text)
        assert all(other == order for other in others)
        return order


@pytest.fixture
def site(containerd: Containerd, registries: Registries) -> Site:
    return Site(containerd, registries)


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_local_host_is_asked_first_then_the_hosts_that_were_asked_before(site: Site, name: str) -> None:
    spelling = SPELLINGS[name]
    text = spelling.format(**site.urls)

    before = [host for host in site.order(text) if host != "local"]
    after = site.order(site.prepend(text))

    if site.containerd.is_first_generation:
        assert before == (["a", "b", "registry"] if "{a}" in spelling else ["registry"])
        assert after == ["local", *before]
    elif name in UNREAD_BY_CONTAINERD_2:
        assert after == before == ["registry"]
    else:
        assert after == ["local", *before]


@pytest.mark.parametrize("spelling", INLINE.values(), ids=INLINE)
def test_hosts_in_inline_tables_are_asked_in_no_order(site: Site, spelling: str) -> None:
    text = spelling.format(**site.urls)

    for order in site.asked(site.prepend(text)):
        assert order.pop() == "registry"
        if site.containerd.is_first_generation:
            assert sorted(order) == ["a", "b", "local"]
        else:
            assert order in (["local"], [])
