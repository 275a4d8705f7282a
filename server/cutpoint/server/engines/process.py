"""Tails in a process of their own on this machine, which does not share the interpreter's lock with the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

from cutpoint.codecs import SymbolMemory
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import CutpointError, GraphError
from cutpoint.server.engines.base import Computed, Work
from cutpoint.server.engines.child import Child, Line
from cutpoint.server.engines.messages import pack, pack_sample, unpack_outcomes
from cutpoint.server.settings import Settings
from cutpoint.server.tails import LoadedTails

__all__ = ["ProcessEngine"]

log = logging.getLogger("cutpoint.server")

#: Processes that may die of a batch before it is taken to be the batch's fault.
_ATTEMPTS = 3
#: Seconds after a process could not be started before the next is.
_AGAIN = 5.0


@dataclass(slots=True)
class _UnderWay:
    """Work that was begun, and how many processes have died of it."""

    work: Work
    died: int = 0


_Line: TypeAlias = Line[_UnderWay]


class ProcessEngine:
    """Runs tails in the threads of one other process; as `LocalEngine`, but for the interpreter's lock.

    A process that dies is replaced, and the batches that it had are computed by the next. What it remembered of streams
    is lost: their clients begin them anew.

    Args:
        settings: `threads`, and those of `Replica`.
        clock: monotonic seconds.

    Raises:
        RuntimeUnavailable: if an onnxruntime provider is not installed here.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._bundles: dict[str, Bundle] = {}
        self._points: dict[str, dict[int, int]] = {}
        self._child = Child(settings)
        #: Of the above: bundles are loaded in other threads than the event loop's.
        self._lock = threading.Lock()
        self._free: list[_Line] = []
        self._busy: set[_Line] = set()
        #: What was begun, and no thread has yet: there is no process, or it is being connected to.
        self._unassigned: deque[_UnderWay] = deque()
        self._numbers = count()
        self._streams: weakref.WeakKeyDictionary[SymbolMemory, int] = weakref.WeakKeyDictionary()
        #: Streams that have ended since the process was last told.
        self._ended: list[int] = []
        self._serving: asyncio.Task[None] | None = None
        self._idle: asyncio.Event | None = None
        self._processor = 0.0

    # -- the engine ----------------------------------------------------------------------------------------------

    @property
    def one_interpreter(self) -> bool:
        return True

    @property
    def workers(self) -> int:
        return self._settings.threads

    @property
    def processor(self) -> float:
        return self._processor

    @property
    def pid(self) -> int:
        """Of the process that computes now."""
        return self._child.pid

    def load(self, bundle: Bundle) -> LoadedTails:
        with self._lock:
            child = self._child
            try:
                loaded = child.load(bundle)
            except (EOFError, OSError) as error:
                child.close()
                with contextlib.suppress(CutpointError, EOFError, OSError):  # if not now, then when it is needed
                    self._child = self._started()
                raise GraphError(f"{bundle.origin}: the process that computes died while it loaded this") from error
            self._bundles[bundle.hash] = bundle
            self._points[bundle.hash] = {id(point): number for number, point in enumerate(bundle.points)}
        return loaded

    def unload(self, bundle_hash: str) -> None:
        with self._lock:
            del self._bundles[bundle_hash], self._points[bundle_hash]
            with contextlib.suppress(EOFError, OSError):  # it took all with it
                self._child.unload(bundle_hash)

    def compute(self, work: Work) -> None:
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="cutpoint-tails")
        self._assign(_UnderWay(work))

    def observe(self, waiting: int, changed: Callable[[], None]) -> None:
        pass  # The number of threads is fixed.

    async def close(self) -> None:
        if self._busy or self._unassigned:
            self._idle = asyncio.Event()
            await self._idle.wait()
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        await asyncio.to_thread(self._child.close)

    # -- work ----------------------------------------------------------------------------------------------------

    def _assign(self, begun: _UnderWay) -> None:
        """Gives work to a thread that is free; the one that was busy last: its caches are warm."""
        if not self._free:
            self._unassigned.append(begun)
            return
        work, points = begun.work, self._points.get(begun.work.bundle_hash, {})
        ended, self._ended = self._ended, []
        try:
            samples = [pack_sample(sample, points, self._stream) for sample in work.samples]
            message = pack((work.bundle_hash, samples, ended))
        except Exception as error:
            self._tell(work, error)
            return
        line = self._free.pop()
        self._busy.add(line)
        line.begin(begun, message)

    def _stream(self, memory: SymbolMemory) -> int:
        """The number of a memory, which is that of no other."""
        number = self._streams.get(memory)
        if number is None:
            number = self._streams[memory] = next(self._numbers)
            weakref.finalize(memory, lambda: self._ended.append(number)).atexit = False
        return number

    def _answered(self, line: _Line, message: tuple[Any, float]) -> None:
        """A thread is done with its batch."""
        begun, line.begun = line.begun, None
        assert begun is not None, "it answers once"
        outcome, spent = message
        self._processor += spent
        self._busy.remove(line)
        self._free.append(line)
        if not isinstance(outcome, Exception):
            outcome = Computed(unpack_outcomes(outcome), self._clock())
        self._tell(begun.work, outcome)

    def _tell(self, work: Work, outcome: Computed | Exception) -> None:
        """What came of work; on with what the scheduler says."""
        try:
            following = work.done(outcome)
        except Exception as error:
            # What goes wrong with the work is told to who gave it; that telling it goes wrong, nobody would notice.
            log.error("a worker failed: %s", error, exc_info=error)
            following = None
        if following is not None:
            self._assign(_UnderWay(following))
        elif self._idle is not None and not (self._busy or self._unassigned):
            self._idle.set()

    # -- the process ---------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Connects to the process, and to another if it dies."""
        loop = asyncio.get_running_loop()
        while True:
            child, lines = self._child, list[_Line]()
            try:
                while child.lines:
                    each = child.lines.pop()
                    lines.append((await loop.create_unix_connection(lambda: Line(self._answered), sock=each))[1])
                self._free = list(lines)
                for _ in range(len(self._unassigned)):
                    self._assign(self._unassigned.popleft())
                await asyncio.wait([line.lost for line in lines], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for line in lines:
                    line.close()
            await self._replace(child)

    async def _replace(self, died: Child) -> None:
        """Another process takes the place of one that has died, and computes what that had begun."""
        begun = [line.begun for line in self._busy if line.begun is not None]
        self._free, self._busy = [], set()
        for its in begun:
            its.died += 1
            if its.died < _ATTEMPTS:
                self._unassigned.append(its)
            else:
                self._tell(its.work, GraphError(f"{_ATTEMPTS} processes died while they computed this batch"))
        status = await asyncio.to_thread(died.close)
        log.warning("the process that computes tails has ended (%s); another one takes its place", status)
        while True:
            try:
                await asyncio.to_thread(self._start_after, died)
                return
            except (CutpointError, EOFError, OSError) as error:
                log.error("no process can be started to compute tails: %s", error or type(error).__name__)
            failed, self._unassigned = self._unassigned, deque()
            for its in failed:
                self._tell(its.work, GraphError("no process can be started to compute tails, see the server's log"))
            await asyncio.sleep(_AGAIN)

    def _start_after(self, died: Child) -> None:
        with self._lock:
            if self._child is died:
                self._child = self._started()

    def _started(self) -> Child:
        """A process with all bundles; with the lock."""
        child = Child(self._settings)
        try:
            for bundle in self._bundles.values():
                child.load(bundle)
        except BaseException:
            child.close()
            raise
        return child
