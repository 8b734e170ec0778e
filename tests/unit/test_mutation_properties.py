"""What holds of the mutation for any OperatingSystemConfig."""

from __future__ import annotations

import base64
import copy
import tomllib
from typing import Any

import jsonpatch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.mutation_samples import LOCAL, apply, context
from webhook.mutation import MutationError, NodeContext, Ports, mutate

DISCARD = "discard_unpacked_layers"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
URLS = st.sampled_from(
    [
        "http://localhost:5000",
        "http://LOCALHOST:5000/",
        "http://localhost:6000",
        "https://mirror.example.com",
        "https://mirror.example.com:8443/v2/a~b",
        "http://[fd00::1]:5000",
        "not a url",
    ]
)
HOSTS = st.lists(
    st.fixed_dictionaries(
        {"url": URLS},
        optional={
            "capabilities": st.lists(st.sampled_from(["pull", "resolve"])),
            "overridePath": st.booleans(),
            "x": JSON,
        },
    ),
    max_size=5,
)
REGISTRIES = st.lists(
    st.fixed_dictionaries(
        {"upstream": st.sampled_from(["docker.io", "ghcr.io", "_default", "r.example:8443"])},
        optional={
            "hosts": HOSTS | st.none(),
            "server": st.text(max_size=5),
            "readinessProbe": st.booleans(),
            "x": JSON,
        },
    ),
    max_size=4,
)
TABLES = [
    ["io.containerd.grpc.v1.cri"],
    ["io.containerd.grpc.v1.cri", "containerd"],
    ["io.containerd.cri.v1.images"],
    ["io.containerd.nri.v1.nri"],
    ["cri", "containerd"],
]
TABLE_VALUES = st.dictionaries(
    st.sampled_from([DISCARD, "snapshotter"]), st.booleans() | st.text(max_size=3), max_size=2
)
PLUGINS = st.lists(
    st.fixed_dictionaries(
        {"path": st.sampled_from(TABLES)},
        optional={
            "op": st.sampled_from(["add", "remove", ""]),
            "values": TABLE_VALUES | st.fixed_dictionaries({"containerd": TABLE_VALUES}) | st.none() | JSON,
        },
    ),
    max_size=5,
)
TOML = st.lists(
    st.sampled_from(["https://a", "https://b", "http://localhost:5000", "HTTP://localhost:5000/"]),
    unique=True,
).map(
    lambda hosts: (
        "# head\nserver = 's'\n" + "".join(f'[host."{host}"]\n  skip_verify = true # x\n' for host in hosts)
    )
)


@st.composite
def hosts_files(draw: st.DrawFn) -> dict[str, Any]:
    registry = draw(st.sampled_from(["docker.io", "ghcr.io", "_default"]))
    encoding = draw(st.sampled_from(["", "b64"]))
    text = draw(TOML)
    data = base64.b64encode(text.encode()).decode() if encoding else text
    path = f"/etc/containerd/certs.d/{registry}/hosts.toml"
    return {"path": path, "content": {"inline": {"encoding": encoding, "data": data}}, "x": draw(JSON)}


FILES = st.lists(
    hosts_files()
    | st.fixed_dictionaries(
        {
            "path": st.sampled_from(
                ["/a", "/opt/bin/spegel", "/opt/bin/spegel_metrics.sh", "/etc/spegel/bootstrap/tls.key"]
            )
        },
        optional={
            "content": st.dictionaries(st.text(max_size=3), JSON, max_size=2),
            "hostName": st.sampled_from(["", "n"]),
        },
    ),
    max_size=5,
)
UNITS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["a.service", "spegel.service"])}, optional={"content": st.text(max_size=9)}
    ),
    max_size=4,
)
CONTAINERD = st.fixed_dictionaries(
    {"sandboxImage": st.just("pause")},
    optional={"registries": REGISTRIES | st.none(), "plugins": PLUGINS | st.none(), "x": JSON},
)
CRI = st.fixed_dictionaries(
    {"name": st.just("containerd")}, optional={"containerd": CONTAINERD | st.none(), "x": JSON}
)
OSCS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"name": st.just("pool")}, optional={"labels": JSON}),
        "spec": st.fixed_dictionaries(
            {"purpose": st.just("reconcile"), "type": st.text(max_size=5)},
            optional={
                "files": FILES | st.none(),
                "units": UNITS | st.none(),
                "criConfig": CRI | st.none(),
                "x": JSON,
            },
        ),
    },
    optional={"status": JSON, "x": JSON},
)


