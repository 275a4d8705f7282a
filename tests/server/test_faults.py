"""What goes wrong in the field, against a server in a process of its own."""

import asyncio
import json
import random
import signal
import struct
import zlib
from pathlib import Path

import aiohttp
import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import (
    AuthenticationFailed,
    Backoff,
    BadPayload,
    Bundle,
    BundleMismatch,
    Client,
    LinkError,
    LinkTimes,
    Objective,
    StaticPolicy,
    UnknownPoint,
)
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.link import Link
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.protocol import (
    SUBPROTOCOL,
    Cancel,
    Error,
    Hello,
    Request,
    Result,
    Welcome,
    decode_frame,
    encode_frame,
)
from cutpoint.sdk.protocol.frames import Opening
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace

from .conftest import QUICK

POINT = "cut1-fp32-affine-fine"


async def serves(url: str, bundle: Bundle) -> bool:
    """Whether the server still does what it is there for."""
    async with Client(url, bundle, mode="edge", times=QUICK) as client:
        return int((await client.infer(picture(2), point=POINT)).outputs[0].argmax()) == 2


class Peer:
    """Speaks to a server frame by frame, right or wrong."""

    def __init__(self, session: aiohttp.ClientSession, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._session, self.ws = session, ws

    @classmethod
    async def connect(cls, url: str, protocols: tuple[str, ...] = (SUBPROTOCOL,)) -> "Peer":
        session = aiohttp.ClientSession()
        return cls(session, await session.ws_connect(url, protocols=protocols, max_msg_size=1 << 24))

    async def greet(self, bundle_hash: str, **changes: object) -> object:
        hello = {"versions": [1], "bundle": bundle_hash, **changes}
        await self.ws.send_bytes(frame(1, 0, json.dumps(hello).encode()))
        return await self.read()

    async def read(self) -> object:
        message = await self.ws.receive(timeout=10)
        return decode_frame(message.data) if message.type is aiohttp.WSMsgType.BINARY else message

    async def close(self) -> None:
        await self.ws.close()
        await self._session.close()


def frame(kind: int, request_id: int, body: bytes) -> bytes:
    checked = struct.pack("<BBHII", kind, 0, 0, request_id, len(body))
    return checked + struct.pack("<I", zlib.crc32(checked + body)) + body


# -- the server goes away ----------------------------------------------------------------------------------------


async def test_kill_in_the_middle_of_requests_and_back_again(slow_file: Path, slow_bundle: Bundle) -> None:
    point = slow_bundle.points[slow_bundle.point_number(POINT)]
    policy = StaticPolicy(point, slow_bundle.points[0])
    patient = Objective(patience=1e6)  # nothing but the failure itself starts the device
    async with (
        ServerProcess(slow_file, "--threads", "1") as server,
        Client(server.url, slow_bundle, policy=policy, objective=patient, times=QUICK) as client,
    ):
        assert (await client.infer(picture(0))).source == "edge"
        server.send_signal(signal.SIGSTOP)  # on a loaded machine it would answer the first before the last are sent
        asking = [asyncio.create_task(client.infer(picture(i % 3, i))) for i in range(12)]
        assert client._link is not None
        link = client._link
        await until(lambda: link.in_flight == 12)
        await server.kill()
        results = await asyncio.wait_for(asyncio.gather(*asking), 30)
        assert [int(r.outputs[0].argmax()) for r in results] == [i % 3 for i in range(12)]
        stepped_in = [r for r in results if r.source == "device"]
        assert len(stepped_in) == 12
        assert all(isinstance(r.fallback, LinkError) for r in stepped_in)
        await until(lambda: not client.connected)
        assert (await client.infer(picture(1))).source == "device"
        await server.start()
        await until(lambda: client.connected)
        assert (await client.infer(picture(1))).source == "edge"


async def test_client_started_before_the_server(bundle: Bundle, process: ServerProcess) -> None:
    await process.kill()
    async with Client(process.url, bundle, times=QUICK) as client:
        assert (await client.infer(picture(1))).source == "device"
        await process.start()
        await until(lambda: client.connected)
        assert (await client.infer(picture(1), point=POINT)).source == "edge"


async def test_edge_mode_without_a_server_says_so(bundle: Bundle) -> None:
    with pytest.raises(LinkError, match="no connection to ws://127"):
        async with Client("ws://127.0.0.1:9", bundle, mode="edge", objective=Objective(deadline=0.3)):
            pass


async def test_sigterm_drains_and_exits_cleanly(process: ServerProcess, bundle: Bundle) -> None:
    # The device leaves the server its time: it answers when there is none.
    async with Client(process.url, bundle, times=QUICK, objective=Objective(patience=1e6)) as client:
        assert (await client.infer(picture(1), point=POINT)).source == "edge"
        process.send_signal(signal.SIGTERM)
        await until(lambda: not client.connected)
        assert (await client.infer(picture(1), point=POINT)).source == "device"
    assert await process.wait() == 0


# -- greeting ----------------------------------------------------------------------------------------------------


async def test_wrong_token_and_right_token(bundle: Bundle, bundle_file: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# the fleet\nopen-sesame\n")
    async with ServerProcess(bundle_file, "--token-file", str(tokens)) as server:
        for wrong in (None, "", "open-sesam", "# the fleet"):
            with pytest.raises(AuthenticationFailed, match="token"):
                async with Client(server.url, bundle, mode="edge", token=wrong, times=QUICK):
                    pass
            async with Client(server.url, bundle, token=wrong, times=QUICK) as client:
                assert (await client.infer(picture(1), point=POINT)).source == "device"
                assert isinstance(client.refusal, AuthenticationFailed)
            with pytest.raises(AuthenticationFailed):
                async with Client(server.url, token=wrong):
                    pass
        async with Client(server.url, bundle, mode="edge", token="open-sesame", times=QUICK) as client:
            assert (await client.infer(picture(1))).source == "edge"
        # The operator changes the tokens: SIGHUP, and the new one works.
        tokens.write_text("new-word\n")
        server.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while True:
                try:
                    async with Client(server.url, bundle, mode="edge", token="new-word", times=QUICK):
                        break
                except AuthenticationFailed:
                    await asyncio.sleep(0.02)


async def test_wrong_bundle(process: ServerProcess, bundle: Bundle) -> None:
    with pytest.raises(BundleMismatch, match="fetch the server's"):
        async with Client(process.url, toy_bundle("another"), mode="edge", times=QUICK):
            pass
    assert await serves(process.url, bundle)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"versions": [2, 3]}, "version_mismatch"),
        ({"versions": []}, "version_mismatch"),
        ({"bundle": "0" * 64}, "bundle_mismatch"),
        ({"versions": "one"}, "bad_request"),
    ],
)
async def test_greetings_that_do_not_fit(
    process: ServerProcess, bundle: Bundle, changes: dict[str, object], code: str
) -> None:
    peer = await Peer.connect(process.url)
    answer = await peer.greet(bundle.hash, **changes)
    assert isinstance(answer, Error)
    assert (answer.request_id, answer.code) == (0, code)
    await peer.close()
    assert await serves(process.url, bundle)


