import numpy as np
import torch
from tests.support.networks import SIDE, residual_net, token_net

from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.normalise import PICTURE, prepend_normalisation
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.training.landing import Landing
from cutpoint.codecs import TensorSpec
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.runtimes import create_runtime

PIXELS = TensorSpec(PICTURE, (1, SIDE, SIDE, 3), "uint8")


def _span(cut: str, batch: bool = True) -> tuple[Landing, ModelGraph]:
    net = token_net() if cut == "tokens" else residual_net(batch=batch)
    model, _ = prepend_normalisation(net, (1, 3, SIDE, SIDE), Preprocessing(SIDE, SIDE), batch)
    graph = ModelGraph.inspect(model, [PIXELS])
    return Landing(extract_span(graph.model, graph.inputs, [graph.specs[cut]], graph.batch), graph.batch), graph


def _pictures(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, *PIXELS.shape[1:])).astype(np.float32))


def test_it_begins_as_the_layers_themselves() -> None:
    landing, graph = _span("r4")
    span = extract_span(graph.model, graph.inputs, [graph.specs["r4"]], graph.batch)
    pictures = _pictures(3)
    (wanted,) = create_runtime("onnx").load(span.SerializeToString(), {}).run([pictures[:1].byte().numpy()])
    with torch.no_grad():
        (given,) = landing([pictures])
    np.testing.assert_allclose(given[:1].numpy(), wanted, atol=1e-5)


def test_samples_go_one_by_one_where_the_batch_is_fixed() -> None:
    single, _ = _span("r4", batch=False)
    several, _ = _span("r4")
    with torch.no_grad():
        torch.testing.assert_close(single([_pictures(3)])[0], several([_pictures(3)])[0])


def test_pixels_outside_the_range_count_as_its_ends() -> None:
    landing, _ = _span("r1")
    with torch.no_grad():
        torch.testing.assert_close(landing([_pictures(1) * 9 - 500]), landing([(_pictures(1) * 9 - 500).clamp(0, 255)]))


def test_the_graph_has_what_was_trained() -> None:
    landing, _ = _span("r4")
    before = landing.graph()
    trained = [parameter for parameter in landing.parameters() if parameter.requires_grad]
    assert len(trained) == 4  # a weight for each convolution
    with torch.no_grad():
        for parameter in trained:
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        (wanted,) = landing([_pictures(1)])
    (given,) = create_runtime("onnx").load(landing.graph().SerializeToString(), {}).run([_pictures(1).numpy()])
    np.testing.assert_allclose(given, wanted.numpy(), atol=1e-4)
    (old,) = create_runtime("onnx").load(before.SerializeToString(), {}).run([_pictures(1).numpy()])
    assert np.abs(old - given).max() > 1e-2
