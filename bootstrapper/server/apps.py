"""The two Flask applications: one for the nodes, under mTLS, and one for probes and Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask, g, request
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable, TooManyRequests
from werkzeug.wrappers import Response

from bootstrapper.answers import MAX_LIMIT, Answer, Answers
from bootstrapper.publication import Publication
from bootstrapper.server import metrics
from serving import figures

_PATHS = ("/bootstrap-nodes", "/topology")


def nodes_app(publication: Publication, limit: int, admit: Callable[[str], bool]) -> Flask:
    """Make the application that answers nodes.

    Args:
        publication: what to answer.
        limit: how many nodes to name unless the client says.
        admit: says whether a request from an address is answered.
    """
    app = Flask("bootstrapper.nodes", static_folder=None)

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        if not admit(request.remote_addr or ""):
            raise TooManyRequests("too many requests from this address", retry_after=1)

    @app.after_request
    def count(response: Response) -> Response:
        path = request.path if request.path in _PATHS else "other"
        metrics.REQUESTS.labels(path, response.status_code).inc()
        metrics.DURATION.labels(path).observe(time.perf_counter() - g.started)
        return response

    @app.get("/bootstrap-nodes")
    def bootstrap_nodes() -> Response:
        wanted = _limit(request.args.getlist("limit"), limit)
        return _conditional(_answers(publication).nodes(wanted))

    @app.get("/topology")
    def topology() -> Response:
        return _conditional(_answers(publication).topology)

    app.register_error_handler(HTTPException, _one_line)
    return app


def probes_app(publication: Publication, refresh: Callable[[], object]) -> Flask:
    """Make the application for whoever looks after the server.

    Args:
        publication: what is answered.
        refresh: called before figures are given, so that they are those of now.
    """
    app = Flask("bootstrapper.probes", static_folder=None)
    published = metrics.Published(publication)

    @app.get("/healthz")
    def healthz() -> Response:
        return _text("ok")

    @app.get("/readyz")
    def readyz() -> Response:
        _answers(publication)
        return _text("ok")

    @app.get("/metrics")
    def exposition() -> Response:
        refresh()
        body, content_type = figures.exposition(request.headers.get("Accept", ""), published)
        return Response(body, content_type=content_type)

    app.register_error_handler(HTTPException, _one_line)
    return app


def _answers(publication: Publication) -> Answers:
    answers = publication.answers()
    if answers is None:
        raise ServiceUnavailable("the nodes have not been read yet", retry_after=1)
    return answers


def _limit(given: list[str], default: int) -> int:
    if not given:
        return default
    text = given[0]
    if len(given) == 1 and text.isascii() and text.isdecimal() and len(text) <= 9:
        limit = int(text)
        if 1 <= limit <= MAX_LIMIT:
            return limit
    raise BadRequest(f"limit must be one number from 1 to {MAX_LIMIT}")


def _conditional(answer: Answer) -> Response:
    """The answer, or 304 when the client has it already."""
    response = Response(answer.body, content_type="application/json")
    response.set_etag(answer.etag)
    response.headers["Cache-Control"] = "no-cache"  # keep it, and ask whether it is still true
    return response.make_conditional(request.environ)


def _text(line: str) -> Response:
    return Response(line + "\n", content_type="text/plain; charset=utf-8")


def _one_line(error: HTTPException) -> Response:
    """Every HTTP error as one line of text."""
    response = error.get_response(request.environ)
    response.data = f"{error.description}\n".encode()
    response.content_type = "text/plain; charset=utf-8"
    return response
