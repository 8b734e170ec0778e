"""What is known of the binary's parts: pinned, listed, with licences, and looked up."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

from binary.audit import judge
from tests.daemon.cli.program import ROOT

LOCK = (ROOT / "binary" / "requirements.lock").read_text()
PINNED = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", LOCK, re.MULTILINE))


def test_all_that_is_locked_has_hashes() -> None:
    blocks = re.split(r"^(?=\S+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(PINNED)
    assert all("--hash=sha256:" in block for block in blocks)


def test_all_that_the_daemon_needs_is_locked() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options.extras_require"]["daemon"].split()
    assert {re.split("[^a-z0-9-]", requirement)[0] for requirement in wanted} <= set(PINNED)


def test_the_bill_of_materials_names_all_parts(program: Path) -> None:
    bill = json.loads(program.with_name("spegel.cdx.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "spegel")
    purls = {component["purl"] for component in bill["components"]}
    assert {f"pkg:pypi/{name}@{version}" for name, version in PINNED.items()} <= purls
    assert any(purl.startswith("pkg:generic/python@3.") for purl in purls)
    (cryptography,) = (part for part in bill["components"] if part["name"] == "cryptography")
    assert "openssl" in {inner["name"] for inner in cryptography["components"]}
    references = [reference for part in bill["components"] for reference in references_of(part)]
    assert len(set(references)) == len(references)
    assert {"spegel", *purls} >= {ref for entry in bill["dependencies"] for ref in entry["dependsOn"]}


def references_of(component: dict[str, Any]) -> list[str]:
    inner = [reference for part in component.get("components", ()) for reference in references_of(part)]
    return inner + ([component["bom-ref"]] if "bom-ref" in component else [])


def test_every_part_has_a_licence_and_its_text(program: Path) -> None:
    listed, *texts = program.with_name("spegel.licences.txt").read_text().split("=" * 80 + "\n")
    parts = [line.split() for line in listed.splitlines()[2:] if line]
    assert len(parts) > len(PINNED)
    assert all(len(part) > 2 and part[2] not in {"None", "unknown"} for part in parts)
    owners = {name for heading in texts[::2] for name in heading.strip().split(", ")}
    assert {part[0] for part in parts} == owners


def test_the_audit_tells_what_is_clear_from_what_it_could_not_look_up() -> None:
    verdict = judge(
        {
            "dependencies": [
                {"name": "h2", "version": "4.4.1", "vulns": []},
                {"name": "cffi", "skip_reason": "not found on PyPI"},
                {
                    "name": "protobuf",
                    "version": "7.36.2",
                    "vulns": [{"id": "CVE-2027-1", "fix_versions": ["7.36.3", "8.0.1"]}],
                },
                {
                    "name": "hpack",
                    "version": "4.2.0",
                    "vulns": [{"id": "CVE-2027-2", "fix_versions": []}],
                },
            ]
        }
    )
    assert verdict.cleared == ["h2 4.4.1"]
    assert verdict.unknown == ["cffi: not found on PyPI"]
    assert verdict.known == [
        "protobuf 7.36.2: CVE-2027-1, fixed in 7.36.3, 8.0.1",
        "hpack 4.2.0: CVE-2027-2, fixed in no version",
    ]
