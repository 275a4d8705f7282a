"""Train the demo's network from rendered scenes only, on a CPU, and export it.

    python examples/train_scenes.py --work build/scenes

First 112 × 112 cut-outs around the signs at full detail (cheap: the network learns the signs), then whole 224 × 224
pictures (it learns to find them). An interrupted run goes on from its last epoch. Writes `scenes.pt` and `scenes.onnx`
beside this file.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Literal

import click
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cutpoint.demo.scenes import CLASSES, render
from scenes_net import WEIGHTS, ScenesNet, scenes_net

ONNX = Path(__file__).with_name("scenes.onnx")
TRAIN_SEED = 1_000_000
VALIDATION_SEED = 5_000_000
"""First seeds of the two sets; the test pictures of `measure_scenes.py` begin at 7,000,000. They never meet."""

_OPSET = 18
_FULL = 256  # side of the cached pictures


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the schedule: pictures of `side`² pixels, a cosine from `start` to `stop` learning rate."""

    side: int
    epochs: int
    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class Pictures:
    """Rendered pictures: uint8 (n, 256, 256, 3), int64 (n,), int32 (n, 4)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes: NDArray[np.int32]


def _fill(job: tuple[Path, int, int, int]) -> None:
    folder, seed, start, stop = job
    data = _mapped(folder, "r+")
    for k in range(start, stop):
        scene = render(seed + k, (_FULL, _FULL))
        data.images[k], data.labels[k], data.boxes[k] = scene.image, scene.label, scene.boxes[0]


def _mapped(folder: Path, mode: Literal["r", "r+"]) -> Pictures:
    return Pictures(*(np.load(folder / f"{name}.npy", mmap_mode=mode) for name in ("images", "labels", "boxes")))


def pictures(folder: Path, count: int, seed: int) -> Pictures:
    """Render `count` pictures into `folder`, or take them from there if that was done before."""
    done = folder / f"done-{seed}-{count}"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make: Callable[..., object] = np.lib.format.open_memmap
        make(folder / "images.npy", "w+", np.uint8, (count, _FULL, _FULL, 3))
        make(folder / "labels.npy", "w+", np.int64, (count,))
        make(folder / "boxes.npy", "w+", np.int32, (count, 4))
        step = 250
        jobs = [(folder, seed, k, min(k + step, count)) for k in range(0, count, step)]
        with (
            get_context("spawn").Pool(os.cpu_count()) as pool,
            click.progressbar(pool.imap_unordered(_fill, jobs), len(jobs), label=f"rendering {count} pictures") as bar,
        ):
            for _ in bar:
                pass
        done.touch()
    return _mapped(folder, "r")


def _compressed(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture after mild JPEG or WebP."""
    buffer = io.BytesIO()
    form = "JPEG" if rng.random() < 0.5 else "WEBP"
    Image.fromarray(image).save(buffer, form, quality=int(rng.integers(50, 96)), method=0)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _offset(low: int, high: int, side: int, rng: np.random.Generator) -> int:
    """Where a cut-out of `side` begins that holds low … high, if it can."""
    first, last = max(0, high + 1 - side), min(_FULL - side, low - 1)
    return int(rng.integers(first, last + 1)) if first <= last else min(max((low + high - side) // 2, 0), _FULL - side)


def _sample(data: Pictures, k: int, side: int, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    rng = np.random.default_rng((*seed, k))
    x0, y0, x1, y1 = (int(v) for v in data.boxes[k])
    left, top = _offset(x0, x1, side, rng), _offset(y0, y1, side, rng)
    image: NDArray[np.uint8] = np.ascontiguousarray(data.images[k, top : top + side, left : left + side])
    return _compressed(image, rng) if rng.random() < 0.3 else image


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """uint8 (n, H, W, 3) to float32 (n, 3, H, W), (value − 127.5) / 127.5."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)


def batches(data: Pictures, side: int, size: int, seed: tuple[int, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented batches, in an order and with choices that depend on `seed` only."""
    order = np.random.default_rng(seed).permutation(len(data.labels))
    parts = [order[k : k + size] for k in range(0, len(order) - size + 1, size)]

    def load(number: int) -> tuple[Tensor, Tensor]:
        part = parts[number]
        x = normalise(np.stack([_sample(data, int(k), side, seed) for k in part]))
        rng = np.random.default_rng((*seed, 99, number))
        gain = torch.from_numpy(rng.uniform(0.8, 1.25, (len(part), 3, 1, 1)).astype(np.float32))
        x = ((x + 1.0) * (1.0 + (gain - 1.0) * 0.4) * gain.mean(1, keepdim=True) - 1.0).clamp_(-1.0, 1.0)
        return x.contiguous(memory_format=torch.channels_last), torch.from_numpy(data.labels[part])

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(load, 0)
        for number in range(len(parts)):
            batch = ahead.result()
            if number + 1 < len(parts):
                ahead = pool.submit(load, number + 1)
            yield batch


def accuracy(net: nn.Module, data: Pictures, count: int) -> float:
    """Share of right answers on the central 224 × 224 of the first `count` pictures."""
    net.eval()
    right = 0
    with torch.no_grad():
        for k in range(0, count, 50):
            x = normalise(np.ascontiguousarray(data.images[k : k + 50, 16:240, 16:240]))
            answer = net(x.contiguous(memory_format=torch.channels_last)).argmax(1).numpy()
            right += int((answer == data.labels[k : k + 50]).sum())
    return right / count


def _average(ema: nn.Module, net: nn.Module, step: int) -> None:
    """Move the averaged weights (and batch statistics) towards the current ones."""
    keep = min(0.998, (1.0 + step) / (10.0 + step))
    with torch.no_grad():
        for slow, fast in zip(ema.state_dict().values(), net.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1.0 - keep)
            else:
                slow.copy_(fast)


def train(
    data: Pictures, held_out: Pictures, stages: tuple[Stage, ...], checkpoint: Path, seed: int, size: int
) -> nn.Module:
    """Run the schedule, going on from `checkpoint` where it exists; returns the averaged network."""
    torch.manual_seed(seed)
    net = ScenesNet(len(CLASSES)).to(memory_format=torch.channels_last)
    ema = ScenesNet(len(CLASSES)).to(memory_format=torch.channels_last)
    ema.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        ema.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["epoch"]
    plan = [(stage, k) for stage in stages for k in range(stage.epochs)]
    steps = len(data.labels) // size
    for epoch in range(first, len(plan)):
        stage, number = plan[epoch]
        began, total = monotonic(), 0.0
        net.train()
        for step, (x, y) in enumerate(batches(data, stage.side, size, (seed, epoch))):
            done = (number + step / steps) / stage.epochs
            rate = stage.stop + (stage.start - stage.stop) * 0.5 * (1.0 + math.cos(math.pi * done))
            optimiser.param_groups[0]["lr"] = rate * min(1.0, (number * steps + step + 1) / 100)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(x)
            loss = nn.functional.cross_entropy(logits.float(), y, label_smoothing=0.05)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            _average(ema, net, epoch * steps + step)
            total += float(loss.detach())
            if step % 25 == 24:
                click.echo(f"  step {step + 1}/{steps}  loss {total / (step + 1):.3f}  {monotonic() - began:.0f} s")
        score = accuracy(ema, held_out, len(held_out.labels))
        click.echo(
            f"epoch {epoch + 1}/{len(plan)}  {stage.side} px  loss {total / steps:.3f}  "
            f"validation {score:.3f}  {monotonic() - began:.0f} s"
        )
        state = {"net": net.state_dict(), "ema": ema.state_dict(), "optimiser": optimiser.state_dict()}
        partial = checkpoint.with_suffix(".part")
        torch.save({**state, "epoch": epoch + 1}, partial)
        partial.replace(checkpoint)
    return ema.eval()


def save_weights(net: nn.Module, path: Path) -> None:
    """Write the weights as float16 (batch counters dropped to zero): half the bytes, no change in accuracy."""
    state = {name: v.half() if v.is_floating_point() else torch.zeros_like(v) for name, v in net.state_dict().items()}
    torch.save(state, path)


def folded(net: nn.Module) -> nn.Module:
    """The same function with every batch normalisation merged into the convolution before it; changes `net`."""
    for child in net.children():
        layers = list(child.children()) if isinstance(child, nn.Sequential) else []
        if len(layers) > 1 and isinstance(layers[0], nn.Conv2d) and isinstance(layers[1], nn.BatchNorm2d):
            child[0] = fuse_conv_bn_eval(layers[0], layers[1])  # type: ignore[operator]
            del child[1]  # type: ignore[operator]
        else:
            folded(child)
    return net


def _tidied(exported: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in the plainest operators: pooling under its own name, tensors named by operator and number."""
    names = {"image": "image", "logits": "logits"}
    counts: dict[str, int] = {}
    nodes = []
    for node in exported.graph.node:
        for name in node.output:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
            names.setdefault(name, f"{node.op_type.lower()}_{counts[node.op_type]}")
        inputs = [names.get(name, name) for name in node.input]
        outputs = [names[name] for name in node.output]
        if node.op_type == "ReduceMean":  # the one over rows and columns: every integer quantiser knows the pooling
            nodes.append(onnx.helper.make_node("GlobalAveragePool", inputs[:1], ["pooled"], name="pooled"))
            nodes.append(onnx.helper.make_node("Flatten", ["pooled"], outputs, name=outputs[0]))
        else:
            plain = onnx.helper.make_node(node.op_type, inputs, outputs, name=outputs[0])
            plain.attribute.extend(node.attribute)
            nodes.append(plain)
    used = {name for node in nodes for name in node.input}
    shape: list[str | int | None] = ["N", 3, 224, 224]
    graph = onnx.helper.make_graph(
        nodes,
        "scenes",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", len(CLASSES)])],
        [tensor for tensor in exported.graph.initializer if tensor.name in used],
    )
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", _OPSET)], ir_version=8)
    model.producer_name = "cutpoint"
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def export(path: Path) -> float:
    """Write the trained network as ONNX and compare the two.

    Returns:
        The largest difference of a logit between torch and onnxruntime over a few scenes.
    """
    net = scenes_net()
    images = np.stack([render(VALIDATION_SEED + k, (224, 224)).image for k in range(8)])
    with torch.no_grad():
        x = normalise(images)
        wanted = net(x).numpy()
        program = torch.onnx.export(
            folded(net),
            (x,),
            input_names=["image"],
            output_names=["logits"],
            opset_version=_OPSET,
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = _tidied(program.model_proto)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = session.run(["logits"], {"image": x.numpy()})
    return float(np.abs(answer - wanted).max())


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/scenes"), help="Cache and checkpoints.")
@click.option("--count", default=14_000, help="Training pictures.")
@click.option("--small-epochs", default=9, help="Epochs at 112 × 112.")
@click.option("--full-epochs", default=5, help="Epochs at 224 × 224.")
@click.option("--batch", default=64)
@click.option("--threads", default=2)
@click.option("--seed", default=1)
def main(work: Path, count: int, small_epochs: int, full_epochs: int, batch: int, threads: int, seed: int) -> None:
    """Render, train, export."""
    torch.set_num_threads(threads)
    data = pictures(work / "train", count, TRAIN_SEED)
    held_out = pictures(work / "validation", 500, VALIDATION_SEED)
    stages = (Stage(112, small_epochs, 4e-3, 4e-4), Stage(224, full_epochs, 2e-3, 1e-5))
    net = train(data, held_out, stages, work / "checkpoint.pt", seed, batch)
    save_weights(net, WEIGHTS)
    difference = export(ONNX)
    click.echo(f"{ONNX.name}: {ONNX.stat().st_size} bytes, largest difference to torch {difference:.2g}")


if __name__ == "__main__":
    main()
