"""Error documents of the OCI distribution specification (spec.md, section Error Codes)."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from http import HTTPStatus

MEDIA_TYPE = "application/json"

_JSON = json.JSONEncoder(separators=(",", ":"))
"""Made once: every miss is answered with a document."""


class ErrorCode(enum.StrEnum):
    """The codes that this registry answers with."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNSUPPORTED = "UNSUPPORTED"
    RANGE_INVALID = "RANGE_INVALID"
    """Not in the specification, which names no code for 416; the Docker registry uses this one."""
    UNKNOWN = "UNKNOWN"
    """Not in the specification either; the Docker registry's code for its own failures."""


class OciError(Exception):
    """A request that is answered with an error document."""

    def __init__(
        self,
        status: HTTPStatus,
        code: ErrorCode,
        message: str,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Make the error; ``detail`` holds whatever JSON can say."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail

    def document(self) -> bytes:
        """Return the response body, JSON."""
        error: dict[str, object] = {"code": self.code.value, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return _JSON.encode({"errors": [error]}).encode()
