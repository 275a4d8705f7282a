"""The compiled coder under AddressSanitizer and UndefinedBehaviorSanitizer, fed with damaged streams."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.codecs.coders import SOURCE, compiler
from tests.codecs.test_fuzz import STREAMS

DRIVER = Path(__file__).with_name("fuzz_rans.c")


@pytest.mark.timeout(0)
@pytest.mark.parametrize("defines", [[], ["-DCP_PORTABLE_ONLY"]], ids=["vector-paths", "portable"])
def test_fuzz_under_sanitizers(tmp_path: Path, defines: list[str]) -> None:
    program = tmp_path / "fuzz_rans"
    flags = ["-std=c99", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{SOURCE.parent}"]
    built = subprocess.run(
        [compiler(), *flags, *defines, "-o", str(program), str(DRIVER)], capture_output=True, text=True, check=False
    )
    if built.returncode != 0 and "sanitize" in built.stderr + built.stdout:
        pytest.skip("this compiler has no address and undefined-behaviour sanitizers")
    assert built.returncode == 0, built.stderr
    run = subprocess.run([str(program), str(STREAMS), "1"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    decoded = int(run.stdout.split()[2])
    assert 0 < decoded < STREAMS
