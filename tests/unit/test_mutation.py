"""What the mutation does to an OperatingSystemConfig, rule by rule."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from tests.unit.mutation_samples import (
    LOCAL,
    apply,
    context,
    file_of,
    sample,
    small_osc,
    text_of,
    unit_of,
    with_containerd,
)
from webhook.mutation import MutationError, Ports, mutate

GRPC_TABLE = ["io.containerd.grpc.v1.cri", "containerd"]
IMAGES_TABLE = ["io.containerd.cri.v1.images"]
KEEP = {"discard_unpacked_layers": False}
DEFAULT_PATH = "/etc/containerd/certs.d/_default/hosts.toml"


def hosts_toml(path: str, data: str, encoding: str = "", **more: Any) -> dict[str, Any]:
    return {
        "path": path,
        "permissions": 420,
        "content": {"inline": {"encoding": encoding, "data": data}},
    } | more


class TestWhen:
    def test_a_provision_config_is_left_alone(self) -> None:
        assert mutate(sample("osc-provision.yaml"), context()).patch == []

    def test_a_config_being_deleted_is_left_alone(self) -> None:
        osc = small_osc()
        osc["metadata"]["deletionTimestamp"] = "2026-11-20T09:12:44Z"
        assert mutate(osc, context()).patch == []

    def test_another_runtime_is_left_alone_with_a_warning(self) -> None:
        result = mutate(small_osc(criConfig={"name": "cri-o"}), context())
        assert result.patch == []
        assert result.warnings == ["spec.criConfig.name is cri-o: only containerd can use the image cache"]

    @pytest.mark.parametrize(
        "cri", [None, {"name": "containerd"}, {"name": "containerd", "containerd": None}]
    )
    def test_without_a_containerd_part_files_and_units_are_added_and_nothing_is_invented(
        self, cri: Any
    ) -> None:
        osc = small_osc(criConfig=cri)
        result = mutate(osc, context())
        mutated = apply(osc)
        assert mutated["spec"]["criConfig"] == cri
        assert any("absent" in warning for warning in result.warnings)
        assert unit_of(mutated, "spegel.service")
        default = file_of(mutated, DEFAULT_PATH)
        assert default["permissions"] == 0o644
        assert "server" not in text_of(default)
        assert '[host."http://localhost:5000"]' in text_of(default)

    def test_a_missing_cri_config_stays_missing(self) -> None:
        osc = small_osc()
        del osc["spec"]["criConfig"]
        assert "criConfig" not in apply(osc)["spec"]


class TestRegistries:
    def test_the_local_host_comes_first_whoever_wrote_the_entry(self) -> None:
        before = sample("osc-with-cache-and-mirror.yaml")["spec"]["criConfig"]["containerd"]["registries"]
        after = apply(sample("osc-with-cache-and-mirror.yaml"))["spec"]["criConfig"]["containerd"][
            "registries"
        ]
        for old, new in zip(before, after, strict=False):
            assert new == old | {"hosts": [LOCAL, *old["hosts"]]}

    def test_a_registry_without_entry_gets_the_default_mirror(self) -> None:
        registries = apply(with_containerd())["spec"]["criConfig"]["containerd"]["registries"]
        assert registries == [{"upstream": "_default", "hosts": [LOCAL]}]

    def test_an_existing_default_entry_is_prepended_to(self) -> None:
        entry = {
            "upstream": "_default",
            "server": "https://m.example",
            "hosts": [{"url": "https://m.example"}],
        }
        registries = apply(with_containerd(registries=[entry]))["spec"]["criConfig"]["containerd"][
            "registries"
        ]
        assert registries == [entry | {"hosts": [LOCAL, {"url": "https://m.example"}]}]

    def test_an_existing_default_file_is_prepended_to_and_no_entry_fights_it(self) -> None:
        osc = with_containerd()
        osc["spec"]["files"] = [hosts_toml(DEFAULT_PATH, '[host."https://m.example"]\n')]
        mutated = apply(osc)
        assert "registries" not in mutated["spec"]["criConfig"]["containerd"]
        text = text_of(file_of(mutated, DEFAULT_PATH))
        assert text.index("http://localhost:5000") < text.index("https://m.example")

    @pytest.mark.parametrize("hosts", [None, []])
    def test_an_entry_without_hosts_gets_the_local_one(self, hosts: Any) -> None:
        registries = apply(with_containerd(registries=[{"upstream": "quay.io", "hosts": hosts}]))
        assert registries["spec"]["criConfig"]["containerd"]["registries"][0]["hosts"] == [LOCAL]
        registries = apply(with_containerd(registries=[{"upstream": "quay.io"}]))
        assert registries["spec"]["criConfig"]["containerd"]["registries"][0]["hosts"] == [LOCAL]

    @pytest.mark.parametrize(
        "hosts",
        [
            [{"url": "https://a"}, LOCAL],
            [LOCAL, {"url": "https://a"}, LOCAL],
            [{"url": "HTTP://LOCALHOST:5000/"}, {"url": "https://a"}, {"url": "http://localhost:5000/v2"}],
            [
                {"url": "http://localhost:5000", "capabilities": ["pull"], "caCerts": ["x"]},
                {"url": "https://a"},
            ],
        ],
        ids=["further down", "twice", "other spellings", "first with other fields"],
    )
    def test_copies_of_the_local_host_are_removed(self, hosts: list[dict[str, Any]]) -> None:
        registries = apply(with_containerd(registries=[{"upstream": "quay.io", "hosts": hosts}]))
        assert registries["spec"]["criConfig"]["containerd"]["registries"][0]["hosts"] == [
            LOCAL,
            {"url": "https://a"},
        ]

    def test_a_local_host_on_another_port_is_another_host(self) -> None:
        hosts = [{"url": "http://localhost:6000"}, {"url": "http://127.0.0.1:5000"}]
        registries = apply(with_containerd(registries=[{"upstream": "quay.io", "hosts": hosts}]))
        assert registries["spec"]["criConfig"]["containerd"]["registries"][0]["hosts"] == [LOCAL, *hosts]

    def test_a_changed_port_takes_the_former_local_host_along(self) -> None:
        hosts = [{"url": "http://localhost:5000/"}, {"url": "https://a"}, {"url": "http://localhost:6000"}]
        file = hosts_toml("/etc/containerd/certs.d/quay.io/hosts.toml", '[host."https://a"]\n')
        before = with_containerd(registries=[{"upstream": "quay.io", "hosts": hosts}])
        before["spec"]["files"] = [file]
        moved = context(ports=Ports(7000, 7001, 7002))
        at_once, later = apply(before, moved), apply(apply(before), moved)
        assert later["spec"]["criConfig"]["containerd"]["registries"] == [
            {
                "upstream": "quay.io",
                "hosts": [LOCAL | {"url": "http://localhost:7000"}, *hosts[1:]],
            },
            {"upstream": "_default", "hosts": [LOCAL | {"url": "http://localhost:7000"}]},
        ]
        # What no earlier mutation wrote is somebody else's, whatever its port.
        assert hosts[0] in at_once["spec"]["criConfig"]["containerd"]["registries"][0]["hosts"]
        assert later["spec"]["files"] == at_once["spec"]["files"]
        assert later["spec"]["units"] == at_once["spec"]["units"]

    def test_without_resolve_tags_the_local_host_only_pulls(self) -> None:
        osc = apply(with_containerd(), context(resolve_tags=False, ports=Ports(15500, 15501, 19090)))
        assert osc["spec"]["criConfig"]["containerd"]["registries"][0]["hosts"] == [
            {"url": "http://localhost:15500", "capabilities": ["pull"]}
        ]


class TestHostsFiles:
    @pytest.mark.parametrize("encoding", ["", "b64"])
    def test_a_hosts_file_keeps_its_encoding(self, encoding: str) -> None:
        text = (
            '# ours\nserver = "https://quay.io"\n\n[host."https://m.example"]\n  skip_verify = true # yes\n'
        )
        data = base64.b64encode(text.encode()).decode() if encoding else text
        path = "/etc/containerd/certs.d/quay.io/hosts.toml"
        file = file_of(apply(small_osc(files=[hosts_toml(path, data, encoding)])), path)
        assert file["content"]["inline"]["encoding"] == encoding
        assert file["permissions"] == 420
        result = text_of(file)
        head, _, tail = result.partition('[host."http://localhost:5000"]')
        assert text.startswith(head)
        assert tail.endswith('[host."https://m.example"]\n  skip_verify = true # yes\n')

    def test_every_host_specific_copy_of_a_path_is_handled(self) -> None:
        path = "/etc/containerd/certs.d/quay.io/hosts.toml"
        files = [hosts_toml(path, '[host."https://a"]\n', hostName=name) for name in ("node-1", "node-2")]
        mutated = apply(small_osc(files=files))
        copies = [file for file in mutated["spec"]["files"] if file["path"] == path]
        assert [file["hostName"] for file in copies] == ["node-1", "node-2"]
        assert all("http://localhost:5000" in text_of(file) for file in copies)

    def test_a_default_mirror_for_named_nodes_only_is_warned_of(self) -> None:
        osc = with_containerd()
        osc["spec"]["files"] = [hosts_toml(DEFAULT_PATH, "", hostName=name) for name in ("node-1", "node-2")]
        (warning,) = mutate(osc, context()).warnings
        assert warning == f"{DEFAULT_PATH}: only for node-1, node-2: no other node gets a default mirror"
        assert "registries" not in apply(osc)["spec"]["criConfig"]["containerd"]

    @pytest.mark.parametrize(
        ("path", "is_hosts_file"),
        [
            ("/etc/containerd/certs.d/registry.example.com:8443/hosts.toml", True),
            ("/etc/containerd/certs.d//quay.io/hosts.toml", True),
            ("//etc/containerd/certs.d/quay.io/hosts.toml", True),
            ("etc/containerd/certs.d/quay.io/hosts.toml", True),
            ("/etc/containerd/certs.d/hosts.toml", False),
            ("/etc/containerd/certs.d/a/b/hosts.toml", False),
            ("/etc/containerd/certs.d/quay.io/hosts.toml.bak", False),
            ("/etc/other/certs.d/quay.io/hosts.toml", False),
        ],
    )
    def test_only_the_hosts_file_of_a_registry_is_one(self, path: str, *, is_hosts_file: bool) -> None:
        file = file_of(apply(small_osc(files=[hosts_toml(path, '[host."https://a"]\n')])), path)
        assert ("http://localhost:5000" in text_of(file)) is is_hosts_file

    @pytest.mark.parametrize(
        "content",
        [{"secretRef": {"name": "s", "dataKey": "k"}}, {"imageRef": {"image": "i", "filePathInImage": "/f"}}],
    )
    def test_content_that_is_elsewhere_is_left_alone_with_a_warning(self, content: dict[str, Any]) -> None:
        path = "/etc/containerd/certs.d/quay.io/hosts.toml"
        osc = small_osc(files=[{"path": path, "permissions": 420, "content": content}])
        assert file_of(apply(osc), path)["content"] == content
        (warning,) = mutate(osc, context()).warnings
        assert path in warning
        assert next(iter(content)) in warning

    def test_broken_toml_is_refused_with_path_line_and_column(self) -> None:
        path = "/etc/containerd/certs.d/quay.io/hosts.toml"
        with pytest.raises(MutationError, match=rf"{path}: line 2, column \d+: "):
            mutate(small_osc(files=[hosts_toml(path, "server = 'x'\n[host\n")]), context())

    @pytest.mark.parametrize(
        ("encoding", "data", "reason"),
        [
            ("b64", "???", "base64"),
            ("b64", "\u00e4", "base64"),
            ("b64", "/w==", "UTF-8"),
            ("gzip", "x", "unknown encoding 'gzip'"),
        ],
    )
    def test_undecodable_content_is_refused(self, encoding: str, data: str, reason: str) -> None:
        path = "/etc/containerd/certs.d/quay.io/hosts.toml"
        with pytest.raises(MutationError, match=reason) as caught:
            mutate(small_osc(files=[hosts_toml(path, data, encoding)]), context())
        assert path in str(caught.value)

    def test_base64_with_line_breaks_is_decoded_as_go_does(self) -> None:
        path = "/etc/containerd/certs.d/quay.io/hosts.toml"
        data = base64.encodebytes(
            b'[host."https://a-quite-long-name.example.com:8443/v2/some/project"]\n'
        ).decode()
        assert "localhost" in text_of(file_of(apply(small_osc(files=[hosts_toml(path, data, "b64")])), path))


def effective(plugins: list[dict[str, Any]]) -> dict[str, Any]:
    """What gardener-node-agent makes of the entries: the ``plugins`` of config.toml."""
    root: dict[str, Any] = {}
    for entry in plugins:
        *parents, last = entry["path"] or [None]
        node = root
        for part in parents:
            node = node.setdefault(part, {})
        if entry.get("op") == "remove":
            node.pop(last, None)
        else:
            table = node if last is None else node.setdefault(last, {})
            table.update(copy.deepcopy(entry.get("values") or {}))
    return root


class TestPlugins:
    def test_both_generations_are_set_where_nothing_is(self) -> None:
        plugins = apply(with_containerd())["spec"]["criConfig"]["containerd"]["plugins"]
        assert plugins == [
            {"op": "add", "path": GRPC_TABLE, "values": KEEP},
            {"op": "add", "path": IMAGES_TABLE, "values": KEEP},
        ]

    @pytest.mark.parametrize(
        "plugins",
        [
            [{"path": GRPC_TABLE, "values": {"discard_unpacked_layers": True, "snapshotter": "overlayfs"}}],
            [{"path": GRPC_TABLE[:1], "values": {"containerd": {"discard_unpacked_layers": True}, "x": 1}}],
            [{"path": IMAGES_TABLE, "values": {"discard_unpacked_layers": True}}],
            [{"path": GRPC_TABLE, "values": {"snapshotter": "overlayfs"}}],
            [{"path": GRPC_TABLE}],
            [{"path": GRPC_TABLE, "values": None}],
            [{"path": GRPC_TABLE[:1], "values": {"containerd": {"snapshotter": "x"}}}],
            [{"path": GRPC_TABLE, "values": {"discard_unpacked_layers": "true"}}],
            [{"path": IMAGES_TABLE, "values": KEEP}, {"op": "remove", "path": IMAGES_TABLE}],
            [
                {"path": GRPC_TABLE, "values": KEEP},
                {"path": GRPC_TABLE[:1], "values": {"containerd": {"snapshotter": "x"}}},
            ],
            [{"path": GRPC_TABLE, "values": {"discard_unpacked_layers": True}}] * 2,
            [{"op": "remove", "path": GRPC_TABLE[:1]}],
        ],
    )
    def test_the_layers_are_kept_whatever_the_entries_say(self, plugins: list[dict[str, Any]]) -> None:
        before = with_containerd(plugins=plugins)
        after = apply(before)["spec"]["criConfig"]["containerd"]["plugins"]
        tables = effective(after)
        assert tables[GRPC_TABLE[0]]["containerd"]["discard_unpacked_layers"] is False
        assert tables[IMAGES_TABLE[0]]["discard_unpacked_layers"] is False
        assert "True" not in str(after)
        assert [entry["path"] for entry in after[: len(plugins)]] == [entry["path"] for entry in plugins]

    def test_an_entry_is_corrected_in_place_and_keeps_the_rest(self) -> None:
        entry = {
            "op": "add",
            "path": GRPC_TABLE,
            "values": {"discard_unpacked_layers": True, "snapshotter": "o"},
        }
        plugins = apply(with_containerd(plugins=[entry]))["spec"]["criConfig"]["containerd"]["plugins"]
        assert plugins == [
            {
                "op": "add",
                "path": GRPC_TABLE,
                "values": {"discard_unpacked_layers": False, "snapshotter": "o"},
            },
            {"op": "add", "path": IMAGES_TABLE, "values": KEEP},
        ]

    def test_the_short_name_of_version_1_is_corrected_but_not_added(self) -> None:
        entry = {"path": ["cri", "containerd"], "values": {"discard_unpacked_layers": True}}
        plugins = apply(with_containerd(plugins=[entry]))["spec"]["criConfig"]["containerd"]["plugins"]
        assert plugins[0] == {"path": ["cri", "containerd"], "values": KEEP}
        assert [plugin["path"] for plugin in plugins[1:]] == [GRPC_TABLE, IMAGES_TABLE]


class TestRealConfigs:
    @pytest.mark.parametrize("name", ["osc-plain.yaml", "osc-with-cache-and-mirror.yaml", "osc-large.yaml"])
    def test_nothing_else_changes_and_a_second_run_changes_nothing(self, name: str) -> None:
        before = sample(name)
        after = apply(before)
        assert mutate(after, context()).patch == []
        assert {**after, "spec": None} == {**before, "spec": None}
        untouched = {"type", "purpose", "providerConfig"}
        assert {key: after["spec"][key] for key in untouched} == {
            key: before["spec"][key] for key in untouched
        }
        assert after["spec"]["units"][: len(before["spec"]["units"])] == before["spec"]["units"]
        for old, new in zip(before["spec"]["files"], after["spec"]["files"], strict=False):
            assert old == new or old["path"].endswith("/hosts.toml")

    def test_the_patch_is_deterministic(self) -> None:
        osc = sample("osc-with-cache-and-mirror.yaml")
        assert mutate(osc, context()) == mutate(copy.deepcopy(osc), context())


class TestMalformed:
    def test_a_name_that_is_no_text_is_nobodys(self) -> None:
        units = [{"name": ["spegel.service"]}, {"name": None}]
        assert apply(small_osc(units=units))["spec"]["units"][:2] == units

    @pytest.mark.parametrize(
        ("osc", "path"),
        [
            ({"metadata": [], "spec": {}}, "metadata"),
            ({"spec": 3}, "spec"),
            (small_osc(files={}), "spec.files"),
            (small_osc(files=[1]), r"spec.files\[0\]"),
            (small_osc(files=[{"path": 1}]), r"spec.files\[0\].path"),
            (small_osc(units=""), "spec.units"),
            (small_osc(files=[{"path": ["/a"]}]), r"spec.files\[0\].path"),
            (small_osc(criConfig=[]), "spec.criConfig"),
            (small_osc(criConfig={"containerd": 1}), "spec.criConfig.containerd"),
            (with_containerd(registries=[None]), r"registries\[0\]"),
            (with_containerd(registries=[{"hosts": 1}]), r"registries\[0\].hosts"),
            (with_containerd(registries=[{"hosts": [{"url": 1}]}]), r"registries\[0\].hosts\[0\].url"),
            (with_containerd(plugins=[{"path": "x"}]), r"plugins\[0\].path"),
            (with_containerd(plugins=[{}]), r"plugins\[0\].path"),
        ],
    )
    def test_an_odd_shape_is_an_error_with_its_path(self, osc: dict[str, Any], path: str) -> None:
        with pytest.raises(MutationError, match=path):
            mutate(osc, context())
