"""Tails in replicas on a Ray cluster: actors, addressed one by one; Ray's own proxy and queues are not used."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import CutpointError, GraphError, InputError, RuntimeUnavailable
from cutpoint.sdk.tail import TailOutput
from cutpoint.server.engines.base import Computed, Work
from cutpoint.server.engines.replica import Replica, pack_bundle
from cutpoint.server.engines.scaling import Scaling
from cutpoint.server.settings import Settings
from cutpoint.server.tails import Encoded, LoadedTails, Sample

try:
    import ray
    from ray.exceptions import GetTimeoutError, RayActorError, RayError
except ImportError as error:
    raise RuntimeUnavailable("Ray is not installed: pip install 'cutpoint[ray]'") from error

__all__ = ["RayEngine"]

log = logging.getLogger("cutpoint.server")

#: Replicas that may die of a batch before it is taken to be the batch's fault.
_ATTEMPTS = 3
#: Seconds for a replica to start and load a bundle.
_START = 120.0
#: Seconds after a replica did not start before another one is tried.
_AGAIN = 5.0
#: Seconds between looks at the number of replicas.
_TEND = 0.5

#: A frame of a stream that a replica has decoded.
_Symbols = Any


class _Replica(Replica):
    """What runs on the cluster."""

    def pid(self) -> int:
        """Of its process, for the log and for tests."""
        return os.getpid()

    def compute(
        self, bundle_hash: str, samples: Sequence[Sample]
    ) -> tuple[list[TailOutput | Exception], list[_Symbols]]:
        """The outcomes, and what each sample's stream must remember."""
        outcomes = self.run(bundle_hash, samples)
        return outcomes, [sample.memory.last() if isinstance(sample, Encoded) else None for sample in samples]


class _Handle:
    """A replica, seen from here.

    Attributes:
        actor: Ray's handle.
        loaded: hashes of the bundles it has.
        busy: batches that it computes.
        gone: whether it gets no more work: it died, or is not needed.
    """

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.loaded: set[str] = set()
        self.busy = 0
        self.gone = False


