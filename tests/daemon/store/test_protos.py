"""The generated code is what the .proto files say."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.store.protos import API, REPOSITORY, generate


def code(root: Path) -> dict[str, str]:
    files = [*(root / API).glob("*_pb2.py*"), *(root / API).glob("*_grpc.py")]
    return {file.name: file.read_text() for file in files if file.suffix in {".py", ".pyi"}}


def test_the_code_was_made_from_the_proto_files(tmp_path):
    generate(tmp_path)
    assert code(tmp_path) == code(REPOSITORY), "run tox -e protos"
