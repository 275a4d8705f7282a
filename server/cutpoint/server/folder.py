"""A folder of bundles, followed while the server runs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cutpoint.sdk.errors import CutpointError, InputError
from cutpoint.server.models import ModelLimits, Models

__all__ = ["LIMITS_NAME", "ModelFolder"]

log = logging.getLogger("cutpoint.server")

#: Limits of the folder's models: a table a model, named as the bundle names it.
LIMITS_NAME = "models.toml"

#: What a file or folder looked like: path, modification time, size of every file.
_Look = tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class _Entry:
    """A bundle of the folder.

    Attributes:
        seen: what it looked like last.
        handled: what it looked like when it was last loaded, or failed to.
        bundle_hash: of what is served from it.
    """

    seen: _Look = ()
    handled: _Look = ()
    bundle_hash: str | None = None


class ModelFolder:
    """Keeps `models` at what a folder holds: every sub-folder and every `.cutpoint` file is a bundle.

    What changes is taken up once it looks the same twice in a row, so that nothing is read while it is being copied.
    A bundle that cannot be loaded is logged once, and leaves what its file held before in place. Names that begin with
    a dot are left out.

    Args:
        root: the folder.
        models: what is served.

    Raises:
        InputError: if there is no such folder.
    """

    def __init__(self, root: Path, models: Models) -> None:
        if not root.is_dir():
            raise InputError(f"{root} is not a folder of bundles")
        self._root = root
        self._models = models
        self._entries: dict[Path, _Entry] = {}
        self._limits_seen: _Look = ()

    async def follow(self, interval: float) -> None:
        """Looks every `interval` seconds, for ever."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.update()
            except OSError as error:
                log.error("the folder of models cannot be read: %s", error)

    async def update(self, settled: bool = False) -> None:
        """Looks once, loads what has come or changed, and retires what has gone.

        Args:
            settled: whether everything is taken up at once, without a second look.
        """
        looks = await asyncio.to_thread(self._look)
        self._update_limits(looks.pop(self._root / LIMITS_NAME, ()))
        for path in looks.keys() | self._entries.keys():
            entry = self._entries.setdefault(path, _Entry())
            look = looks.get(path, ())
            if look != entry.handled and (settled or look == entry.seen):
                entry.handled = look
                await self._take_up(path, entry)
            entry.seen = look
            if not look and not entry.handled:
                del self._entries[path]

    async def _take_up(self, path: Path, entry: _Entry) -> None:
        before = entry.bundle_hash
        if entry.handled:
            try:
                model = await self._models.open(path)
            except CutpointError as error:
                log.error("%s is not served: %s", path.name, error)
                return
            except Exception:  # whatever it holds, the server goes on
                log.exception("%s is not served", path.name)
                return
            entry.bundle_hash = model.hash
            log.info("%s: serving %s (%s)", path.name, model.name, model.hash[:12])
        else:
            entry.bundle_hash = None
        held = {other.bundle_hash for other in self._entries.values()}
        if before is not None and before not in held:
            self._models.retire(before)

    def _update_limits(self, look: _Look) -> None:
        if look == self._limits_seen:
            return
        self._limits_seen = look
        try:
            text = (self._root / LIMITS_NAME).read_bytes() if look else b""
            self._models.limit(msgspec.toml.decode(text, type=dict[str, ModelLimits]))
        except (OSError, msgspec.DecodeError) as error:
            log.error("%s cannot be used, the limits stay as they were: %s", LIMITS_NAME, error)

    def _look(self) -> dict[Path, _Look]:
        """What the folder looks like now. Blocking."""
        looks = {}
        for path in sorted(self._root.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                looks[path] = tuple(stamp for file in sorted(path.rglob("*")) for stamp in _stamp(file))
            elif path.suffix == ".cutpoint" or path.name == LIMITS_NAME:
                looks[path] = tuple(_stamp(path))
        return looks


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    try:
        status = path.stat()
    except OSError:  # it has just gone
        return []
    return [(str(path), status.st_mtime_ns, status.st_size)]
