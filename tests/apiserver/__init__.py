"""An in-memory Kubernetes API server, as far as controllers and watchers can tell.

What it has: discovery; get, list with paging and selectors, watch with bookmarks, create, update, merge
patch, JSON patch and server-side apply with field ownership, the status subresource, delete with finalizers;
resource versions, generations, uids; 404, 409, 410, 415, 422 as the real one answers them. What it has not:
schemas, admission, defaults, garbage collection by owner, RBAC. kubectl and Helm work with it. It can break
on request, see ``server.ApiServer``. ``python -m tests.apiserver`` runs it alone.
"""

from tests.apiserver.resources import Resource
from tests.apiserver.server import ApiServer, Request
from tests.apiserver.status import RefusedError
from tests.apiserver.store import Object, Store

__all__ = ["ApiServer", "Object", "RefusedError", "Request", "Resource", "Store"]
