"""What holds for every hosts.toml: documents drawn from a grammar, and arbitrary text."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.mutation.hosts_toml import HostsTomlError, prepend
from webhook.mutation.model import LocalHost

LOCAL = LocalHost("http://localhost:5000", ("pull", "resolve"))
TABLE = '[host."http://localhost:5000"]\ncapabilities = ["pull", "resolve"]\n'
DOTTED = 'host."http://localhost:5000".capabilities = ["pull", "resolve"]\n'
HEADER = '[host."http://localhost:5000".header]\n\n'
ENTRY = ' "http://localhost:5000" = { capabilities = ["pull", "resolve"] }'

COPIES = [
    "http://localhost:5000",
    "HTTP://LOCALHOST:5000",
    "http://localhost:5000/",
    "http://Localhost:5000//",
]
OTHERS = [
    "https://registry-1.docker.io",
    "https://10.1.2.3:5000",
    "http://localhost:6000",
    "http://127.0.0.1:5000",
    "https://MIRROR.example/v2/some/path",
    "mirror",
    "https://spiegel.example/ü",
]
FIELDS = [
    ("capabilities", '["pull"]'),
    ("capabilities", "[ \"resolve\" , 'pull', ]"),
    ("ca", '"/etc/certs/ca.crt"'),
    ("ca", "[ # several\n  \"a.crt\",\n\n  # the last\n  'b.crt'\n]"),
    ("client", '[["/etc/a.crt", "/etc/a.key"], ["b.pem", ""]]'),
    ("skip_verify", "true"),
    ("override_path", "false"),
    ("dial_timeout", "'2s'"),
    ("header.x-text", '"""\n[host."https://not.a.host"]\n# \\"" "quoted"""""'),
    ("header.x-literal", "'''[host.'no']\n'' ''''"),
    ("weight", "nan"),
]


@dataclass(frozen=True)
class Piece:
    """A run of text, and whether it belongs to a copy of the local host."""

    text: str
    is_copy: bool = False


