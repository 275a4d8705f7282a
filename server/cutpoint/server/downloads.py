"""Device parts over HTTP, for clients that fetch or update their bundle: by hash, in ranges, never twice."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiohttp import web

from cutpoint.sdk.bundle import Selection
from cutpoint.sdk.download import BundleOffer
from cutpoint.sdk.errors import BundleError
from cutpoint.server.models import Model, Models

__all__ = ["Downloads"]

#: Bytes that are handed to the socket at a time.
_PIECE = 1 << 16


class Downloads:
    """``GET /v1/bundle`` and ``GET /v1/bundle/{hash}``.

    Args:
        models: what is served.
        authorise: raises `web.HTTPException` for a request that may not have it.
    """

    def __init__(self, models: Models, authorise: Callable[[web.Request], object]) -> None:
        self._models = models
        self._authorise = authorise

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Makes them known to an application."""
        router.add_get("/v1/bundle", self._offer)
        router.add_get("/v1/bundle/{hash}", self._download)

    async def _offer(self, request: web.Request) -> web.Response:
        self._authorise(request)
        model = self._asked_for(request.query.get("model"))
        part = await _device_part(model, request)
        headers = {"ETag": f'"{model.hash}"', "Cache-Control": "no-cache"}
        if _unchanged(request, model.hash):
            return web.Response(status=304, headers=headers)
        offer = BundleOffer(model.hash, model.name, len(part))
        return web.Response(body=msgspec.json.encode(offer), content_type="application/json", headers=headers)

    def _asked_for(self, name: str | None) -> Model:
        names = self._models.names()
        served = ", ".join(names) or "none"
        if name is None and len(names) > 1:
            raise web.HTTPBadRequest(text=f"there are several models, ask for one with ?model=: {served}\n")
        model = self._models.current(name if name is not None else "".join(names))
        if model is None:
            raise web.HTTPNotFound(text=f"this server does not hold that model; it holds {served}\n")
        return model

    async def _download(self, request: web.Request) -> web.StreamResponse:
        self._authorise(request)
        model = self._models.get(request.match_info["hash"])
        if model is None:
            raise web.HTTPNotFound(text="this server does not hold that bundle\n")
        part = await _device_part(model, request)
        headers = {
            "ETag": f'"{model.hash}"',
            "Cache-Control": "public, max-age=31536000, immutable",
            "Accept-Ranges": "bytes",
        }
        if _unchanged(request, model.hash):
            return web.Response(status=304, headers=headers)
        size = len(part)
        start, stop, partial = _range(request, size)
        if partial:
            if start >= stop:
                raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        response.content_type = "application/octet-stream"
        response.content_length = stop - start
        await response.prepare(request)
        view = memoryview(part)
        for begin in range(start, stop, _PIECE):
            await response.write(view[begin : min(begin + _PIECE, stop)])
        await response.write_eof()
        return response


async def _device_part(model: Model, request: web.Request) -> bytes:
    """For the runtime and the precision that the query names."""
    try:
        selection = Selection.parse(request.query.get("runtime", ""), request.query.get("precision", ""))
        part = await model.device_part(selection)
    except BundleError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    if part is None:
        raise web.HTTPNotFound(text="this server holds only the server part of its bundle\n")
    return part


def _unchanged(request: web.Request, bundle_hash: str) -> bool:
    tags = request.if_none_match or ()
    return any(tag.value in (bundle_hash, "*") for tag in tags)


def _range(request: web.Request, size: int) -> tuple[int, int, bool]:
    """First byte, the one behind the last, and whether that is a part; a range that makes no sense is the whole."""
    if "Range" not in request.headers:
        return 0, size, False
    try:
        start, stop, _ = request.http_range.indices(size)
    except ValueError:  # several ranges, or none that can be read: RFC 9110 allows to answer with the whole
        return 0, size, False
    return start, stop, True
