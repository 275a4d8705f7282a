import numpy as np
import pytest

from cutpoint.calibration.codecs.planes import Axis, dct_matrix, find_planes, tensor_of
from cutpoint.codecs import TensorSpec


@pytest.mark.parametrize("length", [1, 2, 7, 8, 14, 31])
def test_the_dct_is_orthonormal(length: int) -> None:
    matrix = dct_matrix(length)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(length), atol=1e-12)
    np.testing.assert_allclose(matrix[0], 1 / np.sqrt(length))


@pytest.mark.parametrize(
    ("side", "blocks"),
    [(1, (1,)), (7, (7,)), (20, (20,)), (28, (14, 14)), (56, (14,) * 4), (32, (16, 16)), (23, (12, 11))],
)
def test_blocks_of_a_side(side: int, blocks: tuple[int, ...]) -> None:
    assert Axis.of(side).blocks == blocks


@pytest.mark.parametrize("side", range(1, 130))
def test_every_side_has_an_orthonormal_transform(side: int) -> None:
    axis = Axis.of(side)
    assert axis.side == side
    assert side % axis.period == 0
    assert len(axis.frequencies) == axis.period
    assert max(axis.blocks) <= 20
    np.testing.assert_allclose(axis.matrix @ axis.matrix.T, np.eye(axis.period), atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 7, 7), (2, 28, 28), (4, 23, 56), (2, 1, 9), (5, 1, 1)])
def test_the_transform_of_a_plane_keeps_energy_and_comes_back(shape: tuple[int, int, int]) -> None:
    (plane,) = find_planes(TensorSpec("x", (1, *shape), "float32"))
    values = np.random.default_rng(0).normal(0, 1, (2, *shape)).astype(np.float32)
    spectrum = plane.transform(values)
    assert np.square(spectrum).sum() == pytest.approx(np.square(values).sum(), rel=1e-5)
    np.testing.assert_allclose(plane.transform(spectrum, inverse=True), values, atol=1e-5)


def test_a_constant_map_has_one_coefficient_a_block() -> None:
    (plane,) = find_planes(TensorSpec("x", (1, 1, 28, 28), "float32"))
    spectrum = plane.transform(np.ones((1, 1, 28, 28), np.float32))
    assert np.count_nonzero(np.abs(spectrum) > 1e-4) == 4
    assert (np.abs(spectrum[0, 0][plane.spread(plane.radius) == 0]) > 1).all()


def test_spread_and_mean_are_opposites() -> None:
    (plane,) = find_planes(TensorSpec("x", (1, 2, 28, 56), "float32"))
    values = np.random.default_rng(0).normal(size=(3, 14, 14))
    assert plane.spread(values).shape == (3, 28, 56)
    np.testing.assert_allclose(plane.mean(plane.spread(values)), values)


@pytest.mark.parametrize(
    ("shape", "planes"),
    [
        ((1, 8, 5, 6), [(8, 5, 6)]),
        ((1, 197, 8), [(8, 1, 1), (8, 14, 14)]),
        ((1, 198, 8), [(8, 1, 2), (8, 14, 14)]),
        ((1, 16, 8), [(8, 4, 4)]),
        ((1, 40, 8), [(8, 1, 4), (8, 6, 6)]),
        ((1, 35, 8), [(8, 1, 35)]),
        ((1, 3, 8), [(8, 1, 3)]),
        ((1, 8), [(8, 1, 1)]),
        ((1,), [(1, 1, 1)]),
        ((1, 2, 3, 4, 5), [(2, 12, 5)]),
    ],
)
def test_any_tensor_is_planes(shape: tuple[int, ...], planes: list[tuple[int, int, int]]) -> None:
    spec = TensorSpec("x", shape, "float32")
    found = find_planes(spec)
    assert [plane.shape for plane in found] == planes
    assert len({plane.name for plane in found}) == len(found)
    values = np.random.default_rng(0).normal(size=(3, *shape[1:])).astype(np.float32)
    np.testing.assert_array_equal(tensor_of(spec, found, [plane.extract(values) for plane in found]), values)
