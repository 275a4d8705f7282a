"""The `bottleneck` codec: `klt` as the start, then everything trained against the model's own answers.

What is minimised is, at every level, ``divergence of the outputs + λ · bits`` (distillation needs no labels), at
first with the squared error of the tensors beside it. λ of a level is the slope of `klt`'s own rate–distortion curve
there: what a bit buys without training, training must buy as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cutpoint.calibration.bottleneck_graphs import build_bottleneck
from cutpoint.calibration.bottleneck_net import PlaneNet, join_planes
from cutpoint.calibration.codecs import FittedCodec
from cutpoint.calibration.klt import KltFit, design_dead_zones
from cutpoint.calibration.plane_code import PlaneCode
from cutpoint.calibration.planes import Plane
from cutpoint.calibration.rate import Rate
from cutpoint.calibration.teacher import Teacher
from cutpoint.calibration.training import Budget, Curves, train
from cutpoint.codecs import Array, EntropyModel, TensorSpec, pack_tables
from cutpoint.sdk.bundle import Boundary, CodecEntry, GraphFile, Part

__all__ = ["LEVELS", "Bottleneck", "start_bottleneck", "train_bottleneck"]

#: Level names, the smallest first. Each has gains of its own, and all are trained together: gains interpolated between
#: trained ones cost up to a point of accuracy on MobileNetV2.
LEVELS = ("q1", "q2", "q3", "q4", "q5", "q6")
_BATCH = 36
#: Learning rates: networks, what starts from `klt` (relative to each parameter's own size), gains, densities.
_RATES = (1e-3, 5e-4, 5e-3, 1e-2)
#: The squared error weighs so much in the beginning, nothing after this share of the training.
_SQUARED, _SQUARED_UNTIL = 0.1, 0.4
#: Divergence is taken at temperature 1, which is what counts, and at this one, which all classes have a part in: the
#: mean of both varies far less from picture to picture.
_WARM = 3.0
#: Finest level, as a share of the way from the coarsest to the finest step of `klt` (logarithms). Beyond, `klt` loses
#: next to nothing already.
_FINEST = 0.6
#: Steps in which the densities learn alone, and samples that they and λ come from.
_DENSITY_STEPS, _START_SAMPLES = 120, 128
#: Values that entropy tables are fitted to at most, per level.
_TABLE_VALUES = 2**24


class Bottleneck(nn.Module):
    """The codec of a boundary while it is trained.

    Args:
        specs: the boundary's tensors.
        planes: numbers of the planes of each tensor.
        codes: the transform that each plane starts from.
        nets: the module of each plane.
        rates: the rate of each plane.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        planes: Sequence[Sequence[int]],
        codes: Sequence[PlaneCode],
        nets: Sequence[PlaneNet],
        rates: Sequence[Rate],
    ) -> None:
        super().__init__()
        self.specs = tuple(specs)
        self.planes = planes
        self.codes = codes
        self.nets = nn.ModuleList(nets)
        self.rates = nn.ModuleList(rates)

    @property
    def plane_nets(self) -> list[PlaneNet]:
        """The module of each plane."""
        return [net for net in self.nets if isinstance(net, PlaneNet)]

    def extract(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The planes (samples, channels, height, width) of the boundary's tensors (samples, …)."""
        found = []
        for tensor, numbers in zip(tensors, self.planes, strict=True):
            for number in numbers:
                plane: Plane = self.plane_nets[number].plane
                part = tensor if plane.tokens is None else tensor[:, slice(*plane.tokens)].transpose(1, 2)
                found.append(part.float().reshape(len(part), *plane.shape))
        return found

    def join(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The boundary's tensors, float32, of planes."""
        nets = self.plane_nets
        return [
            join_planes(spec, [nets[n].plane for n in numbers], [values[n] for n in numbers])
            for spec, numbers in zip(self.specs, self.planes, strict=True)
        ]

    def forward(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Codes tensors (samples, …), sample i at level i modulo levels.

        Returns:
            The tensors that come out; bits of each sample (samples,); squared error of each sample (samples,) as a
            share of the variance.
        """
        level = torch.arange(len(tensors[0]), device=tensors[0].device) % len(LEVELS)
        values, bits, errors = [], [], []
        for net, rate, plane in zip(self.plane_nets, self.rates, self.extract(tensors), strict=True):
            coded = net(plane, level)
            values.append(coded.values)
            bits.append(rate(coded.scaled))
            errors.append(((coded.values - plane) / net.channel_size[:, None, None]).square().flatten(1).mean(1))
        return self.join(values), torch.stack(bits).sum(0), torch.stack(errors).mean(0)

    def symbols(self, tensors: Sequence[Tensor], level: int) -> list[Tensor]:
        """Symbols of each plane, float."""
        levels = torch.full((len(tensors[0]),), level, dtype=torch.int64, device=tensors[0].device)
        return [net(plane, levels).symbols for net, plane in zip(self.plane_nets, self.extract(tensors), strict=True)]


def start_bottleneck(fit: KltFit, steps: Sequence[float]) -> Bottleneck:
    """The module that computes what `klt` does between the steps of the levels.

    Args:
        fit: of the boundary.
        steps: of the coarsest and of the finest level, and any between.
    """
    finest = max(steps) * (min(steps) / max(steps)) ** _FINEST
    steps = [float(step) for step in np.geomspace(max(steps), finest, len(LEVELS))]
    nets, rates, codes = [], [], []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for code, coefficients in zip(fit.codes, fit.coefficients, strict=True):
            zones = np.stack([design_dead_zones(code, coefficients, step) for step in steps])
            symbols = np.abs(code.quantise(coefficients, steps[-1], zones[-1]))
            used = np.flatnonzero(symbols.max(axis=(0, 2, 3)))
            used = used if len(used) else np.zeros(1, np.int64)
            values = code.inverse(coefficients)
            code, coefficients = code.kept(used), coefficients[:, used]
            mixed = np.einsum("mc,nchw->nmhw", code.analysis, values - code.mean[:, None, None])
            nets.append(PlaneNet(code, steps, zones, _size(values - code.mean[:, None, None]), _size(mixed)))
            rates.append(Rate(np.abs(coefficients).mean(axis=0), len(LEVELS), symbols[:, used].max(axis=0) > 0))
            codes.append(code)
    return Bottleneck(fit.specs, fit.planes, codes, nets, rates)


def _size(values: Array) -> Array:
    """Root mean square of each channel of (samples, channels, height, width), never 0."""
    size = np.sqrt(np.square(values, dtype=np.float64).mean(axis=(0, 2, 3)))
    return np.asarray(np.maximum(size, max(float(size.max()) * 1e-4, 1e-12)), np.float32)


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


def train_bottleneck(
    boundary: Boundary,
    module: Bottleneck,
    teacher: Teacher,
    features: Sequence[Tensor],
    wanted: Sequence[Tensor],
    budget: Budget,
    checkpoint: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> FittedCodec:
    """Trains the codec and writes it.

    Args:
        boundary: where it is.
        module: from `start_bottleneck`.
        teacher: the tail behind the boundary.
        features: the boundary's tensors (samples, …) of all training pictures, any float type.
        wanted: the model's outputs (samples, …) for them.
        budget: how long.
        checkpoint: see `train`.
        advance: see `train`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device)
    curves = _train(module, teacher, features, wanted, budget, checkpoint, advance, device)
    module.to("cpu").eval()
    return _write(boundary, module, features, curves)


def _train(
    module: Bottleneck,
    teacher: Teacher,
    features: Sequence[Tensor],
    wanted: Sequence[Tensor],
    budget: Budget,
    checkpoint: Path | None,
    advance: Callable[[], None],
    device: torch.device,
) -> Curves:
    count = len(features[0])
    batch = max(len(LEVELS), min(_BATCH, count) // len(LEVELS) * len(LEVELS))

    def pick(which: Tensor) -> list[Tensor]:
        return [tensor[which].to(device).float() for tensor in features]

    _learn_densities(module, pick, count, batch)
    slope = _slopes(module, teacher, pick, wanted, count, batch)

    def loss(step: int, progress: float) -> tuple[Tensor, dict[str, float]]:
        which = _batch(count, batch, step)
        tensors, bits, squared = module(pick(which))
        given, answers = teacher(tensors), [tensor[which].to(device).float() for tensor in wanted]
        repeat = batch // len(LEVELS)
        moved = teacher.distance(given, answers)
        warm = slope.warm.repeat(repeat) * teacher.distance(given, answers, _WARM)
        weight = _SQUARED * max(0.0, 1 - progress / _SQUARED_UNTIL)
        value = (
            ((moved + warm) / 2 + slope.rate.repeat(repeat) * bits) / slope.unit.repeat(repeat) + weight * squared
        ).mean()
        shown = {}
        for name, numbers in (("divergence", moved), ("bytes", bits / 8), ("squared", squared)):
            for which_level, number in enumerate(numbers.detach().reshape(repeat, len(LEVELS)).mean(0).tolist()):
                shown[f"{name}{which_level}"] = number
        return value, shown

    nets, linear, gains, densities = _RATES
    groups = []
    for net in module.plane_nets:
        rest = [*net.refiner.parameters(), *net.restorer.parameters()]
        groups += [{"params": rest, "lr": nets}, {"params": [net.log_gains], "lr": gains}]
        for parameter in net.linear_parameters:
            size = max(float(parameter.detach().square().mean().sqrt()), 1e-6)
            groups.append({"params": [parameter], "lr": linear * size})
    groups.append({"params": [p for p in module.rates.parameters() if p.requires_grad], "lr": densities})
    return train(module, groups, loss, budget, checkpoint, advance)


def _batch(count: int, batch: int, step: int) -> Tensor:
    """Samples of a step: every sample once before any comes again; small sets are repeated."""
    per_epoch = max(1, count // batch)
    generator = torch.Generator().manual_seed(step // per_epoch)
    order = torch.randperm(max(count, batch), generator=generator) % count
    return order[step % per_epoch * batch :][:batch]


def _learn_densities(module: Bottleneck, pick: Callable[[Tensor], list[Tensor]], count: int, batch: int) -> None:
    """Lets the densities find the coefficients as they are in the beginning."""
    parameters = [p for p in module.rates.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, 3e-2)
    level = torch.arange(batch) % len(LEVELS)
    scaled = []
    with torch.no_grad():
        for number in range(max(1, min(_START_SAMPLES, count) // batch)):
            tensors = pick(torch.arange(number * batch, (number + 1) * batch) % count)
            planes = module.extract(tensors)
            levels = level.to(planes[0].device)
            scaled.append([net(p, levels).scaled for net, p in zip(module.plane_nets, planes, strict=True)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(_DENSITY_STEPS):
            given = scaled[step % len(scaled)]
            optimiser.zero_grad(set_to_none=True)
            bits = torch.stack([rate(p).mean() for rate, p in zip(module.rates, given, strict=True)]).sum()
            (bits / sum(p[0].numel() for p in given)).backward()
            optimiser.step()


def _slopes(
    module: Bottleneck,
    teacher: Teacher,
    pick: Callable[[Tensor], list[Tensor]],
    wanted: Sequence[Tensor],
    count: int,
    batch: int,
) -> _Slope:
    """λ of each level, from how divergence falls with bits along the levels at the start."""
    moved, warm, bits = torch.zeros(3, len(LEVELS), dtype=torch.float64)
    rounds = max(1, min(_START_SAMPLES, count) // batch)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for number in range(rounds):
            # Each sample at every level.
            for shift in range(len(LEVELS)):
                which = torch.arange(number * batch, (number + 1) * batch).roll(shift) % count
                tensors, spent, _ = module(pick(which))
                given, answers = teacher(tensors), [t[which].to(tensors[0].device).float() for t in wanted]
                found = teacher.distance(given, answers), teacher.distance(given, answers, _WARM), spent
                for total, values in zip((moved, warm, bits), found, strict=True):
                    total += values.double().cpu().reshape(-1, len(LEVELS)).mean(0) / (rounds * len(LEVELS))
    moved, warm, bits = moved.clamp_min(1e-9), warm.clamp_min(1e-9), bits.clamp_min(1.0)
    # Exponent of divergence ~ bits^-exponent around each level, kept sane where there is next to nothing to code.
    apart = np.maximum(np.diff(bits.log().numpy()), 0.05)
    exponent = -np.gradient(moved.log().numpy(), np.concatenate([[0.0], np.cumsum(apart)]))
    rate = torch.tensor(np.clip(exponent, 0.5, 4.0)) * moved / bits
    device = next(module.parameters()).device
    return _Slope(*(v.float().to(device) for v in (rate, moved + rate * bits, moved / warm)))


def _write(boundary: Boundary, module: Bottleneck, features: Sequence[Tensor], curves: Curves) -> FittedCodec:
    sizes = [code.components * code.plane.rows.side * code.plane.columns.side for code in module.codes]
    count = max(1, min(len(features[0]), _TABLE_VALUES // sum(sizes)))
    found: list[list[Array]] = []
    with torch.no_grad():
        for level in range(len(LEVELS)):
            parts = [
                [p.to(torch.int16).numpy() for p in module.symbols([t[which].float() for t in features], level)]
                for which in torch.split(torch.arange(count), _BATCH)
            ]
            found.append([np.concatenate([part[i] for part in parts]) for i in range(len(sizes))])
    specs, models = [], []
    for number, code in enumerate(module.codes):
        largest = max(int(np.abs(planes[number]).max()) for planes in found)
        # Room for what training did not see.
        dtype = np.dtype(np.int8 if largest < 64 else np.int16)
        shape = (1, code.components, *code.plane.shape[1:])
        specs.append(TensorSpec(f"{code.plane.name}/symbols", shape, dtype.name))
        tables = []
        for planes in found:
            values: npt.NDArray[Any] = planes[number].astype(np.int8 if largest < 64 else np.int16)
            contexts = code.with_contexts(values.astype(np.float32)).context_map.reshape(code.components, -1)
            tables.append(EntropyModel.fit(values.reshape(len(values), code.components, -1), index=contexts))
        models.append(tables)
    encoder, decoder = build_bottleneck(boundary.tensors, module.planes, module.plane_nets, module.codes, specs)
    index = boundary.index
    stem = f"codecs/{index}-bottleneck"
    entry = CodecEntry(
        id=f"{index}-bottleneck",
        codec="bottleneck",
        start=index,
        end=index,
        levels=LEVELS,
        symbols=tuple(specs),
        encoder=(GraphFile("onnx", f"{stem}.enc.onnx"),),
        decoder=(GraphFile("onnx", f"{stem}.dec.onnx"),),
        tables=f"{stem}.tables",
    )
    files: dict[str, tuple[Part, bytes]] = {
        f"{stem}.enc.onnx": ("device", encoder.SerializeToString(deterministic=True)),
        f"{stem}.dec.onnx": ("server", decoder.SerializeToString(deterministic=True)),
        f"{stem}.tables": ("both", pack_tables([[plane[level] for plane in models] for level in range(len(LEVELS))])),
        f"report/bottleneck-{index}.json": ("report", json.dumps(curves, sort_keys=True).encode()),
    }
    return FittedCodec(entry, files)
