"""HTML out of elements: whatever is not itself made here is escaped, so nothing can be forgotten."""

from __future__ import annotations

import html


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | None) -> Html:
    """Return an element with its children; text among them is escaped, as are the attributes' values.

    An underscore behind an attribute's name is left out (``class_``), others become dashes; an attribute
    that is None is left out, too.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def void(name: str, /, **attributes: str) -> Html:
    """Return an element that has no content, such as ``link``."""
    return Html(element(name, **attributes).removesuffix(f"</{name}>"))


def join(*children: str) -> Html:
    """Return children in a row, with nothing around them."""
    return Html("".join(child if isinstance(child, Html) else html.escape(child) for child in children))


def table(headings: list[str], rows: list[list[str]]) -> Html:
    """Return a table; on a phone each row becomes a block, whose cells tell their heading."""
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = (
        element(
            "tr",
            *(
                element("td", element("div", cell), data_label=heading)
                for heading, cell in zip(headings, row, strict=True)
            ),
        )
        for row in rows
    )
    return element("table", element("thead", head), element("tbody", *body))
