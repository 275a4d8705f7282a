"""Files that change while the server runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["FileWatch"]


class FileWatch:
    """Notices when one of some files is written or replaced.

    Args:
        paths: the files; None among them is left out. One that is not there is one that may come.
    """

    def __init__(self, paths: Iterable[Path | None]) -> None:
        self._paths = tuple(path for path in paths if path is not None)
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether one has changed since the last call. Blocking."""
        before, self._seen = self._seen, self._look()
        return before != self._seen

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_identity(path) for path in self._paths]


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
