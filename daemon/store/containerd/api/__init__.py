"""The part of containerd's API that the daemon uses; ``tox -e protos`` makes the code from .proto files."""
