"""The pool of pipes."""

from __future__ import annotations

import fcntl
import os

import pytest

from daemon.mirror.pipes import Pipe, PipePool


def is_open(pipe: Pipe) -> bool:
    try:
        os.fstat(pipe.source)
    except OSError:
        return False
    return True


def test_an_empty_pipe_is_used_again() -> None:
    pool = PipePool()
    pipe = pool.take()
    pool.give(pipe)
    assert pool.take() is pipe
    pipe.close()


def test_a_pipe_with_bytes_in_it_is_never_used_again() -> None:
    pool = PipePool()
    pipe = pool.take()
    pipe.level = os.write(pipe.target, b"somebody else's")
    pool.give(pipe)
    assert not is_open(pipe)
    fresh = pool.take()
    with pytest.raises(BlockingIOError):
        os.read(fresh.source, 1)
    fresh.close()


def test_only_a_few_are_kept() -> None:
    pool = PipePool()
    pipes = [pool.take() for _ in range(20)]
    for pipe in pipes:
        pool.give(pipe)
    assert sum(map(is_open, pipes)) == 8
    pool.close()
    assert not any(map(is_open, pipes))


def test_a_pipe_is_large_where_the_kernel_allows_it() -> None:
    pipe = Pipe()
    assert pipe.size == fcntl.fcntl(pipe.source, fcntl.F_GETPIPE_SZ) >= 64 * 1024
    pipe.close()


def test_a_pipe_is_as_large_as_may_be_where_the_kernel_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.fcntl
    refused: list[int] = []

    def limited(fd: int, command: int, size: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            refused.append(size)
            raise PermissionError
        return real(fd, command, size)

    monkeypatch.setattr(fcntl, "fcntl", limited)
    pipe = Pipe()
    assert len(refused) == 3
    assert pipe.size == real(pipe.source, fcntl.F_GETPIPE_SZ)
    pipe.close()