async def test_other_subprotocol_and_plain_http(process: ServerProcess, bundle: Bundle) -> None:
    peer = await Peer.connect(process.url, ("cutpoint.v99",))
    message = await peer.read()
    assert isinstance(message, aiohttp.WSMessage)
    assert message.type is aiohttp.WSMsgType.CLOSE
    await peer.close()
    async with aiohttp.ClientSession() as session:
        async with session.get(process.url.replace("ws", "http", 1)) as response:
            assert response.content_type == "text/html"
        async with session.get(process.url.replace("ws", "http", 1) + "/v1/bundle/" + "0" * 64) as response:
            assert response.status == 404


# -- damaged requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("a text frame", "bad_request"),
        (b"short", "bad_request"),
        (bytes(16), "bad_payload"),
        (bytearray(encode_frame(Opening(1, 5, 0.0, 3, b"abc"))[:-1]), "bad_request"),
        (bytes(2_000_000), "too_large"),
        (frame(1, 0, b"{}"), "bad_request"),
        (frame(6, 1, b""), "bad_request"),
        (frame(99, 1, b""), "bad_request"),
    ],
    ids=["text", "short", "zeros", "truncated", "oversized", "second-hello", "result", "unknown-kind"],
)
async def test_broken_frame_ends_its_connection_with_a_typed_error(
    process: ServerProcess, bundle: Bundle, message: str | bytes, code: str
) -> None:
    bystander = Client(process.url, bundle, mode="edge", times=QUICK)
    async with bystander:
        peer = await Peer.connect(process.url)
        assert isinstance(await peer.greet(bundle.hash), Welcome)
        if isinstance(message, str):
            await peer.ws.send_str(message)
        else:
            await peer.ws.send_bytes(bytes(message))
        answer = await peer.read()
        assert isinstance(answer, Error)
        assert (answer.request_id, answer.code) == (0, code)
        closing = await peer.read()
        assert isinstance(closing, aiohttp.WSMessage)
        assert closing.type is aiohttp.WSMsgType.CLOSE
        await peer.close()
        # Nobody else notices.
        assert (await bystander.infer(picture(1), point=POINT)).source == "edge"


async def test_frame_far_over_the_limit_closes_with_1009(process: ServerProcess, bundle: Bundle) -> None:
    peer = await Peer.connect(process.url)
    await peer.greet(bundle.hash)
    try:
        await peer.ws.send_bytes(bytes(6_000_000))
    except ConnectionError:
        pass  # the server closed while the rest was still being sent
    else:
        message = await peer.read()
        assert isinstance(message, aiohttp.WSMessage)
        assert message.type is aiohttp.WSMsgType.ERROR or message.data in (1009, None)
    await peer.close()
    assert await serves(process.url, bundle)


