from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tests.support.networks import SIDE, Network, control_flow_net, residual_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.importers import import_model
from cutpoint.codecs import TensorSpec


def _save(model: onnx.ModelProto, folder: Path) -> str:
    path = folder / "net.onnx"
    onnx.save(model, str(path))
    return str(path)


def test_a_file_is_loaded(tmp_path: Path) -> None:
    imported = import_model(_save(residual_net(), tmp_path))
    assert (imported.name, imported.origin) == ("net", "onnx")
    assert imported.inputs == (TensorSpec("x", (1, 3, SIDE, SIDE), "float32"),)


def test_an_old_operator_set_is_brought_up(tmp_path: Path) -> None:
    imported = import_model(_save(residual_net(opset=11), tmp_path))
    assert imported.model.opset_import[0].version >= 13


def test_open_sides_need_input(tmp_path: Path) -> None:
    model = residual_net()
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    path = _save(model, tmp_path)
    with pytest.raises(CalibrationError, match="--input"):
        import_model(path)
    assert import_model(path, (1, 3, 24, 24)).inputs[0].shape == (1, 3, 24, 24)
    with pytest.raises(CalibrationError, match="--input says"):
        import_model(path, (1, 4, 24, 24))


def test_control_flow_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"layer 'node_out' \(If\).*control flow"):
        import_model(_save(control_flow_net(), tmp_path))


def test_a_custom_operator_is_refused_by_name(tmp_path: Path) -> None:
    net = Network()
    net.add("Fancy", ["x"], "out", domain="com.acme")
    with pytest.raises(CalibrationError, match=r"'node_out' \(com.acme.Fancy\)"):
        import_model(_save(net.model((1, 3, 4, 4), ["out"]), tmp_path))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no such file"):
        import_model(str(tmp_path / "nowhere.onnx"))
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    with pytest.raises(CalibrationError, match="no graph"):
        import_model(str(path))
    path.write_bytes(residual_net().SerializeToString()[:500])
    with pytest.raises(CalibrationError, match="not a readable ONNX file"):
        import_model(str(path))


def test_inputs_that_cannot_cross(tmp_path: Path) -> None:
    net = Network()
    net.add("Identity", ["x"], "out")
    model = net.model((1, 3), ["out"], batch=False)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    with pytest.raises(CalibrationError, match="fixed batch of 4"):
        import_model(_save(model, tmp_path))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.STRING, ["N", 3]))
    with pytest.raises(CalibrationError, match="element type"):
        import_model(_save(model, tmp_path))


@pytest.mark.parametrize("name", ["model", "model.pt"])
def test_what_is_no_model_at_all(name: str, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="nor a factory"):
        import_model(str(tmp_path / name))
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CalibrationError, match="factory for a torch model"):
        import_model(str(tmp_path / name))
