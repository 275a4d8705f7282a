"""Finished steps of a calibration, kept beside the output so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from cutpoint.sdk.files import write_file

__all__ = ["WorkFolder", "digest"]


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

    Args:
        path: the folder; made when the first result is stored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reused = 0

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
