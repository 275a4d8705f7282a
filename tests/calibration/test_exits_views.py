import numpy as np

from cutpoint.calibration.exits.views import random_view

WHOLE = np.zeros((1, 24, 16, 3), np.uint8)


def test_a_view_is_a_section_now_and_then_mirrored() -> None:
    # Red grows to the right, green downwards.
    rows, columns = np.mgrid[0:200, 0:200]
    picture = np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8)
    rng = np.random.default_rng(0)
    mirrored = []
    for _ in range(200):
        view = random_view(picture, WHOLE, rng)
        assert (view.shape, view.dtype) == ((1, 24, 16, 3), np.uint8)
        red, green = view[0, 0, :, 0].astype(int), view[0, :, 0, 1].astype(int)
        mirrored.append(bool(red[0] > red[-1]))
        assert np.all(np.diff(green) >= 0)
        width, height = abs(red[-1] - red[0]) * 16 / 15, (green[-1] - green[0]) * 24 / 23
        assert 0.22 <= width * height / 200**2 <= 1.05
        # As wide as boundary 0 is in proportion, up to a third.
        assert 0.7 <= width / height * 24 / 16 <= 1.45 or max(width, height) > 190
    assert 60 < sum(mirrored) < 140


def test_views_come_from_the_generator() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)

    def views(seed: int) -> list[bytes]:
        rng = np.random.default_rng(seed)
        return [random_view(picture, WHOLE, rng).tobytes() for _ in range(3)]

    assert views(0) == views(0)
    assert len({*views(0), *views(1)}) == 6
