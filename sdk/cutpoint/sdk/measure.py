"""Measures what the device's share of a bundle costs here. Every head has a process, so that memory is its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import monotonic, sleep

import msgspec

from cutpoint.sdk.bundle import Bundle, DeviceProfile, EncoderCost, HeadCost
from cutpoint.sdk.errors import CutpointError, InputError
from cutpoint.sdk.power import find_meter
from cutpoint.sdk.probe import RUNTIMES, Costs, Job
from cutpoint.sdk.profiles import usual_scale
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["Timing", "measure_device"]

#: Seconds without work in which the idle device's power is measured.
_IDLE = 1.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How to measure.

    Attributes:
        threads: of the runtime.
        repeats: runs that are timed at most.
        seconds: after which no further run is begun.
        limit: seconds for one head and its encoders, after which the process is ended.
    """

    threads: int = 1
    repeats: int = 50
    seconds: float = 3.0
    limit: float = 300.0


def measure_device(
    path: str | os.PathLike[str],
    name: str,
    formats: Sequence[str] = ("onnx", "tflite"),
    timing: Timing | None = None,
    pictures: Sequence[Path] = (),
    advance: Callable[[str], None] = lambda _: None,
) -> DeviceProfile:
    """The profile of this device.

    Args:
        path: of a bundle with its device part.
        name: of the device.
        formats: of the graph files to measure; those without a runtime here are left out.
        timing: how.
        pictures: to compute; none for a picture made of smooth noise.
        advance: is told what is measured next.

    Raises:
        InputError: if no runtime here can read the bundle's heads, or a measurement fails or takes too long.
    """
    timing = timing or Timing()
    bundle = Bundle.open(path)
    jobs = _jobs(bundle, str(path), formats, tuple(map(str, pictures)), timing)
    idle_mw = _idle_mw()
    heads: list[HeadCost] = []
    encoders: list[EncoderCost] = []
    for job in jobs:
        advance(_title(job))
        costs = _in_process(msgspec.structs.replace(job, idle_mw=idle_mw), timing.limit)
        heads += [costs.head] if costs.head is not None else []
        encoders += costs.encoders
    versions = ", ".join(f"{p} {_version(p)}" for p in ("onnxruntime", "ai-edge-litert") if _version(p))
    return DeviceProfile(
        name=name,
        machine=f"{_processor()}, {os.cpu_count()} cores, {versions}",
        threads=timing.threads,
        scale=usual_scale(bundle, heads),
        bundle=bundle.hash,
        heads=tuple(heads),
        encoders=tuple(encoders),
    )


def _jobs(bundle: Bundle, path: str, formats: Sequence[str], pictures: tuple[str, ...], timing: Timing) -> list[Job]:
    if unknown := [name for name in formats if name not in RUNTIMES]:
        raise InputError(f"format {unknown[0]!r} is not one of {', '.join(RUNTIMES)}")
    there = []
    for name in formats:
        try:
            create_runtime(RUNTIMES[name])
        except CutpointError:
            continue
        there.append(name)
    whole = {(point.start, point.precision) for point in bundle.points if point.slicing is None}
    used = sorted(whole, key=lambda key: (key[0], key[1] or ""))
    jobs = []
    encoded: set[tuple[int, str]] = set()
    for start, precision in used:
        for name in there if start else there[:1]:
            if start:
                graphs = bundle.span(0, start, precision or "").graphs
                if not any(graph.format == name and graph.file in bundle for graph in graphs):
                    continue
            # One precision tells about the encoders behind it.
            first = (start, name) not in encoded
            how = timing.threads, timing.repeats, timing.seconds
            jobs.append(Job(path, name, start, precision, first, pictures, *how))
            encoded.add((start, name))
    if not any(job.start for job in jobs):
        raise InputError(f"{bundle.origin}: no runtime here reads its heads as {' or '.join(formats)}")
    return jobs


def _title(job: Job) -> str:
    return f"head 0-{job.start} {job.precision} {job.format}" if job.start else "encoders of the input"


def _in_process(job: Job, limit: float) -> Costs:
    command = [sys.executable, "-m", "cutpoint.sdk.probe"]
    try:
        done = subprocess.run(command, input=msgspec.json.encode(job), capture_output=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise InputError(f"{_title(job)}: no result within {limit:g} s; allow fewer --repeats or --seconds") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        raise InputError(f"{_title(job)}: exit status {done.returncode} {reason} (is there enough memory?)")
    costs = msgspec.json.decode(done.stdout, type=Costs)
    if costs.error:
        raise InputError(f"{_title(job)}: {costs.error}")
    return costs


def _idle_mw() -> float | None:
    """Milliwatt of the idle device; None where the system does not tell."""
    meter = find_meter()
    if meter is None:
        return None
    began = monotonic()
    meter.tick(began)
    sleep(_IDLE)
    meter.tick(monotonic())
    return meter.total_mj / (monotonic() - began)


# -- the machine ---------------------------------------------------------------------------------------------------


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return f"{names[-1] if names else platform.processor() or 'processor'} ({platform.machine()} {platform.system()})"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
