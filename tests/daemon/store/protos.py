"""Makes the code for containerd's API from the .proto files; run by ``tox -e protos``.

The code refuses to run with an older protobuf than its generator's, or one of another major version: the range
in setup.cfg follows the version of grpcio-tools.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
API = Path("daemon/store/containerd/api")


def generate(destination: Path) -> None:
    """Write the code below ``destination``, which stands for the repository's root."""
    for file in sorted((REPOSITORY / API).glob("*.proto")):
        outputs = ["--python_out", "--pyi_out"]
        if "\nservice " in file.read_text():
            outputs.append("--grpclib_python_out")
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={REPOSITORY}"]
        plugin = f"--plugin=protoc-gen-grpclib_python={Path(sys.executable).with_name('protoc-gen-grpclib_python')}"
        options = [f"{output}={destination}" for output in outputs]
        subprocess.run([*command, plugin, *options, str(file)], check=True)


if __name__ == "__main__":
    generate(REPOSITORY)
