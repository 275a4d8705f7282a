import ssl
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest
from tests.support.toy import picture, toy_bundle, two_format_bundle

from cutpoint.sdk import AuthenticationFailed, Bundle, Client, InputError
from cutpoint.sdk.bundle import Selection
from cutpoint.sdk.download import download_bundle
from cutpoint.sdk.errors import BundleError, LinkError
from cutpoint.sdk.runtimes.onnx import OnnxRuntime
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server import EdgeServer, LocalEngine, Settings
from cutpoint.server.engines import Work

from .conftest import QUICK

_ENDS = (".cutpoint", ".tflite.cutpoint")


async def get(url: str, path: str, **headers: str) -> tuple[int, bytes, str]:
    address = url.replace("ws", "http", 1) + path
    async with aiohttp.ClientSession() as session, session.get(address, headers=headers) as response:
        return response.status, await response.read(), response.headers.get("Content-Type", "")


async def test_health_and_metrics(server: EdgeServer, bundle: Bundle) -> None:
    assert (await get(server.url, "/healthz"))[0] == 200
    assert (await get(server.url, "/readyz"))[:2] == (200, b"ready\n")
    async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
        for _ in range(3):
            await client.infer(picture(1), point="cut1-fp32-affine-fine")
        status, text, kind = await get(server.url, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert b'cutpoint_requests_total{outcome="ok",point="cut1-fp32-affine-fine"} 3.0' in text
    assert b"cutpoint_connections 1.0" in text
    for name in ("queue_seconds", "decode_seconds", "request_seconds", "batch_size"):
        assert f"cutpoint_{name}_count 3.0".encode() in text
    assert b"cutpoint_batch_size_sum 3.0" in text
    assert b"cutpoint_price 0.0" in text


async def test_an_engine_can_be_given(bundle: Bundle) -> None:
    engine = LocalEngine(OnnxRuntime(), 3, time.monotonic)
    server = EdgeServer(bundle, Settings(port=0, threads=1), engine=engine)
    await server.start()
    async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
        assert (await client.infer(picture(1))).source == "edge"
    await server.stop()
    # It is the one that has computed, and the server has closed it.
    with pytest.raises(RuntimeError, match="after shutdown"):
        engine.compute(Work(bundle.hash, [], lambda _: None))


async def test_readiness_while_draining(bundle: Bundle) -> None:
    server = EdgeServer(bundle, Settings(port=0))
    await server.start()
    server._draining = True
    assert (await get(server.url, "/readyz"))[:2] == (503, b"draining\n")
    assert (await get(server.url, "/healthz"))[0] == 200
    await server.stop()


async def test_download_is_by_hash_and_verified(server: EdgeServer, bundle: Bundle, tmp_path: Path) -> None:
    got = await download_bundle(server.url, cache=tmp_path)
    assert (got.hash, got.parts) == (bundle.hash, {"device", "report"})
    cached = tmp_path / f"{bundle.hash}.cutpoint"
    assert cached.exists()
    # A damaged cache is noticed and replaced.
    cached.write_bytes(cached.read_bytes()[:-10])
    assert (await download_bundle(server.url, cache=tmp_path)).hash == bundle.hash
    assert Bundle.open(cached).hash == bundle.hash
    assert [path.name for path in tmp_path.iterdir()] == [cached.name]


async def test_download_that_is_not_what_was_announced(server: EdgeServer, tmp_path: Path) -> None:
    (model,) = server.models
    other = toy_bundle("other").part("device").to_bytes()
    model._device_parts[Selection()] = other
    with pytest.raises(BundleError, match="announced"):
        await download_bundle(server.url, cache=tmp_path)
    model._device_parts[Selection()] = other[:100]
    with pytest.raises(BundleError):
        await download_bundle(server.url, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LinkError):
        await download_bundle("ws://127.0.0.1:9", cache=tmp_path)


async def test_a_device_asks_for_what_it_reads(tmp_path: Path) -> None:
    bundle = two_format_bundle()
    server = EdgeServer(bundle, Settings(port=0))
    await server.start()
    try:
        whole = await download_bundle(server.url, cache=tmp_path)
        tflite = await download_bundle(server.url, runtime="tflite", cache=tmp_path)
        assert tflite.hash == whole.hash == bundle.hash
        assert "spans/0-1.fp32.tflite" in tflite
        assert "spans/0-1.fp32.onnx" not in tflite
        assert "spans/0-1.fp32.onnx" in whole
        # Each is kept under a name of its own.
        assert {path.name for path in tmp_path.iterdir()} == {f"{bundle.hash}{end}" for end in _ENDS}
        again = await download_bundle(server.url, runtime="tflite", cache=tmp_path)
        assert "spans/0-1.fp32.onnx" not in again
        for query in ("runtime=coreml", "precision=fp16", "precision=../x"):
            status, text, _ = await get(server.url, f"/v1/bundle?{query}")
            assert status == 400
            assert text
        # A client on onnxruntime asks for those files itself.
        async with Client(server.url, mode="edge", times=QUICK) as client:
            assert "spans/0-1.fp32.tflite" not in client.bundle
            assert (await client.infer(picture(1))).source == "edge"
    finally:
        await server.stop()


async def test_tokens_guard_the_download_too(bundle: Bundle, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("word\n")
    server = EdgeServer(bundle, Settings(port=0, token_file=tokens))
    await server.start()
    try:
        with pytest.raises(AuthenticationFailed):
            await download_bundle(server.url, cache=tmp_path)
        assert (await get(server.url, "/v1/bundle", Authorization="Basic word"))[0] == 401
        assert (await download_bundle(server.url, token="word", cache=tmp_path)).hash == bundle.hash
    finally:
        await server.stop()


async def test_connections_are_capped(bundle: Bundle) -> None:
    server = EdgeServer(bundle, Settings(port=0, max_connections=1))
    await server.start()
    try:
        async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
            async with Client(server.url, bundle, times=QUICK) as second:
                assert not second.connected
                assert (await second.infer(picture(1), point="cut0-raw-exact")).source == "device"
            assert (await client.infer(picture(1))).source == "edge"
    finally:
        await server.stop()


async def test_silent_connection_is_closed(bundle: Bundle) -> None:
    server = EdgeServer(bundle, Settings(port=0, hello_timeout=0.05))
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(server.url, protocols=("cutpoint.v1",))
            message = await ws.receive(timeout=10)
            assert message.type is aiohttp.WSMsgType.BINARY
            assert b"no hello" in message.data
            assert (await ws.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
    finally:
        await server.stop()


async def test_tls(bundle_file: Path, bundle: Bundle, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    async with ServerProcess(bundle_file, "--tls-cert", str(cert), "--tls-key", str(key)) as process:
        assert process.url.startswith("wss://")
        trusting = ssl.create_default_context(cafile=str(cert))
        async with Client(process.url, bundle, mode="edge", ssl=trusting, times=QUICK) as client:
            assert (await client.infer(picture(1))).source == "edge"
        got = await download_bundle(process.url, ssl=trusting, cache=tmp_path / "cache")
        assert got.hash == bundle.hash
        # A certificate that nobody vouches for is not accepted by default.
        with pytest.raises(LinkError):
            async with Client(process.url, bundle, mode="edge", times=QUICK):
                pass


@pytest.mark.parametrize(
    "settings",
    [
        {"tls_cert": Path("x")},
        {"threads": 0},
        {"port": 70000},
        {"max_queue": 0},
        {"max_connections": 0},
        {"max_batch": 0},
        {"op_threads": 0},
        {"replicas": 0},
        {"replicas": 3, "max_replicas": 2},
        {"batch_window": -1.0},
        {"max_frame": 4096},
        {"idle_timeout": 0.0},
        {"tls_client_ca": Path("x")},
    ],
)
def test_settings_refuse_nonsense(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Settings(**settings)  # type: ignore[arg-type]
