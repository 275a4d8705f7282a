"""The log's form, and what is left out of it."""

import json
import logging
import sys

from cutpoint.server.logs import JsonFormatter, Repeats


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("cutpoint.server", logging.WARNING, "file", 1, message, arguments, None)
    vars(made).update(extra)
    return made


def test_json_lines() -> None:
    line = JsonFormatter().format(record("%s: lost\n%d", "peer", 3, request="7-1", point=None))
    assert "\n" not in line
    got = json.loads(line)
    assert got.pop("time").endswith("+00:00")
    assert got == {
        "level": "warning",
        "logger": "cutpoint.server",
        "message": "peer: lost\n3",
        "request": "7-1",
        "point": None,
    }


def test_json_lines_with_a_traceback() -> None:
    try:
        raise KeyError("why")
    except KeyError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    assert "KeyError: 'why'" in json.loads(JsonFormatter().format(failed))["error"]


def test_repeats() -> None:
    now = 0.0
    repeats = Repeats(lambda: now, period=60.0, most=3)
    assert repeats.first("a") == 0
    assert repeats.first("b") == 0
    assert [repeats.first("a") for _ in range(5)] == [None] * 5
    now = 59.0
    assert repeats.first("a") is None
    now = 60.0
    assert repeats.first("a") == 6
    assert repeats.first("a") is None
    for kind in range(10_000):
        repeats.first(kind)
    assert len(repeats._seen) <= 3
