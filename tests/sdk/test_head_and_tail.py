import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import Bundle, BundleError, CodecError, GraphError, InputError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import RUNTIMES, create_runtime
from cutpoint.sdk.tail import Tail


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return toy_bundle()


def head_of(bundle: Bundle) -> Head:
    return Head(BundleGraphs(bundle.part("device"), [create_runtime("onnx")]))


def tail_of(bundle: Bundle) -> Tail:
    return Tail(BundleGraphs(bundle.part("server"), [create_runtime("onnx")]))


def test_head_and_tail_of_every_point_make_the_whole(bundle: Bundle) -> None:
    head, tail = head_of(bundle), tail_of(bundle)
    for label in range(3):
        tensors = head.prepare(picture(label, 9))
        reference = head.run(bundle.points[0], tensors).outputs
        assert reference is not None
        for point in bundle.points[1:]:
            done = head.run(point, tensors)
            assert done.payload is not None
            assert done.outputs is None
            outputs = tail.run(point, done.payload).outputs
            assert outputs[0].argmax() == label
            if "exact" in point.id:
                np.testing.assert_allclose(outputs[0], reference[0], rtol=1e-4)
            assert len(done.payload) <= tail.max_payload(point)


def test_local_point_has_no_tail(bundle: Bundle) -> None:
    with pytest.raises(CodecError, match="device alone"):
        tail_of(bundle).run(bundle.points[0], b"")
    assert tail_of(bundle).max_payload(bundle.points[0]) == 0


def test_device_part_cannot_run_tails(bundle: Bundle) -> None:
    tail = Tail(BundleGraphs(bundle.part("device"), [create_runtime("onnx")]))
    payload = head_of(bundle).run(bundle.points[3], head_of(bundle).zeros()).payload
    assert payload is not None
    with pytest.raises(BundleError, match=r"span 1-2\.fp32 is there for onnx"):
        tail.run(bundle.points[3], payload)


def test_prepare_names_what_the_bundle_takes(bundle: Bundle) -> None:
    head = head_of(bundle)
    (tensor,) = head.prepare((np.zeros((1, 16, 16, 3), np.uint8),))
    assert tensor.shape == (1, 16, 16, 3)
    with pytest.raises(InputError, match=r"image: uint8\[1, 16, 16, 3\]"):
        head.prepare((np.zeros((1, 16, 16, 3), np.float32),))


def test_emulated_device_waits_by_processor_time(bundle: Bundle) -> None:
    waited = []
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    head = Head(graphs, lambda what, cpu, wall, stop: waited.append((what, cpu, wall)))
    head.run(bundle.points[-1], head.zeros())
    assert len(waited) == 2  # head, then encoder
    assert all(cpu >= 0 and wall > 0 for _, cpu, wall in waited)
    head.run(bundle.points[-1], head.zeros())
    first, encoded, *again = (what for what, _, _ in waited)
    assert again == [first, encoded]
    assert first != encoded
    waited.clear()
    head.warm_up(bundle.points)
    assert not waited  # warming up goes at the machine's own speed


def test_supports_knows_the_formats(bundle: Bundle) -> None:
    class Other:
        name, format = "other", "tflite"

    graphs = BundleGraphs(bundle, [Other()])  # type: ignore[list-item]
    assert [p.id for p in bundle.points if graphs.supports(p)] == ["cut0-raw-exact", "cut0-jpeg-q90"]
    with pytest.raises(BundleError, match="other cannot read"):
        graphs.span(0, 1, "fp32")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runtimes_refuse_what_is_no_graph(runtime: str) -> None:
    with pytest.raises(GraphError, match="refuses"):
        create_runtime(runtime).load(b"not a graph", {})


def test_runtime_errors_are_typed() -> None:
    with pytest.raises(InputError, match="'cuda' is not one of"):
        create_runtime("cuda")
    with pytest.raises(InputError, match="threads"):
        create_runtime("onnx", threads=0)
    graph = BundleGraphs(toy_bundle(), [create_runtime("onnx")]).span(0, 1, "fp32")
    with pytest.raises(GraphError, match="takes 1 tensors"):
        graph.run([])
    with pytest.raises(GraphError, match="onnxruntime"):
        graph.run([np.zeros((1, 3), np.float32)])
