"""Policy, belief and energy model of the bridge decide as those of this SDK do, on generated cases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.channel import NETWORKS, ChannelEstimator
from cutpoint.sdk.energy import NETWORK_RADIOS, RADIOS, EnergyModel
from cutpoint.sdk.objective import PRESETS, Forecast, Objective
from cutpoint.sdk.policy import AdaptivePolicy, Plan, Policy, StaticPolicy, admissible
from cutpoint.sdk.predictor import Conditions
from cutpoint.sdk.protocol import ServerState
from cutpoint.sdk.state import DeviceState

from . import jvm

#: Sequences of decisions, and decisions in each: hysteresis and the account of races go from one to the next.
CASES, STEPS = 1000, 6
#: Of every tenth sequence, longer than the races last that are saved up.
LONG = 30


def decisions(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the bridge makes of the cases."""
    blocks = (json.dumps(case).encode() for case in cases)
    return [json.loads(answer) for answer in jvm.transform("policy.Decisions", blocks, folder)]


def draw_points(rng: np.random.Generator) -> list[Point]:
    points = []
    for number in range(int(rng.integers(2, 40))):
        local = number == 0 or (number > 1 and rng.random() < 0.1)
        size = 0.0 if local else float(rng.lognormal(7, 1.5))
        measured = Measurement(
            metric=round(float(rng.uniform(0.5, 0.9)), 2),
            bytes_mean=size,
            bytes_p95=size * 1.2,
            device_ms=round(float(rng.lognormal(3 if local else 0.5, 1)), 3),
            encode_ms=0.0 if local else float(rng.uniform(0, 1)),
            decode_ms=0.0 if local else float(rng.uniform(0, 1)),
            tail_ms=0.0 if local else float(rng.lognormal(1.5, 1)),
            energy_mj=float(rng.lognormal(2, 1)) if rng.random() < 0.3 else None,
        )
        codec = None if local else "1-klt"
        points.append(Point(id=f"point-{number}", start=2, end=2, measured=measured, codec=codec))
    return points


def observe(rng: np.random.Generator, estimator: ChannelEstimator, now: float) -> dict[str, Any]:
    """Shows the estimator something, and says what."""
    size, seconds = int(rng.lognormal(7.5, 1)) + 1, float(rng.lognormal(-3.5, 1.5))
    match int(rng.integers(0, 20)):
        case 0 | 1 | 2:
            estimator.observe_upload(size, seconds, now)
            return {"what": "upload", "bytes": size, "seconds": seconds, "now": now}
        case 3 | 4 | 5:
            estimator.observe_spacing(size, seconds, now)
            return {"what": "spacing", "bytes": size, "seconds": seconds, "now": now}
        case 6 | 7 | 8:
            estimator.observe_rtt(seconds)
            return {"what": "rtt", "seconds": seconds, "now": now}
        case 9 | 10 | 11:
            estimator.observe_delivery(size, seconds, now)
            return {"what": "delivery", "bytes": size, "seconds": seconds, "now": now}
        case 12:
            kind = str(rng.choice(list(NETWORKS)))
            estimator.network_changed(kind)
            return {"what": "network", "network": kind, "now": now}
        case _:
            frames = int(rng.integers(1, 5))
            sizes = [int(part) for part in rng.integers(20, 3000, frames)]
            arrivals = [0.0, *np.cumsum(rng.lognormal(-4, 1, frames - 1)).tolist()]
            network, answer = arrivals[-1] + seconds, int(rng.choice([40, 4000, 90_000]))
            estimator.observe_answer(sizes, arrivals, network, answer, now)
            seen = {"what": "answer", "sizes": sizes, "arrivals": arrivals, "network": network, "answer": answer}
            return seen | {"now": now}


def own_cost(it: Forecast) -> Array:
    """As in Decisions.java."""
    cost = it.latency_ms + 0.1 * it.late_ms + 0.2 * it.energy_mj + 500 * it.loss
    return np.asarray(cost + 0.01 * it.server_ms + 3 * it.missed)


