"""What this node tells others of itself, measured while it works."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from time import process_time

import numpy as np

from cutpoint.sdk.errors import CutpointError
from cutpoint.server.engines import Engine
from cutpoint.server.fairness import TailKey
from cutpoint.server.models import Model
from cutpoint.server.nodes.machine import CpuLoad, cpu_share, free_memory
from cutpoint.server.nodes.report import NodeReport, SpanReport
from cutpoint.server.nodes.span_times import SpanTimes
from cutpoint.server.scheduler import Scheduler
from cutpoint.server.tails import Tensors

__all__ = ["Reporter"]

#: How the scheduler names tails and spans.
_SpanKey = tuple[str, int, int, str]
#: Seconds without a batch after which an idle node runs one to see how fast it is.
_STALE = 1.0


class Reporter:
    """Reports this node.

    Args:
        models: what is served.
        scheduler: runs it.
        engine: computes for it.
        draining: whether the server is going away.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        models: Iterable[Model],
        scheduler: Scheduler,
        engine: Engine,
        draining: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.id = secrets.token_hex(8)
        self._models = models
        self._scheduler = scheduler
        self._engine = engine
        self._draining = draining
        self._clock = clock
        self._load = CpuLoad(clock(), lambda: process_time() + engine.processor)
        # A quota does not show in a single batch, but in many.
        self._times: SpanTimes[TailKey] = SpanTimes(max(1.0, 1.0 / cpu_share()))
        self._batch_at = -_STALE
        self._trial: asyncio.Task[None] | None = None
        scheduler.tell(self._finished)

    async def report(self) -> NodeReport:
        """This node now."""
        cpu, memory = await asyncio.to_thread(lambda: (cpu_share(), free_memory()))
        models: dict[str, list[SpanReport]] = {}
        slices: dict[str, dict[int, float]] = {}
        self._times.know({key: seconds for model in self._models for key, seconds in _priors(model).items()})
        for model in self._models:
            models[model.hash] = [self._span(model, key) for key in _spans(model)]
            slices[model.hash] = {number: self._times.seconds(key) for number, key in _slices(model).items()}
        self._try()
        now = self._clock()
        load = self._load.look(now, cpu)
        tasks = self._scheduler.pending
        return NodeReport(self.id, cpu, memory, load, self._engine.workers, tasks, self._draining(), models, slices)

    async def close(self) -> None:
        """Ends what is still being tried."""
        if self._trial is not None:
            self._trial.cancel()
            await asyncio.gather(self._trial, return_exceptions=True)

    def _span(self, model: Model, key: _SpanKey) -> SpanReport:
        _, start, stop, precision = key
        return SpanReport(start, stop or model.bundle.manifest.last, precision, self._times.seconds(key))

    def _finished(self, key: TailKey, seconds: float, size: int) -> None:
        self._batch_at = self._clock()
        self._times.observe(key, seconds, size)

    def _try(self) -> None:
        """An idle node runs its shortest tail now and then: its speed is news even when nobody uses it."""
        idle = not self._scheduler.pending and self._clock() - self._batch_at >= _STALE
        model = next(iter(self._models), None)
        if idle and model is not None and model.tails.tails and (self._trial is None or self._trial.done()):
            start, precision = min(model.tails.tails, key=lambda tail: model.tails.tails[tail].seconds)
            specs = model.bundle.manifest.boundaries[start].tensors
            zeros = tuple(np.zeros(spec.shape, spec.dtype) for spec in specs)
            self._trial = asyncio.create_task(self._run(model, Tensors(start, precision, zeros)))

    async def _run(self, model: Model, sample: Tensors) -> None:
        try:
            await model.submit(sample, _STALE, self)
        except CutpointError:
            self._batch_at = self._clock()  # Requests that fail are logged where they are answered.


def _spans(model: Model) -> dict[_SpanKey, float]:
    """Seconds of the model's tails and spans, as the scheduler names them."""
    found: dict[_SpanKey, float] = {
        (model.hash, start, 0, precision): tail.seconds for (start, precision), tail in model.tails.tails.items()
    }
    return found | {(model.hash, *key): span.seconds for key, span in model.tails.spans.items()}


def _slices(model: Model) -> dict[int, TailKey]:
    """What the scheduler calls the model's slices."""
    return {number: (model.hash, "slice", number) for number in model.tails.shared}


def _priors(model: Model) -> dict[TailKey, float]:
    """Seconds of all that the model's requests may wait for, decoders alone excepted."""
    found: dict[TailKey, float] = {key: seconds for key, seconds in _spans(model).items()}
    return found | {key: model.tails.shared[number] for number, key in _slices(model).items()}
