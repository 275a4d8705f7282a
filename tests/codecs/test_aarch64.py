"""The compiled coder writes the same bytes on aarch64, NEON path included, as here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.codecs.coders import SOURCE, compiler
from tests.codecs.test_sanitizers import DRIVER

CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_same_streams_and_outcomes(tmp_path: Path, level: str) -> None:
    if shutil.which(CROSS) is None or shutil.which(EMULATOR) is None:
        pytest.skip(f"{CROSS} or {EMULATOR} is not installed")
    flags = ["-std=c99", level, "-ffp-contract=off", f"-I{SOURCE.parent}", str(DRIVER), "-o"]
    here, there = tmp_path / "here", tmp_path / "there"
    subprocess.run([compiler(), *flags, str(here)], check=True)
    subprocess.run([CROSS, "-static", *flags, str(there)], check=True)
    expected = subprocess.run([str(here), "3000", "5"], capture_output=True, text=True, check=True).stdout
    emulated = subprocess.run([EMULATOR, str(there), "3000", "5"], capture_output=True, text=True, check=False)
    assert emulated.returncode == 0, emulated.stdout + emulated.stderr
    assert emulated.stdout == expected
