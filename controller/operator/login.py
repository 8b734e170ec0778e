"""Where the API server is and how to log in there, the same for kopf and for our own client.

kopf's two simple ways are used: the kubeconfig file that KUBECONFIG names, or the pod's service account.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from datetime import UTC, datetime, timedelta

import kopf
from yaml import YAMLError

_log = logging.getLogger(__name__)

# The kubelet renews the file with the token long before the token ends.
_READ_AGAIN_AFTER = timedelta(minutes=5)


class NoApiServerError(Exception):
    """Nothing says where the API server is, or what says so cannot be used."""


def log_in(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Return address and credentials; they are to be read again when they expire.

    Raises:
        NoApiServerError: with what is wrong.
    """
    named = bool(os.environ.get("KUBECONFIG"))
    try:
        info = None if named else kopf.login_with_service_account(settings=settings, logger=_log)
        info = info or kopf.login_with_kubeconfig(settings=settings, logger=_log)
    except (OSError, ValueError, LookupError, AttributeError, TypeError, YAMLError, kopf.LoginError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise NoApiServerError(f"the kubeconfig file cannot be used: {reason}") from error
    if info is None:
        raise NoApiServerError("not in a pod, and no kubeconfig file: set KUBECONFIG")
    return dataclasses.replace(info, expiration=datetime.now(UTC) + _READ_AGAIN_AFTER)
