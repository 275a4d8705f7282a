"""The rules that keep the layers apart."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("codecs", "sdk", "server", "calibration", "demo")
FOLDERS = {layer: ROOT / ("examples" if layer == "demo" else layer) / "cutpoint" / layer for layer in LAYERS}
MODULES = [(layer, path) for layer, folder in FOLDERS.items() for path in sorted(folder.rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(("layer", "path"), MODULES, ids=[str(path.relative_to(ROOT)) for _, path in MODULES])
def test_imports_go_one_way(layer: str, path: Path) -> None:
    above = LAYERS[LAYERS.index(layer) + 1 :]
    names = imported(path)
    for other in above:
        assert not any(name == f"cutpoint.{other}" or name.startswith(f"cutpoint.{other}.") for name in names)
    if layer != "calibration":
        assert not any(name.split(".")[0] in ("torch", "torchvision", "compressai", "onnx") for name in names)


@pytest.mark.parametrize("path", sorted((FOLDERS["calibration"] / "graphs").glob("*.py")), ids=lambda path: path.name)
def test_graphs_know_nothing_of_codecs_and_points(path: Path) -> None:
    assert not _packages(path) & {"codecs", "training", "search", "report", "tasks", "pipeline"}


@pytest.mark.parametrize("path", sorted((FOLDERS["calibration"] / "codecs").glob("*.py")), ids=lambda path: path.name)
def test_fitted_codecs_know_nothing_of_training(path: Path) -> None:
    assert not _packages(path) & {"training", "search", "report", "pipeline"}


def _packages(path: Path) -> set[str]:
    """The parts of calibration that a module imports."""
    parts = (name.split(".") for name in imported(path))
    return {part[2] for part in parts if part[:2] == ["cutpoint", "calibration"] and len(part) > 2}


def test_base_layers_run_without_torch_and_onnx() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'compressai', 'torchvision'): sys.modules[name] = None\n"
        "import cutpoint.codecs, cutpoint.sdk, cutpoint.sdk.testing, cutpoint.server, cutpoint.demo.cli\n"
        "import cutpoint.sdk.cli, cutpoint.server.cli, cutpoint.calibration.cli\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["cutpoint.codecs", "cutpoint.sdk", "cutpoint.server"])
def test_public_names_are_there_and_sorted_out(package: str) -> None:
    module = __import__(package, fromlist=["__all__"])
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
