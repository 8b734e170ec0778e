"""What documents name exists: links, headings, files, environments, metrics and alerts."""

from __future__ import annotations

import configparser
import re

import pytest

from tests.docs.markdown import DOCUMENTS, ROOT, blocks, headings, links

TOX = configparser.ConfigParser(interpolation=None)
TOX.read(ROOT / "tox.ini")
ENVIRONMENTS = {
    section.removeprefix("testenv:") for section in TOX.sections() if section.startswith("testenv:")
}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)


@each_document
def test_every_block_says_what_it_is_and_where_it_runs(document):
    list(blocks(document))  # raises MarkdownError


@each_document
def test_the_links_lead_somewhere(document):
    missing = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        if re.match(r"https?://", link):
            continue
        target = (document.parent / path) if path else document
        if not target.exists() or (anchor and anchor not in headings(target)):
            missing.append(link)
    assert missing == []


@each_document
def test_the_files_exist(document):
    """Paths from the root of the repository in back quotes."""
    tops = "|".join(re.escape(path.name) for path in ROOT.iterdir() if path.is_dir() and path.name[0] != ".")
    named = re.findall(rf"`((?:{tops})/[\w./-]*)`", document.read_text())
    # What is built is there only once it has been.
    assert [name for name in named if not name.startswith("dist/") and not (ROOT / name).exists()] == []


@each_document
def test_the_environments_exist(document):
    named = re.findall(r"toxw (?:run )?-e ([\w,-]+)", document.read_text())
    assert {name for names in named for name in names.split(",")} <= ENVIRONMENTS


def test_the_environments_are_described():
    """A word and a colon at the beginning is a condition to tox: the description would not be shown."""
    described = {name: TOX[f"testenv:{name}"].get("description", "") for name in ENVIRONMENTS}
    assert {name for name, text in described.items() if not text or re.match(r"[\w,!-]+:", text)} == set()


def test_the_environments_that_run_by_default_exist():
    assert {name.strip() for name in TOX["tox"]["env_list"].split(",")} <= ENVIRONMENTS
