"""Trains a codec against the model's own answers (distillation needs no labels).

What is minimised is, at every level, ``divergence of the outputs + λ · bits``, with the squared error of the tensors
beside it: at first where a codec ends at the boundary where it starts, always where it jumps over layers. λ of a level
is the slope of `klt`'s own rate–distortion curve there: what a bit buys without training, training must buy as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cutpoint.calibration.training.bottleneck import Bottleneck
from cutpoint.calibration.training.loop import Budget, Curves, train
from cutpoint.calibration.training.teacher import Teacher

__all__ = ["Lesson", "distil"]

_BATCH = 36
#: Learning rates: networks, what starts from `klt` and the model's own layers (relative to each parameter's own size),
#: gains, densities.
_NETS, _LINEAR, _LAYERS, _GAINS, _DENSITIES = 1e-3, 5e-4, 1e-3, 5e-3, 1e-2
#: The squared error weighs so much in the beginning, nothing after this share of the training.
_SQUARED, _SQUARED_UNTIL = 0.1, 0.4
#: The squared error at the end boundary, where a codec jumps over layers.
_LANDED = 1.0
#: Divergence is taken at temperature 1, which is what counts, and at this one, which all classes have a part in: the
#: mean of both varies far less from picture to picture.
_WARM = 3.0
#: Steps in which the densities learn alone, and samples that they and λ come from.
_DENSITY_STEPS, _START_SAMPLES = 120, 128


@dataclass(frozen=True)
class Lesson:
    """What a codec learns from, (samples, …) each, any type.

    Attributes:
        start: tensors of the boundary where it starts.
        end: tensors of the boundary where it ends; the same ones where that is the same.
        wanted: the model's outputs.
    """

    start: Sequence[Tensor]
    end: Sequence[Tensor]
    wanted: Sequence[Tensor]

    def __len__(self) -> int:
        return len(self.wanted[0])

    def pick(self, which: Tensor, device: torch.device) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """These samples of each, float32."""
        start, end, wanted = (
            [tensor[which].to(device).float() for tensor in tensors] for tensors in (self.start, self.end, self.wanted)
        )
        return start, end, wanted


@dataclass(frozen=True)
class _Slope:
    """What divergence and bits are worth at each level, (levels,) each.

    Attributes:
        rate: λ.
        unit: the loss at the start.
        warm: divergence at temperature 1 over that at the other.
    """

    rate: Tensor
    unit: Tensor
    warm: Tensor


def distil(
    module: Bottleneck,
    teacher: Teacher,
    lesson: Lesson,
    budget: Budget,
    checkpoint: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Curves:
    """Trains `module`, on the teacher's device, and leaves it on the processor.

    Args:
        module: from `start_bottleneck`.
        teacher: the tail behind the end boundary.
        lesson: all training pictures.
        budget: how long.
        checkpoint, advance: see `train`.
    """
    module.to(teacher.device)
    levels, device = module.levels, teacher.device
    batch = max(levels, min(_BATCH, len(lesson)) // levels * levels)
    _learn_densities(module, lesson, batch, device)
    slope = _slopes(module, teacher, lesson, batch)
    repeat = batch // levels

    def loss(step: int, progress: float) -> tuple[Tensor, dict[str, float]]:
        start, end, wanted = lesson.pick(_batch(len(lesson), batch, step), device)
        with mixed_precision(device):
            tensors, bits, squared = module(start)
            given = teacher(tensors)
        moved = teacher.distance(given, wanted)
        warm = slope.warm.repeat(repeat) * teacher.distance(given, wanted, _WARM)
        if module.landing is None:
            weight = _SQUARED * max(0.0, 1 - progress / _SQUARED_UNTIL)
        else:
            weight, squared = _LANDED, _share(tensors, end)
        value = (
            ((moved + warm) / 2 + slope.rate.repeat(repeat) * bits) / slope.unit.repeat(repeat) + weight * squared
        ).mean()
        shown = {}
        for name, numbers in (("divergence", moved), ("bytes", bits / 8), ("squared", squared)):
            for level, number in enumerate(numbers.detach().reshape(repeat, levels).mean(0).tolist()):
                shown[f"{name}{level}"] = number
        return value, shown

    curves = train(module, _groups(module), loss, budget, checkpoint, advance)
    module.to("cpu").eval()
    return curves


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the hardware multiplies it. What is rounded to symbols stays float32 (see `PlaneNet`)."""
    # Torch has no public name for this question yet.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    fast = device.type == "cuda" or bool(supported())
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def _share(given: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Squared error of each sample as a share of the squared tensors, (samples,)."""
    shares = [
        (a.float() - b).square().flatten(1).mean(1) / b.square().mean().clamp_min(1e-12)
        for a, b in zip(given, wanted, strict=True)
    ]
    return torch.stack(shares).mean(0)


def _groups(module: Bottleneck) -> list[dict[str, object]]:
    """Parameters and their learning rates."""
    groups: list[dict[str, object]] = []
    relative = []
    for net in module.plane_nets:
        rest = [*net.refiner.parameters(), *net.restorer.parameters()]
        groups += [{"params": rest, "lr": _NETS}, {"params": [net.log_gains], "lr": _GAINS}]
        relative += [(parameter, _LINEAR) for parameter in net.linear_parameters]
    if module.landing is not None:
        relative += [(parameter, _LAYERS) for parameter in module.landing.parameters() if parameter.requires_grad]
    for parameter, rate in relative:
        size = max(float(parameter.detach().square().mean().sqrt()), 1e-6)
        groups.append({"params": [parameter], "lr": rate * size})
    groups.append({"params": [p for p in module.rates.parameters() if p.requires_grad], "lr": _DENSITIES})
    return groups


def _batch(count: int, batch: int, step: int) -> Tensor:
    """Samples of a step: every sample once before any comes again; small sets are repeated."""
    per_epoch = max(1, count // batch)
    generator = torch.Generator().manual_seed(step // per_epoch)
    order = torch.randperm(max(count, batch), generator=generator) % count
    return order[step % per_epoch * batch :][:batch]


def _learn_densities(module: Bottleneck, lesson: Lesson, batch: int, device: torch.device) -> None:
    """Lets the densities find the coefficients as they are in the beginning."""
    parameters = [p for p in module.rates.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, 3e-2)
    level = torch.arange(batch, device=device) % module.levels
    scaled = []
    with torch.no_grad():
        for number in range(max(1, min(_START_SAMPLES, len(lesson)) // batch)):
            start, _, _ = lesson.pick(torch.arange(number * batch, (number + 1) * batch) % len(lesson), device)
            planes = module.extract(start)
            scaled.append([net(p, level).scaled for net, p in zip(module.plane_nets, planes, strict=True)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(_DENSITY_STEPS):
            given = scaled[step % len(scaled)]
            optimiser.zero_grad(set_to_none=True)
            bits = torch.stack([rate(p).mean() for rate, p in zip(module.rates, given, strict=True)]).sum()
            (bits / sum(p[0].numel() for p in given)).backward()
            optimiser.step()


def _slopes(module: Bottleneck, teacher: Teacher, lesson: Lesson, batch: int) -> _Slope:
    """λ of each level, from how divergence falls with bits along the qualities of a width at the start."""
    levels, device = module.levels, teacher.device
    moved, warm, bits = torch.zeros(3, levels, dtype=torch.float64)
    rounds = max(1, min(_START_SAMPLES, len(lesson)) // batch)
    with torch.no_grad(), torch.random.fork_rng(), mixed_precision(device):
        torch.manual_seed(0)
        for number in range(rounds):
            # Each sample at every level.
            for shift in range(levels):
                which = torch.arange(number * batch, (number + 1) * batch).roll(shift) % len(lesson)
                start, _, wanted = lesson.pick(which, device)
                tensors, spent, _ = module(start)
                given = teacher(tensors)
                found = teacher.distance(given, wanted), teacher.distance(given, wanted, _WARM), spent
                for total, values in zip((moved, warm, bits), found, strict=True):
                    total += values.double().cpu().reshape(-1, levels).mean(0) / (rounds * levels)
    moved, warm, bits = moved.clamp_min(1e-9), warm.clamp_min(1e-9), bits.clamp_min(1.0)
    rates = []
    for row, spent in zip(*(v.log().reshape(-1, module.family.qualities).numpy() for v in (moved, bits)), strict=True):
        # Exponent of divergence ~ bits^-exponent around each quality, kept sane where there is next to nothing to code.
        apart = np.maximum(np.diff(spent), 0.05)
        rates.append(np.clip(-np.gradient(row, np.concatenate([[0.0], np.cumsum(apart)])), 0.5, 4.0))
    rate = torch.tensor(np.concatenate(rates)) * moved / bits
    return _Slope(*(v.float().to(device) for v in (rate, moved + rate * bits, moved / warm)))
