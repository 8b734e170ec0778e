"""A small cache in front of reads that cost a round trip.

The worker pools of a shoot are written within one second, so their admissions arrive together: the
first one reads, those that come meanwhile wait for its result (single flight), those that come
within the next seconds find it here. A failure goes to all that waited for it and is not kept.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Values by key, read when asked for, kept for a time; safe to use from many threads."""

    def __init__(
        self,
        read: Callable[[str], Value],
        *,
        seconds: float,
        size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep at most ``size`` values, the least recently used go first; each for ``seconds``, 0 for not."""
        self._read = read
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[float, Value]] = OrderedDict()
        self._flights: dict[str, Future[Value]] = {}

    def get(self, key: str) -> Value:
        """Return the value; raises what reading it raises."""
        with self._lock:
            now = self._clock()
            entry = self._values.get(key)
            if entry is not None and now < entry[0]:
                self._values.move_to_end(key)
                return entry[1]
            flight = self._flights.get(key)
            if flight is None:
                ours = self._flights[key] = Future()
        if flight is not None:
            return flight.result()
        return self._lead(key, ours, until=now + self._seconds)

    def _lead(self, key: str, flight: Future[Value], *, until: float) -> Value:
        try:
            value = self._read(key)
        except BaseException as error:
            self._land(key)
            # What ends this thread must not end the others.
            ordinary = isinstance(error, Exception)
            flight.set_exception(error if ordinary else RuntimeError("the read was interrupted"))
            raise
        self._land(key, (until, value))
        flight.set_result(value)
        return value

    def _land(self, key: str, entry: tuple[float, Value] | None = None) -> None:
        with self._lock:
            del self._flights[key]
            self._values.pop(key, None)
            if entry is not None and self._seconds > 0:
                self._values[key] = entry
                if len(self._values) > self._size:
                    self._values.popitem(last=False)
