"""For systemctl on a node: starts and stops services whose units are there, with their drop-ins' variables.

A service is a process in a session of its own; /run holds its process ID, and its log for journalctl.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

_UNITS = Path("/etc/systemd/system")
_OVERRIDES = Path("/run/systemd/system")


def main() -> None:
    match sys.argv[1:]:
        case ["start", *names]:
            for name in names:
                start(name)
        case ["restart", *names]:
            for name in names:
                stop(name)
                start(name)
        case ["stop", *names]:
            for name in names:
                stop(name)
        case ["is-active", *names]:
            for name in names:
                print("active" if running(name) else "inactive")
        case ["daemon-reload"]:
            pass  # units are read when they are started
        case ["cat", name]:
            for path in parts(name):
                print(f"# {path}\n{path.read_text()}")
        case other:
            sys.exit(f"systemctl: {shlex.join(other)} is not known")


def parts(name: str) -> list[Path]:
    """Return a unit's files, the drop-ins last."""
    unit = f"{name.removesuffix('.service')}.service"
    drop_ins = [path for top in (_UNITS, _OVERRIDES) for path in sorted((top / f"{unit}.d").glob("*.conf"))]
    return [_UNITS / unit, *drop_ins]


def start(name: str) -> None:
    text = "\n".join(path.read_text() for path in parts(name)).replace("\\\n", " ")
    command = shlex.split(re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)[-1])
    variables = [value.partition("=") for value in re.findall(r"^Environment=(.+)$", text, re.MULTILINE)]
    environment = dict(os.environ) | {key: value for key, _, value in variables}
    with file(name, "log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    file(name, "pid").write_text(str(process.pid))


def stop(name: str) -> None:
    if pid := running(name):
        os.kill(pid, signal.SIGTERM)
        while running(name):
            time.sleep(0.02)


def running(name: str) -> int | None:
    """Return the process ID of a service that runs."""
    try:
        pid = int(file(name, "pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return pid if state != "Z" else None


def file(name: str, kind: str) -> Path:
    return Path(f"/run/{name.removesuffix('.service')}.{kind}")


if __name__ == "__main__":
    main()
