"""Which Shoots are refused, which are warned, and with which words."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import api
from webhook.validation import Findings, validate

HEAD = {"apiVersion": "spegel.extensions.gardener.cloud/v1alpha1", "kind": "SpegelConfig"}
SAMPLE = Path(__file__).parents[1] / "samples/shoot.yaml"
CONTAINERD = "container runtime needs to be containerd when the registry-spegel extension is enabled"
NONE = Findings()


def entry(**fields: object) -> dict[str, object]:
    """Return an entry of spec.extensions whose configuration sets these fields."""
    return {"type": "registry-spegel", "providerConfig": HEAD | fields}


def shoot(
    *extensions: object, cri: object = None, networking: object = "calico", **spec: object
) -> dict[str, Any]:
    return {
        "apiVersion": "core.gardener.cloud/v1beta1",
        "kind": "Shoot",
        "metadata": {"name": "botany", "namespace": "garden-crazy"},
        "spec": {
            "extensions": list(extensions),
            "networking": {"type": networking},
            "provider": {"type": "gcp", "workers": [{"name": "pool", "cri": cri}]},
            **spec,
        },
    }


def cache(**fields: object) -> dict[str, object]:
    """Return an entry of registry-cache."""
    caches = [{"upstream": "docker.io"} | fields]
    return {"type": "registry-cache", "providerConfig": {"caches": caches}}


def mirror(host: str = "https://mirror.example") -> dict[str, object]:
    """Return an entry of registry-mirror with this host as its second."""
    hosts = [{"host": "https://ok.example"}, {"host": host}]
    return {
        "type": "registry-mirror",
        "providerConfig": {"mirrors": [{"upstream": "docker.io", "hosts": hosts}]},
    }


def errors(found: object, old: object = None) -> list[str]:
    return [str(error) for error in validate(found, old=old).errors]


def warnings(found: object) -> list[str]:
    findings = validate(found)
    assert findings.errors == ()
    return list(findings.warnings)


def port_errors(networking: str = "calico", **ports: int) -> list[str]:
    path = "spec.extensions[0].providerConfig."
    return [error.removeprefix(path) for error in errors(shoot(entry(**ports), networking=networking))]


class TestAllowed:
    def test_the_sample_with_registry_cache_and_default_ports(self):
        (warning,) = warnings(yaml.safe_load(SAMPLE.read_text("utf-8")))
        assert warning == (
            "spec.extensions[0]: registryPort 5000, routerPort 5001: the pods of registry-cache use the same"
            " number in the pod network; this is no conflict on the nodes"
        )

    @pytest.mark.parametrize("networking", ["calico", "cilium", None])
    @pytest.mark.parametrize("found", [{"type": "registry-spegel"}, entry()])
    def test_default_ports_on_every_networking_type(self, found: dict[str, object], networking: str | None):
        assert validate(shoot(found, networking=networking)) == NONE

    def test_entries_of_other_extensions_are_left_to_others(self):
        others = [
            {"type": "shoot-dns-service", "providerConfig": {"kind": 5}},
            {"type": "x", "disabled": True},
        ]
        assert validate(shoot(*others, entry())) == NONE

    @pytest.mark.parametrize("cri", [None, {}, {"name": None}, {"name": ""}, {"name": "containerd"}])
    def test_a_runtime_that_is_containerd_or_unset(self, cri: object):
        assert validate(shoot(entry(), cri=cri)) == NONE


class TestConfiguration:
    def test_errors_carry_the_index_of_the_entry(self):
        (error,) = errors(shoot({"type": "a"}, {"type": "b"}, entry(registryPort=70000)))
        assert error == (
            "spec.extensions[2].providerConfig.registryPort: Invalid value: 70000:"
            " must be between 1 and 65535, inclusive"
        )

    def test_the_networking_type_counts(self):
        assert port_errors("calico", metricsPort=9090) == []
        (error,) = port_errors("cilium", metricsPort=9090)
        assert error.startswith("metricsPort: Invalid value: 9090: is held by cilium-agent")

    def test_a_second_entry_is_a_duplicate(self):
        assert errors(shoot(entry(), {"type": "x"}, entry(foo=0))) == [
            'spec.extensions[2].type: Duplicate value: "registry-spegel"',
            "spec.extensions[2].providerConfig.foo: Forbidden: unknown field",
        ]

    def test_a_second_entry_is_one_even_where_one_of_them_is_switched_off(self):
        assert errors(shoot(entry() | {"disabled": True}, entry())) == [
            'spec.extensions[1].type: Duplicate value: "registry-spegel"'
        ]

    def test_everything_at_once(self):
        found = shoot(
            entry(registryPort="x", routerPort=10250, metricsPort=10250, foo=1),
            {"type": 5},
            cri={"name": "docker"},
        )
        config = "spec.extensions[0].providerConfig"
        assert errors(found) == [
            "spec.extensions[1].type: Invalid value: 5: must be a string",
            f'{config}.registryPort: Invalid value: "x": must be an integer',
            f"{config}.metricsPort: Duplicate value: 10250: already the port of routerPort",
            f"{config}.foo: Forbidden: unknown field",
            f"{config}.routerPort: Invalid value: 10250: is taken on the nodes by kubelet",
            f"{config}.metricsPort: Invalid value: 10250: is taken on the nodes by kubelet",
            f'spec.provider.workers[0].cri.name: Invalid value: "docker": {CONTAINERD}',
        ]


class TestPortsTakenOnNodes:
    @pytest.mark.parametrize(
        ("port", "holder"),
        [
            *((port, "sshd") for port in [22]),
            *((port, "node-local-dns") for port in [53, 8053, 8099, 9253, 9353]),
            *((port, "apiserver-proxy") for port in [443, 16910]),
            *((port, "gardener-node-agent") for port in [2751, 2752]),
            *((port, "valitail") for port in [3001]),
            *((port, "opentelemetry-collector") for port in [18888]),
            *((port, "kubelet") for port in [10248, 10250]),
            *((port, "kube-proxy") for port in [10249, 10256]),
            *((port, "node-exporter") for port in [16909]),
            *((port, "services of type NodePort (30000-32767)") for port in [30000, 31234, 32767]),
        ],
    )
    @pytest.mark.parametrize("networking", ["calico", "cilium", "other"])
    def test_on_every_shoot(self, port: int, holder: str, networking: str):
        for name in ("registryPort", "routerPort", "metricsPort"):
            assert port_errors(networking, **{name: port}) == [
                f"{name}: Invalid value: {port}: is taken on the nodes by {holder}"
            ]

    @pytest.mark.parametrize(
        ("port", "networking", "holder"),
        [
            (9091, "cilium", "cilium-agent"),
            (4244, "cilium", "cilium-agent"),
            (9879, "cilium", "cilium-agent"),
            (6942, "cilium", "cilium-operator"),
            (9091, "calico", "calico-node"),
            (5473, "calico", "calico-typha"),
        ],
    )
    def test_by_the_networking_in_use(self, port: int, networking: str, holder: str):
        assert port_errors(networking, metricsPort=port) == [
            f"metricsPort: Invalid value: {port}: is taken on the nodes by {holder}"
        ]
        assert port_errors("other", metricsPort=port) == []

    @pytest.mark.parametrize("port", [20257, 29999, 32768, 15500, 15501, 19090, 10255])
    def test_free(self, port: int):
        assert port_errors("calico", routerPort=port) == []


class TestWorkers:
    def test_each_pool_on_another_runtime_is_named(self):
        workers = [{"cri": {"name": "docker"}}, {"cri": {"name": "containerd"}}, {"cri": {"name": "crio"}}]
        assert errors(shoot(entry(), provider={"workers": workers})) == [
            f'spec.provider.workers[0].cri.name: Invalid value: "docker": {CONTAINERD}',
            f'spec.provider.workers[2].cri.name: Invalid value: "crio": {CONTAINERD}',
        ]

    @pytest.mark.parametrize("provider", [None, {}, {"workers": None}, {"workers": []}])
    def test_without_workers_a_warning(self, provider: object):
        assert warnings(shoot(entry(), provider=provider)) == [
            "spec.provider.workers: no workers, so there is nothing for registry-spegel to do"
        ]


class TestNeverBlocked:
    BROKEN = shoot(entry(registryPort=0, foo=1), cri={"name": "docker"})

    def test_broken_is_broken(self):
        assert len(errors(self.BROKEN)) == 3

    def test_a_shoot_being_deleted(self):
        found = copy.deepcopy(self.BROKEN)
        found["metadata"]["deletionTimestamp"] = "2026-03-02T10:00:00Z"
        assert validate(found) == NONE

    def test_an_entry_that_is_switched_off(self):
        found = copy.deepcopy(self.BROKEN)
        found["spec"]["extensions"][0]["disabled"] = True
        assert validate(found) == NONE

    def test_an_update_that_leaves_the_spec_alone(self):
        old = copy.deepcopy(self.BROKEN)
        old["metadata"]["labels"] = {"a": "b"}
        assert validate(self.BROKEN, old=old) == NONE

    def test_an_update_of_the_spec_is_judged(self):
        old = copy.deepcopy(self.BROKEN)
        old["spec"]["purpose"] = "testing"
        assert len(errors(self.BROKEN, old=old)) == 3

    @pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (0, False), ([], {})])
    def test_values_of_other_types_are_a_change(self, before: object, after: object):
        old, new = shoot(entry(registryPort=before)), shoot(entry(registryPort=after))
        assert errors(new, old=old) == errors(new) != []

    @pytest.mark.parametrize("old", [None, {}, [], 5, {"spec": None}])
    def test_an_odd_old_object_excuses_nothing(self, old: object):
        assert len(errors(self.BROKEN, old=old)) == 3

    def test_depth_does_not_matter_to_the_comparison(self):
        deep: list[Any] = []
        for _ in range(10_000):
            deep = [deep]
        old, new = shoot(entry(foo=deep)), shoot(entry(foo=deep))
        assert validate(new, old=old) == NONE


class TestEnabledForAllShoots:
    """A Shoot without an entry: its owner configured nothing, so nothing may stop them."""

    @pytest.mark.parametrize("networking", ["calico", "cilium"])
    def test_default_configuration_fits(self, networking: str):
        assert validate(shoot(networking=networking)) == NONE
        assert validate(shoot(extensions=None)) == NONE

    def test_findings_are_warnings(self):
        (warning,) = warnings(shoot(cri={"name": "docker"}))
        assert warning == (
            f'spec.provider.workers[0].cri.name: Invalid value: "docker": {CONTAINERD}'
            " (only a warning: this Shoot does not name registry-spegel itself)"
        )

    def test_without_workers_it_is_not_enabled_at_all(self):
        assert validate(shoot(provider={"workers": []})) == NONE


class TestNeighbours:
    def test_registry_cache_with_other_ports(self):
        assert warnings(shoot(cache(), entry(registryPort=15500, routerPort=15501))) == []

    def test_registry_cache_with_one_port_in_common(self):
        (warning,) = warnings(shoot(cache(), entry(registryPort=15500, routerPort=15501, metricsPort=5000)))
        assert warning.startswith("spec.extensions[1]: metricsPort 5000: the pods of registry-cache ")

    def test_registry_cache_switched_off(self):
        assert warnings(shoot(cache() | {"disabled": True}, entry())) == []

    @pytest.mark.parametrize(
        "host",
        [
            "http://localhost:5000",
            "http://localhost:5000/v2/",
            "https://LOCALHOST:5000",
            "http://127.0.0.1:5000",
            "http://127.1.2.3:5000",
            "http://[::1]:5000",
            "localhost:5000",
        ],
    )
    def test_a_mirror_that_is_the_daemon_itself(self, host: str):
        (warning,) = warnings(shoot(entry(), mirror(host)))
        assert warning == (
            f'spec.extensions[1].providerConfig.mirrors[0].hosts[1].host: "{host}" is the node\'s own'
            " registryPort 5000, where the Spegel daemon answers; give one of the two another port"
        )

    @pytest.mark.parametrize(
        "host",
        ["http://localhost:5005", "http://10.1.2.3:5000", "http://localhost", "localhost.example:5000",
         "http://[::1", "http://localhost:x", "http://localhost:99999", "", "://"],
    )  # fmt: skip
    def test_other_mirrors(self, host: str):
        assert warnings(shoot(entry(), mirror(host))) == []

    def test_the_port_that_the_scheme_means(self):
        (warning,) = warnings(shoot(entry(registryPort=80), mirror("http://localhost")))
        assert "registryPort 80" in warning

    @pytest.mark.parametrize("field", ["upstream", "remoteURL"])
    def test_a_cache_of_the_daemon_itself(self, field: str):
        found = shoot(entry(registryPort=15500, routerPort=15501), cache(**{field: "localhost:15500"}))
        (warning,) = warnings(found)
        assert warning.startswith(f"spec.extensions[1].providerConfig.caches[0].{field}: ")

    @pytest.mark.parametrize(
        "config",
        [
            None,
            5,
            [],
            {"mirrors": 5},
            {"mirrors": [5]},
            {"mirrors": [{"hosts": [5, {"host": 5}]}]},
            {"caches": {}},
        ],
    )
    def test_what_others_must_validate_is_passed_over(self, config: object):
        assert warnings(shoot(entry(), {"type": "registry-mirror", "providerConfig": config})) == []


class TestMalformed:
    @pytest.mark.parametrize(
        ("found", "error"),
        [
            (None, "Invalid value: null: must be an object"),
            ([], "Invalid value: []: must be an object"),
            ({}, "spec: Required value"),
            ({"spec": None}, "spec: Required value"),
            ({"spec": "x"}, 'spec: Invalid value: "x": must be an object'),
            (shoot() | {"metadata": 5}, "metadata: Invalid value: 5: must be an object"),
            (shoot(extensions={}), "spec.extensions: Invalid value: {}: must be a list"),
            (shoot(None), "spec.extensions[0]: Invalid value: null: must be an object"),
            (shoot({"type": []}), "spec.extensions[0].type: Invalid value: []: must be a string"),
            (shoot(entry() | {"disabled": "true"}),
             'spec.extensions[0].disabled: Invalid value: "true": must be a boolean'),
            (shoot(entry() | {"providerConfig": []}),
             "spec.extensions[0].providerConfig: Invalid value: []: must be an object"),
            (shoot(entry(), networking=5), "spec.networking.type: Invalid value: 5: must be a string"),
            (shoot(entry(), cri=5), "spec.provider.workers[0].cri: Invalid value: 5: must be an object"),
            (shoot(entry(), cri={"name": 5}),
             "spec.provider.workers[0].cri.name: Invalid value: 5: must be a string"),
            (shoot(entry(), provider=5), "spec.provider: Invalid value: 5: must be an object"),
            (shoot(entry(), provider={"workers": 5}),
             "spec.provider.workers: Invalid value: 5: must be a list"),
            (shoot(entry(), provider={"workers": [None]}),
             "spec.provider.workers[0]: Invalid value: null: must be an object"),
        ],
    )  # fmt: skip
    def test_says_which_field(self, found: object, error: str):
        assert errors(found) == [error]

    @pytest.mark.parametrize(
        "found",
        [
            shoot(*[entry()] * 5000),
            shoot(entry(), *[0] * 5000),
            shoot(entry(**{f"f{number}": 0 for number in range(5000)})),
            shoot(entry(), provider={"workers": [{"cri": {"name": "docker"}}] * 5000}),
            shoot(entry(), provider={"workers": [0] * 5000}),
        ],
        ids=["entries", "elements", "fields", "pools", "workers"],
    )
    def test_a_flood_of_errors_is_cut(self, found: dict[str, Any]):
        message = str(api.InvalidObject(validate(found).errors))
        assert message.endswith(", and more]")
        assert message.count("spec.") == 250

    @pytest.mark.parametrize("missing", ["metadata", "apiVersion"])
    def test_what_is_not_needed_may_be_absent(self, missing: str):
        found = shoot(entry())
        del found[missing]
        assert validate(found) == NONE

    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    )

    @given(st.data())
    def test_anything_anywhere_is_no_crash(self, data: st.DataObject):
        found = shoot(entry(registryPort=7000), cache(), mirror(), cri={"name": "containerd"})
        places = list(self.places(found))
        for parent, key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
            parent[key] = data.draw(self.values)
        for error in validate(found).errors:
            assert isinstance(error, api.FieldError)
            assert str(error).isprintable()

    @classmethod
    def places(cls, value: Any) -> Any:
        """Yield every place in an object as its parent and its key or index."""
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, child in items:
            yield value, key
            yield from cls.places(child)
