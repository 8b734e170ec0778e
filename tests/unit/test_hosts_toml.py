"""The local host comes first in a hosts.toml: one example for every way the file can be written."""

import tomllib

import pytest

from webhook.mutation.hosts_toml import HostsTomlError, prepend
from webhook.mutation.model import LocalHost

LOCAL = LocalHost("http://localhost:5000", ("pull", "resolve"))
TABLE = '[host."http://localhost:5000"]\ncapabilities = ["pull", "resolve"]\n'
DOTTED = 'host."http://localhost:5000".capabilities = ["pull", "resolve"]\n'
ENTRY = '"http://localhost:5000" = { capabilities = ["pull", "resolve"] }'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", TABLE, id="empty"),
        pytest.param("# none yet\n", f"# none yet\n\n{TABLE}", id="only-a-comment"),
        pytest.param('server = "https://a"\n', f'server = "https://a"\n\n{TABLE}', id="only-server"),
        pytest.param('server = "https://a"', f'server = "https://a"\n\n{TABLE}', id="no-newline-at-the-end"),
        pytest.param(
            'server = "https://a"\n[header]\nx = "y"\n',
            f'server = "https://a"\n[header]\nx = "y"\n\n{TABLE}',
            id="root-header-table",
        ),
        pytest.param("\ufeff", f"\ufeff{TABLE}", id="byte-order-mark-alone"),
    ],
)
def test_without_hosts_the_local_host_is_appended(before: str, after: str) -> None:
    assert prepend(before, LOCAL) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            'server = "https://a"\n\n[host."https://a"]\n  ca = "a.crt" # why\n',
            f'server = "https://a"\n\n{TABLE}\n[host."https://a"]\n  ca = "a.crt" # why\n',
            id="table",
        ),
        pytest.param("[host.'https://a']\n", f"{TABLE}\n[host.'https://a']\n", id="single-quotes"),
        pytest.param('["host"."https://a"]\n', f'{TABLE}\n["host"."https://a"]\n', id="quoted-host"),
        pytest.param(
            '  [ host . "https://a" ]\n', f'{TABLE}\n  [ host . "https://a" ]\n', id="spaces-within-the-key"
        ),
        pytest.param("[host.mirror]\n", f"{TABLE}\n[host.mirror]\n", id="bare-key"),
        pytest.param(
            '[host]\n  [host."https://a"]\n', f'{TABLE}\n[host]\n  [host."https://a"]\n', id="sub-tables"
        ),
        pytest.param(
            '[host]\n"https://a".capabilities = ["pull"]\n',
            f'{TABLE}\n[host]\n"https://a".capabilities = ["pull"]\n',
            id="dotted-keys-in-the-host-table",
        ),
        pytest.param(
            '[host]\n"https://a" = { capabilities = ["pull"] }\n',
            f'{TABLE}\n[host]\n"https://a" = {{ capabilities = ["pull"] }}\n',
            id="inline-tables-in-the-host-table",
        ),
        pytest.param(
            '[header]\nx = "y"\n\n[host."https://a"]\n',
            f'[header]\nx = "y"\n\n{TABLE}\n[host."https://a"]\n',
            id="after-another-table",
        ),
        pytest.param(
            '[host."https://a".header]\nx = "y"\n[host."https://b"]\n[host."https://a"]\n',
            f'{TABLE}\n[host."https://a".header]\nx = "y"\n[host."https://b"]\n[host."https://a"]\n',
            id="sub-table-before-its-table",
        ),
        pytest.param(
            'x = """\n[host."https://no"]\n"""\n[host."https://a"]\n',
            f'x = """\n[host."https://no"]\n"""\n{TABLE}\n[host."https://a"]\n',
            id="header-within-a-string",
        ),
        pytest.param(
            'server = "https://a"\n\n# mirror a\n# is near\n[host."https://a"]\n',
            f'server = "https://a"\n\n{TABLE}\n# mirror a\n# is near\n[host."https://a"]\n',
            id="comment-stays-with-its-host",
        ),
        pytest.param(
            '# managed by someone\n[host."https://a"]\n',
            f'# managed by someone\n{TABLE}\n[host."https://a"]\n',
            id="comment-that-opens-the-file-stays-there",
        ),
        pytest.param(
            'server = "https://a"\r\n[host."https://a"]\r\n',
            'server = "https://a"\r\n' + TABLE.replace("\n", "\r\n") + '\r\n[host."https://a"]\r\n',
            id="crlf",
        ),
        pytest.param(
            '\ufeff[host."https://a"]\n', f'\ufeff{TABLE}\n[host."https://a"]\n', id="byte-order-mark"
        ),
        pytest.param('[host."https://a"]', f'{TABLE}\n[host."https://a"]', id="no-newline-at-the-end"),
    ],
)
def test_a_table_goes_above_the_first_table_of_a_host(before: str, after: str) -> None:
    assert prepend(before, LOCAL) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            'host."https://a".ca = "c"\nserver = "https://b"\n',
            f'{DOTTED}host."https://a".ca = "c"\nserver = "https://b"\n',
            id="dotted-key",
        ),
        pytest.param(
            'server = "https://b"\nhost.\'https://a\' = { ca = "c" }',
            f'server = "https://b"\n{DOTTED}host.\'https://a\' = {{ ca = "c" }}',
            id="dotted-key-of-an-inline-table",
        ),
        pytest.param("host = {}\n", f"host = {{ {ENTRY}}}\n", id="empty-inline-table"),
        pytest.param(
            'host = { "https://a" = { ca = "c" } } # all\n',
            f'host = {{ {ENTRY}, "https://a" = {{ ca = "c" }} }} # all\n',
            id="inline-table",
        ),
    ],
)
def test_hosts_at_the_root_are_joined_in_their_own_form(before: str, after: str) -> None:
    assert prepend(before, LOCAL) == after


