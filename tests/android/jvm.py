"""Programs of the Android bridge on this machine's JVM."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
BRIDGE = ROOT / "android_bridge"


def missing() -> str | None:
    """What this machine lacks for the bridge; None if it has it all."""
    lacking = [tool for tool in ("java", "javac", "make") if shutil.which(tool) is None]
    if lacking:
        return f"no {', '.join(lacking)} here: install a JDK"
    return None


@cache
def class_path() -> str:
    """Compiles what is not up to date and returns where it lies."""
    subprocess.run(["make", "--silent", "-C", str(BRIDGE), "core-tests"], check=True)
    shown = ["make", "--silent", "--no-print-directory", "-C", str(BRIDGE), "class-path"]
    return subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()


def command(main: str, *arguments: str | Path, options: Sequence[str] = ()) -> list[str]:
    """The command that runs a main class of the bridge's tests."""
    head = ["java", "-ea", f"-Dcutpoint.root={ROOT}", *options, "-cp", class_path(), f"dev.cutpoint.core.{main}"]
    return [*head, *(str(argument) for argument in arguments)]


def run(main: str, *arguments: str | Path) -> str:
    """Runs a main class to its end and returns what it printed."""
    done = subprocess.run(command(main, *arguments), capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout
