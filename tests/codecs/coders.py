"""Every implementation of the entropy coder that this machine can run, for tests."""

from __future__ import annotations

import atexit
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cutpoint.codecs import _native
from cutpoint.codecs.entropy import EntropyModel

Symbols = npt.NDArray[np.integer[Any]]

SOURCE = Path(_native.__file__).with_name("_rans.c")
BUILDS = {
    "O3": ["-O3"],
    "O0": ["-O0"],
    "O2-portable-only": ["-O2", "-DCP_PORTABLE_ONLY"],
}
_VECTOR_PATHS = {"x86_64": ("avx2", "avx512"), "aarch64": ("neon",)}.get(platform.machine(), ())
#: build:path, besides numpy
NAMES = (
    "numpy",
    *(f"{build}:{path}" for build in ("O3", "O0") for path in ("portable", *_VECTOR_PATHS)),
    "O2-portable-only:portable",
)


def compiler() -> str:
    """The C compiler's path; skips the test where there is none."""
    found = shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler (cc) on this machine")
    return found


@cache
def _compiled(build: str) -> _native.NativeCoder:
    # The folder lives as long as the process, as the library does.
    folder = tempfile.mkdtemp(prefix="cutpoint-rans-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = Path(folder) / f"{build}.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden"]
    subprocess.run([compiler(), *flags, *BUILDS[build], "-o", str(library), str(SOURCE)], check=True)
    return _native.NativeCoder(library)


@dataclass(frozen=True)
class Implementation:
    """One implementation, on arrays of shape (channels, positions)."""

    name: str
    encode: Callable[[EntropyModel, Symbols], bytes]
    decode: Callable[[EntropyModel, bytes, tuple[int, int]], Symbols]


@cache
def implementation(name: str) -> Implementation:
    """The implementation called ``name``; skips the test where it cannot run."""
    if name == "numpy":
        return Implementation(
            name,
            lambda model, symbols: model.encode(symbols, coder="numpy"),
            lambda model, data, shape: model.decode(data, shape, coder="numpy"),
        )
    build, path = name.split(":")
    compiler()
    coder = _compiled(build)
    if path not in coder.paths:
        pytest.skip(f"this machine does not run the code path {path}")
    return Implementation(
        name,
        lambda model, symbols: coder.encode(np.ascontiguousarray(symbols).ravel(), model._plan(symbols.shape), path),
        lambda model, data, shape: coder.decode([data], model._plan(shape), path).reshape(shape),
    )


def available() -> list[Implementation]:
    """All that this machine can run; numpy first."""
    found = []
    for name in NAMES:
        try:
            found.append(implementation(name))
        except pytest.skip.Exception:
            continue
    return found


__all__ = ["NAMES", "SOURCE", "Implementation", "available", "compiler", "implementation"]