def test_beside_hosts_with_a_header_containerd_2_needs_a_header_too() -> None:
    before = 'host."https://a".ca = "c"\n[host."https://b"]\n'
    header = '[host."http://localhost:5000".header]\n\n'
    assert prepend(before, LOCAL) == f'{DOTTED}host."https://a".ca = "c"\n{header}[host."https://b"]\n'


@pytest.mark.parametrize(
    "name",
    [
        '"http://localhost:5000"',
        "'http://localhost:5000'",
        '"HTTP://LOCALHOST:5000"',
        '"http://localhost:5000/"',
        r'"\u0068ttp://localhost:5000"',
        r'"http:\U0000002f\u002flocalhost:5000"',
    ],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[host."https://a"]\n[host.{name}]\nca = "x"\n', '{table}\n[host."https://a"]\n'),
        pytest.param(
            '[host."https://a"]\n# kept\n [ host . {name} ] # cut\n ca = [ # cut\n "x",\n ]\n\n'
            '[host.{name}.header]\nx = """\n[host."https://b"]"""\n[host."https://c"]\n',
            '{table}\n[host."https://a"]\n# kept\n\n[host."https://c"]\n',
        ),
        (
            '[host.{name}.header]\nx = "y"\n[host."https://a"]\n[host.{name}]\nca = "x"\n',
            '{table}[host."https://a"]\n',
        ),
        (
            '[host]\n"https://a" = {{}}\n{name} = {{ ca = "x" }}\n',
            '{table}\n[host]\n"https://a" = {{}}\n',
        ),
        (
            '[host]\n{name}.ca = "x"\n{name}.header.x = "y"\n"https://a".ca = "x"',
            '{table}\n[host]\n"https://a".ca = "x"',
        ),
        (
            'host."https://a".ca = "x"\nhost.{name}.ca = "x"\nserver = "https://b"\n[host.{name}.header]\n',
            '{dotted}host."https://a".ca = "x"\nserver = "https://b"\n',
        ),
        ('host.{name} = {{ ca = "x" }}\nserver = "https://b"\n', 'server = "https://b"\n\n{table}'),
        ('host = {{ {name} = {{}}, "https://a" = {{}} }}\n', 'host = {{ {entry}, "https://a" = {{}} }}\n'),
        ('host = {{ "https://a" = {{}}, {name} = {{}} }}\n', 'host = {{ {entry}, "https://a" = {{}} }}\n'),
        (
            'host = {{"https://a".ca = "x",{name}.ca="x",{name}.header={{}},"https://b"={{}}}}',
            'host = {{ {entry},"https://a".ca = "x","https://b"={{}}}}',
        ),
        ("host = {{{name} = {{ ca = [\n] }}}}\n", "host = {{ {entry}}}\n"),
        (
            '[[host.{name}.list]]\nx = 1\n[[host.{name}.list]]\n[host."https://a"]',
            '{table}[host."https://a"]',
        ),
    ],
)
def test_a_copy_of_the_local_host_is_cut_out(name: str, before: str, after: str) -> None:
    expected = after.format(table=TABLE, dotted=DOTTED, entry=ENTRY)
    assert prepend(before.format(name=name), LOCAL) == expected


