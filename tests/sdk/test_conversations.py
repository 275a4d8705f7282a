"""The recorded conversations bind every implementation of docs/protocol.md."""

from __future__ import annotations

import json

import pytest
from tests.vectors import conversations

FILES = sorted(str(path.relative_to(conversations.FOLDER)) for path in conversations.FOLDER.rglob("*.json"))


@pytest.mark.parametrize("name", FILES)
def test_replays_as_recorded(name: str) -> None:
    recorded = json.loads((conversations.FOLDER / name).read_text())
    assert [conversations.replay(conversation) for conversation in recorded] == recorded


def test_every_kind_of_frame_and_every_verdict_is_there() -> None:
    seen = set()
    for name in FILES:
        for conversation in json.loads((conversations.FOLDER / name).read_text()):
            for step in conversation["steps"]:
                event = step.get("event")
                seen.add(step.get("error") or (event["kind"] if event else "refused" if step.get("refused") else None))
    kinds = {"Hello", "Welcome", "Request", "Cancel", "Result", "Error", "Ping", "Pong", "Goaway", "Rejected"}
    assert seen >= kinds | {"refused", "bad_request", "bad_payload", None}


def test_tiers_are_agreed_on_refused_and_listed() -> None:
    steps = [
        step
        for conversation in json.loads((conversations.FOLDER / "extensions" / "tiers.json").read_text())
        for step in conversation["steps"]
    ]
    events = [step.get("event") or {} for step in steps]
    assert {"Request", "Result"} <= {event.get("kind") for event in events if event.get("hops")}
    assert any(event.get("stop") for event in events)
    assert any(step.get("refused") and step["send"].get("hops") for step in steps)


def test_parts_are_agreed_on_refused_and_rejected() -> None:
    steps = [
        step
        for conversation in json.loads((conversations.FOLDER / "extensions" / "slices.json").read_text())
        for step in conversation["steps"]
    ]
    events = [step.get("event") or {} for step in steps]
    assert {event["number"] for event in events if event.get("kind") == "Part"} >= {1, 2}
    assert any(event.get("sliced") for event in events)
    codes = {event["code"] for event in events if event.get("kind") == "Rejected"}
    assert codes >= {"bad_payload", "too_large"}
    assert any(step.get("refused") and step["send"]["kind"] == "Part" for step in steps)


def test_traces_are_agreed_on_and_refused() -> None:
    steps = [
        step
        for conversation in json.loads((conversations.FOLDER / "extensions" / "trace.json").read_text())
        for step in conversation["steps"]
    ]
    assert any((step.get("event") or {}).get("trace") for step in steps)
    asked = [step for step in steps if step.get("send", {}).get("trace")]
    assert {step["state"] for step in asked if step.get("refused")} >= {"START", "OPEN"}
    assert any(bytes.fromhex(frame)[1] for step in asked for frame in step.get("frames", ()))
