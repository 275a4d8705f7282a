from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
import torchvision
from tests.calibration.test_slices_export import joined
from tests.support.networks import SIDE, Network, inspect, residual_net, token_net, two_scale_net

from cutpoint.calibration.graphs.cuts import find_cuts
from cutpoint.calibration.graphs.graph import ModelGraph, run_model
from cutpoint.calibration.importers.torch import export_module
from cutpoint.calibration.slices import find_local_prefix


def grown(add: Callable[[Network], str]) -> ModelGraph:
    """A convolution to "c" (1, 4, `SIDE`, `SIDE`), and what `add` puts behind it."""
    net = Network()
    net.conv("x", "c", 3, 4)
    return inspect(net.model((1, 3, SIDE, SIDE), [add(net)], batch=False, opset=18))


def windows(kind: str, **attributes: object) -> Callable[[Network], str]:
    return lambda net: net.add(kind, ["c"], "y", **attributes)


LOCAL: dict[str, Callable[[Network], str]] = {
    "max pooling with ceil mode": windows("MaxPool", kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1),
    "padding as the operator chooses": windows(
        "AveragePool", kernel_shape=[4, 4], strides=[3, 3], auto_pad="SAME_UPPER"
    ),
    "average pooling that counts padding": windows(
        "AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=1
    ),
    "clip": lambda net: net.add("Clip", ["c", net.constant("low", np.float32(0)), ""], "y"),
    "fixed statistics": lambda net: net.add(
        "BatchNormalization", ["c", *(net.constant(f"s{n}", np.full(4, 0.5, np.float32)) for n in range(4))], "y"
    ),
    "softmax over channels": windows("Softmax", axis=1),
    "slopes": lambda net: net.add("PRelu", ["c", net.weight("slope", 4, 1, 1)], "y"),
    "half of the channels": lambda net: net.add(
        "Slice", ["c", *(net.constant(f"i{n}", np.array([n])) for n in (0, 2, 1))], "y"
    ),
    "channels shuffled": lambda net: net.add(
        "Gather", ["c", net.constant("order", np.array([2, 0, 3, 1]))], "y", axis=1
    ),
    "rows repeated": lambda net: net.add(
        "Resize",
        ["c", "", net.constant("scales", np.array([1, 1, 3, 1], np.float32))],
        "y",
        mode="nearest",
        coordinate_transformation_mode="half_pixel",
        nearest_mode="round_prefer_floor",
    ),
}

GLOBAL: dict[str, tuple[Callable[[Network], str], str]] = {
    "global pooling": (windows("GlobalAveragePool"), "is no local operator"),
    "squeeze and excite": (
        lambda net: net.add("Mul", ["c", net.add("GlobalAveragePool", ["c"], "m")], "y"),
        "is no local operator",
    ),
    "softmax over rows": (windows("Softmax", axis=2), "works along the rows"),
    "constants for each row": (
        lambda net: net.add("Add", ["c", net.weight("places", SIDE, 1)], "y"),
        "has other constants for each row",
    ),
    "windows beside the picture": (
        lambda net: net.add("Conv", ["c", net.weight("w", 4, 4, 1, 1)], "y", pads=[1, 0, 0, 0]),
        "has windows that lie in the padding alone",
    ),
    "smooth enlargement": (
        lambda net: net.add(
            "Resize", ["c", "", net.constant("scales", np.array([1, 1, 2, 2], np.float32))], "y", mode="linear"
        ),
        "enlarges in another way",
    ),
    "flattening": (windows("Flatten"), "is no local operator"),
}


@pytest.mark.parametrize("name", LOCAL)
def test_local_operators_in_slices(name: str) -> None:
    graph = grown(LOCAL[name])
    x = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    (whole,) = run_model(graph.model, {"x": x})
    np.testing.assert_allclose(joined(graph, x, "y", 3), whole, atol=1e-6)


@pytest.mark.parametrize("name", GLOBAL)
def test_the_prefix_ends_at_global_operators_and_says_why(name: str) -> None:
    add, reason = GLOBAL[name]
    prefix = find_local_prefix(grown(add))
    assert "c" in prefix.axes
    assert "y" not in prefix.axes
    assert any(reason in obstacle for obstacle in prefix.obstacles.values())


def test_rows_may_change_their_axis() -> None:
    prefix = find_local_prefix(grown(lambda net: net.add("Transpose", ["c"], "y", perm=[0, 2, 3, 1])))
    assert (prefix.axes["c"], prefix.axes["y"]) == (2, 1)


@pytest.mark.parametrize(
    ("network", "ends"), [(residual_net, {"r4"}), (two_scale_net, {"fine_o", "coarse_o"}), (token_net, {"p"})]
)
def test_the_prefix_of_whole_networks(network: Callable[[], onnx.ModelProto], ends: set[str]) -> None:
    graph = inspect(network())
    axes = find_local_prefix(graph).axes
    used = {name for node in graph.model.graph.node if node.output[0] in axes for name in node.input}
    assert set(axes) - used == ends


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg11_bn", "resnet18"])
def test_real_architectures_in_slices(name: str) -> None:
    side = 96
    module = torchvision.models.get_model(name, weights=None)
    if name.startswith("vgg"):  # Its dense layers are half a gigabyte, behind everything that is local.
        module.classifier = torch.nn.Linear(512 * 7 * 7, 10)
    imported = export_module(module, (1, 3, side, side), name, name)
    graph = ModelGraph.inspect(imported.model, imported.inputs)
    prefix = find_local_prefix(graph)
    local = [cut for cut in find_cuts(graph) if all(tensor in prefix.axes for tensor in cut.tensors)]
    assert local[-1].macs > 0.5 * sum(graph.macs)
    x = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
    for cut in (local[len(local) // 2], local[-1]):
        (end,) = cut.tensors
        (whole,) = run_model(graph.model, {graph.inputs[0].name: x}, [end])
        np.testing.assert_allclose(joined(graph, x, end, 3), whole, atol=1e-5 * max(1.0, float(np.abs(whole).max())))
