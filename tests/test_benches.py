"""Benchmarks are programs too: all can be imported, and those that need no data run, with few rounds."""

import importlib
import io
import json
from typing import Any

import pytest
from rich.console import Console
from tests.bench.__main__ import main, names


@pytest.mark.parametrize("name", names())
def test_has_a_title_a_measurement_and_a_table(name: str) -> None:
    module = importlib.import_module(f"tests.bench.{name.replace('-', '_')}")
    assert module.TITLE
    assert module.__doc__
    assert callable(module.run)
    assert callable(module.table)


@pytest.mark.parametrize(
    ("name", "fewer"),
    [
        ("decision", {"_ROUNDS": 3}),
        ("flapping", {"_REQUESTS": 6}),
        ("overhead", {"_ROUNDS": 3}),
        ("streams", {"_FRAMES": 3}),
        ("tracing", {"_ROUNDS": 2, "_REQUESTS": 5}),
    ],
)
def test_runs(name: str, fewer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"tests.bench.{name}")
    for constant, value in fewer.items():
        monkeypatch.setattr(module, constant, value)
    result = module.run()
    assert json.loads(json.dumps(result)) == result
    shown = io.StringIO()
    Console(file=shown, width=200).print(module.table(result))
    assert "nan" not in shown.getvalue()
    assert len(shown.getvalue().splitlines()) > 4


def test_unknown_name_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert "decision" in capsys.readouterr().err
