"""Requests with a deadline on a link that is cut or held at random: answers, lateness, and the way back to the edge.

A real client, a server process, the link emulator, photographs, MobileNetV2 on a device 50 times slower than a core
here. Needs the shared data.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import numpy as np
from rich.table import Table
from tests.bench._bundles import bundle_path
from tests.bench._photographs import photographs

from cutpoint.sdk import Bundle, Client, Objective
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace

TITLE = "50 outages at random"

_OUTAGES = 50
_DEADLINE = 0.6
_SLOWDOWN = 50.0
#: Seconds between requests; of outages, and between them.
_PERIOD, _OUTAGE, _BETWEEN = 0.4, (0.4, 2.0), (2.2, 3.5)


async def _run() -> dict[str, Any]:
    path = await asyncio.to_thread(bundle_path, "MobileNetV2")
    bundle = await asyncio.to_thread(Bundle.open, path)
    pictures = await asyncio.to_thread(photographs, bundle, 40)
    loop = asyncio.get_running_loop()
    answers: list[tuple[float, float, str, int]] = []
    restored: list[float] = []
    rng = random.Random(1)
    async with (
        ServerProcess(path, "--threads", "1") as server,
        LinkEmulator(server.url, Trace.constant(20e6), delay=0.02) as link,
        Client(link.url, bundle, objective=Objective(deadline=_DEADLINE), slowdown=_SLOWDOWN) as client,
    ):

        async def break_it() -> None:
            for _ in range(_OUTAGES):
                await asyncio.sleep(rng.uniform(*_BETWEEN))
                seconds = rng.uniform(*_OUTAGE)
                (link.cut if rng.random() < 0.5 else link.hold)(seconds)
                await asyncio.sleep(seconds)
                restored.append(loop.time())
            await asyncio.sleep(_BETWEEN[1])

        async def ask(number: int) -> None:
            began = loop.time()
            result = await client.infer((pictures[number % len(pictures)],))
            answers.append((began, loop.time() - began, result.source, number))

        breaking = asyncio.create_task(break_it())
        tasks = []
        while not breaking.done():
            tasks.append(asyncio.create_task(ask(len(tasks))))
            await asyncio.sleep(_PERIOD)
        await asyncio.gather(*tasks)
        await breaking
        counters = client.counters
    took = np.array([seconds for _, seconds, _, _ in answers])
    back = []
    for at in restored:
        # Counted from the answer: the first request begun after the recovery that the edge answered.
        first = min(
            (began + seconds for began, seconds, source, _ in answers if began >= at and source == "edge"),
            default=np.inf,
        )
        back.append(first - at)
    return {
        "deadline_s": _DEADLINE,
        "outages": len(restored),
        "requests": len(tasks),
        "answered": len(answers),
        "answered_twice": len(answers) - len({number for *_, number in answers}),
        "late": int((took > _DEADLINE).sum()),
        "later_than_tenth": int((took > 1.1 * _DEADLINE).sum()),
        "longest_s": round(float(took.max()), 3),
        "p50_s": round(float(np.median(took)), 3),
        "edge": counters.edge,
        "device": counters.device,
        "hedged": counters.hedged,
        "back_p50_s": round(float(np.median(back)), 2),
        "back_within_2_s": sum(seconds <= 2.0 for seconds in back),
    }


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    return asyncio.run(_run())


def table(result: dict[str, Any]) -> Table:
    """A row a figure."""
    rows = Table("", "", title=f"deadline {result['deadline_s']} s, {result['outages']} outages")
    for name in (
        "requests",
        "answered",
        "answered_twice",
        "late",
        "later_than_tenth",
        "longest_s",
        "p50_s",
        "edge",
        "device",
        "hedged",
        "back_p50_s",
        "back_within_2_s",
    ):
        rows.add_row(name.replace("_", " "), str(result[name]))
    return rows
