"""What a transcript says, and what passes for it."""

from __future__ import annotations

import pytest

from tests.docs.transcripts import Step, steps


def test_commands_and_their_outputs():
    text = "$ one\n$ two \\\n>   --flag\nfirst\n> not a command\n$ three\n"
    assert steps(text) == [
        Step("one", ""),
        Step("two \\\n  --flag", "first\n> not a command"),
        Step("three", ""),
    ]


def test_a_transcript_begins_with_a_command():
    with pytest.raises(ValueError, match="before 'output'"):
        steps("output\n$ command")


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        ("", ""),
        ("a", "a\n"),
        ("a", "a  \n\n"),
        ("a ... c", "a b c"),
        ("...", ""),
        ("...", "a\nb"),
        ("a\n...\nc", "a\nb\nb\nc"),
        ("a\n...\nc", "a\nc"),
        ("(a|b).*", "(a|b).*"),
    ],
)
def test_what_passes(said, printed):
    assert Step("command", said).matches(printed)


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        ("", "a"),
        ("a", ""),
        ("a", "b"),
        ("a", "a\nb"),
        ("a ...", "a"),
        ("a...", "a\nb"),
        ("a\n...\nc", "a\nb"),
        (".", "a"),
    ],
)
def test_what_does_not(said, printed):
    assert not Step("command", said).matches(printed)
