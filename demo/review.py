"""An OperatingSystemConfig from a file is put before the webhook, and a person sees what it makes of it."""

from __future__ import annotations

import re
from typing import Any

import jsonpatch

import documents
from demo.admission import Answer, ApiServerClient
from demo.errors import DemoError
from demo.report import Report, faint
from webhook.diff import render

_CHANGE = re.compile(r"^([+~-]) spec\.(?:criConfig\.containerd\.)?(\w+)\[\d+\]  (.*)$", re.MULTILINE)
"""The head of a change, as webhook.diff writes it."""
_MEANING = {
    "registries": "the node's own cache is asked first; _default: whatever has no entry",
    "plugins": "containerd keeps packed layers, since others may ask for them",
    "files": "the cache, its certificate for the bootstrapper, a forwarder of figures",
    "units": "run them",
}


def operating_system_config(file: str) -> dict[str, Any]:
    """Read an OperatingSystemConfig, or an AdmissionReview that holds one.

    Raises:
        DemoError: the file holds neither.
        documents.DocumentError: it cannot be read.
    """
    document = documents.read(file)
    match document:
        case {"kind": "AdmissionReview", "request": {"object": dict(reviewed)}}:
            document = reviewed
    match document:
        case {"kind": "OperatingSystemConfig", "metadata": {"name": str(), "namespace": str()}}:
            osc: dict[str, Any] = document
            return osc
    raise DemoError(f"{file}: not an OperatingSystemConfig with name and namespace")


async def admit(
    report: Report, client: ApiServerClient, osc: dict[str, Any], *, diff: bool
) -> dict[str, Any]:
    """Let the webhook see an OperatingSystemConfig, as an API server does; return it as it is afterwards.

    Raises:
        DemoError: the webhook does not allow it, or is not content with its own result.
    """
    report.step("The webhook changes what the Shoot's nodes will run")
    metadata = osc["metadata"]
    report.line("question", f"UPDATE OperatingSystemConfig {metadata['namespace']}/{metadata['name']}")
    answer = await client.ask(osc)
    _show_answer(report, "answer", answer)
    if not answer.allowed:
        raise DemoError("the webhook did not allow the request")
    try:
        after: dict[str, Any] = jsonpatch.apply_patch(osc, answer.patch)
    except jsonpatch.JsonPatchException as error:
        raise DemoError(f"the webhook's patch cannot be applied: {error}") from error
    if diff:
        report.plain(render(osc, after, color=report.color))
    else:
        changes = _CHANGE.findall(render(osc, after, color=False))
        for kind, meaning in _MEANING.items():
            signs = {
                sign: [name for one, where, name in changes if (one, where) == (sign, kind)] for sign in "~+-"
            }
            if lines := [f"{sign} {', '.join(names)}" for sign, names in signs.items() if names]:
                report.line(kind, *lines, faint(meaning))
    again = await client.ask(after)
    _show_answer(report, "asked again", again)
    if not again.allowed or again.patch:
        raise DemoError("the webhook's second patch should be empty")
    return after


def _show_answer(report: Report, label: str, answer: Answer) -> None:
    verdict = "allowed" if answer.allowed else f"denied: {answer.message}"
    patch = f"JSON patch of {len(answer.patch)} operations, {answer.patch_bytes:,} bytes"
    report.line(label, f"{verdict}; {patch if answer.patch else 'no patch'}; {answer.milliseconds:.1f} ms")
    for warning in answer.warnings:
        report.line("warning", warning)
