"""What an OperatingSystemConfig asks of a node that the one before did not; pure.

Written after ``changes.go`` in pkg/nodeagent/controller/operatingsystemconfig of Gardener 1.150.
"""

from __future__ import annotations

from typing import Any

Item = dict[str, Any]
"""A file, a unit or a registry of an OperatingSystemConfig."""

CONTAINERD = "containerd.service"
"""The unit of the OS image."""
_PATH = "/var/bin/containerruntimes:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DROP_IN = {"name": "30-env_config.conf", "content": f'[Service]\nEnvironment="PATH={_PATH}"\n'}


class Changes:
    """What an OperatingSystemConfig asks for that the one before did not."""

    def __init__(self, old: dict[str, Any] | None, new: dict[str, Any], host: str) -> None:
        self._old_registries = _registries(old)
        old_files, new_files = _files(old, host), _files(new, host)
        self.files = [file for path, file in new_files.items() if old_files.get(path) != file]
        self.deleted_files = [file for path, file in old_files.items() if path not in new_files]
        changed = {file["path"] for file in self.files}
        old_units, new_units = _units(old), _units(new)
        self.units = [
            unit
            for name, unit in new_units.items()
            if old_units.get(name) != unit or changed & set(unit.get("filePaths") or [])
        ]
        self.deleted_units = [unit for name, unit in old_units.items() if name not in new_units]
        self.registries = list(_registries(new).values())
        self.deleted_registries = [
            entry for upstream, entry in self._old_registries.items() if upstream not in _registries(new)
        ]
        self.restarts_containerd = old is None or _engine(old) != _engine(new)

    def is_probed(self, entry: Item) -> bool:
        """Tell whether all hosts of a registry must answer before it is used."""
        return bool(entry.get("readinessProbe")) and self._old_registries.get(entry["upstream"]) != entry


def containerd(osc: dict[str, Any] | None) -> Item:
    """Return what is said of containerd."""
    return dict(((osc or {}).get("spec") or {}).get("criConfig", {}).get("containerd") or {})


def _files(osc: dict[str, Any] | None, host: str) -> dict[str, Item]:
    files = _spec(osc, "files") + ((osc or {}).get("status") or {}).get("extensionFiles", [])
    # What is for one host only comes last, and so wins.
    ordered = sorted(files, key=lambda file: "hostName" in file)
    return {file["path"]: file for file in ordered if file.get("hostName", host) == host}


def _units(osc: dict[str, Any] | None) -> dict[str, Item]:
    units = _spec(osc, "units") + ((osc or {}).get("status") or {}).get("extensionUnits", [])
    found = {unit["name"]: {**unit, "dropIns": list(unit.get("dropIns") or [])} for unit in units}
    if osc is not None:
        found.setdefault(CONTAINERD, {"name": CONTAINERD, "dropIns": []})["dropIns"].append(_DROP_IN)
    return found


def _registries(osc: dict[str, Any] | None) -> dict[str, Item]:
    return {entry["upstream"]: entry for entry in containerd(osc).get("registries") or []}


def _engine(osc: dict[str, Any]) -> tuple[Any, ...]:
    """Return that whose change restarts containerd."""
    settings = containerd(osc)
    driver = osc["spec"]["criConfig"].get("cgroupDriver")
    return settings.get("sandboxImage"), settings.get("plugins"), driver


def _spec(osc: dict[str, Any] | None, name: str) -> list[Item]:
    return list(((osc or {}).get("spec") or {}).get(name) or [])
