"""The network shipped with the demo: what the file promises, and that it knows its pictures."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from cutpoint.demo.scenes import CLASSES, render

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = EXAMPLES / "scenes.onnx"
SEED = 9_000_000  # never trained on


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def crops() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The central 224 × 224 of 200 pictures, and their labels."""
    scenes = [render(SEED + k) for k in range(200)]
    return np.stack([s.image[16:240, 16:240] for s in scenes]), np.array([s.label for s in scenes])


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (images.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5


def answers(session: onnxruntime.InferenceSession, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    parts = [session.run(["logits"], {"image": normalise(images[k : k + 20])})[0] for k in range(0, len(images), 20)]
    found: NDArray[np.int64] = np.concatenate(parts).argmax(axis=1)
    return found


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_the_file_is_small_and_its_ends_are_as_documented(session: onnxruntime.InferenceSession) -> None:
    assert MODEL.stat().st_size < 2_500_000
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape, image.type) == ("image", ["N", 3, 224, 224], "tensor(float)")
    assert (logits.name, logits.shape, logits.type) == ("logits", ["N", len(CLASSES)], "tensor(float)")


def test_a_batch_gives_what_single_pictures_give(
    session: onnxruntime.InferenceSession, crops: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    x = normalise(crops[0][:3])
    (together,) = session.run(["logits"], {"image": x})
    alone = np.concatenate([session.run(["logits"], {"image": x[k : k + 1]})[0] for k in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_it_is_accurate_and_compression_harms_it(
    session: onnxruntime.InferenceSession, crops: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    images, labels = crops
    plain = (answers(session, images) == labels).mean()
    poor = (answers(session, np.stack([jpeg(image, 10) for image in images])) == labels).mean()
    assert plain > 0.88
    assert poor < plain - 0.1


def test_the_torch_module_computes_the_same(
    session: onnxruntime.InferenceSession,
    crops: tuple[NDArray[np.uint8], NDArray[np.int64]],
) -> None:
    torch = pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("scenes_net", EXAMPLES / "scenes_net.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.scenes_net()
    assert not net.training
    x = normalise(crops[0][:4])
    with torch.no_grad():
        wanted = net(torch.from_numpy(x)).numpy()
    (found,) = session.run(["logits"], {"image": x})
    np.testing.assert_allclose(found, wanted, atol=1e-3)
