"""Real clients in a process of their own: `python -m tests.bench._clients` takes an `Outing`, gives `Answer`s.

Each has its own emulated link and device, and asks when its requests are due, whatever becomes of those before.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import msgspec

from cutpoint.calibration.simulate.policies import PriceBlindPolicy
from cutpoint.codecs import Array
from cutpoint.demo.scenes import render
from cutpoint.sdk import AdaptivePolicy, Bundle, Client, Objective
from cutpoint.sdk.errors import Refused
from cutpoint.sdk.testing import LinkEmulator, Trace

__all__ = ["Answer", "Outing", "Phone", "go_out"]


class Phone(msgspec.Struct, frozen=True):
    """One client.

    Attributes:
        due: seconds at which it asks.
        slowdown: how many times slower than this machine its device is.
        uplink: bit/s; 0 for a link as it is.
        rtt: seconds.
        rule: ``price``, the SDK's policy; ``price-blind``, the same told that the price is 0; or a point's id.
        deadline: seconds; None for none.
    """

    due: Sequence[float]
    slowdown: float = 1.0
    uplink: float = 0.0
    rtt: float = 0.0
    rule: str = "price"
    deadline: float | None = None


class Outing(msgspec.Struct, frozen=True):
    """What to do: which clients ask the server at `url` for what the demo's network says of scenes."""

    url: str
    bundle: str
    phones: Sequence[Phone]


class Answer(msgspec.Struct, frozen=True):
    """What came of a request.

    Attributes:
        at: seconds at which it was due.
        latency_ms: from then to its answer.
        source: who gave it.
        point: that gave it.
        planned: that was to give it.
        fallback: code of the server's refusal for which the device stepped in, or the name of another error; empty for
            none.
        hedged: whether the device worked on an answer beside the server.
    """

    at: float
    latency_ms: float
    source: Literal["edge", "device"]
    point: str
    planned: str
    fallback: str
    hedged: bool


async def go_out(outing: Outing) -> list[list[Answer]]:
    """Sends `outing` with a process of its own; the answers of each client, in the order in which they were due."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench._clients", stdin=pipe, stdout=pipe
    )
    answers, _ = await process.communicate(msgspec.json.encode(outing))
    return msgspec.json.decode(answers, type=list[list[Answer]])


async def _use(phone: Phone, bundle: Bundle, client: Client, pictures: Sequence[Array], began: float) -> list[Answer]:
    loop = asyncio.get_running_loop()
    point = phone.rule if phone.rule not in ("price", "price-blind") else None

    async def ask(number: int, due: float) -> Answer:
        result = await client.infer(pictures[number % len(pictures)], point=point)
        latency = (loop.time() - began - due) * 1e3
        error = result.fallback
        reason = "" if error is None else error.code if isinstance(error, Refused) else type(error).__name__
        return Answer(due, latency, result.source, result.point.id, result.plan.point.id, reason, result.hedged)

    tasks = []
    for number, due in enumerate(phone.due):
        await asyncio.sleep(max(0.0, began + due - loop.time()))
        tasks.append(asyncio.create_task(ask(number, due)))
    return await asyncio.gather(*tasks)


async def _run(outing: Outing, bundle: Bundle) -> list[list[Answer]]:
    pictures = [render(seed).image for seed in range(8)]
    async with AsyncExitStack() as stack:
        clients = []
        for phone in outing.phones:
            url, objective = outing.url, Objective(deadline=phone.deadline)
            if phone.uplink:
                link = LinkEmulator(url, Trace.constant(phone.uplink), delay=phone.rtt / 2)
                url = (await stack.enter_async_context(link)).url
            own = AdaptivePolicy.for_bundle(bundle, objective)
            policy = PriceBlindPolicy(own) if phone.rule == "price-blind" else own
            client = Client(url, bundle, objective=objective, policy=policy, slowdown=phone.slowdown)
            clients.append(await stack.enter_async_context(client))
        began = asyncio.get_running_loop().time()
        each = zip(outing.phones, clients, strict=True)
        return await asyncio.gather(*(_use(phone, bundle, client, pictures, began) for phone, client in each))


if __name__ == "__main__":
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=Outing)
    opened = Bundle.open(Path(given.bundle))
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_run(given, opened))))