def test_a_default_port_equals_none() -> None:
    host = LocalHost("http://localhost:80", ("pull",))
    before = '[host."https://a"]\n[host."http://localhost"]\n[host."http://localhost:80/"]\n'
    assert list(tomllib.loads(prepend(before, host))["host"]) == ["http://localhost:80", "https://a"]


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:6000",
        "http://127.0.0.1:5000",
        "https://localhost:5000",
        "localhost:5000",
        "http://localhost:5000/mirror",
        "http://[::1",
        "",
    ],
)
def test_another_host_is_left_alone(url: str) -> None:
    before = f'[host."{url}"]\ncapabilities = ["pull"]\n'
    assert prepend(before, LOCAL) == f"{TABLE}\n{before}"


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        f'# mine\n\n{TABLE}[host."https://a"]\n',
        "[ host . 'http://localhost:5000' ] # first\ncapabilities = [ \"pull\", 'resolve', ]",
        f'{TABLE}[host]\n"https://a" = {{}}\n',
        f'[host]\n{ENTRY}\n"https://a" = {{}}\n',
        '[host]\n"http://localhost:5000".capabilities = ["pull", "resolve"]\n"https://a".ca = "x"\n',
        f'{DOTTED}host."https://a".ca = "x"\n',
        f'{DOTTED}host."https://a".ca = "x"\n[host."http://localhost:5000".header]\n[host."https://b"]\n',
        f'host = {{{ENTRY}, "https://a" = {{}}}}\n',
        f"\ufeff{TABLE}".replace("\n", "\r\n"),
    ],
)
def test_a_file_that_says_it_already_is_unchanged(text: str) -> None:
    assert prepend(text, LOCAL) is text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            '# top\n[host."http://localhost:5000"]\ncapabilities = ["pull"]\n\n[host."https://a"]\n',
            f'# top\n{TABLE}\n[host."https://a"]\n',
            id="capability-missing",
        ),
        pytest.param(
            f'{TABLE}skip_verify = true\n\n[host."https://a"]\n', f'{TABLE}\n[host."https://a"]\n', id="field"
        ),
        pytest.param(
            f'{TABLE}[host."http://localhost:5000".header]\nx = "y"\n', TABLE, id="field-in-a-sub-table"
        ),
        pytest.param(
            '[host."HTTP://localhost:5000"]\ncapabilities = ["pull", "resolve"]\n', TABLE, id="upper-case"
        ),
        pytest.param(f'{TABLE}\n[host."http://localhost:5000/"]\n', f"{TABLE}\n", id="another-copy"),
        pytest.param(
            f'[host]\n{ENTRY}\n[host."https://a"]\n',
            f'{TABLE}\n[host]\n[host."https://a"]\n',
            id="without-header",
        ),
    ],
)
def test_a_local_host_that_is_first_but_says_otherwise_is_put_right(before: str, after: str) -> None:
    assert prepend(before, LOCAL) == after


def test_capabilities_are_those_of_the_host() -> None:
    pull_only = LocalHost("http://localhost:5000", ("pull",))
    assert prepend(TABLE, pull_only) == '[host."http://localhost:5000"]\ncapabilities = ["pull"]\n'


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("server = 'x'\n[host\n", 2, 6, "Expected ']' at the end of a table declaration"),
        ("\ufeffserver = x", 1, 10, "Invalid value"),
        ("a = 1\r\na = 2\r\n", 2, 6, "Cannot overwrite a value"),
        ('a = 1\nb = """', 2, 8, "Unterminated string"),
        ("a = " + "[" * 100_000, 1, 1, "nested too deeply"),
        ("b = 1\na" + ".a" * 200 + " = 1", 2, 1, "a key of more than 200 parts"),
        ("a = " + "9" * 5_000, 1, 1, "an integer has too many digits"),
        ("host = 3\n", 1, 1, "host must be a table"),
        ("server = 'x'\n[[host]]\n", 2, 1, "host must be a table"),
        ("[host]\n  a = 3\n", 2, 3, "host 'a' must be a table"),
        ("host = { a = 3 }\n", 1, 1, "host 'a' must be a table"),
        ('[[host."http://localhost:5000"]]\n', 1, 1, "host 'http://localhost:5000' must be a table"),
        ('[host."https://a"]\n[host."https://a"]\n', 2, 18, "Cannot declare"),
    ],
)
def test_what_is_no_hosts_toml_is_refused_with_its_place(
    text: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(HostsTomlError) as caught:
        prepend(text, LOCAL)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert caught.value.reason.startswith(reason)
    assert str(caught.value) == f"line {line}, column {column}: {caught.value.reason}"
