"""Measure the demo's network: accuracy against the compression of its input, time, and the sizes of its tensors.

    python examples/measure_scenes.py

Pictures: rendered at 256 × 256, the central 224 × 224 of them, seeds that were never trained on.
"""

from __future__ import annotations

import io
from pathlib import Path
from time import perf_counter

import click
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from cutpoint.demo.scenes import CLASSES, render

MODEL = Path(__file__).with_name("scenes.onnx")
TEST_SEED = 7_000_000
_QUALITIES = (5, 10, 20, 30, 60, 90)


def _session(threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


def _logits(session: onnxruntime.InferenceSession, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    x = (image.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
    out: NDArray[np.float32] = session.run(["logits"], {"image": x})[0][0]
    return out


def _compressed(image: NDArray[np.uint8], form: str, quality: int) -> tuple[NDArray[np.uint8], int]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, quality=quality)
    length = buffer.tell()
    return np.asarray(Image.open(buffer).convert("RGB")), length


def measure_compression(count: int) -> None:
    """Print accuracy and mean bytes without compression and for JPEG and WebP qualities."""
    session = _session(1)
    crops, labels = [], []
    for k in range(count):
        scene = render(TEST_SEED + k)
        crops.append(scene.image[16:240, 16:240].copy())
        labels.append(scene.label)
    answers = np.array([int(_logits(session, crop).argmax()) for crop in crops])
    truth = np.array(labels)
    click.echo(f"{'input':<12}{'bytes':>8}{'top-1 %':>9}   ({count} pictures)")
    click.echo(f"{'uncompressed':<12}{224 * 224 * 3:>8}{100 * (answers == truth).mean():>9.1f}")
    for form in ("JPEG", "WEBP"):
        for quality in _QUALITIES:
            right, total = 0, 0
            for crop, label in zip(crops, labels, strict=True):
                image, length = _compressed(crop, form, quality)
                right += int(_logits(session, image).argmax()) == label
                total += length
            click.echo(f"{f'{form} {quality}':<12}{total / count:>8.0f}{100 * right / count:>9.1f}")
    click.echo("recall of each class, uncompressed:")
    for index, name in enumerate(CLASSES):
        mine = truth == index
        click.echo(f"  {name:<16}{100 * (answers[mine] == index).mean():>6.1f} %  of {int(mine.sum())}")


def measure_time(repeats: int) -> None:
    """Print the median time of one picture with one thread."""
    session = _session(1)
    image = render(TEST_SEED, (224, 224)).image
    times = []
    for _ in range(repeats + 10):
        began = perf_counter()
        _logits(session, image)
        times.append(perf_counter() - began)
    click.echo(f"time with one thread: median {1e3 * float(np.median(times[10:])):.2f} ms of {repeats}")


def print_tensors() -> None:
    """Print where the graph is narrow: the places at which one tensor carries everything."""
    model = onnx.shape_inference.infer_shapes(onnx.load(MODEL))
    shapes = {
        value.name: tuple(d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim)
        for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]
    }
    last: dict[str, int] = {}
    for position, node in enumerate(model.graph.node):
        last.update(dict.fromkeys(node.input, position))
    click.echo("tensors that can be cut alone (shape, float32 kB):")
    alive = {"image"}
    weights = {tensor.name for tensor in model.graph.initializer}
    for position, node in enumerate(model.graph.node):
        alive |= set(node.output)
        alive = {name for name in alive if name not in weights and last.get(name, -1) > position}
        if len(alive) == 1:
            (name,) = alive
            shape = shapes.get(name, ())
            if len(shape) == 4 and node.op_type in ("Conv", "Add"):
                click.echo(f"  {name:<28}{shape!s:<24}{4 * int(np.prod(shape[1:])) / 1024:>8.1f}")


@click.command()
@click.option("--count", default=1000, help="Pictures for the accuracy.")
@click.option("--repeats", default=200, help="Runs for the time.")
def main(count: int, repeats: int) -> None:
    """Measure accuracy, time and tensor sizes of scenes.onnx."""
    measure_compression(count)
    measure_time(repeats)
    print_tensors()


if __name__ == "__main__":
    main()
