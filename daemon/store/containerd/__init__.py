"""The store that containerd keeps, asked over its gRPC socket; bytes are read from its files."""

from daemon.store.containerd.store import ContainerdStore

__all__ = ["ContainerdStore"]
