"""A parser that tells what a browser would make of a page."""

from __future__ import annotations

from html.parser import HTMLParser

ELEMENTS = {
    "html",
    "head",
    "meta",
    "title",
    "link",
    "script",
    "body",
    "header",
    "main",
    "section",
    "div",
    "p",
}
ELEMENTS |= {"h1", "h2", "h3", "dl", "dt", "dd", "form", "label", "input", "button", "a", "code", "span"}
ELEMENTS |= {"table", "thead", "tbody", "tr", "th", "td"}
VOID = {"meta", "link", "input"}


class Outline(HTMLParser):
    """Collects elements, attributes and text, and complains about elements that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")
