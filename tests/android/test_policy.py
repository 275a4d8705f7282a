"""Policy, belief and energy model of the bridge decide as those of this SDK do, on generated cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.channel import Channel, ChannelEstimator
from cutpoint.sdk.energy import RADIOS, EnergyModel
from cutpoint.sdk.policy import Conditions, LatencyPolicy, admissible
from cutpoint.sdk.protocol import ServerState

from . import jvm

CASES = 1000


def decisions(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the bridge makes of the cases."""
    blocks = (json.dumps(case).encode() for case in cases)
    return [json.loads(answer) for answer in jvm.transform("policy.Decisions", blocks, folder)]


def draw_points(rng: np.random.Generator) -> list[Point]:
    points = []
    for number in range(int(rng.integers(1, 40))):
        local = number == 0 or rng.random() < 0.1
        size = 0.0 if local else float(rng.lognormal(7, 1.5))
        measured = Measurement(
            metric=round(float(rng.uniform(0.5, 0.9)), 2),
            bytes_mean=size,
            bytes_p95=size * 1.2,
            device_ms=round(float(rng.lognormal(3 if local else 0.5, 1)), 3),
            encode_ms=0.0 if local else float(rng.uniform(0, 1)),
            decode_ms=0.0 if local else float(rng.uniform(0, 1)),
            tail_ms=0.0 if local else float(rng.lognormal(1.5, 1)),
        )
        codec = None if local else "1-klt"
        points.append(Point(id=f"point-{number}", start=2, end=2, measured=measured, codec=codec))
    return points


def test_the_same_point_for_a_thousand_cases(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    cases, expected = [], []
    for _ in range(CASES):
        points, floor = draw_points(rng), float(rng.uniform(0.4, 0.95))
        channel = None
        if rng.random() < 0.9:
            channel = Channel(float(rng.lognormal(16, 1.5)), float(rng.lognormal(-6, 1)), float(rng.uniform(0, 1)))
        server = ServerState(float(rng.choice([0.0, 3.5, 80.0])), 0.0, bool(rng.random() < 0.1))
        scales = float(rng.lognormal(0, 0.7)), float(rng.lognormal(0, 0.7))
        plan = LatencyPolicy(admissible(points, floor)).choose(Conditions(channel, server, *scales))
        expected.append(plan)
        belief = {"uplink": channel.uplink, "rtt": channel.rtt, "spread": channel.spread} if channel else None
        case: dict[str, Any] = {"kind": "policy", "points": msgspec.to_builtins(points), "floor": floor}
        case |= {"server": msgspec.to_builtins(server), "device_scale": scales[0], "server_scale": scales[1]}
        cases.append(case | ({"channel": belief} if belief else {}))
    found = decisions(cases, tmp_path)
    assert [answer["point"] for answer in found] == [plan.point.id for plan in expected]
    for answer, plan in zip(found, expected, strict=True):
        assert answer["predicted_ms"] == pytest.approx(plan.predicted_ms, rel=1e-12)
        assert answer["device_ms"] == pytest.approx(plan.device_ms, rel=1e-12)
    assert 100 < sum(plan.point.local for plan in expected) < 900


def observe(rng: np.random.Generator, estimator: ChannelEstimator) -> dict[str, Any]:
    """Shows the estimator something, and says what."""
    size, seconds = int(rng.lognormal(7.5, 1)) + 1, float(rng.lognormal(-3.5, 1.5))
    match int(rng.integers(0, 5)):
        case 0:
            estimator.observe_upload(size, seconds)
            return {"what": "upload", "bytes": size, "seconds": seconds}
        case 1:
            estimator.observe_spacing(size, seconds)
            return {"what": "spacing", "bytes": size, "seconds": seconds}
        case 2:
            estimator.observe_rtt(seconds)
            return {"what": "rtt", "seconds": seconds}
        case 3:
            estimator.observe_late(size, seconds)
            return {"what": "late", "bytes": size, "seconds": seconds}
        case _:
            frames = int(rng.integers(1, 5))
            sizes = [int(part) for part in rng.integers(20, 3000, frames)]
            arrivals = [0.0, *np.cumsum(rng.lognormal(-4, 1, frames - 1)).tolist()]
            network = arrivals[-1] + seconds
            estimator.observe_answer(sizes, arrivals, network)
            return {"what": "answer", "sizes": sizes, "arrivals": arrivals, "network": network}


def test_the_same_belief_after_the_same_observations(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    cases, expected = [], []
    for _ in range(100):
        estimator, seen, beliefs = ChannelEstimator(), [], []
        for _ in range(40):
            seen.append(observe(rng, estimator))
            beliefs.append((estimator.channel.uplink, estimator.channel.rtt, estimator.channel.spread))
        cases.append({"kind": "channel", "seen": seen})
        expected.append(beliefs)
    for answer, beliefs in zip(decisions(cases, tmp_path), expected, strict=True):
        np.testing.assert_allclose(answer["beliefs"], beliefs, rtol=1e-9)


def test_the_same_energy(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    cases, expected = [], []
    for number in range(200):
        radio = sorted(RADIOS)[number % len(RADIOS)]
        device_ms, size = float(rng.lognormal(2, 1)), float(rng.choice([0.0, 800.0, 50_000.0]))
        uplink = float(rng.lognormal(14, 2))
        cases.append({"kind": "energy", "radio": radio, "device_ms": device_ms, "bytes": size, "uplink": uplink})
        expected.append(EnergyModel(RADIOS[radio]).request_mj(device_ms, size, uplink))
    assert [answer["mj"] for answer in decisions(cases, tmp_path)] == pytest.approx(expected, rel=1e-12)
