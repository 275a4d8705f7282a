"""The Open Inference Protocol, as `tritonclient` speaks it with a server process."""

import asyncio
import gzip
import io
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server import EdgeServer, Settings

pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

TAIL = "toy.cut1.fp32"


def with_client(url: str, work: Callable[[InferenceServerClient], Any]) -> Any:
    """Runs `work` with a client, in a thread: it blocks."""

    def run() -> Any:
        with InferenceServerClient(url.removeprefix("ws://")) as client:
            return work(client)

    return asyncio.to_thread(run)


def given(name: str, tensor: np.ndarray, binary: bool = True) -> InferInput:
    types = {"uint8": "UINT8", "float32": "FP32"}
    value = InferInput(name, list(tensor.shape), types[tensor.dtype.name])
    value.set_data_from_numpy(tensor, binary_data=binary)
    return value


def features(bundle: Bundle, image: np.ndarray) -> np.ndarray:
    return BundleGraphs(bundle, [create_runtime("onnx")]).span(0, 1, "fp32").run([image[None]])[0]


async def test_health_and_metadata(process: ServerProcess, bundle: Bundle) -> None:
    def work(client: InferenceServerClient) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        about = client.get_server_metadata()
        assert about["name"] == "cutpoint"
        assert "binary_tensor_data" in about["extensions"]
        version = bundle.hash[:12]
        for name in ("toy", TAIL):
            assert client.is_model_ready(name)
            assert client.is_model_ready(name, version)
            assert client.get_model_metadata(name)["versions"] == [version]
        assert not client.is_model_ready("nothing")
        assert not client.is_model_ready("toy", "0" * 12)
        about = client.get_model_metadata("toy", version)
        assert about["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [1, 16, 16, 3]}]
        assert about["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [1, 3]}]
        config = client.get_model_config(TAIL)
        assert config["max_batch_size"] == 0
        assert config["input"] == [{"name": "features", "data_type": "TYPE_FP32", "dims": [1, 8, 4, 4]}]
        index = client.get_model_repository_index()
        assert [model["name"] for model in index] == ["toy", "toy.cut0.fp32", TAIL]

    await with_client(process.url, work)


async def test_the_uncut_model_and_a_tail(process: ServerProcess, bundle: Bundle) -> None:
    image = picture(2, 4)
    tensor = features(bundle, image)
    version = bundle.hash[:12]

    def work(client: InferenceServerClient) -> None:
        for binary_in, binary_out in product((True, False), (True, False, None)):
            outputs = None if binary_out is None else [InferRequestedOutput("scores", binary_data=binary_out)]
            whole = client.infer("toy", [given("image", image[None], binary_in)], outputs=outputs, request_id="a")
            told = whole.get_response()
            assert (told["id"], told["model_name"], told["model_version"]) == ("a", "toy", version)
            tail = client.infer(TAIL, [given("features", tensor, binary_in)], model_version=version)
            scores = whole.as_numpy("scores")
            assert (scores.dtype, scores.argmax()) == (np.float32, 2)
            np.testing.assert_allclose(scores, tail.as_numpy("scores"), atol=1e-4)

    await with_client(process.url, work)


async def test_errors_are_told_as_the_client_expects(process: ServerProcess) -> None:
    image = picture(1)[None]

    def work(client: InferenceServerClient) -> None:
        for name, value, version, status, said in (
            ("none", given("image", image), "", "404", "there is no model 'none'"),
            ("toy", given("image", image), "0" * 12, "404", "version '000000000000'"),
            ("toy.cut7.fp32", given("image", image), "", "404", "there are cut0.fp32, cut1.fp32"),
            ("toy", given("imag", image), "", "400", "there is no input 'imag'; there are image"),
            ("toy", given("image", image[:, :8]), "", "400", "the model takes UINT8[1, 16, 16, 3]"),
            ("toy", given("image", image.astype(np.float32)), "", "400", "is FP32"),
        ):
            with pytest.raises(InferenceServerException) as raised:
                client.infer(name, [value], model_version=version)
            assert raised.value.status() == status
            assert said in raised.value.message()
        with pytest.raises(InferenceServerException, match="POST /v2/repository/models/toy/load is not offered here"):
            client.load_model("toy")
        with pytest.raises(InferenceServerException, match="no output 'x'"):
            client.infer("toy", [given("image", image)], outputs=[InferRequestedOutput("x")])
        assert client.infer("toy", [given("image", image)]).as_numpy("scores").argmax() == 1

    await with_client(process.url, work)


async def test_compressed_requests_and_many_at_a_time(process: ServerProcess) -> None:
    def work(client: InferenceServerClient) -> None:
        for algorithm in ("gzip", "deflate"):
            result = client.infer("toy", [given("image", picture(0)[None])], request_compression_algorithm=algorithm)
            assert result.as_numpy("scores").argmax() == 0

    await asyncio.gather(*(with_client(process.url, work) for _ in range(8)))


async def test_sizes_are_limited(bundle: Bundle) -> None:
    server = EdgeServer(bundle, Settings(port=0))
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url.replace("ws", "http", 1)) as session:
            limit = server.settings.limits.frame
            bomb = gzip.compress(bytes(8 * limit))
            for body, headers in ((bytes(limit + 1), {}), (bomb, {"Content-Encoding": "gzip"})):
                async with session.post("/v2/models/toy/infer", data=io.BytesIO(body), headers=headers) as response:
                    assert response.status == 413
                    assert f"limit of {limit} bytes" in (await response.json())["error"]
            headers = {"Inference-Header-Content-Length": "12x"}
            async with session.post("/v2/models/toy/infer", data=b"{}", headers=headers) as response:
                assert response.status == 400
                assert "not a number of bytes" in (await response.json())["error"]
    finally:
        await server.stop()


async def test_tokens_guard_all_but_health(bundle: Bundle, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("word\n")
    server = EdgeServer(bundle, Settings(port=0, token_file=tokens))
    await server.start()
    image = picture(1)[None]
    head = json.dumps(
        {"inputs": [{"name": "image", "shape": [1, 16, 16, 3], "datatype": "UINT8", "data": image.tolist()}]}
    )
    try:
        async with aiohttp.ClientSession(server.url.replace("ws", "http", 1)) as session:
            for path in ("/v2/models/toy", "/v2/models/toy/config", "/v2/models/toy/ready"):
                async with session.get(path) as response:
                    assert response.status == 401
                    assert "token" in (await response.json())["error"]
            async with session.get("/v2/health/ready") as response:
                assert response.status == 200
            for token, status in (("wrong", 401), ("word", 200)):
                bearer = {"Authorization": f"Bearer {token}"}
                async with session.post("/v2/models/toy/infer", data=head, headers=bearer) as response:
                    assert response.status == status
    finally:
        await server.stop()


async def test_a_busy_or_leaving_server_says_so(slow_bundle: Bundle) -> None:
    server = EdgeServer(slow_bundle, Settings(port=0, threads=1, max_queue=1))
    await server.start()
    tensor = features(slow_bundle, picture(1))
    body: dict[str, Any] = {
        "inputs": [{"name": "features", "shape": list(tensor.shape), "datatype": "FP32", "data": tensor.tolist()}]
    }

    async def ask(**more: object) -> tuple[int, str]:
        async with session.post("/v2/models/slow.cut1.fp32/infer", json=body | more) as response:
            return response.status, (await response.json()).get("error", "")

    try:
        async with aiohttp.ClientSession(server.url.replace("ws", "http", 1)) as session:
            first = asyncio.create_task(ask())
            await until(lambda: server._scheduler.pending == 1)
            status, said = await ask(parameters={"timeout": 1000})
            assert status in (503, 504)  # refused, or given up while it waited
            assert "budget" in said
            assert (await first)[0] == 200
            # One is computed, one waits, the others are refused.
            asking = [asyncio.create_task(ask()) for _ in range(6)]
            answers = await asyncio.gather(*asking)
            assert sorted(status for status, _ in answers) == [200, 200, 503, 503, 503, 503]
            assert {said for status, said in answers if status == 503} == {
                "1 requests are waiting, which is the server's limit"
            }
            server._draining = True
            assert await ask() == (503, "the server is going away")
            async with session.get("/v2/health/ready") as response:
                assert response.status == 503
            async with session.get("/v2/health/live") as response:
                assert response.status == 200
    finally:
        await server.stop()


async def test_versions_side_by_side() -> None:
    old, new = toy_bundle(), toy_bundle(version=1)
    server = EdgeServer([old, new], Settings(port=0))
    await server.start()
    try:

        def work(client: InferenceServerClient) -> None:
            versions = [old.hash[:12], new.hash[:12]]
            assert client.get_model_metadata("toy")["versions"] == versions
            for version in versions:
                result = client.infer("toy", [given("image", picture(1)[None])], model_version=version)
                assert result.get_response()["model_version"] == version
            result = client.infer("toy", [given("image", picture(1)[None])])
            assert result.get_response()["model_version"] == versions[1]

        await with_client(server.url, work)
    finally:
        await server.stop()
