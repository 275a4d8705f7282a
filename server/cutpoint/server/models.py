"""The models that a server holds: several at once, several versions of each, exchanged while it serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from cutpoint.sdk.bundle import Bundle, Selection, check_signature
from cutpoint.server.batching import Share
from cutpoint.server.engines import Engine
from cutpoint.server.scheduler import Outcome, Scheduler
from cutpoint.server.shared_slices import SliceTable
from cutpoint.server.tails import LoadedTails, Sample
from cutpoint.server.tier import Tiers

__all__ = ["Holder", "Model", "ModelLimits", "Models"]

log = logging.getLogger("cutpoint.server")

_AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class ModelLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator can set for one model; None: no limit beyond the server's own.

    Attributes:
        weight: share of the workers that a request for it gives its user, relative to other models'.
        max_queue: requests for it that may wait for a worker.
        max_workers: batches of it that are computed at a time.
        max_in_flight: requests for it that a connection may have under way.
    """

    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    max_queue: _AtLeastOne | None = None
    max_workers: _AtLeastOne | None = None
    max_in_flight: _AtLeastOne | None = None

    @property
    def share(self) -> Share:
        """Of the queue and the workers."""
        return Share(self.max_queue, self.max_workers)


_NO_LIMITS = ModelLimits()


class Holder(Protocol):
    """A connection, as far as its model's end concerns it."""

    async def leave(self, grace: float) -> None:
        """Asks the client to send no more requests, answers those of the next `grace` seconds, and closes."""
        ...


class Model:
    """One version of a model: a bundle that the engine has loaded.

    Args:
        bundle: with its server part.
        tails: what the engine says of it.
        scheduler: where its requests go.
        tiers: makes what answers them.

    Attributes:
        bundle: as given.
        tails: as given.
        tier: answers its requests.
        name: the bundle's.
        hash: the bundle's.
        slices: the bundle's.
        limits: what it may take.
        connections: those that are for this version.
        retired: whether it is about to be forgotten.
    """

    def __init__(self, bundle: Bundle, tails: LoadedTails, scheduler: Scheduler, tiers: Tiers) -> None:
        self.bundle = bundle
        self.tails = tails
        self.name = bundle.manifest.name
        self.hash = bundle.hash
        self.slices = SliceTable(bundle)
        self._device_parts: dict[Selection, bytes] = {}
        self._packing = asyncio.Lock()
        if "device" in bundle.parts:
            self._device_parts[Selection()] = bundle.part("device").to_bytes()
        self.limits = _NO_LIMITS
        self.connections: set[Holder] = set()
        self.retired = False
        self._scheduler = scheduler
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.tier = tiers.tier(self)

    def max_payload(self, number: int) -> int | None:
        """Most payload bytes of a point or slice by its number in requests; None if there is none to compute here."""
        payloads = self.tails.max_payloads
        if number < len(payloads):
            return payloads[number]
        piece = number - len(payloads)
        return self.slices.takes(piece) if piece in self.tails.shared else None

    def name_of(self, number: int) -> str:
        """Of a point or slice by its number in requests, for people."""
        points = self.bundle.points
        return points[number].id if number < len(points) else self.slices.slices[number - len(points)].name

    def max_parts(self, number: int) -> tuple[int, ...]:
        """Most bytes of each part of the payload of a sliced point, by its number; none for other points."""
        return self.tails.max_parts.get(number, ())

    async def device_part(self, selection: Selection) -> bytes | None:
        """What a device needs, as a `.cutpoint` file; made when first asked for. None without a device part.

        Raises:
            BundleError: if a device could not answer alone with what it asks for.
        """
        if not self._device_parts:
            return None
        async with self._packing:
            if selection not in self._device_parts:
                part = await asyncio.to_thread(self.bundle.device_part, selection)
                self._device_parts[selection] = await asyncio.to_thread(part.to_bytes)
        return self._device_parts[selection]

    async def submit(self, sample: Sample, budget: float, user: Hashable, weight: float = 1.0) -> Outcome:
        """Computes a sample; as `Scheduler.submit`. Somebody who uses two models is two users."""
        self._under_way += 1
        self._idle.clear()
        try:
            share = weight * self.limits.weight
            return await self._scheduler.submit(self.hash, sample, budget, (self.name, user), share)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def queue_ms(self, user: Hashable) -> float:
        """How long a request of `user` that arrives now would wait for a worker, in milliseconds; an estimate."""
        return self._scheduler.queue_ms((self.name, user))

    async def idle(self) -> None:
        """Returns when no request is under way."""
        await self._idle.wait()


