"""A real client that follows a trained policy's file, and one that cannot."""

import logging
from pathlib import Path

import pytest
from tests.support.policies import small_policy
from tests.support.toy import picture, toy_bundle

from cutpoint.calibration.learning.policy_file import with_policy
from cutpoint.sdk import Bundle, Client, InputError, LearnedPolicy
from cutpoint.sdk.learned import Seen
from cutpoint.sdk.observation import FEATURES
from cutpoint.server import EdgeServer, Settings

from .conftest import QUICK

_COUNT = len(FEATURES)
ANYTHING = Seen((-9.0,) * _COUNT, (9.0,) * _COUNT, (0.0,) * _COUNT, ((0.0,) * _COUNT,) * _COUNT, 1.0)


@pytest.mark.parametrize("favourite", ["cut0-jpeg-q90", "cut1-fp32-affine-fine", "cut2-fp32"])
async def test_client_follows_the_graph(favourite: str, server: EdgeServer, bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(small_policy(bundle, favourite=favourite, seen=ANYTHING))
    async with Client(server.url, bundle, policy=path, times=QUICK) as client:
        assert isinstance(client.policy, LearnedPolicy)
        results = [await client.infer(picture(1, seed)) for seed in range(3)]
    assert {result.plan.point.id for result in results} == {favourite}


async def test_client_follows_the_policy_of_its_bundle() -> None:
    shipped = with_policy(toy_bundle(), small_policy(toy_bundle(), favourite="cut0-jpeg-q90", seen=ANYTHING))
    server = EdgeServer(shipped, Settings(port=0))
    await server.start()
    try:
        async with Client(server.url, times=QUICK) as client:
            assert (await client.infer(picture(1, 0))).plan.point.id == "cut0-jpeg-q90"
    finally:
        await server.stop()
    async with Client(bundle=shipped, mode="device") as client:
        assert not isinstance(client.policy, LearnedPolicy)


async def test_file_of_no_use_costs_one_line_in_the_log(
    server: EdgeServer, bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(small_policy(bundle)[:-100])
    with caplog.at_level(logging.WARNING, "cutpoint.policy"):
        async with Client(server.url, bundle, policy=path, times=QUICK) as client:
            for seed in range(3):
                assert int((await client.infer(picture(2, seed))).outputs[0].argmax()) == 2
    assert len([record for record in caplog.records if record.name == "cutpoint.policy"]) == 1


async def test_file_that_is_not_there_is_an_error(server: EdgeServer, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no readable policy"):
        async with Client(server.url, bundle, policy=tmp_path / "none.onnx", times=QUICK):
            pass