def draw_steps(rng: np.random.Generator, policy: Policy, count: int = STEPS) -> tuple[list[dict[str, Any]], list[Plan]]:
    """What the policy meets one after the other, and its plans."""
    estimator, now = ChannelEstimator(), 0.0
    scales = float(rng.lognormal(0, 0.7)), float(rng.lognormal(0, 0.7))
    steps, plans = [], []
    for _ in range(count):
        seen = []
        for _ in range(int(rng.integers(0, 4))):
            now += float(rng.exponential(0.5))
            seen.append(observe(rng, estimator, now))
        late, waiting = (int(rng.lognormal(7, 1)), float(rng.exponential(0.5))) if rng.random() < 0.2 else (0, 0.0)
        up = rng.random() < 0.9
        server = ServerState(float(rng.choice([0.0, 3.5, 80.0])), float(rng.choice([0.0, 0.5])), rng.random() < 0.05)
        device = DeviceState(
            temperature=float(rng.uniform(30, 95)) if rng.random() < 0.5 else None,
            battery=float(rng.uniform(0, 1)) if rng.random() < 0.5 else None,
            charging=bool(rng.random() < 0.3),
        )
        network = str(rng.choice(list(NETWORKS))) if rng.random() < 0.5 else None
        queue_ms, unanswered = float(rng.choice([0.0, 20.0])), int(rng.choice([0, 5000]))
        conditions = Conditions(
            estimator.channel(now, late, waiting) if up else None,
            server,
            *scales,
            queue_ms,
            unanswered,
            device,
            NETWORK_RADIOS[network] if network else None,
        )
        plans.append(policy.choose(conditions))
        told = {"temperature": device.temperature, "battery": device.battery, "charging": device.charging}
        step: dict[str, Any] = {"seen": seen, "now": now, "late": late, "waiting": waiting, "up": bool(up)}
        step |= {"server": msgspec.to_builtins(server), "device_queue_ms": queue_ms, "unanswered": unanswered}
        step |= {"device": {key: value for key, value in told.items() if value is not None}}
        step |= {"device_scale": scales[0], "server_scale": scales[1]} | ({"network": network} if network else {})
        steps.append(step)
    return steps, plans


def assert_same(found: Sequence[dict[str, Any]], expected: Sequence[Plan]) -> None:
    assert len(found) == len(expected)
    for answer, plan in zip(found, expected, strict=True):
        assert answer["point"] == plan.point.id
        assert answer["predicted_ms"] == pytest.approx(plan.predicted_ms, rel=1e-9)
        assert answer["device_ms"] == pytest.approx(plan.device_ms, rel=1e-9)
        assert answer["energy_mj"] == pytest.approx(plan.energy_mj, rel=1e-9)
        assert answer["cost"] == pytest.approx(plan.cost, rel=1e-9)
        assert answer["hedge_ms"] == (None if plan.hedge_ms is None else pytest.approx(plan.hedge_ms, rel=1e-9))
        assert [other[0] for other in answer["runners_up"]] == [other.point.id for other in plan.runners_up]
        figures = [figure for other in answer["runners_up"] for figure in other[1:]]
        assert figures == pytest.approx([figure for other in plan.runners_up for figure in other[1:]], rel=1e-9)


