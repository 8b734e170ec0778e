"""skopeo, which knows no ``ns`` parameter, and asks for ``/v2/`` first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.cli.program import free_port
from tests.daemon.clients.log import requests
from tests.daemon.clients.programs import REPOSITORY, Upstream, flags_of, new_image, run, skopeo_copy, tag
from tests.daemon.composed import Network, running
from tests.daemon.images import TestImage
from tests.integration.containerd.containerd import Containerd

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def image(registry: Upstream) -> TestImage:
    return new_image(registry)


def assert_is(layout: Path, image: TestImage) -> None:
    """Compare a directory that skopeo wrote with an image."""
    for digest, data in image.blobs.items():
        assert (layout / "blobs" / digest.replace(":", "/")).read_bytes() == data


async def test_it_copies_by_digest_what_another_node_has(
    second_machine: Containerd,
    holder: dict[str, Any],
    image: TestImage,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Network()
    near, far = (f"127.0.0.{number}:{free_port()}" for number in (2, 3))
    async with running(network, far, **holder), running(network, near, **flags_of(second_machine)):
        await network.advertised(far, image.blobs)
        source = f"docker://{near}/{REPOSITORY}@{image.index}"
        await asyncio.to_thread(skopeo_copy, source, f"oci:{tmp_path}/copy")
    assert_is(tmp_path / "copy", image)
    path = f"/v2/{REPOSITORY}"
    seen = requests(caplog, "peer")
    manifests = [("GET", f"{path}/manifests/{digest}", 200) for digest in (image.index, image.manifest)]
    assert [request for request in seen if "/manifests/" in request[1]] == manifests
    contents = {("GET", f"{path}/blobs/{digest}", 200) for digest in (image.config, *image.layers)}
    assert {request for request in seen if "/blobs/" in request[1]} == contents


@pytest.mark.parametrize("holder", ["layout"], indirect=True)
async def test_with_the_daemon_as_its_mirror_it_takes_tags_from_the_registry(
    holder: dict[str, Any],
    registry: Upstream,
    image: TestImage,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    near = f"127.0.0.2:{free_port()}"
    configuration = tmp_path / "registries.conf"
    configuration.write_text(
        f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{near}"\ninsecure = true\n'
    )
    flag = f"--registries-conf={configuration}"
    async with running(Network(), near, **holder):
        for number, reference in enumerate((f":{tag(image)}", f"@{image.index}")):
            source = f"docker://{registry.address}/{REPOSITORY}{reference}"
            target = f"oci:{tmp_path}/copy-{number}"
            await asyncio.to_thread(skopeo_copy, source, target, flag)
            assert_is(tmp_path / f"copy-{number}", image)
    # Without a registry's name a tag means nothing here; skopeo then has the whole image from the registry.
    path = f"/v2/{REPOSITORY}/manifests"
    assert [request for request in requests(caplog, "") if "/manifests/" in request[1]] == [
        ("GET", f"{path}/{tag(image)}", 404)
    ]
    assert ("GET", f"{path}/{image.index}", 200) in requests(caplog, "local")


async def test_it_inspects_an_image(
    second_machine: Containerd, holder: dict[str, Any], image: TestImage
) -> None:
    network = Network()
    near, far = (f"127.0.0.{number}:{free_port()}" for number in (2, 3))
    async with running(network, far, **holder), running(network, near, **flags_of(second_machine)):
        await network.advertised(far, image.blobs)
        command = ("skopeo", "inspect", "--raw", "--tls-verify=false")
        source = f"docker://{near}/{REPOSITORY}@{image.manifest}"
        assert (await asyncio.to_thread(run, *command, source)).encode() == image.blobs[image.manifest]