@dataclass(frozen=True)
class Document:
    """A hosts.toml as the runs of text it consists of."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def kept(self) -> str:
        return "".join(piece.text for piece in self.pieces if not piece.is_copy)


def quoted(draw: st.DrawFn, name: str) -> str:
    """Spell a key in one of the ways TOML has for it."""
    spellings = [f'"{name}"', f"'{name}'", f'"\\u{ord(name[0]):04x}{name[1:]}"']
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        spellings.append(name)
    return draw(st.sampled_from(spellings))


def fields(draw: st.DrawFn, *, one_line: bool = False) -> list[tuple[str, str]]:
    drawn = draw(st.lists(st.sampled_from(FIELDS), max_size=3, unique_by=lambda field: field[0]))
    return [field for field in drawn if not one_line or "\n" not in field[1]]


def dot(draw: st.DrawFn) -> str:
    return draw(st.sampled_from([".", ".", " . ", "\t."]))


def line(draw: st.DrawFn, text: str) -> str:
    indentation = draw(st.sampled_from(["", "", "  ", "\t"]))
    ending = draw(st.sampled_from(["", "", "  ", ' # [host."https://no"] "'])) + "\n"
    return indentation + text + ending


def inline_table(draw: st.DrawFn) -> str:
    return "{ " + ", ".join(f"{key} = {value}" for key, value in fields(draw, one_line=True)) + " }"


def filler(draw: st.DrawFn) -> Piece:
    return Piece(draw(st.sampled_from(["", "", "\n", " \t\n", "# a comment\n", '\n# ["\n  # [host]\n'])))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Draw a hosts.toml that mixes the spellings of hosts as far as TOML lets them be mixed."""
    copies = draw(st.lists(st.sampled_from(COPIES), max_size=3, unique=True))
    others = draw(st.lists(st.sampled_from(OTHERS), max_size=4, unique=True))
    names = draw(st.permutations(copies + others))
    root = [Piece(line(draw, 'server = "https://registry.example"'))] if draw(st.booleans()) else []
    sections: list[list[Piece]] = [[Piece("[header]\nx = 'y'\n")]] if draw(st.booleans()) else []

    match draw(st.sampled_from(["headers", "root keys", "host table", "inline"])):
        case "inline":
            root.insert(draw(st.integers(0, len(root))), Piece(""))
            entries = [(name, f"{quoted(draw, name)} = {inline_table(draw)}") for name in names]
            root += [Piece("host = { "), *separated(entries, copies), Piece(" } # all of them\n")]
        case mode:
            in_host: list[Piece] = []
            for name in names:
                is_copy = name in copies
                in_section = draw(st.booleans()) or mode == "headers"
                prefix = "host" + dot(draw) if mode == "root keys" else ""
                if in_section:
                    sections += tables(draw, name, is_copy=is_copy)
                elif draw(st.booleans()):
                    key = prefix + quoted(draw, name)
                    in_host.append(Piece(line(draw, f"{key} = {inline_table(draw)}"), is_copy))
                else:
                    for field, value in fields(draw) or [FIELDS[0]]:
                        key = prefix + quoted(draw, name) + dot(draw) + field
                        in_host += [Piece(line(draw, f"{key} = {value}"), is_copy), filler(draw)]
            if mode == "root keys":
                root = in_host + root if draw(st.booleans()) else root + in_host
            elif mode == "host table":
                sections.append([Piece(line(draw, "[host]")), *in_host])

    pieces = [filler(draw), *root]
    for section in draw(st.permutations(sections)):
        pieces += [filler(draw), *section]
    pieces.append(filler(draw))
    if draw(st.booleans()):
        last = next((i for i in reversed(range(len(pieces))) if pieces[i].text), 0)
        pieces[last] = Piece(pieces[last].text.removesuffix("\n"), pieces[last].is_copy)
    if draw(st.booleans()):
        pieces = [Piece(piece.text.replace("\n", "\r\n"), piece.is_copy) for piece in pieces]
    if draw(st.booleans()):
        pieces.insert(0, Piece("\ufeff"))
    return Document(tuple(pieces))


def separated(entries: list[tuple[str, str]], copies: list[str]) -> list[Piece]:
    """Join the entries of an inline table so that each comma belongs to the entry it would go with."""
    pieces: list[Piece] = []
    kept_before = False
    for index, (name, text) in enumerate(entries):
        is_copy = name in copies
        if kept_before:
            pieces.append(Piece(", " + text, is_copy))
        else:
            comma = ", " if index + 1 < len(entries) else ""
            pieces.append(Piece(text + comma if is_copy else text, is_copy))
        kept_before = kept_before or not is_copy
    return pieces


def tables(draw: st.DrawFn, name: str, *, is_copy: bool) -> list[list[Piece]]:
    """A host as a table, as a table with a sub-table anywhere in the document, or as a sub-table alone."""

    def section(suffix: str, body: list[tuple[str, str]]) -> list[Piece]:
        key = "host" + dot(draw) + quoted(draw, name) + suffix
        pieces = [Piece(line(draw, f"[{draw(st.sampled_from(['', ' ']))}{key}]"), is_copy)]
        for field, value in body:
            pieces += [filler(draw), Piece(line(draw, f"{field} = {value}"), is_copy)]
        return pieces

    with_table, with_sub_table = draw(st.sampled_from([(True, False), (True, True), (False, True)]))
    body = [field for field in fields(draw) if not with_sub_table or not field[0].startswith("header.")]
    found = [section("", body)] if with_table else []
    if with_sub_table:
        found.append(section(dot(draw) + "header", [("Authorization", '["Basic x"]')]))
    return found


def hosts_of(text: str) -> dict[str, Any]:
    hosts: dict[str, Any] = tomllib.loads(text.removeprefix("\ufeff")).get("host", {})
    return hosts


