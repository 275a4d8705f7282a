"""Models by name from torchvision and timm, and weights from files."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import require

__all__ = ["ZOOS", "load_weights", "make_timm", "make_torchvision"]

#: What makes a module, and the fields of `Preprocessing` that it was trained with.
Made = tuple[torch.nn.Module, dict[str, Any]]


def make_torchvision(name: str, pretrained: bool) -> Made:
    """A model of torchvision; of those that give a dictionary, the ``out`` of it.

    Raises:
        CalibrationError: if there is no such model, or its weights cannot be had.
    """
    require(("torchvision",), f"calibrating torchvision:{name}")
    from torchvision import models

    if name not in models.list_models():
        raise CalibrationError(f"torchvision:{name}: torchvision has no such model; `torchvision.models.list_models()`")
    entry = models.get_model_weights(name).DEFAULT
    # Weights of the backbone alone would be fetched too.
    options = {} if pretrained or "weights_backbone" not in _parameters(name) else {"weights_backbone": None}
    module = _fetch(
        f"torchvision:{name}", lambda: models.get_model(name, weights=entry if pretrained else None, **options)
    )
    if name in models.list_models(models.segmentation):
        module = _Out(module)
    how = entry.transforms()
    fields: dict[str, Any] = {}
    if getattr(how, "mean", None) is not None:
        fields |= {"mean": list(how.mean), "std": list(how.std)}
    if getattr(how, "crop_size", None):
        (side,) = how.crop_size
        fields |= {"height": side, "width": side, "resize": max(side, *how.resize_size)}
        fields["interpolation"] = str(how.interpolation.value)
    return module, fields


def make_timm(name: str, pretrained: bool) -> Made:
    """A model of timm.

    Raises:
        CalibrationError: if there is no such model, or its weights cannot be had.
    """
    require(("timm",), f"calibrating timm:{name}")
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise CalibrationError(f"timm:{name}: timm has no such model; `timm.list_models()`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's own deprecations are not the user's business.
        module = _fetch(f"timm:{name}", lambda: timm.create_model(name, pretrained=pretrained))
    how: Any = module.pretrained_cfg
    _, height, width = how["input_size"]
    fields = {"height": height, "width": width, "mean": list(how["mean"]), "std": list(how["std"])}
    if height == width:
        fields["resize"] = int(height / how.get("crop_pct", 1.0))
    fields["interpolation"] = "bilinear" if how.get("interpolation") == "bilinear" else "bicubic"
    return module, fields


#: Prefix → what makes a model of that name, with weights from the hub or without.
ZOOS: dict[str, Callable[[str, bool], Made]] = {"torchvision": make_torchvision, "timm": make_timm}


class _Out(torch.nn.Module):
    """A model that gives a dictionary, reduced to the entry ``out``."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.module(x)["out"]
        return out


def _parameters(name: str) -> tuple[str, ...]:
    from torchvision import models

    return tuple(inspect.signature(models.get_model_builder(name)).parameters)


def _fetch(where: str, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    try:
        return make()
    except Exception as error:  # Hubs, sockets and archives share no base below Exception.
        reason = " ".join(str(error).split())[:200]
        raise CalibrationError(
            f"{where}: its weights cannot be fetched ({type(error).__name__}: {reason}); give them with --weights PATH"
        ) from error


def load_weights(module: torch.nn.Module, path: Path, where: str) -> None:
    """Loads a state dict into `module`: its own, or the one under ``state_dict`` or ``model``.

    Args:
        module: takes the weights.
        path: ``.pth``, ``.pt`` or ``.safetensors``.
        where: begins the messages.

    Raises:
        CalibrationError: if the file does not read or does not fit; names the first tensor that does not.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # As in `_fetch`.
        reason = " ".join(str(error).split())[:200]
        raise CalibrationError(f"{where}: --weights {path} cannot be read: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CalibrationError(f"{where}: --weights {path} holds no state dict")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    target = module.module if isinstance(module, _Out) else module
    own = target.state_dict()
    for name, value in own.items():
        if name not in state:
            raise CalibrationError(f"{where}: --weights {path} lacks {name!r}: these are the weights of another model")
        if state[name].shape != value.shape:
            raise CalibrationError(
                f"{where}: --weights {path}: {name!r} has shape {list(state[name].shape)}, the model's has "
                f"{list(value.shape)}"
            )
    target.load_state_dict({name: state[name].to(value.dtype) for name, value in own.items()})
