"""Makes the code for containerd's API from the .proto files; run by ``tox -e protos``.

The code refuses to run with an older protobuf than its generator's, or with one of another major version:
the range in setup.cfg follows the version of grpcio-tools.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
API = Path("daemon/store/containerd/api")


def generate(destination: Path) -> None:
    """Write the code below ``destination``, which stands for the repository's root."""
    files = sorted((REPOSITORY / API).glob("*.proto"))
    services = [file for file in files if "\nservice " in file.read_text()]
    _protoc(files, f"--python_out={destination}", f"--pyi_out={destination}")
    plugin = Path(sys.executable).with_name("protoc-gen-grpclib_python")
    _protoc(services, f"--plugin={plugin.name}={plugin}", f"--grpclib_python_out={destination}")


def _protoc(files: list[Path], *options: str) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={REPOSITORY}", *options]
    subprocess.run([*command, *map(str, files)], check=True)


if __name__ == "__main__":
    generate(REPOSITORY)