class Models:
    """The versions that are served, in the order in which they came. A model's current version is its latest.

    Args:
        engine: loads them.
        scheduler: where their requests go.
        tiers: make what answers them.
        grace: seconds for which a version is still served to those who hold it after it was retired.
        leave: seconds that requests in flight get when that is over.
        trusted_keys: bundles must be signed with one of them; none: they need not be signed.
    """

    def __init__(
        self,
        engine: Engine,
        scheduler: Scheduler,
        tiers: Tiers,
        grace: float,
        leave: float,
        trusted_keys: Sequence[str] = (),
    ) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._tiers = tiers
        self._grace = grace
        self._leave = leave
        self._trusted_keys = trusted_keys
        self._models: dict[str, Model] = {}
        self._limits: Mapping[str, ModelLimits] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._engine_lock = asyncio.Lock()

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    # -- looking up ----------------------------------------------------------------------------------------------

    def get(self, bundle_hash: str) -> Model | None:
        """The version with that hash, also one that is retired."""
        return self._models.get(bundle_hash)

    def current(self, name: str) -> Model | None:
        """The latest version of the model called `name`; None if there is none, or all of them are retired."""
        return next((m for m in reversed(self._models.values()) if m.name == name and not m.retired), None)

    def names(self) -> tuple[str, ...]:
        """Of the models that have a current version, in the order in which they came."""
        return tuple(dict.fromkeys(model.name for model in self if not model.retired))

    def outdated(self, model: Model) -> bool:
        """Whether there is a later version of the same model."""
        return self.current(model.name) not in (None, model)

    # -- changing ------------------------------------------------------------------------------------------------

    def load(self, bundle: Bundle) -> Model:
        """Loads and warms up `bundle`, as a version that is not served yet. Blocking; for any thread.

        Raises:
            BundleError, GraphError, CodecError: if it cannot be served.
        """
        if self._trusted_keys:
            check_signature(bundle, self._trusted_keys)
        known = self._models.get(bundle.hash)
        return known or Model(bundle, self._engine.load(bundle), self._scheduler, self._tiers)

    async def open(self, path: Path) -> Model:
        """Loads the bundle at `path` in a thread, and makes it the current version of its model. Raises as `load`."""

        def work() -> Model:
            return self.load(Bundle.open(path))

        # An old version of the same hash must not be unloaded in between.
        async with self._engine_lock:
            model = await asyncio.to_thread(work)
            self.add(model)
            return model

    def add(self, model: Model) -> None:
        """From now on `model` is the current version of its name. One that was retired stays after all."""
        ending = self._endings.pop(model.hash, None)
        if ending is not None:
            ending.cancel()
        model.retired = False
        model.limits = self._limits.get(model.name, _NO_LIMITS)
        if self._models.pop(model.hash, None) is None:
            self._scheduler.add(model.bundle, model.tails, model.limits.share)
        self._models[model.hash] = model

    def retire(self, bundle_hash: str) -> None:
        """A version is not offered any more; those who hold it are served until the grace is over."""
        model = self._models[bundle_hash]
        if not model.retired:
            model.retired = True
            self._endings[bundle_hash] = asyncio.create_task(self._end(model), name=f"cutpoint-end-{bundle_hash[:12]}")

    def limit(self, limits: Mapping[str, ModelLimits]) -> None:
        """From now on these are the limits, by the name of the model."""
        self._limits = limits
        for model in self:
            model.limits = limits.get(model.name, _NO_LIMITS)
            self._scheduler.limit(model.hash, model.limits.share)

    async def close(self) -> None:
        """Stops waiting for the end of retired versions."""
        tasks = [*self._endings.values(), *self._leaving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self, model: Model) -> None:
        """Serves those who hold `model` until the grace is over, then forgets it."""
        await asyncio.sleep(self._grace)
        # From here on nobody new is let in, and nothing calls it off.
        leaving = self._endings.pop(model.hash)
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        del self._models[model.hash]
        log.info("%s (%s) is not served any more", model.name, model.hash[:12])
        await asyncio.gather(*(holder.leave(self._leave) for holder in model.connections))
        await model.tier.close()
        await model.idle()
        async with self._engine_lock:
            if model.hash not in self._models:  # or it came back meanwhile
                self._scheduler.remove(model.hash)
                self._engine.unload(model.hash)
