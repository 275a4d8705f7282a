from hypothesis import given
from hypothesis import strategies as st

from cutpoint.server.lazy_heap import LazyHeap


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9) | st.none())))
def test_the_first_is_the_least_whatever_the_keys_did(changes: list[tuple[int, int | None]]) -> None:
    keys: dict[int, int] = {}
    heap: LazyHeap[int] = LazyHeap(lambda item: (keys[item], item) if item in keys else None)
    for item, key in changes:
        before = keys.pop(item, None)
        if key is not None:
            keys[item] = key
            if before is None or key < before:
                heap.push(item)
        assert heap.first() == min(keys, key=lambda item: (keys[item], item), default=None)


def test_outdated_entries_do_not_pile_up() -> None:
    here = {-1}
    heap: LazyHeap[int] = LazyHeap(lambda item: (item,) if item in here else None)
    heap.push(-1)  # keeps all others from the top
    for item in range(5000):
        here.add(item)
        heap.push(item)
        here.remove(item)
    assert len(heap) < 100
