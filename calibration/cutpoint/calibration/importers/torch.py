"""torch models, exported to ONNX."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import io
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.importers.model import ImportedModel
from cutpoint.calibration.importers.onnx import from_proto
from cutpoint.calibration.importers.zoo import ZOOS, load_weights
from cutpoint.codecs import Array

__all__ = ["export_module", "load_factory", "load_program"]

#: Operator set of the export: the newest that the .tflite conversion reads as well.
_OPSET = 18


def load_factory(model: str, input_shape: tuple[int, ...] | None = None, weights: Path | None = None) -> ImportedModel:
    """The model that a factory returns, or one of `ZOOS`.

    Args:
        model: ``torchvision:NAME``, ``timm:NAME``, ``package.module:factory`` or ``path/to/file.py:factory``.
        input_shape: with the batch in front; None: from the module's ``input_shape`` or timm's ``default_cfg``.
        weights: file of a state dict; None: as the factory made it, or from the hub.

    Raises:
        CalibrationError: if the factory cannot be found, raises, its weights cannot be had, or its model cannot be
            exported.
    """
    place, _, name = model.rpartition(":")
    fields: dict[str, Any] = {}
    if place in ZOOS:
        module, fields = ZOOS[place](name, weights is None)
        if "height" in fields and input_shape is None:
            input_shape = (1, 3, fields["height"], fields["width"])
    else:
        module = _from_factory(place, name, model)
    if weights is not None:
        load_weights(module, weights, model)
    shape = input_shape or _own_shape(module)
    if shape is None:
        raise CalibrationError(f"{model}: give the shape of its input, for instance --input 1x3x224x224")
    if input_shape is not None and fields.get("height") not in (None, shape[-2]):
        fields = {key: value for key, value in fields.items() if key not in ("height", "width", "resize")}
    return dataclasses.replace(export_module(module, shape, name, model), preprocessing=fields)


def load_program(path: Path) -> ImportedModel:
    """The model in a ``.pt2`` file, as `torch.export.save` writes it.

    Raises:
        CalibrationError: if it cannot be read, or cannot be exported to ONNX.
    """
    if not path.is_file():
        raise CalibrationError(f"{path}: no such file")
    try:
        with _quiet():
            program = torch.export.load(path)
        module = program.module()
    except Exception as error:  # Archives, JSON and torch share no base below Exception.
        raise CalibrationError(f"{path}: not a readable exported program: {_describe(error)}") from error
    try:
        with torch.no_grad(), _quiet():
            exported = torch.onnx.export(program, (), dynamo=True, opset_version=_OPSET, verbose=False)
        assert exported is not None, "the exporter returns a program"
    except Exception as error:  # As in `export_module`.
        raise CalibrationError(f"{path}: cannot be exported to ONNX: {_describe(_root(error))}") from error

    def reference(tensors: Sequence[Array]) -> list[Array]:
        with torch.no_grad():
            outputs = module(*(torch.from_numpy(tensor) for tensor in tensors))
        return [output.numpy() for output in torch.utils._pytree.tree_leaves(outputs)]

    imported = from_proto(exported.model_proto, path.stem, str(path), "torch")
    return dataclasses.replace(imported, reference=reference, program=exported.exported_program)


def _from_factory(place: str, name: str, model: str) -> torch.nn.Module:
    factory = getattr(_import(place, model), name, None)
    if not callable(factory):
        raise CalibrationError(f"{model}: {place} has no function {name!r}")
    try:
        module = factory()
    except Exception as error:  # The factory is the user's code: whatever it raises is the answer.
        raise CalibrationError(f"{model}: the factory raised {_describe(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise CalibrationError(f"{model}: the factory returned {type(module).__name__}, not a torch.nn.Module")
    return module


def export_module(module: torch.nn.Module, shape: Sequence[int], name: str, where: str) -> ImportedModel:
    """A torch module as ONNX, its batch axis free if possible.

    Args:
        module: takes one float tensor.
        shape: of that tensor.
        name: of the model.
        where: begins the messages.

    Raises:
        CalibrationError: if it cannot run or cannot be exported; names the layer.
    """
    module = module.eval().cpu()
    example = torch.randn(2, *shape[1:], generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), _quiet():
            module(example[:1])
    except Exception as error:  # The module is the user's code.
        raise CalibrationError(
            f"{where}: the model fails on an input of shape {[1, *shape[1:]]}: {_describe(error)}; see --input"
        ) from error
    try:
        exported = _export(module, (example,), batch=True)
    except Exception:  # The exporter raises many types; a fixed batch may still work.
        try:
            exported = _export(module, (example[:1],), batch=False)
        except Exception as error:
            layer, reason = _culprit(module, example[:1], error)
            raise CalibrationError(
                f"{where}: {layer} cannot be exported to ONNX: {reason}; replace it with standard layers, without "
                "branches on tensor values"
            ) from error

    def reference(tensors: Sequence[Array]) -> list[Array]:
        with torch.no_grad():
            outputs = module(*(torch.from_numpy(tensor) for tensor in tensors))
        flat = torch.utils._pytree.tree_leaves(outputs)
        return [output.numpy() for output in flat]

    imported = from_proto(exported.model_proto, name, where, "torch")
    return dataclasses.replace(imported, reference=reference, program=exported.exported_program)


def _import(place: str, model: str) -> ModuleType:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise CalibrationError(f"{model}: no file {place}")
        name = f"_cutpoint_model_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None, "a .py file has a loader"
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # The file is the user's code.
            raise CalibrationError(f"{model}: {place} raised {_describe(error)} while it was imported") from error
        return module
    try:
        with _importable_here():
            return importlib.import_module(place)
    except ImportError as error:
        raise CalibrationError(
            f"{model}: {place!r} cannot be imported: {error}; run from the folder that holds it, or give "
            "path/to/file.py:factory"
        ) from error
    except Exception as error:  # The module is the user's code.
        raise CalibrationError(f"{model}: {place} raised {_describe(error)} while it was imported") from error


@contextlib.contextmanager
def _importable_here() -> Iterator[None]:
    """Modules in the current folder can be imported, as with ``python -m``."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _own_shape(module: torch.nn.Module) -> tuple[int, ...] | None:
    shape = getattr(module, "input_shape", None)
    if shape is not None:
        return tuple(int(side) for side in shape)
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    size = config.get("input_size") if isinstance(config, dict) else None
    return (1, *(int(side) for side in size)) if size else None


