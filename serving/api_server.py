"""The official Kubernetes client, set up and asked for plain JSON.

The client's models cost more time and memory than the requests, and know nothing of Gardener's kinds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from kubernetes import client, config

if TYPE_CHECKING:
    from collections.abc import Mapping

_REASON_LENGTH = 300

# The client writes certificates that stand in a kubeconfig into files, and removes them when a process ends.
# A process that was forked later has to leave its parent's alone, and to make its own.
os.register_at_fork(after_in_child=config.kube_config._temp_files.clear)  # there is no public way

FAILURES = (urllib3.exceptions.HTTPError, client.ApiException, OSError)
"""What a request raises when it cannot be made or its answer cannot be read."""


class ConfigurationError(Exception):
    """There is no usable configuration for an API server; the message says why."""


def connect(
    kubeconfig: Path | None, *, connections: int = 1, directory: Path | None = None
) -> client.ApiClient:
    """Return a client, which connects when it is first used.

    Address and credentials are read now, and so is a token that the file names.

    Args:
        kubeconfig: the file to take them from; None means those of the pod, and outside of one the file that
            KUBECONFIG names or ~/.kube/config.
        connections: how many are kept open.
        directory: for the certificates that stand in the file, which the client needs as files.

    Raises:
        ConfigurationError: there is no usable configuration.
    """
    if kubeconfig is not None and not kubeconfig.is_file():
        raise ConfigurationError(f"no usable configuration for the API server: {kubeconfig}: no such file")
    settings = client.Configuration()
    try:
        if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(settings)
        else:
            config.load_kube_config(
                kubeconfig and str(kubeconfig),
                client_configuration=settings,
                persist_config=False,
                temp_file_path=directory and str(directory),
            )
    except Exception as error:
        # A malformed file makes the loader raise anything.
        where = kubeconfig or os.environ.get("KUBECONFIG", "this pod, KUBECONFIG or ~/.kube/config")
        raise ConfigurationError(f"no usable configuration for the API server in {where}: {error}") from error
    settings.retries = False
    settings.connection_pool_maxsize = connections
    settings.keep_alive = True  # a server that has gone without a word is noticed
    return client.ApiClient(settings)


def get(
    api: client.ApiClient, path: str, query: Mapping[str, str], timeout: float
) -> urllib3.BaseHTTPResponse:
    """Ask for a path and return the response, whose body has not been read.

    Args:
        api: the client.
        path: of a resource.
        query: its parameters.
        timeout: seconds, for the connection and for each wait on it.

    Raises:
        one of FAILURES: there is no response.
    """
    request = api.param_serialize(
        "GET",
        path,
        query_params=list(query.items()),
        header_params={"Accept": "application/json"},
        auth_settings=["BearerToken"],
    )
    response: urllib3.BaseHTTPResponse = api.call_api(*request, _request_timeout=timeout).response
    return response


def reason(status: Any) -> str:
    """Return the message of a Kubernetes Status."""
    message = status.get("message") if isinstance(status, dict) else None
    return str(message)[:_REASON_LENGTH] if message else "no reason given"


def cause(error: BaseException, timeout: float) -> str:
    """Say what went wrong, without the client's own objects that its messages begin with."""
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # a timeout too, says urllib3
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)) and not refused:
        return f"no answer within {timeout:g} s"
    if isinstance(error, client.ApiException):  # TLS; the last line is OpenSSL's
        text = str(error.reason).splitlines()[-1]
    elif isinstance(error, urllib3.exceptions.HTTPError) and error.args:
        text = str(error.args[0])
    else:
        text = str(error)
    return (text.partition("): ")[2] or text)[:_REASON_LENGTH]
