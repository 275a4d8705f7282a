from collections.abc import Mapping

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.tflite import adding_net, packed, schema

from cutpoint.calibration.graphs.litert_shared import HeadWeights, share_heads
from cutpoint.calibration.graphs.weights import SharedSpans
from cutpoint.codecs import Array
from cutpoint.sdk.runtimes import create_runtime

LITERT = create_runtime("litert")


def _constants(sizes: list[int], width: int = 512) -> list[Array]:
    rng = np.random.default_rng(sum(sizes))
    return [rng.normal(size=(1, width)).astype(np.float32) for _ in sizes]


def _answer(graph: bytes, weights: Mapping[str, bytes], value: Array) -> bytes:
    (answer,) = LITERT.load(graph, weights).run([value])
    return answer.tobytes()


def _weights(shared: SharedSpans, key: str) -> dict[str, bytes]:
    return {name: shared.weights[name][1] for name in shared.uses[key]}


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.sampled_from([1, 255, 256, 300]),
    st.sets(st.integers(1, 8)),
    st.integers(0, 2**32 - 1),
)
def test_shared_heads_compute_the_same_bits(kinds: list[int], width: int, ends: set[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=(1, width)).astype(np.float32) for _ in range(6)]
    constants = [values[kind] for kind in kinds]  # Some of them are equal.
    heads = {f"0-{end}": adding_net(constants[:end]) for end in sorted(ends | {len(kinds)}) if end <= len(kinds)}
    shared = share_heads(heads)
    value = rng.normal(size=(1, width)).astype(np.float32)
    for key, head in heads.items():
        assert _answer(shared.graphs[key], _weights(shared, key), value) == _answer(head, {}, value)
    stored = sum(len(data) for _, data in shared.weights.values())
    large = len(set(kinds)) if 4 * width >= 1024 else 0
    assert stored == large * (4 * width + -4 * width % 64)


def test_a_head_lists_what_it_needs() -> None:
    constants = _constants([1, 2, 3, 4])
    shared = share_heads({f"0-{end}": adding_net(constants[:end]) for end in (1, 3, 4)})
    assert shared.uses == {
        "0-1": ("0-1.tflite.bin",),
        "0-3": ("0-1.tflite.bin", "0-3.tflite.bin"),
        "0-4": ("0-1.tflite.bin", "0-3.tflite.bin", "0-4.tflite.bin"),
    }
    assert {name: (part, len(data)) for name, (part, data) in shared.weights.items()} == {
        "0-1.tflite.bin": ("device", 2048),
        "0-3.tflite.bin": ("device", 4096),
        "0-4.tflite.bin": ("device", 2048),
    }
    assert all(len(graph) % 64 == 0 for graph in shared.graphs.values())


def test_a_graph_is_the_same_whatever_heads_there_are() -> None:
    constants = _constants([1, 2, 3, 4])
    heads = {f"0-{end}": adding_net(constants[:end]) for end in (1, 2, 3, 4)}
    everything = share_heads(heads)
    some = share_heads({key: heads[key] for key in ("0-3", "0-4")})
    assert some.graphs == {key: everything.graphs[key] for key in ("0-3", "0-4")}


def test_what_only_a_shorter_head_has_stays_in_its_graph() -> None:
    constants = _constants([1, 2, 3])
    other = _constants([9])
    shared = share_heads({"0-2": adding_net([constants[0], *other]), "0-3": adding_net(constants)})
    assert shared.uses["0-2"] == ("0-2.tflite.bin",)
    assert other[0].tobytes() in shared.graphs["0-2"]
    assert constants[0].tobytes() not in shared.graphs["0-2"]


def test_what_is_shared_can_be_shared_again() -> None:
    head = adding_net(_constants([1, 2]))
    weights = HeadWeights(head)
    graph, used = weights.refer(head)
    assert used == len(weights.data)
    assert HeadWeights(graph + weights.data).refer(graph + weights.data) == (graph, used)


def test_equal_scales_are_written_once() -> None:
    model = schema.ModelT.InitFromPackedBuf(adding_net(_constants([1, 2])), 0)
    for tensor in model.subgraphs[0].tensors:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.zeroPoint = np.zeros(5000, np.int64)
    head = packed(model)
    graph, _ = HeadWeights(head).refer(head)
    assert len(head) > 5 * 8 * 5000
    assert len(graph) < 8 * 5000 + 4096
    again = schema.ModelT.InitFromPackedBuf(graph, 0)
    assert [len(tensor.quantization.zeroPoint) for tensor in again.subgraphs[0].tensors] == [5000] * 5


def test_constants_that_stay_begin_where_the_format_has_them() -> None:
    head = adding_net(_constants([1, 2, 3], width=5))
    graph, used = HeadWeights(head).refer(head)
    assert used == 0
    model = schema.Model.GetRootAs(graph, 0)
    for number in range(1, 4):
        buffer = model.Buffers(number)
        assert buffer.DataLength() == 20
        assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0
