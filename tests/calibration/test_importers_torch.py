import sys
from pathlib import Path

import numpy as np
import pytest

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.importers import import_model

pytest.importorskip("torch", reason="needs cutpoint[calibrate]")

MODELS = """
import torch
from torch import nn

class Picky(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x.amax(1, keepdim=True) + x

class Net(nn.Module):
    input_shape = (1, 3, 16, 16)

    def __init__(self, gate=None):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 3), gate or nn.ReLU()])
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.drop(x.mean((2, 3))))

def good():
    torch.manual_seed(0)
    return Net().train()

def gated():
    return Net(Picky())

def shapeless():
    return nn.Linear(4, 2)

def raises():
    raise RuntimeError("the weights are not there")

def number():
    return 3
"""


@pytest.fixture
def models(tmp_path: Path) -> str:
    path = tmp_path / "some_models.py"
    path.write_text(MODELS)
    return str(path)


def test_a_module_is_exported_in_evaluation_mode_with_a_free_batch(models: str) -> None:
    imported = import_model(f"{models}:good")
    assert (imported.name, imported.origin) == ("good", "torch")
    assert imported.inputs[0].shape == (1, 3, 16, 16)
    value = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    (given,) = run_model(imported.model, {imported.inputs[0].name: value})
    np.testing.assert_allclose(given, imported.reference([value])[0], rtol=1e-4, atol=1e-5)


def test_a_module_of_a_package(models: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(models).parent)
    monkeypatch.delitem(sys.modules, "some_models", raising=False)
    assert import_model("some_models:good").name == "good"
    assert str(Path(models).parent) not in sys.path


def test_the_layer_that_cannot_be_exported_is_named(models: str) -> None:
    with pytest.raises(CalibrationError, match=r"layer blocks\.1 \(Picky in some_models\.py\)"):
        import_model(f"{models}:gated")


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        ("{}:raises", None, r"the factory raised RuntimeError: the weights are not there \(some_models.py, line \d+\)"),
        ("{}:number", None, r"returned int, not a torch\.nn\.Module"),
        ("{}:nothing", None, "has no function 'nothing'"),
        ("{}:shapeless", None, "give the shape"),
        ("{}:shapeless", (1, 9), r"fails on an input of shape \[1, 9\]"),
        ("nowhere/at_all.py:f", None, "no file"),
        ("no_such_package.models:f", None, "cannot be imported"),
    ],
)
def test_factories_that_give_no_model(models: str, model: str, shape: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        import_model(model.format(models), shape)


def test_a_file_that_does_not_import(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(CalibrationError, match=r"ZeroDivisionError.*while it was imported"):
        import_model(f"{path}:f")
