"""Fetching the device part of a bundle from a server."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from ssl import SSLContext

import aiohttp
import msgspec
from yarl import URL

from cutpoint.sdk.bundle import Bundle, Selection
from cutpoint.sdk.errors import AuthenticationFailed, BundleError, LinkError
from cutpoint.sdk.files import write_file

__all__ = ["BundleOffer", "cache_folder", "download_bundle"]

#: A device part of more bytes is refused.
MAX_BYTES = 1 << 30


class BundleOffer(msgspec.Struct, frozen=True):
    """What a server answers to ``GET /v1/bundle``.

    Attributes:
        hash: of the bundle it serves.
        name: of the model.
        size: of the device part's `.cutpoint` file in bytes.
    """

    hash: str
    name: str
    size: int


def cache_folder() -> Path:
    """Where downloaded bundles are kept: ``$XDG_CACHE_HOME/cutpoint``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cutpoint"


async def download_bundle(
    url: str,
    *,
    token: str | None = None,
    ssl: SSLContext | None = None,
    runtime: str = "",
    precision: str = "",
    cache: Path | None = None,
    timeout: float = 60.0,
) -> Bundle:
    """The device part of the bundle that a server serves, from the cache where it is there already.

    Args:
        url: the server, ``ws://…`` or ``wss://…``.
        token: bearer token.
        ssl: for ``wss``.
        runtime: formats of the graph files, best first, as in `Bundle.part`; empty for all.
        precision: of the heads; empty for all.
        cache: folder for downloads; None for `cache_folder()`.
        timeout: seconds for all of it.

    Raises:
        LinkError: if the server cannot be reached.
        AuthenticationFailed: if it does not take the token.
        BundleError: if what it sends is not the bundle it announced.
    """
    selection = str(Selection.parse(runtime, precision))
    query = {name: value for name, value in (("runtime", runtime), ("precision", precision)) if value}
    base = URL(url).with_scheme("https" if url.startswith("wss") else "http").with_path("/v1/bundle").with_query(query)
    folder = cache or cache_folder()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(timeout)) as session:
            offer = msgspec.json.decode(await _get(session, base, ssl, 1 << 16), type=BundleOffer)
            if len(offer.hash) != 64 or not set(offer.hash) <= set("0123456789abcdef"):
                raise BundleError(f"{url}: announces a bundle with the hash {offer.hash[:80]!r}")
            path = folder / f"{'.'.join(filter(None, (offer.hash, selection)))}.cutpoint"
            if path.exists():
                try:
                    bundle = await asyncio.to_thread(Bundle.open, path)
                    if bundle.hash == offer.hash:
                        return bundle
                except BundleError:
                    pass  # a damaged cache is fetched again
            data = await _get(session, (base / offer.hash).with_query(query), ssl, min(offer.size, MAX_BYTES))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise LinkError(f"{url}: the bundle cannot be fetched: {error or type(error).__name__}") from error
    except msgspec.DecodeError as error:
        raise BundleError(f"{url}: does not announce a bundle: {error}") from error
    bundle = await asyncio.to_thread(Bundle.from_bytes, data, url)
    if bundle.hash != offer.hash:
        raise BundleError(f"{url}: sent bundle {bundle.hash[:12]}…, announced {offer.hash[:12]}…")
    await asyncio.to_thread(write_file, path, data)
    return bundle


async def _get(session: aiohttp.ClientSession, url: URL, ssl: SSLContext | None, limit: int) -> bytes:
    async with session.get(url, ssl=ssl if ssl is not None else True) as response:
        if response.status == 401:
            raise AuthenticationFailed(f"{url}: the server does not take the token")
        if response.status != 200:
            raise LinkError(f"{url}: the server answered {response.status} {response.reason}")
        data = bytearray()
        async for piece in response.content.iter_chunked(1 << 16):
            data += piece
            if len(data) > limit:
                raise BundleError(f"{url}: sends more than the {limit} bytes it announced")
        return bytes(data)
