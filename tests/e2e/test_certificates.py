"""Certificates are replaced under way, and no node is ever shut out."""

from __future__ import annotations

import http.client
import shutil
import ssl
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.asking import CERTIFICATES, addresses
from tests.e2e.figures import wait_for_peers
from tests.e2e.landscape import Landscape
from tests.e2e.node.machine import Node
from tests.e2e.process import wait_until
from tests.e2e.seed.controlplane import BOOTSTRAPPER


def kept(node: Node, directory: Path) -> Path:
    """Keep a copy of the certificates that a node has now."""
    return Path(shutil.copytree(node.path(CERTIFICATES), directory))


def bootstrapper(landscape: Landscape) -> int:
    """The process that is the bootstrapper."""
    pod = landscape.control.kubelet.pod(BOOTSTRAPPER)
    assert pod is not None
    assert pod.process is not None
    return pod.process.pid


def is_refused(node: Node, landscape: Landscape, certificates: Path) -> bool:
    try:
        addresses(node, landscape, certificates)
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        return True
    return False


def test_a_rotation_of_the_shoots_authorities_shuts_no_node_out(
    landscape: Landscape, nodes: list[Node], tmp_path: Path
) -> None:
    process = bootstrapper(landscape)
    everyone = [node.address for node in nodes]
    first, other = nodes[0], nodes[1]
    old = kept(first, tmp_path / "old")
    initiated = datetime.now(UTC)

    landscape.gardenlet.rotate_authorities("Preparing", initiated)
    landscape.gardenlet.reconcile_extension()
    assert addresses(other, landscape, old) == everyone
    landscape.apply([first])
    new = kept(first, tmp_path / "new")
    assert (new / "tls.crt").read_bytes() != (old / "tls.crt").read_bytes()
    for certificates in (old, new):
        assert addresses(other, landscape, certificates) == everyone, "some nodes are a step behind"

    landscape.apply(nodes[1:])
    landscape.gardenlet.rotate_authorities("Completing", initiated)
    landscape.gardenlet.reconcile_extension()
    assert addresses(other, landscape, new) == everyone, "they have not applied the last step yet"
    wait_until(lambda: is_refused(other, landscape, old), "the end of the old authority")
    landscape.apply(nodes)
    for node in nodes:
        assert addresses(node, landscape, node.path(CERTIFICATES)) == everyone
        wait_for_peers(node, 2)
    assert bootstrapper(landscape) == process, "no pod is restarted for it"


def test_keys_are_readable_by_root_alone_and_stand_in_no_operating_system_config(
    landscape: Landscape, nodes: list[Node]
) -> None:
    for node in nodes:
        assert node.path(f"{CERTIFICATES}/tls.key").stat().st_mode & 0o777 == 0o600
    files = landscape.gardenlet.written_config()["spec"]["files"]
    contents = [file["content"] for file in files if file["path"].startswith(CERTIFICATES)]
    assert [list(content) for content in contents] == [["secretRef"]] * 3
