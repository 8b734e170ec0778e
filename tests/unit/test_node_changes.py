"""What the node agent of the end-to-end tests does anew when an OperatingSystemConfig changes."""

from __future__ import annotations

import copy
from typing import Any

from tests.e2e.node.changes import CONTAINERD, Changes

OSC: dict[str, Any] = {
    "spec": {
        "files": [{"path": "/a", "content": {}}, {"path": "/b", "content": {}}],
        "units": [
            {"name": "a.service", "content": "a", "filePaths": ["/a"]},
            {"name": "b.service", "content": "b", "filePaths": ["/b"]},
        ],
        "criConfig": {
            "containerd": {
                "sandboxImage": "pause",
                "plugins": [],
                "registries": [{"upstream": "one"}, {"upstream": "two", "readinessProbe": True}],
            }
        },
    }
}


def changed() -> dict[str, Any]:
    return copy.deepcopy(OSC)


def names(items: list[dict[str, Any]], key: str = "name") -> list[str]:
    return [item[key] for item in items]


def test_at_first_all_is_new() -> None:
    changes = Changes(None, OSC, "node")
    assert names(changes.files, "path") == ["/a", "/b"]
    assert names(changes.units) == ["a.service", "b.service", CONTAINERD]
    assert [changes.is_probed(entry) for entry in changes.registries] == [False, True]
    assert changes.restarts_containerd


def test_what_stays_is_left_alone() -> None:
    changes = Changes(OSC, changed(), "node")
    assert changes.files == changes.units == changes.deleted_files == changes.deleted_units == []
    assert not any(map(changes.is_probed, changes.registries))
    assert not changes.restarts_containerd


def test_a_changed_file_restarts_the_units_that_name_it() -> None:
    osc = changed()
    osc["spec"]["files"][0]["permissions"] = 493
    changes = Changes(OSC, osc, "node")
    assert names(changes.files, "path") == ["/a"]
    assert names(changes.units) == ["a.service"]


def test_what_is_gone_is_removed() -> None:
    osc = changed()
    del osc["spec"]["files"][0], osc["spec"]["units"][0]
    del osc["spec"]["criConfig"]["containerd"]["registries"][0]
    changes = Changes(OSC, osc, "node")
    assert names(changes.deleted_files, "path") == ["/a"]
    assert names(changes.deleted_units) == ["a.service"]
    assert names(changes.deleted_registries, "upstream") == ["one"]


def test_plugins_restart_containerd_and_registries_do_not() -> None:
    osc = changed()
    osc["spec"]["criConfig"]["containerd"]["registries"][1]["server"] = "https://two"
    changes = Changes(OSC, osc, "node")
    assert not changes.restarts_containerd
    assert [changes.is_probed(entry) for entry in changes.registries] == [False, True]
    osc["spec"]["criConfig"]["containerd"]["plugins"] = [{"path": ["a"]}]
    assert Changes(OSC, osc, "node").restarts_containerd


def test_a_file_for_one_host_goes_before_that_for_all() -> None:
    osc = changed()
    osc["spec"]["files"][0]["hostName"] = "other"
    own = {"path": "/b", "content": {"inline": {"data": "x"}}, "hostName": "node"}
    osc["spec"]["files"].insert(0, own)
    assert Changes(None, osc, "node").files == [own]
