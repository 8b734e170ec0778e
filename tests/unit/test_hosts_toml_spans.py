"""Where the expressions of a TOML document stand, TOML 1.1 included (tomllib of Python 3.15 reads it)."""

from webhook.mutation.toml_spans import expressions, inline_entries

TEXT = """\
# a comment = 1
a = "x" # = y
[ b . "c.d" ] # header
  e.f = [ # [
    ']', "#",
  ]
[[g]]
h = '''
[i]
''''
"""

INLINE = """\
a = { # one
  b = { c = ["}"] }, # two
  'd'.e = '',
}
"""


def test_expressions_have_absolute_keys_and_whole_lines() -> None:
    found = [(e.key, e.is_header, TEXT[e.start : e.end]) for e in expressions(TEXT)]
    assert found == [
        (("a",), False, 'a = "x" # = y\n'),
        (("b", "c.d"), True, '[ b . "c.d" ] # header\n'),
        (("b", "c.d", "e", "f"), False, "  e.f = [ # [\n    ']', \"#\",\n  ]\n"),
        (("g",), True, "[[g]]\n"),
        (("g", "h"), False, "h = '''\n[i]\n''''\n"),
    ]


def test_the_last_line_may_be_unterminated() -> None:
    for text in ("[a]", "[a] # b", "a = 1", "a = 1 # b", 'a = """\nb"""'):
        (expression,) = expressions(text)
        assert (expression.start, expression.end) == (0, len(text))


def test_entries_of_an_inline_table_end_with_their_value() -> None:
    (table,) = expressions(INLINE)
    found = [(e.key, INLINE[e.start : e.end], INLINE[e.value : e.end]) for e in inline_entries(INLINE, table)]
    assert found == [
        (("a", "b"), 'b = { c = ["}"] }', '{ c = ["}"] }'),
        (("a", "d", "e"), "'d'.e = ''", "''"),
    ]
