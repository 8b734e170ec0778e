"""The Flask application: HTTP around the decisions of webhook.admission."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from flask import Flask, request
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    InternalServerError,
    RequestEntityTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from werkzeug.wrappers import Response

from serving import figures
from webhook.admission import mutating, review, validating
from webhook.admission.review import Decision, Request, ReviewError
from webhook.context.cache import Cache
from webhook.context.landscape import Landscape, LandscapeError
from webhook.context.resolve import ContextError, Resolved, Skip, resolve
from webhook.server import metrics
from webhook.settings import ServerSettings

_CACHED_SHOOTS = 1024  # a seed holds a few hundred; what is kept of each is small
_READY_SECONDS = 1.0
_UNEXPECTED = "registry-spegel met an unexpected error; the log of its webhook says which"

_log = logging.getLogger("webhook")


def create_app(settings: ServerSettings, landscape: Landscape, check_ready: Callable[[], None]) -> Flask:
    """Make the WSGI application.

    Args:
        settings: of which the limits, the cache and the program for the nodes matter here.
        landscape: where the objects of a shoot are read.
        check_ready: returns when the API server answers, else raises LandscapeError.
    """
    app = Flask("webhook", static_folder=None)
    # One more than the limit: of a body of unknown length Flask cuts off what is beyond without a word.
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes + 1
    program = settings.program

    def read(namespace: str) -> Resolved | Skip:
        outcome = "failed"
        try:
            context = resolve(landscape, namespace, program)
            outcome = "resolved" if isinstance(context, Resolved) else "skipped"
        except ContextError:
            outcome = "unusable"
            raise
        else:
            return context
        finally:
            metrics.CONTEXT_READS.labels(outcome).inc()

    contexts = Cache(read, seconds=settings.cache_seconds, size=_CACHED_SHOOTS)
    readiness = Cache(lambda _: check_ready(), seconds=_READY_SECONDS, size=1)

    @app.post("/webhooks/registry-spegel")
    def registry_spegel() -> Response:
        return _admission("registry-spegel", lambda asked: mutating.decide(asked, contexts.get))

    @app.post("/webhooks/validate-shoot")
    def validate_shoot() -> Response:
        return _admission("validate-shoot", validating.decide)

    @app.get("/healthz")
    def healthz() -> Response:
        return _text("ok")

    @app.get("/readyz")
    def readyz() -> Response:
        try:
            readiness.get("")
        except LandscapeError as error:
            raise ServiceUnavailable(str(error)) from error
        return _text("ok")

    @app.get("/metrics")
    def exposition() -> Response:
        body, content_type = figures.exposition(request.headers.get("Accept", ""))
        return Response(body, content_type=content_type)

    app.register_error_handler(HTTPException, _one_line)
    return app


def _admission(webhook: str, decide: Callable[[Request], Decision]) -> Response:
    started = time.perf_counter()
    asked: Request | None = None
    try:
        asked = review.parse(_body())
        decision = decide(asked)
        uid = asked.uid
    except ReviewError as error:
        if error.uid is None:
            _record(webhook, None, Decision.deny(str(error), code=400), started)
            raise BadRequest(str(error)) from error
        decision, uid = Decision.deny(str(error), code=400), error.uid
    except HTTPException as error:
        _record(webhook, None, Decision.deny(str(error.description), code=400), started)
        raise
    except Exception as error:
        # Whatever it is, the caller gets an answer that can be shown, and the log has the rest.
        _log.exception("unexpected error")
        decision = Decision.deny(_UNEXPECTED, code=500)
        if asked is None:
            _record(webhook, None, decision, started)
            raise InternalServerError(_UNEXPECTED) from error
        uid = asked.uid
    body = review.response(uid, decision)
    _record(webhook, asked, decision, started, uid=uid)
    return Response(body, content_type="application/json")


def _body() -> bytes:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("the content type must be application/json")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("the body must not be encoded")
    limit = (request.max_content_length or 0) - 1
    too_large = RequestEntityTooLarge(f"the body is larger than {limit} bytes")
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise too_large from None
    except Exception as error:
        # The server's errors for chunks that are none, a client that went away, one that is too slow.
        raise BadRequest("the body cannot be read to its end") from error
    if len(body) > limit:
        raise too_large
    return body


def _record(
    webhook: str, asked: Request | None, decision: Decision, started: float, *, uid: str | None = None
) -> None:
    duration = time.perf_counter() - started
    metrics.ADMISSIONS.labels(webhook, decision.outcome).inc()
    metrics.DURATION.labels(webhook).observe(duration)
    if decision.patch:
        metrics.PATCH_BYTES.observe(len(decision.patch))
    line: dict[str, object] = {"message": "admission", "webhook": webhook, "outcome": decision.outcome}
    if uid is not None:
        line["uid"] = review.one_line(uid, 64)
    if asked is not None:
        line |= {
            "namespace": review.one_line(asked.namespace, 63),
            "name": review.one_line(asked.name, 253),
            "operation": review.one_line(asked.operation, 16),
        }
    line["duration"] = round(duration, 6)
    if decision.message:
        line["reason"] = review.one_line(decision.message, 1024)
    if decision.warnings:
        line["warnings"] = [review.one_line(warning, 1024) for warning in decision.warnings]
    _log.log(logging.ERROR if decision.outcome == "failed" else logging.INFO, line)


def _text(line: str) -> Response:
    return Response(line + "\n", content_type="text/plain; charset=utf-8")


def _one_line(error: HTTPException) -> Response:
    """Every HTTP error as one line of text, which an API server shows to its user."""
    response = error.get_response(request.environ)
    response.data = review.one_line(str(error.description), 1024).encode() + b"\n"
    response.content_type = "text/plain; charset=utf-8"
    return response
