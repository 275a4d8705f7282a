from pathlib import Path

import numpy as np
import pytest

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.graphs.prepare import make_preprocessing
from cutpoint.calibration.importers import import_model

torch = pytest.importorskip("torch", reason="needs cutpoint[calibrate]")


def test_a_model_of_timm_with_weights_from_a_file(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="needs cutpoint[calibrate]")
    module = timm.create_model("test_vit", pretrained=False).eval()
    torch.save({"model": {f"module.{k}": v.half() for k, v in module.state_dict().items()}}, tmp_path / "w.pth")
    imported = import_model("timm:test_vit", None, tmp_path / "w.pth")
    side = module.pretrained_cfg["input_size"][1]
    assert imported.inputs[0].shape == (1, 3, side, side)
    how = make_preprocessing(imported, {"scale": 0.5})
    assert (how.width, how.scale, how.mean) == (side, 0.5, tuple(module.pretrained_cfg["mean"]))
    picture = np.random.default_rng(0).normal(size=imported.inputs[0].shape).astype(np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(picture)).numpy()
    (given,) = run_model(imported.model, {imported.inputs[0].name: picture})
    # The weights were rounded to half precision in the file.
    np.testing.assert_allclose(given, wanted, atol=0.02 * np.abs(wanted).max())


def test_a_model_of_torchvision() -> None:
    pytest.importorskip("torchvision")
    from cutpoint.calibration.importers.zoo import make_torchvision

    module, how = make_torchvision("squeezenet1_1", False)
    assert isinstance(module, torch.nn.Module)
    assert (how["height"], how["resize"], how["interpolation"]) == (224, 256, "bilinear")
    module, how = make_torchvision("lraspp_mobilenet_v3_large", False)
    with torch.no_grad():
        assert module.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 21, 64, 64)


@pytest.mark.parametrize(
    ("model", "package"), [("timm:no_such_net", "timm"), ("torchvision:no_such_net", "torchvision")]
)
def test_names_that_nobody_knows(model: str, package: str) -> None:
    pytest.importorskip(package)
    with pytest.raises(CalibrationError, match="has no such model"):
        import_model(model)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    # A proxy that is not there: no name is looked up and nothing leaves the machine.
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(CalibrationError, match=r"cannot be fetched.*--weights PATH"):
        import_model("torchvision:squeezenet1_1")


_NET = "import torch\ndef net():\n    m = torch.nn.Conv2d(3, 4, 3)\n    m.input_shape = (1, 3, 8, 8)\n    return m\n"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.zeros(4, 3, 3, 3)}, "lacks 'bias'"),
        ({"weight": torch.zeros(4, 3, 5, 5), "bias": torch.zeros(4)}, r"'weight' has shape \[4, 3, 5, 5\]"),
        ({"epoch": 3}, "holds no state dict"),
        (None, "cannot be read"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, state: object, message: str) -> None:
    (tmp_path / "net.py").write_text(_NET)
    if state is None:
        (tmp_path / "w.pth").write_bytes(b"no")
    else:
        torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CalibrationError, match=message):
        import_model(f"{tmp_path}/net.py:net", None, tmp_path / "w.pth")


def test_weights_where_none_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="leave --weights out"):
        import_model("net.onnx", None, tmp_path)
    with pytest.raises(CalibrationError, match="no such file"):
        import_model("timm:test_vit", None, tmp_path / "nowhere")


def test_an_exported_program(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 5))
    batch = torch.export.Dim("N", min=1)
    example = torch.zeros(2, 3, 6, 6)
    torch.export.save(torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},)), tmp_path / "m.pt2")
    imported = import_model(str(tmp_path / "m.pt2"))
    assert (imported.name, imported.origin, imported.inputs[0].shape) == ("m", "torch", (1, 3, 6, 6))
    picture = np.random.default_rng(0).normal(size=(1, 3, 6, 6)).astype(np.float32)
    (given,) = run_model(imported.model, {imported.inputs[0].name: picture})
    np.testing.assert_allclose(given, imported.reference([picture])[0], rtol=1e-4, atol=1e-5)


def test_what_is_no_exported_program(tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"no")
    with pytest.raises(CalibrationError, match="not a readable exported program"):
        import_model(str(tmp_path / "m.pt2"))
    with pytest.raises(CalibrationError, match="no such file"):
        import_model(str(tmp_path / "nowhere.pt2"))
    with pytest.raises(CalibrationError, match="leave --input out"):
        import_model(str(tmp_path / "m.pt2"), (1, 3, 6, 6))