def _describe(error: BaseException) -> str:
    """Type, message and place of an exception, on one line."""
    message = " ".join(str(error).split()) or "no message"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {message[:500]}{place}"


def _export(module: torch.nn.Module, example: tuple[Any, ...], batch: bool) -> torch.onnx.ONNXProgram:
    shapes = tuple({0: torch.export.Dim("N", min=1)} for _ in example) if batch else None
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module, example, dynamo=True, opset_version=_OPSET, dynamic_shapes=shapes, verbose=False
        )
        assert program is not None, "the exporter returns a program"
        return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter prints, logs and warns of: errors come as exceptions."""
    before = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _culprit(module: torch.nn.Module, example: torch.Tensor, error: Exception) -> tuple[str, str]:
    """The innermost layer that does not export on its own, and the reason. Exports layer by layer, so it takes time."""
    calls: dict[str, tuple[torch.nn.Module, tuple[Any, ...]]] = {}
    hooks = []
    for name, layer in module.named_modules():

        def record(layer: torch.nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
            calls.setdefault(name, (layer, inputs))

        hooks.append(layer.register_forward_pre_hook(record))
    try:
        with torch.no_grad(), _quiet():
            module(example)
    finally:
        for hook in hooks:
            hook.remove()
    place, reason = "", error
    while True:
        prefix = f"{place}." if place else ""
        inner = [name for name in calls if name and name.startswith(prefix) and name != place]
        direct = [name for name in inner if not any(name.startswith(f"{other}.") for other in inner)]
        for name in direct:
            layer, inputs = calls[name]
            try:
                _export(layer, inputs, batch=False)
            except Exception as failure:  # As in `export_module`.
                place, reason = name, failure
                break
        else:
            break
    kind = type(calls[place][0] if place else module)
    lines = [line.strip() for line in str(_root(reason)).splitlines() if line.strip()]
    where = inspect.getsourcefile(kind)
    source = f" in {Path(where).name}" if where else ""
    return f"layer {place or '(the model itself)'} ({kind.__name__}{source})", (lines or ["no message"])[0][:300]


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
