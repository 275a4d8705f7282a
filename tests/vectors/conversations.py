"""Recorded conversations: what one end of a connection sends and receives, step by step, in JSON.

They bind every implementation of the protocol, as the vectors bind the entropy coder. A file holds conversations; one
is the role of the end that it records, the longest frame that end accepts, the most payload bytes of a point (points
from 10 on do not exist), where there are points whose payload comes in parts the most bytes of these, and steps:

* ``{"send": event, "frames": [hex, …]}``, or ``"refused": true`` where the protocol does not allow it;
* ``{"receive": hex, "now": seconds, "event": event or null}``, or ``"error": code``;

each with the ``state`` and the number of requests ``in_flight`` after it. What an extension adds is in
``extensions/``; who does not know it need not replay that. ``python -m tests.vectors.conversations`` writes the files
anew.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cutpoint.codecs import DTYPES
from cutpoint.sdk.errors import LocalProtocolError, RemoteProtocolError
from cutpoint.sdk.protocol import (
    EXITS,
    SLICES,
    TIERS,
    TRACE,
    Cancel,
    Connection,
    Error,
    Event,
    Goaway,
    Hello,
    Hop,
    Limits,
    Part,
    Ping,
    Pong,
    Rejected,
    Request,
    Result,
    Role,
    ServerState,
    Timings,
    TraceContext,
    Welcome,
)

FOLDER = Path(__file__).parent / "conversations"
FRAME_LIMIT = 512
MAX_PAYLOAD = 800
POINTS = 10
#: Of conversations with `slices`: the most bytes of each part of a point's payload.
PARTS = {7: (200, 40, MAX_PAYLOAD)}

Json = dict[str, Any]


def event_to_json(event: Event) -> Json:
    """An event as the files have it."""
    kind: Json = {"kind": type(event).__name__}
    match event:
        case Hello():
            versions = list(event.versions)
            names = {"bundle": event.bundle, "token": event.token, "client": event.client, "device": event.device}
            return kind | {"versions": versions} | names | _extensions_to_json(event.extensions)
        case Welcome():
            limits = {"frame": event.limits.frame, "in_flight": event.limits.in_flight}
            names = {"version": event.version, "server": event.server, "bundle": event.bundle}
            rest = {"limits": limits, "state": _state_to_json(event.state)}
            rest |= {"scale": event.scale} if event.extensions else {}
            return kind | names | rest | _extensions_to_json(event.extensions)
        case Request():
            rest = {"payload": event.payload.hex(), "budget": event.budget, "arrivals": list(event.arrivals)}
            tiers = {"stop": event.stop, "hops": event.hops} if event.stop or event.hops else {}
            trace = {} if event.trace is None else {"trace": _trace_to_json(event.trace)}
            exits = {"exits": event.exits} if event.exits else {}
            sliced = {"sliced": True} if event.sliced else {}
            about = {"request_id": event.request_id, "point": event.point}
            return kind | about | rest | tiers | trace | exits | sliced
        case Part():
            rest = {"number": event.number, "count": event.count, "payload": event.payload.hex()}
            return kind | {"request_id": event.request_id} | rest | {"arrivals": list(event.arrivals)}
        case Result():
            times = event.timings
            hops = {"hops": [list(msgspec.structs.astuple(hop)) for hop in event.hops]} if event.hops else {}
            return (
                kind
                | hops
                | {
                    "request_id": event.request_id,
                    "outputs": [
                        {"dtype": t.dtype.name, "shape": list(t.shape), "values": t.tobytes().hex()}
                        for t in event.outputs
                    ],
                    "timings": [times.queue_ms, times.decode_ms, times.tail_ms],
                    "state": _state_to_json(event.state),
                    "arrivals": list(event.arrivals),
                }
                | ({"exit": event.exit} if event.exit else {})
            )
        case Error():
            rest = {"code": event.code, "message": event.message, "retry_after": event.retry_after}
            return kind | {"request_id": event.request_id} | rest
        case Rejected():
            return kind | {"request_id": event.request_id, "code": event.code}
        case Cancel():
            return kind | {"request_id": event.request_id}
        case Ping():
            return kind | {"sent": event.sent, "padding": event.padding}
        case Pong():
            return kind | {"sent": event.sent, "received": event.received, "state": _state_to_json(event.state)}
        case Goaway():
            return kind | {"grace": event.grace}


def event_from_json(data: Json) -> Event:
    """The inverse of `event_to_json`, for what can be sent."""
    match data["kind"]:
        case "Hello":
            names = (data[name] for name in ("bundle", "token", "client", "device"))
            return Hello(tuple(data["versions"]), *names, tuple(data.get("extensions", ())))
        case "Welcome":
            limits = Limits(**data["limits"])
            names = (data[name] for name in ("version", "server", "bundle"))
            tiers = tuple(data.get("extensions", ())), data.get("scale", 1.0)
            return Welcome(*names, limits, ServerState(**data["state"]), *tiers)
        case "Request":
            payload, tiers = bytes.fromhex(data["payload"]), (data.get("stop", 0), data.get("hops", 0))
            trace = _trace_from_json(data["trace"]) if "trace" in data else None
            rest = data["budget"], *tiers, trace, data.get("exits", 0), data.get("sliced", False)
            return Request(data["request_id"], data["point"], payload, *rest)
        case "Part":
            return Part(data["request_id"], data["number"], data["count"], bytes.fromhex(data["payload"]))
        case "Result":
            outputs = tuple(
                np.frombuffer(bytes.fromhex(t["values"]), t["dtype"]).reshape(t["shape"]) for t in data["outputs"]
            )
            state = ServerState(**data["state"])
            hops = tuple(Hop(*hop) for hop in data.get("hops", ()))
            arrivals = tuple(data["arrivals"])
            timings = Timings(*data["timings"])
            return Result(data["request_id"], outputs, timings, state, arrivals, hops, data.get("exit", 0))
        case "Error":
            return Error(data["request_id"], data["code"], data["message"], data["retry_after"])
        case "Cancel":
            return Cancel(data["request_id"])
        case "Ping":
            return Ping(data["sent"], data["padding"])
        case "Pong":
            return Pong(data["sent"], data["received"], ServerState(**data["state"]))
        case "Goaway":
            return Goaway(data["grace"])
        case kind:
            raise ValueError(f"{kind} is not sent")


def _state_to_json(state: ServerState) -> Json:
    flags = {"draining": state.draining, "outdated": state.outdated}
    return {"queue_ms": state.queue_ms, "price": state.price} | flags


def _trace_to_json(trace: TraceContext) -> str:
    """As the fields of a `traceparent` behind its version."""
    return f"{trace.trace_id:032x}-{trace.span_id:016x}-{trace.flags:02x}"


def _trace_from_json(text: str) -> TraceContext:
    return TraceContext(*(int(part, 16) for part in text.split("-")))


def _extensions_to_json(extensions: tuple[str, ...]) -> Json:
    return {"extensions": list(extensions)} if extensions else {}


class Recorder:
    """One end of a connection, and what it did."""

    def __init__(self, role: Role, parts: Mapping[int, Sequence[int]]) -> None:
        limit = MAX_PAYLOAD if role is Role.SERVER else None
        self.parts = parts
        self.connection = Connection(
            role,
            FRAME_LIMIT,
            lambda point: limit if point < POINTS else None,
            max_parts=lambda point: parts.get(point, ()),
        )
        self.steps: list[Json] = []

    def send(self, event: Event) -> list[bytes]:
        """Sends, and says what goes out; nothing where it is refused."""
        step: Json = {"send": event_to_json(event)}
        frames: list[bytes] = []
        try:
            frames = self.connection.send(event)
            step["frames"] = [frame.hex() for frame in frames]
        except LocalProtocolError:
            step["refused"] = True
        self._end(step)
        return frames

    def receive(self, frame: bytes, now: float) -> None:
        """Receives."""
        step: Json = {"receive": frame.hex(), "now": now}
        try:
            event = self.connection.receive(frame, now)
            step["event"] = None if event is None else event_to_json(event)
        except RemoteProtocolError as error:
            step["error"] = error.code
        self._end(step)

    def _end(self, step: Json) -> None:
        self.steps.append(step | {"state": self.connection.state.name, "in_flight": self.connection.in_flight})

    def to_json(self) -> Json:
        """The conversation as the files have it."""
        head = {"role": self.connection.role.name, "frame_limit": FRAME_LIMIT, "max_payload": MAX_PAYLOAD}
        parts = {"parts": {str(point): list(sizes) for point, sizes in self.parts.items()}} if self.parts else {}
        return head | parts | {"steps": self.steps}


def replay(conversation: Json) -> Json:
    """What this implementation makes of the inputs of a conversation."""
    parts = {int(point): tuple(sizes) for point, sizes in conversation.get("parts", {}).items()}
    recorder = Recorder(Role[conversation["role"]], parts)
    for step in conversation["steps"]:
        if "send" in step:
            recorder.send(event_from_json(step["send"]))
        else:
            recorder.receive(bytes.fromhex(step["receive"]), step["now"])
    return recorder.to_json()


def random_event(rng: np.random.Generator, role: Role, next_id: int) -> Event:
    """Something that `role` might say, not always at the right time; answers and the like are about recent requests."""
    request_id = int(rng.integers(max(0, next_id - 4), next_id + 1))
    flags = rng.random(2) < 0.2
    state = ServerState(float(rng.integers(0, 4000)) / 8, float(rng.integers(0, 9)) / 4, bool(flags[0]), bool(flags[1]))
    kind = rng.random()
    if kind < 0.1:
        return Ping(float(rng.integers(0, 10**6)) / 64, int(rng.integers(0, 40)))
    if kind < 0.15:
        return Pong(float(rng.integers(0, 10**6)) / 64, float(rng.integers(0, 10**6)) / 64, state)
    if role is Role.CLIENT:
        if kind < 0.18:
            return Hello((1,), "c" * 64, "", 'größer "1"\n', "phone")
        if kind < 0.35:
            return Cancel(request_id)
        size = int(rng.choice([0, 1, 40, 200, 600, MAX_PAYLOAD, MAX_PAYLOAD + 1]))
        point = int(rng.choice([0, 3, 5, 7, POINTS - 1, POINTS]))
        used = rng.random() < 0.1
        return Request(request_id if used else next_id, point, rng.bytes(size), float(rng.choice([0.0, 0.25, 1.5])))
    if kind < 0.16:
        return Goaway(float(rng.integers(0, 30)))
    if kind < 0.18:
        return Welcome(1, "server/1", "c" * 64, Limits(FRAME_LIMIT, 3), state)
    if kind < 0.4:
        retry = None if rng.random() < 0.5 else float(rng.integers(0, 4000)) / 1000
        return Error(request_id, str(rng.choice(["overloaded", "internal", "new-code"])), "why – darum", retry)
    outputs = []
    for _ in range(int(rng.integers(0, 3))):
        dtype = str(rng.choice(DTYPES))
        shape = tuple(int(side) for side in rng.integers(0, 4, int(rng.integers(0, 3))))
        outputs.append(rng.integers(0, 2, shape).astype(dtype))
    arrivals = tuple(float(time) / 64 for time in range(int(rng.integers(0, 4))))
    return Result(request_id, tuple(outputs), Timings(0.5, 1.25, 8.0), state, arrivals)


def tiered(rng: np.random.Generator, event: Event) -> Event:
    """The event, half of the time with what tiers add to it."""
    if rng.random() < 0.5:
        return event
    match event:
        case Hello():
            return msgspec.structs.replace(event, extensions=(TIERS, "unheard-of"))
        case Welcome():
            return msgspec.structs.replace(event, extensions=(TIERS,), scale=2.5)
        case Request():
            return dataclasses.replace(event, stop=int(rng.integers(0, 4)), hops=int(rng.choice([0, 1, 255])))
        case Result():
            names = rng.choice(["edge", "", "Wolke 9", "größer"], int(rng.integers(0, 3)))
            hops = tuple(Hop(str(name), 0.5, 0.25, 8.0, 1.5, 20.25) for name in names)
            return msgspec.structs.replace(event, hops=hops)
        case _:
            return event


def traced(rng: np.random.Generator, event: Event) -> Event:
    """The event, most of the time with a trace's context where it is a request."""
    match event:
        case Hello():
            return msgspec.structs.replace(event, extensions=(TRACE, "unheard-of"))
        case Welcome():
            return msgspec.structs.replace(event, extensions=(TRACE,))
        case Request() if rng.random() < 0.8:
            zero = rng.random() < 0.1
            ids = int.from_bytes(rng.bytes(16)), 0 if zero else int.from_bytes(rng.bytes(8))
            return dataclasses.replace(event, trace=TraceContext(*ids, int(rng.choice([0, 1, 255]))))
        case _:
            return event


