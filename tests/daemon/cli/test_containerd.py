"""What ``spegel configuration`` writes, read by containerd, which then pulls from a real daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli.commands import Configuration
from daemon.cli.configuration import write_configuration
from tests.daemon.cli.program import free_port, run, running
from tests.daemon.containerd import Containerd
from tests.daemon.images import TestImage, make_image
from tests.daemon.layouts import lay_out

# A registry that does not exist: whatever is pulled from it came from the daemon.
NAME = "registry.invalid/library/app:1"


@contextlib.contextmanager
def daemon(tmp_path: Path, image: TestImage) -> Iterator[str]:
    lay_out(tmp_path / "layout", {NAME: image})
    registry, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    addresses = [f"--registry-addr={registry}", f"--metrics-addr={metrics}"]
    layout = f"--oci-layout={tmp_path / 'layout'}"
    with running("registry", "--bootstrap-kind=static", "--log-level=debug", layout, *addresses) as process:
        process.wait_for_log("listening")
        yield f"http://{registry}"
        paths = {record["path"] for record in process.log() if record["msg"] == "request answered"}
        assert "/v2/library/app/manifests/1" in paths


@pytest.mark.root
@pytest.mark.parametrize("registries", [[], ["https://registry.invalid"]])
def test_containerd_pulls_from_the_daemon(
    containerd: Containerd, tmp_path: Path, registries: list[str]
) -> None:
    image = make_image(5, layers=2, size=100_000)
    hosts = tmp_path / "certs.d"
    with daemon(tmp_path, image) as target:
        flags = ["--containerd-registry-config-path", str(hosts), "--mirror-targets", target]
        result = run("configuration", *flags, "--mirrored-registries", *registries)
        assert result.returncode == 0, result.stderr
        containerd.ctr("content", "fetch", "--platform", "linux/amd64", "--hosts-dir", str(hosts), NAME)
    for digest, data in image.blobs.items():
        assert (containerd.content / "blobs" / digest.replace(":", "/")).read_bytes() == data


@pytest.mark.root
def test_containerd_asks_the_mirror_first_and_then_the_hosts_that_were_there(
    containerd: Containerd, tmp_path: Path
) -> None:
    image = make_image(6)
    hosts = tmp_path / "certs.d"
    (hosts / "registry.invalid").mkdir(parents=True)
    with daemon(tmp_path, image) as target:
        existing = (
            f'server = "https://registry.invalid"\n[host."{target}"]\ncapabilities = ["pull", "resolve"]\n'
        )
        (hosts / "registry.invalid" / "hosts.toml").write_text(existing)
        dead = f"http://127.0.0.1:{free_port()}"
        command = Configuration(
            containerd_registry_config_path=str(hosts),
            mirrored_registries=("https://registry.invalid",),
            mirror_targets=(dead,),
            prepend_existing=True,
        )
        write_configuration(command, tmp_path / "no-secrets")
        containerd.ctr("content", "fetch", "--platform", "linux/amd64", "--hosts-dir", str(hosts), NAME)
    assert image.manifest in containerd.ctr("content", "ls")
