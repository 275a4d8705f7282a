import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tflite import adding_net, packed, schema

from cutpoint.sdk import GraphError
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.runtimes.tflite import ALIGN, join

SIDE = 512
ONES = np.ones((1, SIDE), np.float32)
FILES = {"a.bin": ONES.tobytes(), "b.bin": (2 * ONES).tobytes()}


def _graph(change: Callable[[Any], None] = lambda model: None) -> bytes:
    """Adds the values of both of `FILES` to its input; `change` edits the model before it is written."""
    size = 4 * SIDE
    base = ALIGN
    for _ in range(2):
        model = schema.ModelT.InitFromPackedBuf(adding_net([ONES, 2 * ONES]), 0)
        for number, buffer in enumerate(model.buffers[1:]):
            buffer.data, buffer.offset, buffer.size = None, base + number * size, size
        change(model)
        graph = packed(model)
        graph += bytes(-len(graph) % ALIGN)
        base = len(graph)
    return graph


@pytest.mark.parametrize("runtime", ["litert", "ai-edge-litert", "tflite-runtime"])
def test_weights_follow_the_graph(runtime: str) -> None:
    if runtime == "tflite-runtime":
        pytest.importorskip("tflite_runtime")
    graph = create_runtime(runtime).load(_graph(), FILES)
    (answer,) = graph.run([3 * ONES])
    np.testing.assert_array_equal(answer, 6 * ONES)
    swapped = dict(reversed(FILES.items()))
    assert join(_graph(), swapped) == _graph() + FILES["b.bin"] + FILES["a.bin"]


def test_a_graph_with_weights_of_its_own_is_not_copied() -> None:
    graph = adding_net([ONES])
    assert join(graph, {}) is graph


def test_files_that_are_missing_or_cut_off_are_named() -> None:
    graph = _graph()
    with pytest.raises(
        GraphError, match=rf"up to {len(graph) + 4096}, and with no weights has {len(graph)}: .*incompl"
    ):
        create_runtime("litert").load(graph, {})
    with pytest.raises(GraphError, match=r"with 1 files of weights .* of another graph"):
        join(graph, {"a.bin": FILES["a.bin"]})
    with pytest.raises(GraphError, match=r"b\.bin has 2047 bytes, no multiple of 64"):
        join(graph, FILES | {"b.bin": FILES["b.bin"][:-1]})
    with pytest.raises(GraphError, match=r"the graph has \d+ bytes, no multiple of 64"):
        join(graph + b"x", FILES)


@pytest.mark.parametrize("runtime", ["ai-edge-litert", "tflite-runtime"])
@pytest.mark.parametrize(
    ("offset", "size"),
    [(1 << 40, 2048), (64, 1 << 63), (2**64 - 4096, 8192), (2**64 - 2**40, 2**40 + 4096), (2**64 - 64, 2**64 - 64)],
)
def test_places_outside_are_refused_before_they_are_read(runtime: str, offset: int, size: int) -> None:
    if runtime == "tflite-runtime":
        pytest.importorskip("tflite_runtime")

    def constant(model: Any) -> None:
        model.buffers[1].offset, model.buffers[1].size = offset, size

    def options(model: Any) -> None:
        operator = model.subgraphs[0].operators[1]
        operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = offset, size

    for change in (constant, options):
        with pytest.raises(GraphError, match="refers to bytes up to"):
            create_runtime(runtime).load(_graph(change), FILES)


@pytest.mark.parametrize("runtime", ["ai-edge-litert", "tflite-runtime"])
@pytest.mark.parametrize("size", [16, 2])
def test_a_constant_of_another_size_is_refused(runtime: str, size: int) -> None:
    if runtime == "tflite-runtime":
        pytest.importorskip("tflite_runtime")

    def change(model: Any) -> None:
        model.buffers[1].size = size

    with pytest.raises(GraphError, match="refuses"):
        create_runtime(runtime).load(_graph(change), FILES)


def _list(count: int, *target: int) -> bytes:
    """A list of references to one table, `target` bytes behind the list's end."""
    return struct.pack(f"<I{count}I", count, *(sum(target) + 4 * left for left in range(count, 0, -1)))


@pytest.mark.parametrize("count", [1 << 18, 1 << 16])
def test_lists_that_repeat_themselves_end(count: int) -> None:
    # A model with one subgraph, many times; that has one operator, many times.
    model = struct.pack("<I5H2xiI", 16, 10, 12, 0, 0, 4, 12, 4) + _list(count, 12)
    subgraph = struct.pack("<6HiI", 12, 8, 0, 0, 0, 4, 12, 4) + _list(count, 4)
    operator = struct.pack("<2Hi", 4, 4, 4)
    with pytest.raises(GraphError, match="more than 131072 parts"):
        join(model + subgraph + operator, {})


@given(st.binary(max_size=400))
def test_what_is_no_graph_is_refused(data: bytes) -> None:
    with suppress(GraphError):
        assert join(data, {}) is data


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
def test_a_damaged_graph_ends_in_an_error_or_within(place: int, damage: bytes) -> None:
    graph = bytearray(_graph())
    place %= len(graph)
    graph[place : place + len(damage)] = damage
    graph = graph[: len(graph) // ALIGN * ALIGN]
    try:
        joined = join(bytes(graph), FILES)
    except GraphError:
        return
    assert joined == bytes(graph) + FILES["a.bin"] + FILES["b.bin"]
