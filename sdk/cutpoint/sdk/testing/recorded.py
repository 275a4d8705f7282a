"""Recorded traces: what measurement campaigns publish, as a `Trace`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.testing.traces import Trace

__all__ = ["load_trace"]

#: Bits of what a line of a mahimahi trace lets through.
_OPPORTUNITY: Final = 1500 * 8
#: Seconds of a step made of mahimahi's lines.
_STEP: Final = 0.1
#: Column of a csv file that has the uplink in Mbit/s, and the one that has the time.
_RATE_COLUMN, _TIME_COLUMN = 6, 0


def load_trace(path: str | os.PathLike[str]) -> Trace:
    """Reads a trace. The ending says of what form it is.

    * ``.up``, ``.down``: mahimahi; each line is the millisecond at which one packet of 1500 bytes may leave.
    * ``.csv``: no header; time in seconds in the first column, uplink in Mbit/s in the seventh.
    * anything else: lines of a time in seconds and a rate in Mbit/s.

    Raises:
        InputError: if the file cannot be read, or is not of that form.
    """
    path = Path(path)
    try:
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
        if path.suffix in (".up", ".down"):
            return _mahimahi([int(line) for line in lines])
        separator = "," if path.suffix == ".csv" else None
        column = _RATE_COLUMN if path.suffix == ".csv" else 1
        rows = [line.split(separator) for line in lines]
        return _sampled([float(row[_TIME_COLUMN]) for row in rows], [float(row[column]) for row in rows])
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path}: not a trace of the form that {path.suffix or 'no ending'} stands for: {error}"
        ) from error


def _mahimahi(milliseconds: list[int]) -> Trace:
    if not milliseconds or milliseconds[0] < 0:
        raise ValueError("no lines")
    steps = Counter(int(time / 1e3 / _STEP) for time in milliseconds)
    return Trace(tuple(steps[i] * _OPPORTUNITY / _STEP for i in range(max(steps) + 1)), _STEP)


def _sampled(times: list[float], mbps: list[float]) -> Trace:
    if len(times) < 2 or times[-1] <= times[0]:
        raise ValueError("fewer than two samples in rising order")
    return Trace(tuple(rate * 1e6 for rate in mbps), (times[-1] - times[0]) / (len(times) - 1))
