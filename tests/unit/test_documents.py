"""YAML from people's files: what Kubernetes makes of it, and clear words for what it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from documents import DocumentError, dump, parse, read, read_all

SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("osc-*.yaml")), ids=lambda path: path.name)
def test_samples_are_read_as_any_yaml_library_reads_them(path: Path) -> None:
    document = read(str(path))
    assert document == yaml.load(path.read_text(), yaml.CSafeLoader)
    assert list(document) == list(yaml.load(path.read_text(), yaml.CSafeLoader))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2026-11-20T09:12:44Z", {"a": "2026-11-20T09:12:44Z"}),
        ("a: 2026-11-20", {"a": "2026-11-20"}),
        ("a: 0644", {"a": 420}),
        ("a: 420", {"a": 420}),
        ("a: 22:30", {"a": "22:30"}),
        ("a: 1.5", {"a": 1.5}),
        ("a: yes", {"a": True}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: '1'", {"a": "1"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: =", {"a": "="}),
        ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        ("---\na: [1, {b: 2}]\n...\n", {"a": [1, {"b": 2}]}),
        ("a: &x {b: [1]}\nc: *x\n", {"a": {"b": [1]}, "c": {"b": [1]}}),
        ("a: &x 1\nb: &x 2\nc: *x\n", {"a": 1, "b": 2, "c": 2}),
    ],
)
def test_values_are_those_of_json(text: str, value: object) -> None:
    assert parse(text) == value


def test_what_an_alias_stands_for_is_a_copy() -> None:
    document = parse("a: &x [1]\nb: *x\n")
    document["b"].append(2)
    assert document["a"] == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no document"),
        ("# nothing\n", "holds no document"),
        ("a: 1\n---\nb: 2\n", "line 2 column 1: a second document begins; only one is expected"),
        ("a: 1\nb: 2\na: 3\n", "line 3 column 1: duplicate key 'a'"),
        ("a: {b: 1, 'b': 2}", "line 1 column 11: duplicate key 'b'"),
        ("a: 'open\n", "line 2 column 1: .* unexpected end of stream"),
        ("a: b: c", "line 1 column 5: mapping values are not allowed"),
        ("a: *b", "line 1 column 4: alias \\*b of nothing"),
        ("a: &x [*x]", "line 1 column 8: alias \\*x of nothing that is complete"),
        ("1: a", "line 1 column 1: a key must be a string, not int"),
        ("[a]: b", "a key must be a string, not list"),
        ("<<: {a: 1}", "merge keys"),
        ("a: .inf", "line 1 column 4: .inf is not a JSON value"),
        ("a: !!python/object/apply:os.getcwd []", "line 1 column 4: tag .* is not supported"),
        ("a: !!binary aGk=", "is not supported"),
        ("a: !!set {b}", "is not supported"),
        ("a: !!int b", "'b' is no int"),
        ("a: !!bool b", "'b' is no bool"),
        ("a: !!int ''", "'' is no int"),
        ("a: " + "9" * 5000, "'9999.*\\.\\.\\.' is no int, or too long"),
        ("a: \x00", "offset 3: control characters are not allowed"),
        ("[" * 300, "line 1 column 201: nested more than 200 deep"),
        (
            "[" * 100_000,
            "nested more than 200 deep|maximum nesting depth",
        ),  # libyaml from 0.2.6 on has a limit too
        ("{a: " * 100_000, "nested more than 200 deep"),
        ("- " * 100_000, "nested more than 200 deep"),
    ],
)
def test_what_is_refused_says_where_and_why_in_one_line(text: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message) as error:
        parse(text)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 200


def test_aliases_of_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(DocumentError, match="more than 1000000 values, aliases followed"):
        parse("\n".join(lines))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)


def is_readable(value: Any) -> bool:
    """YAML cannot hold every character unescaped in a key; and "<<" is one that we refuse."""
    return not isinstance(value, dict) or ("<<" not in value and all(map(is_readable, value.values())))


@given(json_values.filter(is_readable))
def test_what_is_written_is_read_again(value: Any) -> None:
    if isinstance(value, list):
        value = [item for item in value if is_readable(item)]
    document = parse(dump({"a": value}))
    assert document == {"a": value}


@given(st.text())
def test_any_text_is_a_document_or_an_error(text: str) -> None:
    try:
        parse(text)
    except DocumentError as error:
        message = str(error)
    else:
        message = "fine"
    assert message.isprintable()


def test_text_of_several_lines_is_written_as_such() -> None:
    assert dump({"b": "x\ny\n", "a": "z"}) == "b: |\n  x\n  y\na: z\n"


def test_files(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="No such file or directory"):
        read(str(tmp_path / "absent.yaml"))
    with pytest.raises(DocumentError, match="Is a directory"):
        read(str(tmp_path))
    file = tmp_path / "osc.yaml"
    file.write_bytes(b"a: \xff")
    with pytest.raises(DocumentError, match=r"osc.yaml: not UTF-8: invalid byte at offset 3"):
        read(str(file))
    file.write_text("a: [")
    with pytest.raises(DocumentError, match=r"osc.yaml: line 2 column 1: "):
        read(str(file))


def test_all_documents_of_a_file_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "several.yaml"
    file.write_text("---\na: &x 1\n---\n# nothing\n---\nb: 2\n")
    assert read_all(str(file)) == [{"a": 1}, {"b": 2}]
    file.write_text("a: &x 1\n---\nb: *x\n")
    with pytest.raises(DocumentError, match=r"line 3 column 4: alias \*x of nothing"):
        read_all(str(file))