class RayEngine:
    """Runs tails in replicas, each a process with its own threads.

    A replica that dies is replaced; the batches that it had are computed by others. Bundles reach replicas through
    Ray's object store; the nodes need cutpoint installed, and nothing else.

    Args:
        settings: `ray_address`, `replicas`, `max_replicas`, `threads`, `op_threads`, `providers`, `arena`.
        clock: monotonic seconds.

    Raises:
        InputError: if the cluster cannot be reached.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._threads = settings.threads
        self._clock = clock
        self._settings = settings
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                if settings.ray_address is None:
                    ray.init("local", log_to_driver=False, include_dashboard=False)
                else:
                    ray.init(settings.ray_address, log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise InputError(f"no Ray cluster at {settings.ray_address or 'this machine'}: {error}") from error
        # One call more than threads: a bundle is loaded while others are computed.
        options: dict[str, Any] = {"num_cpus": settings.threads, "max_concurrency": settings.threads + 1}
        self._actor: Any = ray.remote(**options)(_Replica)
        self._scaling = Scaling(settings.replicas, settings.max_replicas or settings.replicas)
        self._bundles: dict[str, Any] = {}
        self._replicas: list[_Handle] = []
        self._free: asyncio.Queue[_Handle] = asyncio.Queue()
        self._starting = 0
        self._waiting = 0
        self._changed: Callable[[], None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._batches: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        for _ in range(settings.replicas):
            self._admit(_Handle(self._actor.remote(settings)))

    # -- the engine ----------------------------------------------------------------------------------------------

    @property
    def one_interpreter(self) -> bool:
        return False

    @property
    def processor(self) -> float:
        return 0.0

    @property
    def workers(self) -> int:
        return self._threads * len(self._replicas)

    def load(self, bundle: Bundle) -> LoadedTails:
        data = ray.put(pack_bundle(bundle, self._settings))
        loaded: LoadedTails | None = None
        died = "there is none yet"
        for handle, reference in [(h, h.actor.load.remote(data)) for h in self._replicas]:
            try:
                loaded = ray.get(reference, timeout=_START)
            except GetTimeoutError as error:
                raise InputError(
                    f"no replica within {_START:.0f} s: has the Ray cluster {self._threads} free CPUs for each?"
                ) from error
            except RayActorError as error:
                died = str(error).strip().rpartition("\n")[2]  # who gives it work next finds out and replaces it
                continue
            except RayError as error:
                raise _cause(error) from error
            handle.loaded.add(bundle.hash)
        if loaded is None:
            raise GraphError(f"no replica could load the bundle: {died}")
        self._bundles[bundle.hash] = data
        return loaded

    def unload(self, bundle_hash: str) -> None:
        del self._bundles[bundle_hash]
        for handle in self._replicas:
            handle.loaded.discard(bundle_hash)
            handle.actor.unload.remote(bundle_hash)

    def compute(self, work: Work) -> None:
        batch = asyncio.create_task(self._compute(work), name="cutpoint-batch")
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)

    def observe(self, waiting: int, changed: Callable[[], None]) -> None:
        self._waiting, self._changed = waiting, changed
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="cutpoint-replicas")

    async def close(self) -> None:
        await asyncio.gather(*self._batches, return_exceptions=True)
        tasks = [*self._tasks, *([self._tending] if self._tending is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for handle in self._replicas:
            ray.kill(handle.actor)
        if self._owns_ray:
            await asyncio.to_thread(ray.shutdown)

    # -- work ----------------------------------------------------------------------------------------------------

    async def _compute(self, work: Work | None) -> None:
        while work is not None:
            outcome: Computed | Exception
            try:
                outcome = await self._compute_one(work.bundle_hash, work.samples)
            except Exception as error:
                outcome = error
            work = work.done(outcome)

    async def _compute_one(self, bundle_hash: str, samples: Sequence[Sample]) -> Computed:
        for _ in range(_ATTEMPTS):
            handle = await self._take()
            try:
                await self._ensure(handle, bundle_hash)
                outcomes, symbols = await handle.actor.compute.remote(bundle_hash, samples)
            except RayActorError as error:
                self._lose(handle, error)
                continue
            except RayError as error:
                raise _cause(error) from error
            finally:
                self._give(handle)
            for sample, frame in zip(samples, symbols, strict=True):
                if frame is not None:
                    assert isinstance(sample, Encoded)
                    sample.memory.remember(frame)
            return Computed(outcomes, self._clock())
        raise GraphError(f"{_ATTEMPTS} replicas died while they computed this batch")

    async def _take(self) -> _Handle:
        while (handle := await self._free.get()).gone:
            pass
        handle.busy += 1
        return handle

    def _give(self, handle: _Handle) -> None:
        handle.busy -= 1
        if not handle.gone:
            self._free.put_nowait(handle)
        elif not handle.busy:
            ray.kill(handle.actor)

    async def _ensure(self, handle: _Handle, bundle_hash: str) -> None:
        """A bundle that came while the replica started is loaded before its first batch."""
        if bundle_hash not in handle.loaded:
            await handle.actor.load.remote(self._bundles[bundle_hash])
            handle.loaded.add(bundle_hash)

    # -- replicas ------------------------------------------------------------------------------------------------

    def _admit(self, handle: _Handle) -> None:
        self._replicas.append(handle)
        for _ in range(self._threads):
            self._free.put_nowait(handle)

    def _lose(self, handle: _Handle, error: Exception) -> None:
        """A replica has died: another one takes its place."""
        if not handle.gone:
            log.warning("a replica has died, its work goes to others: %s", str(error).partition("\n")[0])
            handle.gone = True
            self._replicas.remove(handle)
            self._start()
            self._tell()

    def _start(self) -> None:
        async def start() -> None:
            handle = _Handle(self._actor.remote(self._settings))
            try:
                for bundle_hash in list(self._bundles):
                    await self._ensure(handle, bundle_hash)
            except (RayError, KeyError) as error:  # it died, or the bundle went meanwhile: the next look starts another
                log.warning("a replica could not be started: %s", str(error).partition("\n")[0])
                ray.kill(handle.actor)
                await asyncio.sleep(_AGAIN)
            else:
                self._admit(handle)
            finally:
                self._starting -= 1
                self._tell()

        self._starting += 1
        self._spawn(start())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="cutpoint-replica")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()

    async def _tend(self) -> None:
        """Keeps as many replicas as the load asks for."""
        while True:
            await asyncio.sleep(_TEND)
            there = len(self._replicas) + self._starting
            wanted = self._scaling.wanted(there, self._waiting, self.workers, self._clock())
            for _ in range(there, wanted):
                self._start()
            if wanted < there and len(self._replicas) > wanted:
                handle = min(self._replicas, key=lambda other: other.busy)
                handle.gone = True
                self._replicas.remove(handle)
                if not handle.busy:
                    ray.kill(handle.actor)
                self._tell()


def _cause(error: RayError) -> CutpointError:
    """What went wrong on a replica, as it would be raised here."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, CutpointError) else GraphError(f"Ray: {error}")
