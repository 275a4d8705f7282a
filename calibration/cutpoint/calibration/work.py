"""Finished steps of a calibration, kept beside the output so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from cutpoint.calibration.errors import CalibrationError
from cutpoint.sdk.files import write_file

__all__ = ["WorkFolder", "digest"]

#: Held by the calibration that works in the folder.
_LOCK = "lock"


def digest(*parts: bytes | str) -> str:
    """A key from everything that a result depends on."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:32]


class WorkFolder:
    """Results by key. The key holds everything a result depends on, so a changed input never finds an old result.

    As a context it belongs to one calibration alone; a folder without results is removed at its end.

    Args:
        path: the folder; made when it is entered, or the first result is stored.

    Raises:
        CalibrationError: from entering, if another calibration is in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reused = 0
        self._lock: IO[bytes] | None = None
        self._made: list[Path] = []

    def __enter__(self) -> WorkFolder:
        lock = self.path / _LOCK
        self._made = [folder for folder in self.path.parents if not folder.exists()]
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = lock.open("wb")
            except FileNotFoundError:  # Its last owner removed the folder in this moment.
                continue
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                raise CalibrationError(
                    f"{self.path}: another calibration with this output is running: wait, or give another --out"
                ) from None
            if lock.exists() and os.path.samestat(lock.stat(), os.fstat(self._lock.fileno())):
                return self
            self._lock.close()

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            if self.path.is_dir() and [entry.name for entry in self.path.iterdir()] == [_LOCK]:
                self.remove()
                for folder in self._made:
                    with contextlib.suppress(OSError):  # Something else lies in it by now.
                        folder.rmdir()
            self._lock.close()

    def get(self, kind: str, key: str, make: Callable[[], bytes]) -> bytes:
        """The stored result, or that of `make`, which is then stored.

        Args:
            kind: begins the file name, for people who look into the folder.
            key: see `digest`.
            make: computes the result.
        """
        file = self.path / f"{kind}-{key}"
        if file.is_file():
            self.reused += 1
            return file.read_bytes()
        data = make()
        write_file(file, data)
        return data

    def remove(self) -> None:
        """Deletes the folder and all results."""
        shutil.rmtree(self.path, ignore_errors=True)
