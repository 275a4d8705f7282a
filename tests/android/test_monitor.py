"""The bridge's account of a connection is that of this SDK, whatever happens to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.monitor import LinkMonitor

from . import jvm


def happen(rng: np.random.Generator, monitor: LinkMonitor, last: dict[str, Any], now: float) -> dict[str, Any]:
    """Lets something happen, and says what. `last`: the last request, the probe under way, and its pongs."""
    number = int(rng.integers(max(1, last["number"] - 3), last["number"] + 1)) if last["number"] else 1
    match int(rng.integers(0, 20)):
        case 0:
            monitor.asked(now)
            return {"what": "asked"}
        case 1 | 2:
            monitor.heard(now)
            return {"what": "heard"}
        case 3 | 4 | 5 | 6 | 7:
            last["number"] += 1
            sizes, server = [int(size) for size in rng.integers(20, 3000, int(rng.integers(1, 4)))], 0.01
            monitor.sent(last["number"], sizes, server, now)
            return {"what": "sent", "number": last["number"], "sizes": sizes, "server": server}
        case 8:
            monitor.cancelled(number)
            return {"what": "cancelled", "number": number}
        case 9 | 10 | 11 | 12:
            arrivals = [0.0, *np.cumsum(rng.exponential(0.01, int(rng.integers(0, 3)))).tolist()]
            monitor.answered(number, arrivals, 0.005, 4000, now)
            return {"what": "answered", "number": number, "arrivals": arrivals, "server": 0.005, "answer": 4000}
        case 13:
            monitor.refused(number, now)
            return {"what": "refused", "number": number}
        case 14 | 15 if last["probe"] is None:
            last["probe"] = now
            padding = monitor.padding(now)
            monitor.probed(padding, now)
            return {"what": "probed", "padding": padding}
        case 19 if rng.random() < 0.2:
            last |= {"probe": None, "pongs": 0}
            monitor.reset()
            return {"what": "reset"}
        case _ if last["probe"] is not None:
            sent, received = last["probe"], now / 2
            monitor.pong(sent, received, now)
            last["pongs"] += 1
            if last["pongs"] == 2:
                last |= {"probe": None, "pongs": 0}
            return {"what": "pong", "sent": sent, "received": received}
        case _:
            monitor.heard(now)
            return {"what": "heard"}


def test_the_same_account_of_what_happens(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    cases, expected = [], []
    for number in range(200):
        thrifty, now = number % 2 == 1, 0.0
        monitor = LinkMonitor(ChannelEstimator(), thrifty=thrifty)
        last: dict[str, Any] = {"number": 0, "probe": None, "pongs": 0}
        events, accounts = [], []
        for _ in range(50):
            now += float(rng.exponential(0.3))
            events.append(happen(rng, monitor, last, now) | {"now": now})
            channel = monitor.channel(now)
            belief = [channel.uplink, channel.rtt, channel.spread, channel.downlink, channel.stall]
            rest, owed = monitor.rest(now), (monitor.unanswered, monitor.on_the_way(now))
            accounts.append([*belief, *owed, monitor.silent(now), monitor.wants_probe(now), rest])
            accounts[-1].append(monitor.padding(now))
        cases.append({"thrifty": thrifty, "events": events})
        expected.append(accounts)
    blocks = (json.dumps(case).encode() for case in cases)
    for block, accounts in zip(jvm.transform("link.Accounts", blocks, tmp_path), expected, strict=True):
        np.testing.assert_allclose(json.loads(block)["accounts"], accounts, rtol=1e-9, atol=1e-12)
    probes = [account[-3] for accounts in expected for account in accounts]
    assert 1000 < sum(probes) < 9000
