"""Fetching the device part of a bundle from a server."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from io import FileIO
from pathlib import Path
from ssl import SSLContext

import aiohttp
import msgspec
from yarl import URL

from cutpoint.sdk.bundle import Bundle, Selection, check_signature
from cutpoint.sdk.errors import AuthenticationFailed, BundleError, LinkError
from cutpoint.sdk.files import write_file

__all__ = ["BundleOffer", "Downloads", "cache_folder", "download_bundle"]

#: A device part of more bytes is refused.
MAX_BYTES = 1 << 30
#: Bytes written to the disk at a time.
_PIECE = 1 << 18
#: Seconds between looks at whether another download of the same has ended.
_OTHERS = 0.05


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


class Downloads:
    """Device parts from a server, kept in a folder by their hash.

    Args:
        url: the server, ``ws://…`` or ``wss://…``.
        token: bearer token.
        ssl: for ``wss``.
        runtime: formats of the graph files, best first, as in `Bundle.part`; empty for all.
        precision: of the heads; empty for all.
        cache: folder for downloads; None for `cache_folder()`.
        timeout: seconds for each request.
        trusted_keys: a bundle must be signed with one of them; none: it need not be signed.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ssl: SSLContext | None = None,
        runtime: str = "",
        precision: str = "",
        cache: Path | None = None,
        timeout: float = 60.0,
        trusted_keys: Sequence[str] = (),
    ) -> None:
        self._url = url
        self._selection = Selection.parse(runtime, precision)
        self._query = {name: value for name, value in (("runtime", runtime), ("precision", precision)) if value}
        self._trusted_keys = trusted_keys
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._ssl = ssl
        self._cache = cache
        self._timeout = aiohttp.ClientTimeout(timeout)

    async def latest(self, model: str | None = None) -> Bundle:
        """The device part of the version that is served now, from the cache where it is there already.

        Args:
            model: name; None where the server has only one.

        Raises:
            LinkError: if the server cannot be reached, or does not hold the model.
            AuthenticationFailed: if it does not take the token.
            BundleError: if what it sends is not the bundle it announced.
        """
        offer = await self.offer(model)
        assert offer is not None, "only a version that is known already is answered with nothing"
        return await self.fetch(offer)

    async def offer(self, model: str | None = None, known: str = "") -> BundleOffer | None:
        """What the server offers; None if that is the bundle with the hash `known`. Raises as `latest`."""
        url = self._base().update_query({"model": model} if model is not None else {})
        headers = {"If-None-Match": f'"{known}"'} if known else {}
        try:
            async with self._session() as session, self._get(session, url, headers) as response:
                if response.status == 304:
                    return None
                await _expect(response, 200)
                offer = msgspec.json.decode(await response.content.read(1 << 16), type=BundleOffer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._failed(error) from error
        except msgspec.DecodeError as error:
            raise BundleError(f"{self._url}: does not announce a bundle: {error}") from error
        if len(offer.hash) != 64 or not set(offer.hash) <= set("0123456789abcdef"):
            raise BundleError(f"{self._url}: announces a bundle with the hash {offer.hash[:80]!r}")
        return offer

    async def fetch(self, offer: BundleOffer) -> Bundle:
        """The device part that is offered. What an earlier attempt left is not fetched again. Raises as `latest`."""
        name = ".".join(filter(None, (offer.hash, str(self._selection))))
        path = (self._cache or cache_folder()) / f"{name}.cutpoint"
        try:
            async with asyncio.timeout(self._timeout.total):
                # What is waited for may be another process.
                while (part := await asyncio.to_thread(_open_part, path)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(_OTHERS)
            with part:
                kept = await asyncio.to_thread(_kept, path, offer.hash)
                if kept is not None and self._trusts(kept):
                    os.unlink(part.name)
                    return kept
                try:
                    await self._fetch_rest(offer, part)
                    return await asyncio.to_thread(self._accept, offer, part, path)
                except BundleError:
                    os.unlink(part.name)
                    raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._failed(error) from error

    async def _fetch_rest(self, offer: BundleOffer, part: FileIO) -> None:
        """Adds to `part` what is missing of it."""
        limit = min(offer.size, MAX_BYTES)
        have = await asyncio.to_thread(part.seek, 0, os.SEEK_END)
        if have >= limit:  # nothing can follow: whether it is the right thing, its hash says
            return
        headers = {"Range": f"bytes={have}-", "If-Range": f'"{offer.hash}"'} if have else {}
        async with self._session() as session, self._get(session, self._base(offer.hash), headers) as response:
            await _expect(response, 206 if have and response.status == 206 else 200)
            if response.status == 200:
                await asyncio.to_thread(part.truncate, 0)
                have = 0
            async for piece in response.content.iter_chunked(_PIECE):
                have += len(piece)
                if have > limit:
                    raise BundleError(f"{self._url}: sends more than the {limit} bytes it announced")
                await asyncio.to_thread(part.write, piece)

    def _accept(self, offer: BundleOffer, part: FileIO, path: Path) -> Bundle:
        """Verifies what was fetched and keeps it. Blocking."""
        part.seek(0)
        data = part.read()
        bundle = Bundle.from_bytes(data, self._url)
        if bundle.hash != offer.hash:
            raise BundleError(f"{self._url}: sent bundle {bundle.hash[:12]}…, announced {offer.hash[:12]}…")
        if self._trusted_keys:
            check_signature(bundle, self._trusted_keys)
        write_file(path, data)
        os.unlink(part.name)
        return bundle

    def _trusts(self, kept: Bundle) -> bool:
        """Whether a bundle of the cache may be used. The server's, with the same hash, may have a better signature."""
        try:
            if self._trusted_keys:
                check_signature(kept, self._trusted_keys)
        except BundleError:
            return False
        return True

    def _base(self, *path: str) -> URL:
        base = URL(self._url).with_scheme("https" if self._url.startswith("wss") else "http").with_path("/v1/bundle")
        return base.joinpath(*path).with_query(self._query)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)

    def _get(
        self, session: aiohttp.ClientSession, url: URL, headers: dict[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return session.get(url, headers=headers, ssl=self._ssl if self._ssl is not None else True)

    def _failed(self, error: Exception) -> LinkError:
        return LinkError(f"{self._url}: the bundle cannot be fetched: {error or type(error).__name__}")


async def download_bundle(
    url: str,
    *,
    model: str | None = None,
    token: str | None = None,
    ssl: SSLContext | None = None,
    runtime: str = "",
    precision: str = "",
    cache: Path | None = None,
    timeout: float = 60.0,
    trusted_keys: Sequence[str] = (),
) -> Bundle:
    """The device part of the bundle that a server serves; arguments and exceptions as of `Downloads`."""
    downloads = Downloads(
        url,
        token=token,
        ssl=ssl,
        runtime=runtime,
        precision=precision,
        cache=cache,
        timeout=timeout,
        trusted_keys=trusted_keys,
    )
    return await downloads.latest(model)


def _open_part(path: Path) -> FileIO | None:
    """What there is of a download to `path`, for this one alone; None while another one has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = FileIO(path.parent / f".{path.stem}.part", "a+")
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(part.fileno()), os.stat(part.name)):
            return part
    except OSError:  # locked, or gone since it was opened
        pass
    part.close()
    return None


def _kept(path: Path, bundle_hash: str) -> Bundle | None:
    """The bundle at `path`, if it is the right one and not damaged."""
    if not path.exists():
        return None
    try:
        bundle = Bundle.open(path)
    except BundleError:
        return None
    return bundle if bundle.hash == bundle_hash else None


async def _expect(response: aiohttp.ClientResponse, status: int) -> None:
    if response.status == 401:
        raise AuthenticationFailed(f"{response.url}: the server does not take the token")
    if response.status != status:
        said = (await response.content.read(300)).decode(errors="replace").strip()
        raise LinkError(f"{response.url}: the server answered {response.status} {response.reason}: {said}")
