"""What may be given away by its digest alone, where filters are set.

A request names an image, and filters judge that name; but content can be asked for under any name, or under
none. So what is advertised is given away, since it belongs to an image that passes; and what is not, or not
yet, only when it is from a repository that passes.
"""

from __future__ import annotations

from collections.abc import Callable

from daemon.oci.digest import Digest
from daemon.oci.filters import Filters
from daemon.store.base import Store


class Origins:
    """Judges content by where it comes from."""

    def __init__(self, store: Store, filters: Filters, advertised: Callable[[Digest], bool]) -> None:
        """Judge content of a store; ``advertised`` tells what other nodes can find here."""
        self._store = store
        self._filters = filters
        self.advertised = advertised

    async def withhold(self, digest: Digest) -> bool:
        """Tell whether content is to be withheld, whatever name it is asked for under.

        Raises:
            StoreError: the content is not there (NotFoundError), or the store cannot be asked.
        """
        if self.advertised(digest):
            return False
        return all(map(self._filters.excludes_source, await self._store.sources(digest)))
