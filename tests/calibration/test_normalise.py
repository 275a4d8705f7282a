import numpy as np
import pytest
from tests.support.networks import SIDE, Network, residual_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.graphs.normalise import PICTURE, picture_size, prepend_normalisation
from cutpoint.sdk.bundle import Preprocessing

SHAPE = (1, 3, SIDE, SIDE)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_the_graph_normalises_as_the_record_says(channels: str) -> None:
    how = Preprocessing(SIDE, SIDE, channels=channels, scale=1 / 64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))  # type: ignore[arg-type]
    model, name = prepend_normalisation(residual_net(), SHAPE, how, batch=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    (given,) = run_model(model, {PICTURE: pixels}, [name])
    ordered = pixels[..., ::-1] if channels == "bgr" else pixels
    wanted = (ordered.astype(np.float64) / 64 - how.mean) / how.std
    np.testing.assert_allclose(given, wanted.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def test_nothing_is_added_that_does_nothing() -> None:
    model, _ = prepend_normalisation(residual_net(), SHAPE, Preprocessing(SIDE, SIDE, scale=1.0), batch=False)
    assert [node.op_type for node in model.graph.node[:3]] == ["Transpose", "Cast", "Conv"]


def test_a_model_with_channels_last_needs_no_transposition() -> None:
    net = Network()
    net.add("Relu", ["x"], "out")
    model = net.model((1, 8, 6, 3), ["out"])
    assert picture_size((1, 8, 6, 3)) == (8, 6)
    result, _ = prepend_normalisation(model, (1, 8, 6, 3), Preprocessing(8, 6, scale=1.0, channels="bgr"), batch=True)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(run_model(result, {PICTURE: pixels})[0], pixels[..., ::-1].astype(np.float32))


@pytest.mark.parametrize("shape", [(1, 10), (1, 1, 28, 28), (1, 4, 8, 8)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CalibrationError, match="no colour picture"):
        picture_size(shape)


def test_another_size_is_refused() -> None:
    with pytest.raises(CalibrationError, match="--size"):
        prepend_normalisation(residual_net(), SHAPE, Preprocessing(8, 8), batch=True)
