"""The Kubernetes client as servers use it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from serving.api_server import ConfigurationError, connect

ROOT = Path(__file__).parents[2]

FORKING = """
import os, sys
from pathlib import Path
from serving.api_server import connect

path, directory = map(Path, sys.argv[1:])
authority = Path(connect(path, directory=directory).configuration.ssl_ca_cert)
if os.fork() == 0:
    own = Path(connect(path, directory=directory).configuration.ssl_ca_cert)
    sys.exit(0 if own != authority and own.read_text() == "an authority" else 1)
status = os.wait()[1]
sys.exit(status or authority.read_text() != "an authority")
"""


def kubeconfig(path: Path, **cluster: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": "https://127.0.0.1:1"} | cluster}],
        "users": [{"name": "test", "user": {"token": "test"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config))
    return path


def test_a_forked_process_leaves_the_files_of_its_parent_alone(tmp_path: Path) -> None:
    data = base64.b64encode(b"an authority").decode()
    path = kubeconfig(tmp_path / "kubeconfig", **{"certificate-authority-data": data})
    command = [sys.executable, "-c", FORKING, str(path), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", [None, "", "{", "[]", "kind: Config"])
def test_a_configuration_that_is_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match="no usable configuration for the API server"):
        connect(path)
