"""Signed bundles between client and server."""

from pathlib import Path

import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import Bundle, BundleError, Client
from cutpoint.sdk.bundle import new_key, sign
from cutpoint.sdk.download import download_bundle
from cutpoint.server import EdgeServer, Settings

from .conftest import QUICK

PRIVATE, PUBLIC = new_key()
_, OTHER = new_key()


async def test_download(bundle: Bundle, tmp_path: Path) -> None:
    server = EdgeServer(sign(bundle, PRIVATE), Settings(port=0, trusted_keys=(PUBLIC,)))
    await server.start()
    try:
        got = await download_bundle(server.url, cache=tmp_path, trusted_keys=[PUBLIC])
        assert got.hash == bundle.hash
        with pytest.raises(BundleError, match="not trusted"):
            await download_bundle(server.url, cache=tmp_path, trusted_keys=[OTHER])
        # A cache that somebody put an unsigned copy into is not believed, but filled again.
        cached = tmp_path / f"{bundle.hash}.cutpoint"
        bundle.part("device").save(cached, overwrite=True)
        assert (await download_bundle(server.url, cache=tmp_path, trusted_keys=[PUBLIC])).signature
        assert Bundle.open(cached).signature
        async with Client(server.url, mode="edge", times=QUICK, cache=tmp_path, trusted_keys=[PUBLIC]) as client:
            assert (await client.infer(picture(1))).source == "edge"
    finally:
        await server.stop()


async def test_replayed_signature_from_a_server(bundle: Bundle, tmp_path: Path) -> None:
    replayed = toy_bundle("another").signed(sign(bundle, PRIVATE).signature or b"")
    server = EdgeServer(replayed, Settings(port=0))
    await server.start()
    try:
        with pytest.raises(BundleError, match="forged, or another's"):
            async with Client(server.url, times=QUICK, cache=tmp_path, trusted_keys=[PUBLIC]):
                pass
        assert not list(tmp_path.glob("*.cutpoint"))
    finally:
        await server.stop()


def test_a_server_serves_only_what_it_trusts(bundle: Bundle) -> None:
    for untrusted in (bundle, sign(bundle, new_key()[0])):
        with pytest.raises(BundleError):
            EdgeServer(untrusted, Settings(port=0, trusted_keys=(PUBLIC,)))
