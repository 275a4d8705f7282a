"""Programs of the Android bridge on this machine's JVM."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
BRIDGE = ROOT / "android_bridge"
_MAKE = ("make", "--silent", "--no-print-directory", "-C", str(BRIDGE))


def missing() -> str | None:
    """What this machine lacks for the bridge; None if it has it all."""
    if shutil.which("make") is None or shutil.which("java") is None:
        return "the Android bridge needs make and a JDK"
    asked = subprocess.run([*_MAKE, "class-path"], capture_output=True, text=True, check=False)
    return asked.stderr.strip() if asked.returncode else None


@cache
def class_path() -> str:
    """Compiles what is not up to date and returns where it lies."""
    subprocess.run([*_MAKE, "core-tests"], check=True)
    return subprocess.run([*_MAKE, "class-path"], check=True, capture_output=True, text=True).stdout.strip()


def command(main: str, *arguments: str | Path, options: Sequence[str] = ()) -> list[str]:
    """The command that runs a main class of the bridge's tests."""
    head = ["java", "-ea", f"-Dcutpoint.root={ROOT}", *options, "-cp", class_path(), f"dev.cutpoint.core.{main}"]
    return [*head, *(str(argument) for argument in arguments)]


def run(main: str, *arguments: str | Path) -> str:
    """Runs a main class to its end and returns what it printed."""
    done = subprocess.run(command(main, *arguments), capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def block(data: bytes) -> bytes:
    """The data behind its length."""
    return struct.pack(">I", len(data)) + data


def blocks(data: bytes) -> list[bytes]:
    """The parts of a file of blocks."""
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def transform(main: str, inputs: Iterable[bytes], folder: Path) -> list[bytes]:
    """What a main class that works on files of blocks makes of `inputs`."""
    (folder / "inputs").write_bytes(b"".join(map(block, inputs)))
    run(main, folder / "inputs", folder / "outputs")
    return blocks((folder / "outputs").read_bytes())
