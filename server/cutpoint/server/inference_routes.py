"""The Open Inference Protocol over HTTP, for the uncut model and for each tail.

``NAME`` is the model uncut; ``NAME.cut4.fp32`` its tail from boundary 4, which takes that boundary's tensors. A version
is the beginning of a bundle's hash. Requests go through the same queue as those of devices.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar

import msgspec
from aiohttp import web

from cutpoint.codecs import TensorSpec
from cutpoint.sdk.errors import (
    BadRequest,
    DeadlineExceeded,
    Overloaded,
    Refused,
    ServerDraining,
    TooLarge,
)
from cutpoint.server.auth import Account
from cutpoint.server.inference_protocol import datatype, describe, encode_answer, parse_request
from cutpoint.server.metrics import Metrics
from cutpoint.server.models import Model, Models
from cutpoint.server.quotas import Quotas
from cutpoint.server.tails import Tensors

__all__ = ["InferenceRoutes"]

log = logging.getLogger("cutpoint.server")

#: Digits of a hash that are a version.
_VERSION = 12
_TAIL = re.compile(r"(?P<name>.+)\.cut(?P<boundary>\d+)\.(?P<precision>[a-z0-9]+)")
_PLATFORM = "onnxruntime_onnx"
_HEADER_LENGTH = "Inference-Header-Content-Length"
_STATUS: dict[type[Refused], int] = {BadRequest: 400, TooLarge: 413, Overloaded: 503, ServerDraining: 503}
_STATUS[DeadlineExceeded] = 504

#: Bytes of JSON or of outputs up to which the event loop itself translates them.
_BRIEF = 1 << 14

P = ParamSpec("P")
T = TypeVar("T")
_Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class _Target:
    """What a path names."""

    name: str
    model: Model
    boundary: int
    precision: str

    @property
    def version(self) -> str:
        return self.model.hash[:_VERSION]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.model.bundle.manifest.boundaries[self.boundary].tensors

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.model.bundle.manifest.boundaries[-1].tensors


class InferenceRoutes:
    """Handlers of ``/v2/…``.

    Args:
        models: what is served.
        authorise: who asks; raises `web.HTTPException` for one who may not.
        quotas: what the accounts use.
        metrics: what is counted.
        max_bytes: of a request's body.
        draining: whether the server is going away.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        models: Models,
        authorise: Callable[[web.Request], Account],
        quotas: Quotas,
        metrics: Metrics,
        max_bytes: int,
        draining: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._models = models
        self._authorise = authorise
        self._quotas = quotas
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._draining = draining
        self._clock = clock

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Makes them known to an application."""
        router.add_get("/v2", _told(self._server))
        router.add_get("/v2/health/live", _told(self._live))
        router.add_get("/v2/health/ready", _told(self._ready))
        router.add_post("/v2/repository/index", _told(self._index))
        for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            router.add_get(path, _told(self._metadata))
            router.add_get(path + "/ready", _told(self._model_ready))
            router.add_get(path + "/config", _told(self._config))
            router.add_post(path + "/infer", _told(self._infer))
        router.add_route("*", "/v2/{rest:.*}", _told(self._not_offered))

    # -- what there is -------------------------------------------------------------------------------------------

    async def _server(self, request: web.Request) -> web.Response:
        extensions = ["binary_tensor_data", "model_configuration", "model_repository"]
        return _json({"name": "cutpoint", "version": version("cutpoint"), "extensions": extensions})

    async def _live(self, request: web.Request) -> web.Response:
        return _json({"live": True})

    async def _ready(self, request: web.Request) -> web.Response:
        self._check_draining()
        if not self._models.names():
            raise ServerDraining("there is no model yet")
        return _json({"ready": True})

    async def _not_offered(self, request: web.Request) -> web.Response:
        raise web.HTTPNotFound(text=f"{request.method} {request.path} is not offered here")

    async def _index(self, request: web.Request) -> web.Response:
        self._authorise(request)
        found = []
        for model in self._models:
            manifest = model.bundle.manifest
            names = [f"{manifest.name}.cut{boundary}.{precision}" for boundary, precision in sorted(model.tails.tails)]
            if _uncut(model) is not None:
                names.insert(0, manifest.name)
            found += [{"name": name, "version": model.hash[:_VERSION], "state": "READY"} for name in names]
        return _json(found)

    async def _metadata(self, request: web.Request) -> web.Response:
        self._authorise(request)
        target = self._target(request)
        versions = [model.hash[:_VERSION] for model in self._models if model.name == target.model.name]
        about = {"name": target.name, "versions": versions, "platform": _PLATFORM}
        return _json(about | {"inputs": describe(target.inputs), "outputs": describe(target.outputs)})

    async def _model_ready(self, request: web.Request) -> web.Response:
        self._authorise(request)
        self._check_draining()
        return _json({"name": self._target(request).name, "ready": True})

    async def _config(self, request: web.Request) -> web.Response:
        self._authorise(request)
        target = self._target(request)

        def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
            return [
                {"name": spec.name, "data_type": f"TYPE_{datatype(spec.dtype)}", "dims": list(spec.shape)}
                for spec in specs
            ]

        # Shapes are those of one sample, batch axis included; the server itself joins requests where that pays.
        about = {"name": target.name, "platform": _PLATFORM, "backend": "onnxruntime", "max_batch_size": 0}
        return _json(about | {"input": tensors(target.inputs), "output": tensors(target.outputs)})

    def _target(self, request: web.Request) -> _Target:
        """What the path names. Raises `web.HTTPNotFound`."""
        asked = request.match_info["name"]
        wanted = request.match_info.get("version", "")
        model = self._version(asked, wanted)
        if model is not None:
            uncut = _uncut(model)
            if uncut is None:
                raise web.HTTPNotFound(text=f"the server part of {asked!r} holds no uncut model, only tails")
            return _Target(asked, model, 0, uncut)
        match = _TAIL.fullmatch(asked)
        model = self._version(match["name"], wanted) if match is not None else None
        if match is None or model is None:
            raise web.HTTPNotFound(text=f"there is no model {asked!r}" + (f" version {wanted!r}" if wanted else ""))
        boundary, precision = int(match["boundary"]), match["precision"]
        if (boundary, precision) not in model.tails.tails:
            known = ", ".join(f"cut{number}.{kind}" for number, kind in sorted(model.tails.tails))
            raise web.HTTPNotFound(text=f"{model.name!r} has no such tail; there are {known}")
        return _Target(asked, model, boundary, precision)

    def _version(self, name: str, wanted: str) -> Model | None:
        if not wanted:
            return self._models.current(name)
        return next((m for m in self._models if m.name == name and m.hash[:_VERSION] == wanted), None)

    # -- inference -----------------------------------------------------------------------------------------------

    async def _infer(self, request: web.Request) -> web.Response:
        account = self._authorise(request)
        user = account.name or request.remote
        target = self._target(request)
        arrived = self._clock()
        label = f"cut{target.boundary}.{target.precision}"
        self._metrics.in_flight.inc()
        result, size, outcome = "internal", 0, None
        try:
            self._check_draining()
            body = await self._read(request)
            size = len(body)
            length = _header_length(request)
            asked = await _aside(
                (len(body) if length is None else length) > _BRIEF,
                parse_request,
                body,
                length,
                target.inputs,
                target.outputs,
            )
            sample = Tensors(target.boundary, target.precision, asked.tensors)
            with self._quotas.used(account, self._clock()):
                outcome = await target.model.submit(sample, asked.budget, user, account.weight)
            result = "ok"
        except Refused as error:
            result = error.code
            raise
        finally:
            self._metrics.in_flight.dec()
            self._metrics.answered(user or "?", label, result, arrived, self._clock(), size, outcome)
        outputs = outcome.output.outputs
        long = sum(tensor.nbytes for tensor in outputs) > _BRIEF
        answer = await _aside(long, encode_answer, asked, target.name, target.version, target.outputs, outputs)
        if answer.header_length is None:
            return web.Response(body=answer.body, content_type="application/json")
        headers = {_HEADER_LENGTH: str(answer.header_length)}
        return web.Response(body=answer.body, content_type="application/octet-stream", headers=headers)

    async def _read(self, request: web.Request) -> bytes:
        """The body, however it was compressed. Raises `TooLarge`."""
        data = bytearray()
        async for piece in request.content.iter_any():
            data += piece
            if len(data) > self._max_bytes:
                raise TooLarge(f"the body is over the server's limit of {self._max_bytes} bytes")
        return bytes(data)

    def _check_draining(self) -> None:
        if self._draining():
            raise ServerDraining("the server is going away")


def _uncut(model: Model) -> str | None:
    """The precision at which the uncut model is there, the best of them; None if it is not."""
    precisions = [precision for boundary, precision in model.tails.tails if boundary == 0]
    return min(precisions, key=("fp32", "fp16", "int8").index, default=None)


async def _aside(long: bool, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Does `work` here, or in a thread where it would keep the event loop for long."""
    if long:
        return await asyncio.to_thread(work, *arguments, **named)
    return work(*arguments, **named)


def _header_length(request: web.Request) -> int | None:
    given = request.headers.get(_HEADER_LENGTH)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 12):
        raise BadRequest(f"{_HEADER_LENGTH} is not a number of bytes: {given[:40]!r}")
    return int(given)


def _json(data: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json", headers=headers)


def _told(handler: _Handler) -> _Handler:
    """The handler, with errors in the protocol's form."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except web.HTTPException as error:
            headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
            return _json({"error": (error.text or "").strip()}, error.status, headers)
        except Refused as error:
            headers = {"Retry-After": f"{max(1.0, error.retry_after):.0f}"} if error.retry_after is not None else None
            return _json({"error": str(error)}, _STATUS.get(type(error), 500), headers)
        except Exception:
            log.exception("%s: %s failed", request.remote, request.path)
            return _json({"error": "the server failed; its log says why"}, 500)

    return answer
