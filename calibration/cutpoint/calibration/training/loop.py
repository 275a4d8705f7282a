"""A training loop that can be interrupted: a budget of steps or minutes, checkpoints, and curves."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from cutpoint.calibration.errors import CalibrationError

__all__ = ["Budget", "Curves", "train"]

#: Seconds between checkpoints.
_EVERY_S = 30.0
#: Points of a curve, about.
_CURVE_POINTS = 200
#: Share of the training in which the learning rate rises, and what is left of it in the end.
_WARM_UP = 0.03
_LEAST_RATE = 0.02
#: Longest gradient: a sample that the model is undecided about can have one of any length.
_CLIP = 1.0
#: Options of `mallopt`, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

#: Name → a value for each point.
Curves = dict[str, list[float]]


@dataclass(frozen=True)
class Budget:
    """How long to train.

    Attributes:
        steps: as many steps; the result is the same on every run.
        minutes: as many minutes instead, whatever the number of steps; None: `steps` counts.
    """

    steps: int
    minutes: float | None = None

    @property
    def ticks(self) -> int:
        """Length of a progress bar: steps, or seconds."""
        return self.steps if self.minutes is None else max(1, round(self.minutes * 60))

    def progress(self, step: int, seconds: float) -> float:
        """What is used up before step `step`, 0 … 1."""
        return min(1.0, step / self.steps if self.minutes is None else seconds / (self.minutes * 60))


def _rate(progress: float) -> float:
    """Share of the full learning rate: a rise, then half a cosine."""
    cosine = _LEAST_RATE + (1 - _LEAST_RATE) * (1 + cos(pi * progress)) / 2
    return min(1.0, (progress + _WARM_UP / 10) / _WARM_UP) * cosine


def train(
    module: nn.Module,
    groups: Sequence[dict[str, Any]],
    loss: Callable[[int, float], tuple[Tensor, Mapping[str, float]]],
    budget: Budget,
    checkpoint: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Curves:
    """Minimises `loss` with Adam; goes on from `checkpoint` if there is one.

    All that is random in `loss` must follow from the step's number or torch's default generator, which is set from it
    before each step, so that a training that was interrupted ends as it would have done otherwise.

    Args:
        module: all that is trained; its state is what checkpoints hold.
        groups: parameters and their learning rates, as `torch.optim.Adam` takes them.
        loss: (step, progress 0 … 1) → loss, and values for the curves.
        budget: when to stop.
        checkpoint: file that is written every half minute and removed in the end; None: none.
        advance: called `budget.ticks` times.

    Raises:
        CalibrationError: if the loss is no longer a number.
    """
    _keep_memory()
    optimiser = torch.optim.Adam(groups)
    rates = [group["lr"] for group in optimiser.param_groups]
    curves: Curves = {}
    sums: dict[str, float] = {}
    step, count, before, ticks = 0, 0, 0.0, 0
    if checkpoint is not None and checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        curves, sums = state["curves"], state["sums"]
        step, count, before = state["step"], state["count"], state["seconds"]
    started = saved = monotonic()
    with torch.random.fork_rng():
        while (progress := budget.progress(step, before + monotonic() - started)) < 1:
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * _rate(progress)
            torch.manual_seed(step)
            optimiser.zero_grad(set_to_none=True)
            value, shown = loss(step, progress)
            if not bool(torch.isfinite(value)):
                raise CalibrationError(f"training diverged at step {step}: the loss is {value.item()}")
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], _CLIP)
            optimiser.step()
            step, count = step + 1, count + 1
            for name, number in {"loss": value.item(), **shown}.items():
                sums[name] = sums.get(name, 0.0) + number
            used = budget.progress(step, before + monotonic() - started)
            if int(used * _CURVE_POINTS) > int(progress * _CURVE_POINTS) or used == 1:
                for name, number in {"step": float(step * count), **sums}.items():
                    curves.setdefault(name, []).append(round(number / count, 6))
                sums, count = {}, 0
            while ticks < int(used * budget.ticks):
                ticks += 1
                advance()
            if checkpoint is not None and monotonic() - saved >= _EVERY_S:
                saved = monotonic()
                state = {
                    "module": module.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "curves": curves,
                    "sums": sums,
                    "step": step,
                    "count": count,
                    "seconds": before + saved - started,
                }
                _write(state, checkpoint)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return curves


def _keep_memory() -> None:
    """Asks the C library to keep freed memory: handing a step's tensors back to the system, page by page, and fetching
    them again took a quarter of the time of training on a processor."""
    with contextlib.suppress(AttributeError, OSError):  # Only glibc has it.
        library = ctypes.CDLL(None)
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**26)):
            library.mallopt(option, value)


def _write(state: Mapping[str, Any], checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    partial = checkpoint.with_name(f"{checkpoint.name}.new")
    torch.save(state, partial)
    os.replace(partial, checkpoint)
