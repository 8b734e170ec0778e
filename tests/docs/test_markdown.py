"""No command of a document gets past: what would not be run is an error."""

from __future__ import annotations

import pytest

from tests.docs import markdown
from tests.docs.markdown import MarkdownError, blocks, headings, inline_commands, is_command, links


@pytest.fixture
def document(tmp_path, monkeypatch):
    monkeypatch.setattr(markdown, "ROOT", tmp_path)

    def write(text):
        path = tmp_path / "document.md"
        path.write_text(text)
        return path

    return write


def test_blocks_say_what_they_are_and_where_they_run(document):
    text = (
        "# One\n\n```sh\necho\n```\n\n```console node\n$ ls\n```\n\n"
        "```sh machine server\nspegel\n```\n\n```yaml\na: 1\n```\n"
    )
    found = [
        (block.line, block.language, block.place, block.goes_on, block.text)
        for block in blocks(document(text))
    ]
    assert found == [
        (3, "sh", "checkout", False, "echo\n"),
        (7, "console", "node", False, "$ ls\n"),
        (11, "sh", "machine", True, "spegel\n"),
        (15, "yaml", "checkout", False, "a: 1\n"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Text:\n\n    kubectl get nodes\n", "document.md:3: an indented block"),
        ("- item\n\n      kubectl get nodes\n", "an indented block"),
        ("```\nkubectl get nodes\n```\n", "'' does not say what the block is"),
        ("```bash\nls\n```\n", "'bash' does not say what the block is"),
        ("```sh moon\nls\n```\n", "'sh moon' does not say where to run it"),
        ("```text\n$ ls\n```\n", r"a command in a block of text: \$ ls"),
        ("```yaml\n./toxw -e demo\n```\n", "a command in a block of yaml"),
        ("> ```\n> ls\n> ```\n", "'' does not say what the block is"),
        ("<pre>\nkubectl get nodes\n</pre>\n", "HTML"),
    ],
)
def test_what_would_not_be_run_is_an_error(document, text, reason):
    with pytest.raises(MarkdownError, match=reason):
        list(blocks(document(text)))


def test_commands_within_sentences_and_tables(document):
    text = "Call `./toxw`, not `spegel`.\n\n| a |\n|---|\n| `kubectl get nodes` |\n| `spegel.prom` |\n"
    assert [command.text for command in inline_commands(document(text))] == ["./toxw", "kubectl get nodes"]


@pytest.mark.parametrize("text", ["./toxw", "A=b ./toxw -e x", "python -m api", "spegel version", "curl x"])
def test_what_is_a_command(text):
    assert is_command(text)


@pytest.mark.parametrize("text", ["python", "spegel_router_peers 1.0", "A=b", "", "`curl`s answer"])
def test_what_is_none(text):
    assert not is_command(text)


def test_links_and_headings(document):
    path = document("# Is it *so*, or `not`?\n\n[a](b.md#c) ![d](e.svg)\n")
    assert list(links(path)) == ["b.md#c", "e.svg"]
    assert headings(path) == {"is-it-so-or-not"}