def sliced(rng: np.random.Generator, event: Event) -> Event:
    """The event, most of the time in parts where it is a request; pings and cancellations become parts."""
    match event:
        case Hello():
            return msgspec.structs.replace(event, extensions=(SLICES, "unheard-of"))
        case Welcome():
            return msgspec.structs.replace(event, extensions=(SLICES,))
        case Request() if rng.random() < 0.8:
            return dataclasses.replace(event, point=int(rng.choice([7, 7, 7, 3])), sliced=True)
        case Cancel() | Ping() if rng.random() < 0.9:
            request_id = event.request_id if isinstance(event, Cancel) else int(rng.integers(1, 4))
            count = int(rng.choice([3, 3, 3, 3, 2]))
            return Part(request_id, int(rng.choice([1, 2])), count, rng.bytes(int(rng.choice([0, 30, 30, 600]))))
        case _:
            return event


def hurried(rng: np.random.Generator, event: Event) -> Event:
    """The event, half of the time with what exits on the server add to it."""
    match event:
        case Hello():
            return msgspec.structs.replace(event, extensions=(EXITS, "unheard-of"))
        case Welcome():
            return msgspec.structs.replace(event, extensions=(EXITS,))
        case Request() if rng.random() < 0.5:
            return dataclasses.replace(event, exits=int(rng.choice([1, 2, 255])))
        case Result() if rng.random() < 0.5:
            return msgspec.structs.replace(event, exit=int(rng.integers(1, 4)))
        case _:
            return event


