"""Every command of the documents, run.

Blocks that nobody knows how to run are found in test_documents.py. Commands that sentences quote are run too,
if no block has them. What takes minutes is stood in for, unless DOCUMENTS=all.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.checkout import Checkout
from tests.docs.cluster import cluster
from tests.docs.machine import machine, skopeo_line
from tests.docs.markdown import (
    COMMANDS,
    DOCUMENTS,
    PLACES,
    ROOT,
    Block,
    Inline,
    MarkdownError,
    blocks,
    inline_commands,
)
from tests.docs.node import node
from tests.docs.stand_ins import toxw
from tests.docs.transcripts import steps

_NAME = re.compile(r"(python -m [\w.]+|spegel)( [a-z-]+)?")
"""A command as a sentence calls it, without what it is to work on."""
_END = "--- end of output ---"


def _commands(document: Path) -> list[Block]:
    try:
        return [block for block in blocks(document) if block.language in COMMANDS]
    except MarkdownError:
        return []


def _blocks(place: str) -> list[Block]:
    """All blocks that run at a place, in the order of the documents."""
    return [block for document in DOCUMENTS for block in _commands(document) if block.place == place]


def lines_of_blocks() -> set[str]:
    """All commands of all blocks, as they stand there, without line breaks."""
    found: set[str] = set()
    for document in DOCUMENTS:
        for block in _commands(document):
            texts = (
                [step.command for step in steps(block.text)] if block.language == "console" else [block.text]
            )
            for text in texts:
                found.update(line.strip() for line in text.replace("\\\n", " ").splitlines())
    without_remarks = (re.sub(r"\s# .*", "", line) for line in found)
    return {" ".join(line.split()) for line in without_remarks}


def _quoted() -> list[Inline]:
    """Commands within sentences that no block has, each once."""
    lines = lines_of_blocks()
    found: dict[str, Inline] = {}
    for document in DOCUMENTS:
        for command in inline_commands(document):
            if not any(f"{line} ".startswith(f"{command.text} ") for line in lines):
                found.setdefault(command.text, command)
    return list(found.values())


@pytest.mark.parametrize("place", sorted(PLACES))
def test_the_commands_of_the_documents_run(place, tmp_path):
    checkout = Checkout(tmp_path)
    with ExitStack() as stack:
        environment, prefix = {}, ()
        match place:
            case "cluster":
                environment = {"KUBECONFIG": str(stack.enter_context(cluster(tmp_path)))}
            case "machine":
                checkout.provide("skopeo", skopeo_line())
                prefix = tuple(stack.enter_context(machine(tmp_path)).command())
            case "node":
                environment = {"PATH": f"/opt/bin{os.pathsep}{os.environ['PATH']}"}
                prefix = tuple(stack.enter_context(node(tmp_path)).command())
        for number, block in enumerate(_blocks(place)):
            if block.goes_on:
                log = tmp_path / f"server{number}.log"
                stack.enter_context(checkout.server(block.text, log, environment, prefix))
            elif block.language == "sh":
                result = checkout.run(block.text, environment, prefix)
                assert result.returncode == 0, f"{block.where}: {result.stdout}"
                assert "Traceback" not in result.stdout, block.where
            else:
                _compare(block, checkout.run(_separated(block.text), environment, prefix))


def _separated(transcript: str) -> str:
    # What a command's exit status is shows in the transcript, if it matters.
    ends = f"printf '\\n%s\\n' '{_END}'"
    return "set +e\n" + "\n".join(f"{step.command}\n{ends}" for step in steps(transcript))


def _compare(block: Block, result: subprocess.CompletedProcess[str]) -> None:
    printed = result.stdout.split(f"\n{_END}\n")
    for step, text in zip(steps(block.text), printed, strict=False):
        said = f"{block.where}: $ {step.command}\nsays:\n{step.output}\nprints:\n{text}"
        assert step.matches(text), said
    assert len(printed) == len(steps(block.text)) + 1, f"{block.where}: it has ended early: {printed[-1]}"


def test_the_commands_that_sentences_quote_work(tmp_path):
    checkout = Checkout(tmp_path)
    problems = {command.where: problem for command in _quoted() if (problem := _problem(command, checkout))}
    assert problems == {}


def _problem(command: Inline, checkout: Checkout) -> str:
    """Return what is wrong with a command; nothing when it works."""
    if call := re.fullmatch(r"(?:[A-Z_]+=\S+ )*\./toxw(.*)", command.text):
        try:
            toxw.look(shlex.split(call[1]), ROOT)
        except toxw.CommandError as error:
            return str(error)
        return ""
    is_name = _NAME.fullmatch(command.text)
    result = checkout.run(f"{command.text} --help" if is_name else command.text)
    return f"{command.text}: {result.stdout}" if result.returncode else ""


def test_the_main_commands_are_among_them():
    assert {"./toxw", "./toxw -e demo"} <= lines_of_blocks()
