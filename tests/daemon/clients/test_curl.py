"""curl: ranges, and downloads that are continued, of local content and of another node's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.cli.program import free_port
from tests.daemon.clients.programs import REPOSITORY, Upstream, flags_of, new_image, program
from tests.daemon.composed import Network, running
from tests.daemon.images import TestImage
from tests.integration.containerd.containerd import Containerd

pytestmark = [pytest.mark.root, pytest.mark.parametrize("holder", ["containerd"], indirect=True)]


@pytest.fixture(scope="module")
def image(registry: Upstream) -> TestImage:
    return new_image(registry)


@pytest.fixture(params=["local", "relayed"])
async def url(
    request: pytest.FixtureRequest, second_machine: Containerd, holder: dict[str, Any], image: TestImage
) -> AsyncIterator[str]:
    """Where to ask for the blobs of the image."""
    network = Network()
    near, far = (f"127.0.0.{number}:{free_port()}" for number in (2, 3))
    async with running(network, far, **holder), running(network, near, **flags_of(second_machine)):
        await network.advertised(far, image.blobs)
        yield f"http://{far if request.param == 'local' else near}/v2/{REPOSITORY}/blobs"


async def curl(*arguments: str) -> bytes:
    """Run curl; return what it prints."""
    command = (program("curl"), "--silent", "--show-error", "--fail-with-body", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output


async def test_ranges(url: str, image: TestImage, tmp_path: Path) -> None:
    layer = image.layers[-1]
    data = image.blobs[layer]
    size = len(data)
    for asked, part in {
        "0-0": data[:1],
        "100-99999": data[100:100_000],
        f"{size // 2}-": data[size // 2 :],
        f"{size - 1}-": data[-1:],
    }.items():
        head = tmp_path / "head"
        assert await curl("--range", asked, "--dump-header", str(head), f"{url}/{layer}") == part
        assert head.read_text().startswith("HTTP/1.1 206 ")
        first = int(asked.partition("-")[0])
        assert (
            f"Content-Range: bytes {first}-{first + len(part) - 1}/{size}\r\n" in head.read_bytes().decode()
        )


async def test_a_download_is_continued_where_it_broke_off(url: str, image: TestImage, tmp_path: Path) -> None:
    layer = image.layers[-1]
    target = tmp_path / "layer"
    for size in (1, 3_000_000, 3_000_001, len(image.blobs[layer]) - 1):
        target.write_bytes(image.blobs[layer][:size])
        await curl("--continue-at", "-", "--output", str(target), f"{url}/{layer}")
        assert target.read_bytes() == image.blobs[layer]


async def test_many_blobs_on_one_connection(url: str, image: TestImage) -> None:
    wanted = [image.config, *image.layers] * 3
    output = await curl("--write-out", "%{stderr}%{num_connects}", *(f"{url}/{digest}" for digest in wanted))
    assert output == b"".join(image.blobs[digest] for digest in wanted)