EXTENDED = {TIERS: tiered, TRACE: traced, SLICES: sliced, EXITS: hurried}


def damaged(rng: np.random.Generator, frame: bytes) -> bytes:
    """The frame with a bit turned, cut, longer, or of another kind."""
    data = bytearray(frame)
    match int(rng.integers(0, 4)):
        case 0:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        case 1:
            del data[int(rng.integers(len(data))) :]
        case 2:
            data += rng.bytes(3)
        case _:
            data[0] = int(rng.integers(0, 13))
    return bytes(data)


def converse(seed: int, steps: int, extension: str | None = None) -> list[Json]:
    """A random conversation, as both ends saw it, where they make use of `extension`."""
    rng = np.random.default_rng(seed)
    extensions = (extension,) if extension else ()
    ends = {role: Recorder(role, PARTS if extension == SLICES else {}) for role in Role}
    on_the_way: dict[Role, list[bytes]] = {role: [] for role in Role}
    if seed % 4:  # otherwise the greeting is left to chance
        for frame in ends[Role.CLIENT].send(Hello((1,), "c" * 64, "secret", "test/1", "phone", extensions)):
            ends[Role.SERVER].receive(frame, 0.0)
        welcome = Welcome(1, "server/1", "c" * 64, Limits(FRAME_LIMIT, 3), extensions=extensions)
        for frame in ends[Role.SERVER].send(welcome):
            ends[Role.CLIENT].receive(frame, 0.25)
    for number in range(steps):
        role = Role.CLIENT if rng.random() < 0.5 else Role.SERVER
        peer = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        if on_the_way[peer] and rng.random() < 0.7:
            frame = on_the_way[peer].pop(0)
            if seed % 5 == 0 and rng.random() < 0.15:
                frame = damaged(rng, frame)
            ends[role].receive(frame, number / 4)
            continue
        event = random_event(rng, role, ends[role].connection.next_id())
        event = EXTENDED[extension](rng, event) if extension else event
        on_the_way[role] += ends[role].send(event)
    return [end.to_json() for end in ends.values()]


def generate() -> dict[str, list[Json]]:
    """All files: name → conversations."""
    return {
        f"{name}.json": [c for seed in seeds for c in converse(seed, 40, name.partition("extensions/")[2] or None)]
        for name, seeds in _FILES.items()
    }


_FILES = {
    "ordinary": [1, 2, 3, 6, 7, 8, 9, 11, 13, 14],
    "damaged": [5, 10, 15, 25, 30, 35],
    "greetings": [4, 12, 16, 24, 28],
    "extensions/tiers": [17, 18, 19, 21, 24, 28, 32, 35],
    "extensions/trace": [33, 34, 36, 38, 40, 41],
    "extensions/slices": [51, 65, 78, 161, 343, 346, 447, 467],
    "extensions/exits": [42, 43, 44, 46, 48, 50, 51, 55],
}


def main() -> None:
    """Writes the files."""
    for name, conversations in generate().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(json.dumps(conversations, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
