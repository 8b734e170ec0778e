"""The debug page: values in, HTML out. Nothing here reads a clock, a file or a socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.mirror.history import Record
from daemon.web import text
from daemon.web.html import Html, element, join, table, void
from daemon.web.measurement import Measurement

ROOT = "/debug/web/"
PEERS = 200
"""Rows of the table of peers."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node: this one or a peer."""

    id: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image that is advertised."""

    name: str
    digest: str
    size: int
    """Of what the store has of it, in bytes."""


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the page shows of the node."""

    version: str
    host: str
    """The machine's name."""
    me: Node
    store: str
    """Which store the images are in."""
    ready: bool
    now: float
    """Seconds since 1970."""
    uptime: float
    last_success: float | None
    """When a peer last had what was asked for, in seconds since 1970."""
    peers: Sequence[Node]
    images: Sequence[ImageRow]
    """Some of them, if there are many."""
    image_count: int
    store_error: str | None
    """Why the images cannot be shown."""
    requests: Sequence[Record]
    """The last ones, newest first."""


def overview_page(overview: Overview) -> str:
    """Return the page on the node."""
    return _page(
        overview.host,
        _facts(overview),
        _section("Measure the pull of an image", _form(""), element("div", id="result")),
        _section("Last requests to other nodes", _requests(overview)),
        _section(f"Peers ({len(overview.peers)})", _peers(overview.peers)),
        _section(f"Images ({overview.image_count})", _images(overview)),
    )


def measurement_page(image: str, result: Measurement | str) -> str:
    """Return the page on a measurement, or on why there is none."""
    outcome = element("p", result, class_="problem") if isinstance(result, str) else _measurement(result)
    return _page(
        image,
        _section(
            "Measure the pull of an image",
            _form(image),
            element("div", outcome, id="result"),
            element("p", element("a", "Back to the node", href=ROOT)),
        ),
    )


def _page(title: str, *sections: Html) -> str:
    head = element(
        "head",
        void("meta", charset="utf-8"),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title} - Spegel"),
        void("link", rel="icon", href="data:,"),
        void("link", rel="stylesheet", href=f"{ROOT}page.css"),
        element("script", src=f"{ROOT}page.js", defer=""),
    )
    body = element("body", element("header", element("h1", "Spegel")), element("main", *sections))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _section(title: str, *children: str) -> Html:
    return element("section", element("h2", title), *children)


def _facts(overview: Overview) -> Html:
    success = overview.last_success
    facts = {
        "This node": overview.host,
        "ID": overview.me.id,
        "Addresses": ", ".join(overview.me.addresses) or "none",
        "Ready": "yes" if overview.ready else "no: it knows no other node yet",
        "Last success of a peer": "none yet" if success is None else _ago(overview.now - success),
        "Store": overview.store,
        "Version": overview.version,
        "Up for": text.duration(overview.uptime),
        "Time": f"{text.moment(overview.now)} UTC",
    }
    rows = (join(element("dt", name), element("dd", value)) for name, value in facts.items())
    state = "good" if overview.ready else "waiting"
    return element("section", element("h2", "Node"), element("dl", *rows), class_=state)


def _form(image: str) -> Html:
    label = element("label", "Image", for_="image")
    field = void(
        "input",
        id="image",
        name="image",
        value=image,
        placeholder="docker.io/library/alpine:3.20",
        required="",
        maxlength="512",
        autocapitalize="none",
        spellcheck="false",
    )
    button = element("button", "Measure", type="submit")
    hint = element("p", "Asks this node's registry for all of the image and throws it away.", class_="hint")
    return element("form", label, field, button, hint, action=f"{ROOT}measure", method="get", id="measure")


def _requests(overview: Overview) -> Html:
    if not overview.requests:
        return element("p", "None yet.")
    headings = ["When", "What", "Outcome", "From", "Size", "Took"]
    rows = [
        [
            _ago(overview.now - record.time),
            join(element("code", _what(record)), f" {record.method} {record.kind}"),
            element("span", record.outcome.value, class_=f"outcome {record.outcome.value}"),
            element("code", ", ".join(record.peers)) if record.peers else f"nobody, {record.tried} asked",
            text.size(record.bytes),
            text.duration(record.seconds),
        ]
        for record in overview.requests
    ]
    return table(headings, rows)


def _what(record: Record) -> str:
    separator = "@" if ":" in record.reference else ":"
    return f"{f'{record.registry}/' if record.registry else ''}{record.name}{separator}{record.reference}"


def _peers(peers: Sequence[Node]) -> Html:
    if not peers:
        return element("p", "None: this node is alone.")
    rows = [[element("code", peer.id), ", ".join(peer.addresses)] for peer in peers[:PEERS]]
    return join(table(["ID", "Addresses"], rows), _left_out(len(peers) - PEERS))


def _images(overview: Overview) -> Html:
    if overview.store_error is not None:
        return element("p", f"The store cannot be read: {overview.store_error}", class_="problem")
    if not overview.images:
        return element("p", "None.")
    rows = [
        [element("code", image.name), element("code", image.digest), text.size(image.size)]
        for image in overview.images
    ]
    left_out = _left_out(overview.image_count - len(overview.images))
    return join(table(["Name", "Digest", "Size here"], rows), left_out)


def _left_out(count: int) -> Html:
    return element("p", f"{count} more are not shown.", class_="hint") if count > 0 else Html("")


def _measurement(result: Measurement) -> Html:
    lookups = [
        [element("code", lookup.peer), ", ".join(lookup.addresses), text.duration(lookup.seconds)]
        for lookup in result.lookups
    ]
    pulls = [
        [
            join(element("code", pull.reference), f" {pull.media_type}"),
            text.size(pull.size),
            text.duration(pull.seconds),
            text.rate(pull.size, pull.seconds),
            element("code", pull.source),
        ]
        for pull in result.pulls
    ]
    seconds = sum(pull.seconds for pull in result.pulls)
    size = sum(pull.size for pull in result.pulls)
    total = f"{text.size(size)} in {text.duration(seconds)}, {text.rate(size, seconds)}".rstrip(", ")
    return join(
        element("h3", "Peers that have it"),
        table(["Peer", "Addresses", "Found after"], lookups) if lookups else element("p", "None."),
        element("h3", "Pull"),
        element("p", result.problem, class_="problem") if result.problem else Html(""),
        table(["Content", "Size", "Took", "Rate", "From"], pulls) if pulls else Html(""),
        element("p", total, class_="total"),
    )


def _ago(seconds: float) -> str:
    return f"{text.duration(max(seconds, 0.0))} ago"
