"""What may be given away by its digest alone, where filters are set.

A request names an image, and filters judge that name; but content can be asked for under any name, or under
none. So content that comes from images that are filtered out, and from no others, is not given away, except
to those who name one of its images by a name that passes. (What stores note of content's origin lacks the
registry's port, without which an expression may judge otherwise.)
"""

from __future__ import annotations

from collections import OrderedDict

from daemon.oci.digest import Digest
from daemon.oci.filters import Filters, source_of
from daemon.store.base import Store

_REMEMBERED = 4096


class Origins:
    """Judges content by where it comes from. Only what is free for all is remembered."""

    def __init__(self, store: Store, filters: Filters) -> None:
        """Judge content of a store."""
        self._store = store
        self._filters = filters
        self._free: OrderedDict[Digest, None] = OrderedDict()

    async def withhold(self, digest: Digest, registry: str, name: str) -> bool:
        """Tell whether content is to be withheld from who asks for it under a name that passes the filters.

        Raises:
            StoreError: the content is not there (NotFoundError), or the store cannot be asked.
        """
        if digest in self._free:
            self._free.move_to_end(digest)
            return False
        sources = await self._store.sources(digest)
        if sources and all(map(self._filters.excludes_source, sources)):
            return source_of(registry, name) not in sources
        if sources:  # without any, they may just not have been noted yet
            self._free[digest] = None
            if len(self._free) > _REMEMBERED:
                self._free.popitem(last=False)
        return False
