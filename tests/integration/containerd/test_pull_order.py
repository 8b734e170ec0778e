"""Truth from containerd: with the mutated OperatingSystemConfig on the node, it asks the local host first."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.certificates import Authority
from tests.integration.containerd.containerd import Containerd
from tests.integration.containerd.node import write_certs_d
from tests.integration.containerd.registries import Registries
from tests.unit.mutation_samples import apply, context, sample, text_of, with_containerd
from webhook.mutation import Ports

pytestmark = pytest.mark.root

Pull = Callable[[str], None]


@pytest.fixture(params=["cri", "ctr"])
def pull(request: pytest.FixtureRequest, containerd: Containerd) -> Pull:
    """Pull through the registry config of the CRI plugin, as the kubelet does, and with ctr --hosts-dir."""
    return containerd.pull_with_cri if request.param == "cri" else containerd.pull_with_ctr


def mutated(osc: dict[str, Any], local_port: int, *, resolve_tags: bool = True) -> dict[str, Any]:
    return apply(osc, context(ports=Ports(local_port, 5001, 9090), resolve_tags=resolve_tags))


def host(port: int, **more: Any) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{port}", "capabilities": ["pull", "resolve"]} | more


def assert_asked(registries: Registries, order: list[str], *, tag: list[str] | None = None) -> None:
    """Check who was asked for each digest of the image, and for its tag."""
    expected = dict.fromkeys(registries.image.blobs, order)
    assert registries.asked() == expected | {"v1": tag or order}


def entry_of(registry: str, *hosts: dict[str, Any]) -> dict[str, Any]:
    """An OperatingSystemConfig with one registry."""
    entry = {"upstream": registry, "server": f"http://{registry}", "hosts": list(hosts)}
    return with_containerd(registries=[entry])


@pytest.mark.parametrize("status", [404, 500])
def test_a_local_host_without_the_image_is_asked_first_then_the_others_in_order(
    containerd: Containerd, registries: Registries, pull: Pull, status: int
) -> None:
    local = registries.start("local", status=status)
    cache = registries.start("cache", status=404)
    mirror = registries.start("mirror", status=404)
    registry = f"127.0.0.1:{registries.start('registry')}"
    osc = entry_of(registry, host(cache), host(mirror))
    write_certs_d(mutated(osc, local), containerd.certs_d)

    pull(f"{registry}/team/app:v1")

    namespaces = {request.namespace for request in registries.book if request.registry == "local"}
    assert namespaces == {registry}
    assert_asked(registries, ["local", "cache", "mirror", "registry"])


def test_a_local_host_with_the_image_is_the_only_one_asked(
    containerd: Containerd, registries: Registries, pull: Pull
) -> None:
    local = registries.start("local")
    cache = registries.start("cache")
    registry = f"127.0.0.1:{registries.start('registry')}"
    write_certs_d(mutated(entry_of(registry, host(cache)), local), containerd.certs_d)

    pull(f"{registry}/team/app:v1")

    assert_asked(registries, ["local"])


def test_a_local_host_that_refuses_connections_falls_through(
    containerd: Containerd, registries: Registries, pull: Pull
) -> None:
    cache = registries.start("cache")
    registry = f"127.0.0.1:{registries.start('registry')}"
    osc = mutated(entry_of(registry, host(cache)), registries.closed_port())
    write_certs_d(osc, containerd.certs_d)

    pull(f"{registry}/team/app:v1")

    assert_asked(registries, ["cache"])


def test_without_resolve_tags_the_local_host_is_asked_for_digests_only(
    containerd: Containerd, registries: Registries, pull: Pull
) -> None:
    local = registries.start("local")
    registry = f"127.0.0.1:{registries.start('registry')}"
    osc = mutated(entry_of(registry), local, resolve_tags=False)
    write_certs_d(osc, containerd.certs_d)

    pull(f"{registry}/team/app:v1")

    assert_asked(registries, ["local"], tag=["registry"])


def test_a_registry_without_an_entry_is_served_by_the_default(
    containerd: Containerd, registries: Registries, pull: Pull
) -> None:
    local = registries.start("local", status=404)
    registry = f"127.0.0.1:{registries.start('registry')}"
    write_certs_d(mutated(with_containerd(), local), containerd.certs_d)

    pull(f"{registry}/team/app:v1")

    assert_asked(registries, ["local", "registry"])


@pytest.mark.parametrize("form", ["entry", "file"])
def test_an_existing_default_mirror_comes_after_the_local_host(
    containerd: Containerd, registries: Registries, pull: Pull, form: str
) -> None:
    local = registries.start("local", status=404)
    mirror = registries.start("mirror", status=404)
    registry = f"127.0.0.1:{registries.start('registry')}"
    if form == "entry":
        osc = with_containerd(registries=[{"upstream": "_default", "hosts": [host(mirror)]}])
    else:
        osc = with_containerd()
        osc["spec"]["files"] = [hosts_file("_default", f'[host."http://127.0.0.1:{mirror}"]\n')]
    write_certs_d(mutated(osc, local), containerd.certs_d)

    pull(f"{registry}/team/app:v1")

    assert_asked(registries, ["local", "mirror", "registry"])


def hosts_file(registry: str, text: str) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {
        "path": f"/etc/containerd/certs.d/{registry}/hosts.toml",
        "permissions": 420,
        "content": {"inline": {"encoding": "b64", "data": data}},
    }


def test_every_registry_of_a_landscape_with_cache_and_mirror(
    containerd: Containerd, registries: Registries, tmp_path: Path
) -> None:
    """The sample with its hosts moved to loopback: plain HTTP, TLS with a CA, a path of its own, a file."""
    authority = Authority()
    tls = tmp_path / "mirror.pem"
    tls.write_bytes(b"".join(authority.issue()))
    ports = {name: registries.start(name, status=404) for name in ("local", "cache", "harbor")}
    ports |= {name: registries.start(name, status=404, certificate=tls) for name in ("tls", "mirror")}
    ports |= {name: registries.start(name) for name in ("docker", "ghcr", "k8s", "example")}
    moved = {
        "http://100.71.22.9:5000": f"http://127.0.0.1:{ports['cache']}",
        "https://100.71.22.10:5000": f"https://127.0.0.1:{ports['tls']}",
        "https://harbor.example.com": f"http://127.0.0.1:{ports['harbor']}",
        "https://mirror.example.com": f"https://127.0.0.1:{ports['mirror']}",
        "https://registry-1.docker.io": f"http://127.0.0.1:{ports['docker']}",
        "https://ghcr.io": f"http://127.0.0.1:{ports['ghcr']}",
        "https://registry.k8s.io": f"http://127.0.0.1:{ports['k8s']}",
        "https://registry.example.com:8443": f"http://127.0.0.1:{ports['example']}",
        "docker.io": f"127.0.0.1:{ports['docker']}",
        "ghcr.io": f"127.0.0.1:{ports['ghcr']}",
        "registry.k8s.io": f"127.0.0.1:{ports['k8s']}",
        "registry.example.com:8443": f"127.0.0.1:{ports['example']}",
    }
    osc = on_loopback(sample("osc-with-cache-and-mirror.yaml"), moved, authority.pem.decode())
    write_certs_d(mutated(osc, ports["local"]), containerd.certs_d)

    def pull(registry: str) -> None:
        registries.renew_image()
        containerd.pull_with_cri(f"127.0.0.1:{ports[registry]}/team/app:v1")

    pull("docker")
    assert_asked(registries, ["local", "cache", "docker"])
    pull("ghcr")
    assert_asked(registries, ["local", "tls", "ghcr"])
    pull("k8s")
    paths = [request.path for request in registries.book if request.registry == "harbor"]
    assert all(path.startswith("/v2/k8s/team/app/") for path in paths)
    assert_asked(registries, ["local", "harbor", "mirror", "k8s"], tag=["local", "harbor", "k8s"])
    pull("example")
    # The file names the registry as a host, and again as the server.
    assert_asked(registries, ["local", "example"])


def on_loopback(osc: dict[str, Any], moved: dict[str, str], ca: str) -> dict[str, Any]:
    """Replace URLs and names of registries by what is theirs on loopback, and each CA by the test's."""

    def move(text: str) -> str:
        for before, after in moved.items():
            text = text.replace(before, after)
        return text

    containerd = osc["spec"]["criConfig"]["containerd"]
    containerd["registries"] = json.loads(move(json.dumps(containerd["registries"])))
    hosts = [host for entry in containerd["registries"] for host in entry["hosts"]]
    ca_paths = {path for host in hosts for path in host.get("caCerts", [])}
    ca_file = {"encoding": "", "data": ca}
    osc["spec"]["files"] = [
        *({"path": path, "content": {"inline": ca_file}} for path in sorted(ca_paths)),
        *(
            hosts_file(move(Path(file["path"]).parent.name), move(text_of(file)))
            for file in osc["spec"]["files"]
            if file["path"].endswith("/hosts.toml")
        ),
    ]
    return osc