def test_the_same_plans_for_a_thousand_sequences(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    cases, expected = [], []
    met: Counter[str] = Counter()
    for number in range(CASES):
        points, floor, uncut = draw_points(rng), float(rng.uniform(0.4, 0.95)), 0.9
        preset = sorted(PRESETS)[number % len(PRESETS)]
        # Half of the cases with the defaults, half with other values.
        wanted = {name: getattr(PRESETS[preset], name) for name in ("hedge_price", "hedge_share", "hysteresis")}
        if rng.random() < 0.5:
            wanted = {
                "hedge_price": float(rng.choice([0.0, 0.1, 2.0])),
                "hedge_share": float(rng.choice([0.0, 0.3, 1.0])),
                "hysteresis": float(rng.choice([0.0, 0.5])),
            }
        if rng.random() < 0.4:
            wanted["deadline"] = float(rng.uniform(0.01, 0.4))
        objective = Objective.preset(preset, **wanted)
        own = bool(rng.random() < 0.2)
        if own:
            objective = replace(objective, cost=own_cost)
        radio, compute_mw = str(rng.choice(sorted(RADIOS))), float(rng.choice([2000.0, 500.0]))
        answer_bytes = int(rng.choice([4096, 100, 200_000]))
        chosen = admissible(points, floor)
        if rng.random() < 0.1:
            # As in mode `edge`: nothing to fall back on.
            chosen = tuple(point for point in points if not point.local)
            floor = 0.0
            points = list(chosen)
        policy = AdaptivePolicy(
            chosen, objective, uncut=uncut, energy=EnergyModel(RADIOS[radio], compute_mw), answer_bytes=answer_bytes
        )
        steps, plans = draw_steps(rng, policy, STEPS if number % 10 else LONG)
        case: dict[str, Any] = {"kind": "adaptive", "points": msgspec.to_builtins(points), "floor": floor}
        case |= {"objective": wanted | {"preset": preset, "own_cost": own}, "uncut": uncut, "radio": radio}
        case |= {"compute_mw": compute_mw, "answer_bytes": answer_bytes, "steps": steps}
        cases.append(case)
        expected.append(plans)
        for before, plan in zip([None, *plans], plans, strict=False):
            met["local"] += plan.point.local
            met["raced"] += plan.hedge_ms is not None and plan.hedge_ms == plan.device_ms
            met["waits"] += plan.hedge_ms is not None and plan.device_ms < plan.hedge_ms < np.inf
            met["moved"] += before is not None and before.point is not plan.point
            met["kept though dearer"] += any(other.cost < plan.cost for other in plan.runners_up)
            met["in vain"] += plan.predicted_ms == np.inf
    for answer, plans in zip(decisions(cases, tmp_path), expected, strict=True):
        assert_same(answer["plans"], plans)
    # The cases are worth something only if the policy does all that it can do.
    assert min(met[what] for what in ("local", "raced", "waits", "moved")) > 300, met
    assert min(met[what] for what in ("kept though dearer", "in vain")) > 20, met


def test_the_same_plans_on_a_fixed_point(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    cases, expected = [], []
    for _ in range(100):
        points = draw_points(rng)[:2]
        steps, plans = draw_steps(rng, StaticPolicy(points[1], points[0]))
        cases.append({"kind": "static", "points": msgspec.to_builtins(points), "steps": steps})
        expected.append(plans)
    for answer, plans in zip(decisions(cases, tmp_path), expected, strict=True):
        assert_same(answer["plans"], plans)


def test_the_same_belief_after_the_same_observations(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    cases, expected = [], []
    for _ in range(100):
        estimator, seen, beliefs, now = ChannelEstimator(), [], [], 0.0
        for _ in range(40):
            now += float(rng.exponential(1.0))
            silence = float(rng.choice([0.0, 1.0, 15.0]))
            late, waiting = int(rng.lognormal(7, 1)), float(rng.choice([0.0, 0.05, 1.0]))
            seen.append(observe(rng, estimator, now) | {"silence": silence, "late": late, "waiting": waiting})
            channel = estimator.channel(now + silence, late, waiting)
            belief = [channel.uplink, channel.rtt, channel.spread, channel.downlink, channel.rtt_spread, channel.stall]
            beliefs.append(belief + [value for sample in zip(*channel.samples(), strict=True) for value in sample])
        cases.append({"kind": "channel", "seen": seen})
        expected.append(beliefs)
    for answer, beliefs in zip(decisions(cases, tmp_path), expected, strict=True):
        np.testing.assert_allclose(answer["beliefs"], beliefs, rtol=1e-9, atol=1e-15)


def test_the_same_energy(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    cases, expected = [], []
    for number in range(200):
        radio = sorted(RADIOS)[number % len(RADIOS)]
        device_ms, size = float(rng.lognormal(2, 1)), float(rng.choice([0.0, 800.0, 50_000.0]))
        uplink, answer, downlink = float(rng.lognormal(14, 2)), 4096.0, float(rng.lognormal(16, 2))
        case = {"kind": "energy", "radio": radio, "device_ms": device_ms, "bytes": size, "uplink": uplink}
        cases.append(case | {"answer": answer, "downlink": downlink})
        expected.append(EnergyModel(RADIOS[radio]).request_mj(device_ms, size, uplink, answer, downlink))
    assert [answer["mj"] for answer in decisions(cases, tmp_path)] == pytest.approx(expected, rel=1e-12)
