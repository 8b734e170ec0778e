"""``python -m bootstrapper nodes``, and what the command line refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bootstrapper.cli import main
from tests.apiserver import ApiServer
from tests.bootstrapper.nodes import node


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "NODES_FILE", "LIMIT", "NOT_READY_SECONDS", "API_TIMEOUT_SECONDS"):
        monkeypatch.delenv(f"BOOTSTRAPPER_{name}", raising=False)


NODES = [
    node("a", "10.0.0.1", ready=False, zone="z1"),
    node("b", "10.0.0.2", "fd00::2", zone="z2"),
    node("c", "10.0.0.3"),
]


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": NODES}),
        json.dumps({"apiVersion": "v1", "kind": "NodeList", "items": NODES}),
        yaml.safe_dump(NODES),
    ],
)
def test_a_file_of_nodes_as_kubectl_prints_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "nodes"
    file.write_text(text)
    assert main(["nodes", f"--nodes-file={file}"]) == 0
    assert [each["IP"] for each in json.loads(capsys.readouterr().out)] == [
        "10.0.0.2",
        "10.0.0.3",
        "10.0.0.1",
    ]
    assert main(["nodes", f"--nodes-file={file}", "--limit=1"]) == 0
    assert capsys.readouterr().out == (
        '[{"ID":"","Addrs":["/ip4/10.0.0.2","/ip6/fd00::2"],"IP":"10.0.0.2","Zone":""}]\n'
    )
    assert main(["nodes", f"--nodes-file={file}", "--topology"]) == 0
    assert capsys.readouterr().out == '{"10.0.0.1":"z1","10.0.0.2":"z2","fd00::2":"z2"}\n'


def test_a_file_may_be_of_nodes_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nodes"
    file.write_text(json.dumps([node("a", "127.0.0.2")]))
    assert main(["nodes", f"--nodes-file={file}"]) == 0
    assert [each["IP"] for each in json.loads(capsys.readouterr().out)] == ["127.0.0.2"]


def test_the_nodes_of_an_api_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ApiServer(*NODES) as api:
        kubeconfig = api.write_kubeconfig(tmp_path / "kubeconfig")
        assert main(["nodes", f"--kubeconfig={kubeconfig}"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["nodes", f"--kubeconfig={kubeconfig}"]) == 1
    assert capsys.readouterr().err.startswith("error: Failed to establish a new connection")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod", "must be a List of Nodes, a list of them, or a Node"),
        ("a: [", "line 2 column 1"),
        ("", "holds no document"),
        ("[{}]", "node 1 has no metadata.name"),
        ("[{metadata: {name: a}}, 7]", "node 2 has no metadata.name"),
    ],
)
def test_a_file_that_is_none_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    file = tmp_path / "nodes.yaml"
    file.write_text(text)
    assert main(["nodes", "--nodes-file", str(file)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {file}: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_configuration_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", f"--kubeconfig={tmp_path}/missing"]) == 1
    assert capsys.readouterr().err == (
        f"error: no usable configuration for the API server: {tmp_path}/missing: no such file\n"
    )


def test_a_wrong_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["nodes", "--limit=1000"])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: --limit (BOOTSTRAPPER_LIMIT): ")
