"""The bill of materials in CycloneDX 1.5, without a time or a random number: the same for the same parts."""

from __future__ import annotations

import json
from typing import Any

from binary.parts import Part


def document(version: str, parts: list[Part]) -> str:
    """Return the document, as JSON."""
    program = {"type": "application", "name": "spegel", "version": version, "bom-ref": "spegel"}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": program},
        "components": [_component(part) for part in parts],
        "dependencies": [{"ref": "spegel", "dependsOn": [part.purl for part in parts]}],
    }
    return json.dumps(bill, indent=2) + "\n"


def _component(part: Part) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "purl": part.purl,
        "licenses": [{"license": {"name": part.licence}}],
    }
    if part.within:
        component["components"] = [_nested(part, inner) for inner in part.within]
    return component


def _nested(part: Part, component: dict[str, Any]) -> dict[str, Any]:
    """Return a component of another document; its reference is not to mean another one's in this."""
    reference = {"bom-ref": f"{part.purl}#{component['bom-ref']}"} if "bom-ref" in component else {}
    inner = [_nested(part, nested) for nested in component.get("components", ())]
    return component | reference | ({"components": inner} if inner else {})
