"""A heap of items whose keys grow while they are in it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Generic, TypeVar

__all__ = ["LazyHeap"]

T = TypeVar("T")

#: Entries before it is looked through which are outdated.
_PRUNE = 64


class LazyHeap(Generic[T]):
    """Finds the item with the least key; logarithmic in the items, on average over all calls.

    An item whose key has grown moves when it comes to the top. One whose key has become less must be pushed again.

    Args:
        key: of an item now, different for different items; None if it is in the heap no more.
    """

    def __init__(self, key: Callable[[T], tuple[Any, ...] | None]) -> None:
        self._key = key
        self._heap: list[tuple[tuple[Any, ...], T]] = []
        self._prune_at = _PRUNE

    def __len__(self) -> int:
        """Entries, outdated ones included."""
        return len(self._heap)

    def push(self, item: T) -> None:
        """`item` is in the heap; it may be already. Its key must not be None."""
        key = self._key(item)
        assert key is not None, "only what has a key is in the heap"
        heappush(self._heap, (key, item))
        if len(self._heap) >= self._prune_at:
            self._prune()

    def first(self) -> T | None:
        """The item with the least key; None if there is none."""
        heap = self._heap
        while heap:
            then, item = heap[0]
            now = self._key(item)
            if now is None:
                heappop(heap)
            elif now != then:
                heapreplace(heap, (now, item))
            else:
                return item
        return None

    def pop(self) -> None:
        """Takes out the entry of the item that `first` has just returned."""
        heappop(self._heap)

    def _prune(self) -> None:
        current = {key: item for _, item in self._heap if (key := self._key(item)) is not None}
        self._heap = list(current.items())
        heapify(self._heap)
        self._prune_at = max(_PRUNE, 2 * len(self._heap))
