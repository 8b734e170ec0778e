"""The difference for a person, and applying the patch that it is made from."""

from __future__ import annotations

import base64
import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.admission_samples import osc, sample
from tests.unit.mutation_samples import context
from webhook.diff import render
from webhook.mutation import mutate
from webhook.patched import patched


def file(path: str, text: str | bytes, **members: Any) -> dict[str, Any]:
    data = base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
    return {"path": path, "content": {"inline": {"encoding": "b64", "data": data}}} | members


def diff(before: dict[str, Any], after: dict[str, Any]) -> str:
    return render(before, after, color=False)


@pytest.mark.parametrize("name", ["osc-plain.yaml", "osc-with-cache-and-mirror.yaml", "osc-large.yaml"])
def test_the_samples_are_shown_short_and_readable(name: str) -> None:
    before = sample(name)
    text = diff(before, patched(before, mutate(before, context()).patch))
    assert "+ spec.files[" in text
    assert "/opt/bin/spegel\n" in text
    assert "+ spec.units[" in text
    assert "spegel.service" in text
    assert "#!/bin/bash" in text
    assert "permissions: '0755'" in text
    assert len(text) < 60_000
    assert max(map(len, text.splitlines())) < 250
    assert text.splitlines()[-1].startswith("6 added, ") or " added" in text.splitlines()[-1]


def test_no_difference_is_no_text() -> None:
    assert diff(osc(), osc()) == ""


def test_content_in_base64_is_shown_as_text() -> None:
    before = osc(files=[file("/etc/a", "one\ntwo\nthree\n", permissions=420)])
    after = osc(files=[file("/etc/a", "one\n2\nthree\n", permissions=420)])
    assert diff(before, after) == (
        "~ spec.files[0]  /etc/a\n"
        "          encoding: b64\n"
        "          data: |\n"
        "            one\n"
        "    -       two\n"
        "    +       2\n"
        "            three\n"
        "      permissions: '0644'\n"
        "1 changed\n"
    )


def test_content_that_is_no_text_is_shown_by_its_size_and_digest() -> None:
    text = diff(osc(), osc(files=[file("/bin/x", b"\x7fELF\x00\xff")]))
    assert "+     data: (6 bytes, sha256 " in text
    assert "+ spec.files[0]  /bin/x\n" in text


def test_content_that_is_not_base64_is_shown_as_it_is() -> None:
    thing = file("/etc/a", "")
    thing["content"]["inline"]["data"] = "%%%"
    assert "data: '%%%'" in diff(osc(), osc(files=[thing]))


def test_files_of_one_node_are_told_apart() -> None:
    first, second = file("/etc/a", "1", hostName="x"), file("/etc/a", "2", hostName="y")
    text = diff(osc(files=[first, second]), osc(files=[first, file("/etc/a", "3", hostName="y")]))
    assert text.startswith("~ spec.files[1]  /etc/a\n")
    assert text.endswith("1 changed\n")


def test_what_is_removed_and_what_is_elsewhere() -> None:
    before = osc(files=[file("/etc/a", "1")], type="gardenlinux")
    text = diff(before, osc(files=[], type="ubuntu"))
    assert "- spec.files[0]  /etc/a\n" in text
    assert "~ the rest of the document\n" in text
    assert "+   type: ubuntu" in text
    assert text.endswith("1 changed, 1 removed\n")


def test_long_lines_are_cut_and_control_characters_escaped() -> None:
    text = diff(osc(), osc(files=[file("/etc/\x1b[31m", "x" * 5000 + "\x1b]0;title\x07")]))
    assert "... (" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_colours_are_for_those_who_want_them() -> None:
    text = render(osc(), osc(files=[file("/etc/a", "1")]), color=True)
    assert "\x1b[32m+ path: /etc/a\x1b[0m" in text
    assert text.startswith("\x1b[1m+ spec.files[0]  /etc/a\x1b[0m\n")


@given(st.lists(st.sampled_from(["a", "b", "~/", ""]), max_size=4), st.data())
def test_a_patch_is_applied_as_the_standard_says(keys: list[str], data: st.DataObject) -> None:
    document: dict[str, Any] = {"list": list(keys), "map": {key: {"x": [1]} for key in keys}}
    before = copy.deepcopy(document)
    pointer = {key: key.replace("~", "~0").replace("/", "~1") for key in [*keys, "new"]}
    operations = [
        {"op": "add", "path": "/list/-", "value": {"n": 1}},
        {"op": "add", "path": f"/map/{pointer[data.draw(st.sampled_from([*keys, 'new']))]}", "value": []},
        {"op": "add", "path": "/list/0", "value": "first"},
        {"op": "replace", "path": f"/list/{data.draw(st.integers(0, len(keys)))}", "value": None},
        {"op": "remove", "path": "/list/0"},
        *[{"op": "remove", "path": f"/map/{pointer[key]}"} for key in set(keys)],
    ]
    assert patched(document, operations) == jsonpatch.apply_patch(document, operations)
    assert document == before