def without_local_host(text: str) -> str:
    """Everything a document says, apart from the local host (as a text, since NaN is not equal to itself)."""
    content = tomllib.loads(text.removeprefix("\ufeff"))
    hosts = [item for item in content.pop("host", {}).items() if item[0] not in COPIES]
    return repr((hosts, sorted(content.items())))


def first_header(text: str) -> str | None:
    """The host that containerd 2 asks first: that of the first header of a host."""
    outside_strings = re.sub(r"\"\"\".*?\"{3,5}|'''.*?'{3,5}", "", text, flags=re.DOTALL)
    for header in re.finditer(
        r"(?m)^[ \t]*\[ *host[ \t]*\.([^\n]*)\]", outside_strings.removeprefix("\ufeff")
    ):
        part = re.match(r"""\s*("[^"]*"|'[^']*'|[\w-]+)""", header[1])
        assert part
        return next(iter(tomllib.loads(f"{part[1]} = 0")))
    return None


def test_the_grammar_reaches_the_spellings_it_is_for() -> None:
    assert first_header("x = '''\n[host.a]'''\n[host]\n [ host . \"\\u0062\" .header] # ]\n") == "b"


@given(documents())
def test_the_local_host_is_first_and_every_other_host_says_the_same(document: Document) -> None:
    result = prepend(document.text, LOCAL)

    hosts = hosts_of(result)
    assert next(iter(hosts)) == LOCAL.url
    assert set(hosts) & set(COPIES) == {LOCAL.url}
    assert hosts[LOCAL.url].pop("header", {}) == {}
    assert hosts[LOCAL.url] == {"capabilities": ["pull", "resolve"]}
    assert without_local_host(result) == without_local_host(document.text)
    assert first_header(result) in (LOCAL.url, None)


@given(documents())
def test_every_other_byte_survives(document: Document) -> None:
    result = prepend(document.text, LOCAL)

    if result == document.text:
        return
    newline = "\r\n" if "\r\n" in result else "\n"
    inserted = [
        *(before + TABLE + after for before in ("", "\n", "\n\n") for after in ("", "\n")),
        DOTTED,
        ENTRY,
        ENTRY + ",",
    ]
    candidates = [result.replace(piece.replace("\n", newline), "", 1) for piece in inserted]
    candidates += [text.replace(HEADER.replace("\n", newline), "", 1) for text in candidates]
    assert document.kept in candidates


@given(documents())
def test_a_second_time_changes_nothing(document: Document) -> None:
    result = prepend(document.text, LOCAL)
    assert prepend(result, LOCAL) is result


@given(documents())
def test_another_parser_of_toml_reads_the_result_alike(document: Document) -> None:
    result = prepend(document.text, LOCAL).removeprefix("\ufeff")
    parsed = tomlkit.parse(result)
    assert parsed.as_string() == result
    # tomllib turns the line breaks within strings into LF.
    assert repr(parsed.unwrap()["host"]).replace(r"\r\n", r"\n") == repr(hosts_of(result))


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A document in which a run of text was replaced by another one."""
    text = draw(documents()).text
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 8)))
    return text[:start] + draw(st.text("\"'#[]{}.=,\n\r \\hostab1", max_size=4)) + text[end:]


@given(st.one_of(damaged(), st.text("\"'#[]{}.=,\n\r \\hostab1-:\ufeff", max_size=40), st.text()))
@settings(max_examples=300)
def test_any_text_is_edited_rightly_or_refused(text: str) -> None:
    try:
        result = prepend(text, LOCAL)
    except HostsTomlError as error:
        refused = error
    else:
        assert next(iter(hosts_of(result))) == LOCAL.url
        assert without_local_host(result) == without_local_host(text)
        assert prepend(result, LOCAL) is result
        return
    lines = text.split("\n")
    assert 1 <= refused.line <= len(lines)
    assert 1 <= refused.column <= len(lines[refused.line - 1]) + 1
    assert refused.reason
