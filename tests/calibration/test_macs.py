import pytest
from onnx import helper

from cutpoint.calibration.graphs.macs import node_macs


@pytest.mark.parametrize(
    ("op_type", "shapes", "macs"),
    [
        ("Conv", {"a": (1, 3, 8, 8), "b": (16, 3, 3, 3), "y": (1, 16, 8, 8)}, 16 * 64 * 27),
        ("Conv", {"a": (1, 16, 8, 8), "b": (16, 1, 3, 3), "y": (1, 16, 8, 8)}, 16 * 64 * 9),
        ("ConvTranspose", {"a": (1, 8, 4, 4), "b": (8, 4, 2, 2), "y": (1, 4, 8, 8)}, 8 * 16 * 16),
        ("MatMul", {"a": (1, 10, 12), "b": (12, 7), "y": (1, 10, 7)}, 10 * 7 * 12),
        ("Gemm", {"a": (1, 12), "b": (12, 7), "y": (1, 7)}, 84),
        ("Relu", {"a": (1, 12), "b": (1,), "y": (1, 12)}, 0),
        ("Conv", {"a": (1, 3, 8, 8)}, 0),
    ],
)
def test_counts(op_type: str, shapes: dict[str, tuple[int, ...]], macs: int) -> None:
    assert node_macs(helper.make_node(op_type, ["a", "b"], ["y"]), shapes) == macs


def test_a_transposed_product_sums_over_the_other_axis() -> None:
    node = helper.make_node("Gemm", ["a", "b"], ["y"], transA=1)
    assert node_macs(node, {"a": (12, 5), "b": (12, 7), "y": (5, 7)}) == 5 * 7 * 12
