"""Build hook: compiles the entropy coder, one plain C file, into a shared library beside its Python module.

The library does not know Python, so one wheel per platform serves every Python version. Without a C compiler the build
goes on and cutpoint codes with numpy. Environment: ``CC`` names the compiler, ``CUTPOINT_NO_NATIVE=1`` leaves it out.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("codecs/cutpoint/codecs/_rans.c")
LIBRARY = SOURCE.with_name("_rans.so")
FLAGS = ["-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden"]


def compile_coder(root: Path) -> bool:
    """Compile below ``root``; False, with a line on stderr saying why, where that is not possible."""
    if os.environ.get("CUTPOINT_NO_NATIVE") == "1":
        return False
    # Compiled beside the target and moved over it: a running process may have the old library mapped.
    fresh = root / LIBRARY.with_suffix(".so.new")
    command = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS, "-o", str(fresh), str(root / SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        print(f"cutpoint: no C compiler ({error}); the entropy coder will run in numpy", file=sys.stderr)
        return False
    if done.returncode != 0:
        print(f"cutpoint: the entropy coder does not compile and will run in numpy:\n{done.stderr}", file=sys.stderr)
        fresh.unlink(missing_ok=True)
        return False
    fresh.replace(root / LIBRARY)
    return True


class CustomBuildHook(BuildHookInterface[Any]):
    """Called by hatchling for wheels and editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel carry the library and the platform's tag."""
        if self.target_name != "wheel" or not compile_coder(Path(self.root)):
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append(LIBRARY.as_posix())
