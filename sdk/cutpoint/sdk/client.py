"""The client: pictures in, answers out, wherever they come from."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cutpoint.sdk.bundle import Bundle, DeviceProfile, check_keys, check_signature
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.counters import Counters
from cutpoint.sdk.device import Input
from cutpoint.sdk.download import Downloads
from cutpoint.sdk.edge import References
from cutpoint.sdk.energy import NETWORK_RADIOS, EnergyModel, Radio
from cutpoint.sdk.errors import CutpointError, InputError, Refused
from cutpoint.sdk.installation import Installation, Mode, Options
from cutpoint.sdk.link import Link
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import Policy
from cutpoint.sdk.predictor import Conditions
from cutpoint.sdk.result import InferenceResult
from cutpoint.sdk.runtimes import Runtime
from cutpoint.sdk.stream import Keep, Window, answer_stream
from cutpoint.sdk.times import LinkTimes
from cutpoint.sdk.tracing import find_tracing
from cutpoint.sdk.update import Updates

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

__all__ = ["Client", "Mode"]

#: Seconds between looks at the device's state.
_LOOK = 5.0


class Client:
    """Answers inference requests with an edge server's help, or without.

    Use it as an asynchronous context manager. Several `infer` calls may run at a time; they share one connection, and
    take turns in the device's one worker thread.

    Args:
        url: the server, ``ws://host:port`` or ``wss://…``; None to compute on the device only.
        bundle: a `Bundle`, or the path of one; None to fetch the device part from the server.
        objective: what is wanted of an answer.
        mode: ``auto`` decides for each request and falls back on the device; ``device`` never uses the server; ``edge``
            always does, and raises where `auto` would fall back.
        policy: decides, see `cutpoint.sdk.policy.Policy`; or the path of a trained policy's file, see `LearnedPolicy`;
            None for the bundle's own, where it has one, and otherwise `AdaptivePolicy`.
        energy: of the device, for objectives in which energy has a price; None for a phone on LTE.
        token: bearer token for the server.
        ssl: context for ``wss``; None for the system's certificates.
        runtime: name for `create_runtime`, or runtimes, best first. onnxruntime stands behind any named one.
        threads: of the runtime, within one call.
        profile: of this device, for the first plans and for points that are not used often: a `DeviceProfile`, the name
            of one in the bundle or built in, or the path of a `device.json`; None for what calibration measured.
        slowdown: emulates a device this many times slower by waiting; 1 for no emulation.
        times: of the link.
        clock: monotonic seconds.
        rng: for the jitter of reconnecting.
        model: name of the one to fetch where the server has several; None for the only one.
        update: whether the client goes over to newer versions of its bundle as soon as the server has them; see
            `cutpoint.sdk.update`.
        cache: folder for bundles that are fetched; None for `cache_folder()`.
        trusted_keys: public keys as `cutpoint keygen` prints them; a bundle, wherever it comes from, must be signed
            with one of them. None: it need not be signed.
        tracer_provider: of OpenTelemetry, gets spans of requests; None for the application's, where it has set one.

    Raises:
        InputError: for arguments that do not go together.
    """

    def __init__(
        self,
        url: str | None = None,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        *,
        objective: Objective | None = None,
        mode: Mode = "auto",
        policy: Policy | str | os.PathLike[str] | None = None,
        energy: EnergyModel | None = None,
        token: str | None = None,
        ssl: SSLContext | None = None,
        runtime: str | Sequence[Runtime] = "onnx",
        threads: int = 1,
        profile: str | os.PathLike[str] | DeviceProfile | None = None,
        slowdown: float = 1.0,
        times: LinkTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        model: str | None = None,
        update: bool = False,
        cache: Path | None = None,
        trusted_keys: Sequence[str] | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        if mode not in ("auto", "device", "edge"):
            raise InputError(f"mode {mode!r} is not one of auto, device, edge")
        if url is None and (mode == "edge" or bundle is None):
            raise InputError("without a server's url, a bundle is needed and the mode cannot be 'edge'")
        if slowdown < 1:
            raise InputError(f"slowdown {slowdown} is below 1: a device can only be emulated slower than it is")
        if update and policy is not None:
            raise InputError("a policy belongs to a bundle: a client that updates its bundle makes its own")
        self._given_bundle = bundle
        self._model = model
        self._update = update
        self.objective = objective or Objective()
        self.mode: Mode = mode
        self._clock = clock
        self._options = Options(
            url=url,
            objective=self.objective,
            mode=mode,
            policy=policy,
            energy=energy,
            token=token,
            ssl=ssl,
            runtime=runtime,
            threads=threads,
            profile=profile,
            slowdown=slowdown,
            times=times or LinkTimes(),
            clock=clock,
            rng=rng or random.Random(),
            estimator=ChannelEstimator(),
            tracing=find_tracing(tracer_provider),
        )
        if trusted_keys is not None and not trusted_keys:
            raise InputError("trusted_keys names no key: no bundle could be used")
        self._trusted_keys = check_keys(trusted_keys or ())
        self._downloads = None
        if url is not None:
            formats = ",".join(self._options.formats)
            self._downloads = Downloads(
                url, token=token, ssl=ssl, runtime=formats, cache=cache, trusted_keys=self._trusted_keys
            )
        self._opened: Updates | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._radio: Radio | None = None
        self.counters = Counters()

    # -- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        given = self._given_bundle
        if isinstance(given, Bundle):
            bundle = given
        elif given is not None:
            bundle = await asyncio.to_thread(Bundle.open, given)
        else:
            assert self._downloads is not None
            bundle = await self._downloads.latest(self._model)
        if self._trusted_keys:
            check_signature(bundle, self._trusted_keys)
        self._opened = Updates(await Installation.open(bundle, self._options), self._downloads, self._options)
        self._tasks.append(asyncio.create_task(self._look(), name="cutpoint-device"))
        if self._update and self._link is not None:
            self._tasks.append(asyncio.create_task(self._opened.follow(), name="cutpoint-update"))

    async def close(self) -> None:
        """Closes the connection. Requests that still wait for the server are answered by the device, or fail."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._opened is not None:
            await self._opened.close()

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def bundle(self) -> Bundle:
        """The bundle in use."""
        return self._in_use.bundle

    @property
    def policy(self) -> Policy:
        """What decides."""
        return self._in_use.policy

    @property
    def rejected(self) -> Mapping[str, CutpointError]:
        """The newer bundles that did not work here, by hash, and why."""
        return self._updates.rejected

    @property
    def connected(self) -> bool:
        """Whether requests can be sent to the server now."""
        return self._link is not None and self._link.up

    @property
    def refusal(self) -> Refused | None:
        """Why the server last refused the connection; None if it did not."""
        return self._link.refusal if self._link is not None else None

    @property
    def conditions(self) -> Conditions:
        """What a decision made now would depend on."""
        return self._in_use.conditions(self._radio)

    @property
    def _in_use(self) -> Installation:
        return self._updates.in_use

    @property
    def _updates(self) -> Updates:
        if self._opened is None:
            raise InputError("the client is not open: use it as an asynchronous context manager")
        return self._opened

    @property
    def _monitor(self) -> LinkMonitor:
        return self._in_use.monitor

    @property
    def _link(self) -> Link | None:
        return self._in_use.link

    def network_changed(self, kind: str) -> None:
        """Tells the client that the device is on another network now.

        What was learned of the old one is forgotten, and a new connection is made at once: its address is gone.

        Args:
            kind: one of ``ethernet``, ``wifi``, ``5g``, ``lte``, ``3g``.

        Raises:
            InputError: if there is no such kind.
        """
        self._options.estimator.network_changed(kind)
        self._radio = NETWORK_RADIOS[kind]
        if self._link is not None:
            self._link.reconnect()

    async def _look(self) -> None:
        while True:
            await self._in_use.device.look()
            await asyncio.sleep(_LOOK)

    # -- inference -----------------------------------------------------------------------------------------------

    async def infer(self, data: Input, *, point: str | None = None) -> InferenceResult:
        """Answers one request. Cancelling it frees the server's work, too.

        Args:
            data: a picture (array uint8 (height, width, 3), PIL image, encoded bytes, or path); for a bundle that takes
                no pictures its input tensor, or a tuple of them.
            point: id of a point to use, instead of the policy's choice. In mode `auto` the device still steps in.

        Raises:
            InputError: if `data` is not what the bundle takes.
            BundleError: if there is no point of that id.
            LinkError, Refused: in mode `edge` only.
            GraphError, CodecError: if the bundle's files do not work here.
        """
        return await self._infer(data, point, None)

    async def stream(
        self,
        frames: Iterable[Input] | AsyncIterable[Input],
        *,
        in_flight: int = 4,
        keep: Keep = "all",
        rate: float | None = None,
    ) -> AsyncIterator[InferenceResult]:
        """Answers a sequence of inputs, in their order; `InferenceResult.frame` says which.

        Args:
            frames: pictures or tensors, as for `infer`. An ordinary iterable is advanced in a thread. At points whose
                codec is for streams, what the last answered frame had already is not sent again.
            in_flight: how many may be under way at a time, at most; fewer where more would only wait.
            keep: ``all`` holds the source up while that many are under way; ``latest`` lets it run, as a camera does,
                and leaves out frames that were overtaken by newer ones.
            rate: frames a second that are begun at most; None for no limit.

        Raises:
            InputError: for arguments that make no sense; otherwise as `infer`.
        """
        references: References = {}
        window = Window(in_flight)

        async def answer(number: int, frame: Input) -> InferenceResult:
            result = await self._infer(frame, None, references)
            timing, rtt_ms = result.timing, 1e3 * self._monitor.channel(self._clock()).rtt
            on_way = min(timing.network, rtt_ms)
            device_ms, server_ms = timing.head + timing.encode, timing.decode + timing.tail
            window.answered(device_ms, timing.network - on_way, server_ms, on_way)
            return replace(result, frame=number)

        async for result in answer_stream(answer, frames, window, keep, rate, self._clock):
            yield result

    # -- the steps of a request ----------------------------------------------------------------------------------

    async def _infer(self, data: Input, point: str | None, references: References | None) -> InferenceResult:
        started = self._clock()
        answering, tracing = self._updates.infer(data, point, references, self._radio, started), self._options.tracing
        result = await (answering if tracing is None else tracing.infer(answering))
        self.counters.count(result)
        return result
