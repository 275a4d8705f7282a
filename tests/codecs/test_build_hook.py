"""The build hook compiles the coder where it can, and lets the install go on where it cannot."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from tests.codecs.coders import compiler

from cutpoint.codecs import _native

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="hook")
def load_hook() -> ModuleType:
    pytest.importorskip("hatchling", reason="hatchling, which runs the hook, is not installed here")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="tree")
def copy_source(tmp_path: Path, hook: ModuleType) -> Path:
    (tmp_path / hook.SOURCE).parent.mkdir(parents=True)
    shutil.copy(ROOT / hook.SOURCE, tmp_path / hook.SOURCE)
    return tmp_path


def test_compiles_and_marks_the_wheel(hook: ModuleType, tree: Path) -> None:
    compiler()
    build_data: dict[str, object] = {"artifacts": []}
    hook.CustomBuildHook(str(tree), {}, None, None, str(tree), "wheel").initialize("standard", build_data)
    assert build_data["artifacts"] == [hook.LIBRARY.as_posix()]
    assert build_data["pure_python"] is False
    assert str(build_data["tag"]).startswith("py3-none-")
    assert "portable" in _native.NativeCoder(tree / hook.LIBRARY).paths
    assert [path.name for path in (tree / hook.LIBRARY).parent.iterdir() if path.suffix == ".new"] == []


@pytest.mark.parametrize(
    ("name", "value"), [("CC", "/nowhere/cc"), ("CC", "false"), ("CUTPOINT_NO_NATIVE", "1")], ids=str
)
def test_goes_on_without_a_compiler(
    hook: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    build_data: dict[str, object] = {"artifacts": []}
    hook.CustomBuildHook(str(tree), {}, None, None, str(tree), "wheel").initialize("editable", build_data)
    assert build_data == {"artifacts": []}
    assert not (tree / hook.LIBRARY).exists()


def test_leaves_source_distributions_alone(hook: ModuleType, tree: Path) -> None:
    build_data: dict[str, object] = {"artifacts": []}
    hook.CustomBuildHook(str(tree), {}, None, None, str(tree), "sdist").initialize("standard", build_data)
    assert build_data == {"artifacts": []}