def other_hosts(hosts: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    local = {"http://localhost:5000", "http://LOCALHOST:5000/"}
    return [host for host in hosts or [] if host["url"] not in local]


@given(OSCS)
@settings(max_examples=300, deadline=None)
def test_the_second_run_finds_nothing_to_do(osc: dict[str, Any]) -> None:
    assert mutate(apply(osc), context()).patch == []


CONTEXTS = st.builds(
    context,
    ports=st.builds(Ports, st.sampled_from([5000, 6000]), st.just(5001), st.just(9090)),
    resolve_tags=st.booleans(),
    secret=st.sampled_from(["registry-spegel-bootstrap", None]),
)


@given(OSCS, CONTEXTS, CONTEXTS)
@settings(max_examples=300, deadline=None)
def test_after_a_change_of_the_context_too(osc: dict[str, Any], one: NodeContext, other: NodeContext) -> None:
    changed = apply(apply(osc, one), other)
    assert mutate(changed, other).patch == []


@given(OSCS)
@settings(max_examples=200, deadline=None)
def test_the_input_is_not_touched_and_the_patch_is_the_same_each_time(osc: dict[str, Any]) -> None:
    untouched = copy.deepcopy(osc)
    assert mutate(osc, context()) == mutate(untouched, context())
    assert osc == untouched


@given(OSCS)
@settings(max_examples=300, deadline=None)
def test_the_local_host_is_first_and_every_other_host_survives_in_order(osc: dict[str, Any]) -> None:
    after = apply(osc)["spec"]
    containerd_before = (osc["spec"].get("criConfig") or {}).get("containerd") or {}
    containerd_after = (after.get("criConfig") or {}).get("containerd") or {}
    before_entries = containerd_before.get("registries") or []
    after_entries = containerd_after.get("registries") or []
    for entry in after_entries:
        assert entry["hosts"][0] == LOCAL
        assert entry["hosts"][1:] == other_hosts(entry["hosts"])
    for old, new in zip(before_entries, after_entries, strict=False):
        assert other_hosts(old.get("hosts")) == other_hosts(new["hosts"])
        assert {**old, "hosts": 0} == {**new, "hosts": 0}
    for file in after["files"]:
        if file["path"].endswith("/hosts.toml"):
            inline = file["content"]["inline"]
            text = base64.b64decode(inline["data"]).decode() if inline["encoding"] else inline["data"]
            hosts = tomllib.loads(text)["host"]
            assert next(iter(hosts)) == "http://localhost:5000"
            assert not any(host.lower().startswith("http://localhost:5000") for host in list(hosts)[1:])


@given(OSCS)
@settings(max_examples=200, deadline=None)
def test_the_default_mirror_exists_exactly_once_more_than_nowhere(osc: dict[str, Any]) -> None:
    def defaults(spec: dict[str, Any]) -> int:
        entries = ((spec.get("criConfig") or {}).get("containerd") or {}).get("registries") or []
        files = [file for file in spec.get("files") or [] if file["path"].endswith("/_default/hosts.toml")]
        return sum(entry["upstream"] == "_default" for entry in entries) + len(files)

    assert defaults(apply(osc)["spec"]) == max(1, defaults(osc["spec"]))


OURS = ("/opt/bin/spegel", "/etc/spegel/")


def without_what_is_ours(osc: dict[str, Any]) -> dict[str, Any]:
    """The object less the paths that the mutation may touch."""
    osc = copy.deepcopy(osc)
    spec = osc["spec"]
    spec["files"] = [
        file
        for file in spec.get("files") or []
        if not file["path"].endswith("/hosts.toml") and not file["path"].startswith(OURS)
    ]
    spec["units"] = [unit for unit in spec.get("units") or [] if unit["name"] == "a.service"]
    containerd = (spec.get("criConfig") or {}).get("containerd")
    if containerd:
        containerd.pop("registries", None)
        containerd.pop("plugins", None)
    return osc


@given(OSCS)
@settings(max_examples=200, deadline=None)
def test_nothing_else_changes(osc: dict[str, Any]) -> None:
    paths = [file["path"] for file in osc["spec"].get("files") or []]
    kept = [path for i, path in enumerate(paths) if not path.startswith(OURS) or path not in paths[:i]]
    after = apply(osc)
    assert without_what_is_ours(after) == without_what_is_ours(osc)
    assert [file["path"] for file in after["spec"]["files"]][: len(kept)] == kept


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "kind"]), JSON) | OSCS, st.data())
@settings(max_examples=300, deadline=None)
def test_an_odd_object_is_mutated_or_refused_but_never_a_crash(
    osc: dict[str, Any], data: st.DataObject
) -> None:
    spec = osc.get("spec")
    if isinstance(spec, dict):
        key = data.draw(st.sampled_from(["files", "units", "criConfig", "purpose", "metadata"]))
        spec[key] = data.draw(JSON)
    try:
        patch = mutate(osc, context()).patch
    except MutationError:
        return
    jsonpatch.apply_patch(osc, patch)
