"""What a node gets from the mutation: files and units."""

from __future__ import annotations

import pytest

from tests.unit.mutation_samples import apply, context, file_of, sample, small_osc, text_of, unit_of
from webhook.mutation import MutationError, Ports, mutate


def test_the_program_comes_out_of_an_image() -> None:
    assert file_of(apply(small_osc()), "/opt/bin/spegel") == {
        "path": "/opt/bin/spegel",
        "permissions": 0o755,
        "content": {"imageRef": {"image": "registry.example.com/spegel:v1", "filePathInImage": "/spegel"}},
    }


def test_the_metrics_script_holds_the_port() -> None:
    osc = apply(small_osc(), context(ports=Ports(5000, 5001, 19090)))
    script = file_of(osc, "/opt/bin/spegel_metrics.sh")
    assert script["permissions"] == 0o755
    assert script["content"]["inline"]["encoding"] == "b64"
    assert text_of(script).startswith("#!")
    assert "19090" in text_of(script)
    assert "@METRICS_PORT@" not in text_of(script)


def test_the_private_key_is_a_reference_readable_by_root_only() -> None:
    osc = apply(small_osc())
    for key in ("ca.crt", "tls.crt", "tls.key"):
        assert file_of(osc, f"/etc/spegel/bootstrap/{key}") == {
            "path": f"/etc/spegel/bootstrap/{key}",
            "permissions": 0o600,
            "content": {"secretRef": {"name": "registry-spegel-bootstrap", "dataKey": key}},
        }


def test_without_the_secret_there_are_no_certificate_files_and_no_flag() -> None:
    osc = apply(small_osc(), context(secret=None))
    assert not [file for file in osc["spec"]["files"] if "bootstrap" in file["path"]]
    content = unit_of(osc, "spegel.service")["content"]
    assert "--http-bootstrap-url" in content
    assert "cert-dir" not in content


def test_files_for_a_single_node_do_not_stand_beside_those_of_the_same_path_for_all() -> None:
    # gardener-resource-manager would refuse the whole object.
    paths = ["/etc/spegel/bootstrap/ca.crt", "/opt/bin/spegel", "/a", "/opt/bin/spegel"]
    osc = apply(small_osc(files=[{"path": path, "hostName": f"node-{i}"} for i, path in enumerate(paths)]))
    files = osc["spec"]["files"]
    assert [file["path"] for file in files[:3]] == ["/etc/spegel/bootstrap/ca.crt", "/opt/bin/spegel", "/a"]
    assert len(files) == len({file["path"] for file in files})
    assert [file["path"] for file in files if "hostName" in file] == ["/a"]


def test_certificate_files_go_when_the_secret_no_longer_has_them_all() -> None:
    before = small_osc(
        files=[{"path": "/etc/spegel/bootstrap/tls.key", "hostName": "node-1"}, {"path": "/a"}]
    )
    without = context(secret=None)
    assert apply(apply(before), without) == apply(before, without)


def test_without_a_url_the_bootstrap_flags_are_left_out() -> None:
    assert "bootstrap" not in unit_of(apply(small_osc(), context(url=None)), "spegel.service")["content"]


