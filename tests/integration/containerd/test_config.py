"""Truth from containerd: layers stay in the content store, where peers can be served from."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.containerd.containerd import Containerd
from tests.integration.containerd.node import apply_plugins, write_certs_d
from tests.integration.containerd.registries import Registries
from tests.unit.mutation_samples import apply, with_containerd

pytestmark = pytest.mark.root

DISCARD = {"discard_unpacked_layers": True}
SPELLINGS = {
    "table": [
        {"path": ["io.containerd.grpc.v1.cri", "containerd"], "values": DISCARD},
        {"path": ["io.containerd.cri.v1.images"], "values": DISCARD},
    ],
    "plugin": [
        {"path": ["io.containerd.grpc.v1.cri"], "values": {"containerd": DISCARD}},
        {"path": ["io.containerd.cri.v1.images"], "values": DISCARD, "op": "add"},
    ],
    "root": [
        {
            "path": [],
            "values": {
                "io.containerd.grpc.v1.cri": {"containerd": DISCARD},
                "io.containerd.cri.v1.images": DISCARD,
            },
        }
    ],
}


def discards(containerd: Containerd, osc: dict[str, Any]) -> bool:
    """Tell what containerd's effective configuration says on a node with an OperatingSystemConfig."""
    config = containerd.default_config()
    apply_plugins(osc, config)
    dump = containerd.dump_config(config)
    if dump["version"] >= 3:
        discards: bool = dump["plugins"]["io.containerd.cri.v1.images"]["discard_unpacked_layers"]
    else:
        discards = dump["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["discard_unpacked_layers"]
    return discards


@pytest.mark.parametrize("plugins", SPELLINGS.values(), ids=SPELLINGS)
def test_unpacked_layers_are_kept_although_an_entry_discards_them(
    containerd: Containerd, plugins: list[dict[str, Any]]
) -> None:
    osc = with_containerd(plugins=plugins)
    assert discards(containerd, osc) is True
    assert discards(containerd, apply(osc)) is False


def test_the_layers_of_a_pulled_image_stay_in_the_content_store(
    containerd: Containerd, registries: Registries
) -> None:
    registry = f"127.0.0.1:{registries.start('registry')}"
    osc = with_containerd(registries=[{"upstream": registry, "server": f"http://{registry}"}])
    write_certs_d(apply(osc), containerd.certs_d)

    containerd.pull_with_cri(f"{registry}/team/app:v1")

    assert set(registries.image.layers) <= set(containerd.blobs("k8s.io"))
