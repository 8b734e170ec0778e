"""How much memory the daemons have taken, held against what their unit allows."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.node.machine import Node

DAEMON = "spegel.service"


def check_memory(node: Node) -> int:
    """Return the most bytes that a node's daemon has had at once; fail where that is more than it may have.

    Page cache is left out, which the kernel takes back; socket buffers count, which cgroup v1 limits apart.
    """
    cgroup = node.systemd.cgroup(DAEMON)
    assert cgroup.oom_kills() == 0, f"the daemon of {node.name} was killed for want of memory"
    used = sum(map(_resident, cgroup.processes())) + cgroup.sockets_peak() + cgroup.kernel_peak()
    limit = node.systemd.memory_max(DAEMON)
    assert used <= limit, f"the daemon of {node.name} has had {used} bytes, and may have {limit}"
    return used


def _resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