def test_the_daemon_unit_is_the_proposals_with_the_flags_of_the_daemon() -> None:
    unit = unit_of(apply(small_osc()), "spegel.service")
    assert (unit["command"], unit["enable"]) == ("start", True)
    assert unit["filePaths"] == [
        "/opt/bin/spegel",
        "/etc/spegel/bootstrap/ca.crt",
        "/etc/spegel/bootstrap/tls.crt",
        "/etc/spegel/bootstrap/tls.key",
    ]
    lines = unit["content"].replace("\\\n    ", "").splitlines()
    for line in (
        "After=containerd.service",
        "Requires=containerd.service",
        "Before=kubelet.service",
        "WantedBy=multi-user.target",
        "Type=simple",
        "Restart=always",
        "RestartSec=5",
        "MemoryHigh=80M",
        "MemoryMax=100M",
        "StateDirectory=spegel",
        "Environment=SPEGEL_UNPACK_DIR=/var/lib/spegel/program",
    ):
        assert line in lines
    assert (
        "ExecStart=/opt/bin/spegel registry "
        "--registry-addr=:5000 --router-addr=:5001 --metrics-addr=:9090 "
        "--data-dir=/var/lib/spegel --bootstrap-kind=http "
        "--http-bootstrap-url=https://sp-crazy--botany.ingress.example.com/bootstrap-nodes "
        "--http-bootstrap-cert-dir=/etc/spegel/bootstrap"
    ) in lines
    assert not [line for line in lines if line.startswith("ExecStartPre")]


@pytest.mark.parametrize(("seconds", "line"), [(30, "WatchdogSec=30"), (0, None)])
def test_the_watchdog_is_a_setting(seconds: int, line: str | None) -> None:
    unit = unit_of(apply(small_osc(), context(watchdog_seconds=seconds)), "spegel.service")
    found = [
        text for text in unit["content"].splitlines() if text.startswith(("WatchdogSec", "NotifyAccess"))
    ]
    assert found == ([line, "NotifyAccess=all"] if line else [])


def test_the_metrics_unit_is_the_proposals() -> None:
    unit = unit_of(apply(small_osc()), "spegel-metrics.service")
    assert unit["filePaths"] == ["/opt/bin/spegel_metrics.sh"]
    for line in (
        "After=spegel.service",
        "BindsTo=spegel.service",
        "WantedBy=multi-user.target spegel.service",
        "ExecStart=/opt/bin/spegel_metrics.sh",
        "ExecStopPost=-/bin/rm -f /var/lib/node-exporter/textfile-collector/spegel.prom",
    ):
        assert line in unit["content"].splitlines()


def test_every_file_path_of_a_unit_is_a_file() -> None:
    osc = apply(sample("osc-plain.yaml"))
    paths = {file["path"] for file in osc["spec"]["files"]}
    for name in ("spegel.service", "spegel-metrics.service"):
        assert set(unit_of(osc, name)["filePaths"]) <= paths


def test_percent_and_dollar_signs_reach_the_program_as_they_are() -> None:
    osc = apply(small_osc(), context(url="https://example.com/a%20b?c=$d"))
    assert (
        "--http-bootstrap-url=https://example.com/a%%20b?c=$$d" in unit_of(osc, "spegel.service")["content"]
    )


@pytest.mark.parametrize("url", ["https://a/\nExecStartPre=x", 'https://a/"', "https://a/ b", "https://a/\\"])
def test_a_url_that_would_break_out_of_the_command_line_is_refused(url: str) -> None:
    with pytest.raises(MutationError, match="command line"):
        mutate(small_osc(), context(url=url))


def test_what_exists_is_replaced_at_its_index() -> None:
    osc = small_osc(
        files=[{"path": "/a"}, {"path": "/opt/bin/spegel", "permissions": 1}, {"path": "/b"}],
        units=[{"name": "spegel.service", "content": "old"}, {"name": "other.service"}],
    )
    spec = apply(osc)["spec"]
    assert spec["files"][1]["permissions"] == 0o755
    assert [file["path"] for file in spec["files"]].count("/opt/bin/spegel") == 1
    assert spec["units"][0]["filePaths"][0] == "/opt/bin/spegel"
    assert [unit["name"] for unit in spec["units"]].count("spegel.service") == 1


@pytest.mark.parametrize("absent", ["files", "units"])
def test_absent_and_null_lists_are_made(absent: str) -> None:
    for osc in (small_osc(**{absent: None}), small_osc()):
        osc["spec"] = {key: value for key, value in osc["spec"].items() if key != absent or value is None}
        assert len(apply(osc)["spec"][absent]) >= 2
