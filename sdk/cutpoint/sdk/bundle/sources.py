"""Where the bytes of a bundle lie: a folder, a `.cutpoint` zip, or memory."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cutpoint.sdk.errors import BundleError

__all__ = ["Folder", "Memory", "Source", "Zip", "write_folder", "write_zip"]

#: A fixed time in the zip makes equal bundles equal files.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class Source(Protocol):
    """Where the bytes of a bundle lie. Paths were checked before they get here."""

    def names(self) -> set[str]: ...

    def size(self, name: str) -> int: ...

    def read(self, name: str) -> bytes: ...


class Folder:
    """A folder; links that lead out of it are refused."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> set[str]:
        return {p.relative_to(self._root).as_posix() for p in self._root.rglob("*") if p.is_file()}

    def _locate(self, name: str) -> Path:
        path = self._root / name
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise BundleError(f"{name}: a link that leads out of the bundle")
        return path

    def size(self, name: str) -> int:
        return self._locate(name).stat().st_size

    def read(self, name: str) -> bytes:
        return self._locate(name).read_bytes()


class Zip:
    """A `.cutpoint` file, in memory."""

    def __init__(self, data: bytes | Path) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else io.BytesIO(data.read_bytes()))
            names = self._zip.namelist()
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise BundleError(f"not a readable .cutpoint file: {error}") from error
        if len(set(names)) != len(names):
            raise BundleError("the .cutpoint file holds a name twice")

    def names(self) -> set[str]:
        return set(self._zip.namelist())

    def size(self, name: str) -> int:
        return self._zip.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except Exception as error:  # zipfile and zlib raise many types on damaged archives.
            raise BundleError(f"{name}: cannot be read from the .cutpoint file: {error}") from error


class Memory:
    """Path → content."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = dict(files)

    def names(self) -> set[str]:
        return set(self._files)

    def size(self, name: str) -> int:
        return len(self._files[name])

    def read(self, name: str) -> bytes:
        return self._files[name]


def write_zip(files: Mapping[str, bytes]) -> bytes:
    """A `.cutpoint` file with these files. Equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, data in sorted(files.items()):
            info = zipfile.ZipInfo(path, _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes these files as folder `path`, in the place of one that is there: it is whole, or as it was."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        for name, data in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        folder.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            os.rename(path, old / "bundle")
            os.rename(folder, path)
            shutil.rmtree(old)
        else:
            os.rename(folder, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