async def test_flipped_bit_is_caught_by_the_checksum(process: ServerProcess, bundle: Bundle) -> None:
    data = bytearray(encode_frame(Opening(1, 5, 0.0, 3, b"abc")))
    data[-1] ^= 4
    peer = await Peer.connect(process.url)
    await peer.greet(bundle.hash)
    await peer.ws.send_bytes(bytes(data))
    answer = await peer.read()
    assert isinstance(answer, Error)
    assert answer.code == "bad_payload"
    await peer.close()
    assert await serves(process.url, bundle)


async def test_payload_that_does_not_decode_fails_alone(process: ServerProcess, bundle: Bundle) -> None:
    estimator = ChannelEstimator()
    loop = asyncio.get_running_loop()
    link = Link(
        process.url, bundle.hash, LinkMonitor(estimator), 1 << 20, times=QUICK, clock=loop.time, rng=random.Random(0)
    )
    await link.start()
    try:
        number = bundle.point_number
        for point, payload in [
            (number("cut0-raw-exact"), b"x" * 5),
            (number("cut0-jpeg-q90"), b"\xff\xd8 not really"),
            (number(POINT), b""),
            (number("cut1-fp32-raw-exact"), b"x" * 511),
        ]:
            with pytest.raises(BadPayload):
                await link.request(point, payload, 0.0, 0.0, [])
        with pytest.raises(UnknownPoint):
            await link.request(4711, b"", 0.0, 0.0, [])
        with pytest.raises(UnknownPoint):  # a local point needs no server
            await link.request(number("cut2-fp32"), b"", 0.0, 0.0, [])
        assert link.up
    finally:
        await link.close()
    assert await serves(process.url, bundle)


async def test_client_that_says_nothing_or_leaves_in_the_middle(process: ServerProcess, bundle: Bundle) -> None:
    silent = await Peer.connect(process.url)
    half = await Peer.connect(process.url)
    await half.greet(bundle.hash)
    await half.ws.send_bytes(encode_frame(Opening(1, 3, 0.0, 400, b"x" * 100)))
    await half._session.close()  # no goodbye
    assert await serves(process.url, bundle)
    await silent.close()


async def test_requests_and_their_cancellations_that_come_together_are_confirmed(
    process: ServerProcess, bundle: Bundle
) -> None:
    # As after an outage: the server gets a burst of what was called off while nothing moved.
    point = bundle.point_number("cut1-fp32-raw-exact")
    peer = await Peer.connect(process.url)
    await peer.greet(bundle.hash)
    process.send_signal(signal.SIGSTOP)
    for number in range(1, 17):
        await peer.ws.send_bytes(encode_frame(Opening(number, point, 0.0, 512, bytes(512))))
        await peer.ws.send_bytes(encode_frame(Cancel(number)))
    process.send_signal(signal.SIGCONT)
    answers = [await peer.read() for _ in range(16)]
    assert sorted(answer.request_id for answer in answers if isinstance(answer, Error | Result)) == list(range(1, 17))
    assert {answer.code for answer in answers if isinstance(answer, Error)} <= {"cancelled"}
    await peer.close()
    assert await serves(process.url, bundle)


async def test_every_kind_of_request_id_misuse(process: ServerProcess, bundle: Bundle) -> None:
    for messages in (
        [encode_frame(Opening(0, 1, 0.0, 0, b""))],
        [encode_frame(Opening(2, 1, 0.0, 768, b"")), encode_frame(Opening(1, 1, 0.0, 768, b""))],
        [frame(5, 77, b"")],
        [frame(4, 5, bytes(4))],
    ):
        peer = await Peer.connect(process.url)
        await peer.greet(bundle.hash)
        for message in messages:
            await peer.ws.send_bytes(message)
        answer = await peer.read()
        assert isinstance(answer, Error)
        assert (answer.request_id, answer.code) == (0, "bad_request")
        await peer.close()
    assert await serves(process.url, bundle)


def test_hello_and_request_are_what_the_names_say() -> None:
    # Guards the helper above: what it builds by hand is what the library would send.
    hello = Hello((1,), "x")
    assert decode_frame(frame(1, 0, json.dumps({"versions": [1], "bundle": "x"}).encode())) == hello
    assert Request(1, 2, b"").budget == 0


async def test_link_that_falls_silent_is_given_up(process: ServerProcess, bundle: Bundle) -> None:
    times = LinkTimes(probe=0.05, silence=0.3, backoff=Backoff(0.01, 0.1))
    async with (
        LinkEmulator(process.url, Trace.constant(1e8)) as link,
        Client(link.url, bundle, times=times) as client,
    ):
        assert client.connected
        assert client._link is not None
        before = client._link._connection
        link.hold(3600.0)  # connected, and nothing passes
        await until(lambda: client._link is not None and client._link._connection is not before)
        assert not client.connected
        assert (await client.infer(picture(1), point=POINT)).source == "device"
