"""Measures one head and the encoders behind it in a process of its own: a job on its input, costs on its output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter

import msgspec
import numpy as np

from cutpoint.codecs import Array, Codec
from cutpoint.sdk.bundle import Bundle, EncoderCost, GraphFile, HeadCost
from cutpoint.sdk.errors import CutpointError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.power import find_meter
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["RUNTIMES", "Costs", "Job", "measure"]

#: Names for `create_runtime` by file format.
RUNTIMES = {"onnx": "onnx", "tflite": "litert"}
#: Runs before anything is timed, and the least that are.
_WARM_UP, _LEAST = 3, 5
#: Seconds for which the power of runs is measured.
_POWERED = 1.0

Tensors = tuple[Array, ...]


class Job(msgspec.Struct, frozen=True):
    """What one process measures.

    Attributes:
        bundle: path.
        format: of the graph files.
        start: boundary where the head ends; 0 for the encoders of the input alone.
        precision: of the head.
        encoders: whether to measure the encoders there.
        pictures: to compute; none for smooth noise.
        threads: of the runtime.
        repeats: runs that are timed at most.
        seconds: after which no further run is begun.
        idle_mw: milliwatt of the idle device; None where the system does not tell.
    """

    bundle: str
    format: str
    start: int
    precision: str | None
    encoders: bool
    pictures: tuple[str, ...]
    threads: int
    repeats: int
    seconds: float
    idle_mw: float | None = None


class Costs(msgspec.Struct, frozen=True):
    """What came of a job; `error` says why nothing did."""

    head: HeadCost | None = None
    encoders: tuple[EncoderCost, ...] = ()
    error: str = ""


def measure(job: Job) -> Costs:
    """Does the job.

    Raises:
        CutpointError: if the bundle, a picture or the runtime does not let it.
    """
    bundle = Bundle.open(job.bundle, verify=False)
    hashes = {entry.path: entry.sha256 for entry in bundle.manifest.files}
    runtime = create_runtime(RUNTIMES[job.format], job.threads)
    graphs = BundleGraphs(bundle, [runtime])
    inputs = _inputs(Head(graphs), bundle, job.pictures)
    before = _memory("VmRSS")
    crossings, head = inputs, None
    if job.start:
        assert job.precision is not None, "a head has a precision"
        span = graphs.span(0, job.start, job.precision)
        cost = _timed(span.run, inputs, job)
        crossings = [span.run(tensors) for tensors in inputs]
        peak = _memory("VmHWM")
        head = HeadCost(
            end=job.start,
            precision=job.precision,
            format=runtime.format,  # type: ignore[arg-type]
            sha256=hashes[_file(bundle.span(0, job.start, job.precision).graphs, job.format) or ""],
            p50_ms=cost.p50_ms,
            p95_ms=cost.p95_ms,
            memory=max(0, peak - before) if peak is not None and before is not None else None,
            energy_mj=cost.energy_mj,
        )
    encoders = []
    for entry in bundle.manifest.codecs if job.encoders else ():
        if entry.start != job.start or (entry.encoder and _file(entry.encoder, job.format) is None):
            continue
        codec = graphs.codec(entry.id)
        file = _file(entry.encoder, job.format)
        for level in range(len(entry.levels)):
            cost = _timed(_encoder(codec, level), crossings, job)
            encoders.append(
                EncoderCost(
                    codec=entry.id,
                    level=level,
                    sha256=hashes[file] if file else "",
                    p50_ms=cost.p50_ms,
                    p95_ms=cost.p95_ms,
                    format=runtime.format if file else None,  # type: ignore[arg-type]
                    energy_mj=cost.energy_mj,
                )
            )
    return Costs(head, tuple(encoders))


@dataclass(frozen=True, slots=True)
class _Cost:
    p50_ms: float
    p95_ms: float
    energy_mj: float | None


def _timed(run: Callable[[Tensors], object], inputs: Sequence[Tensors], job: Job) -> _Cost:
    for number in range(_WARM_UP):
        run(inputs[number % len(inputs)])
    times: list[float] = []
    began = monotonic()
    while len(times) < _LEAST or (len(times) < job.repeats and monotonic() - began < job.seconds):
        started = perf_counter()
        run(inputs[len(times) % len(inputs)])
        times.append((perf_counter() - started) * 1e3)
    energy = None if job.idle_mw is None else _energy_mj(run, inputs, job.idle_mw)
    return _Cost(round(float(np.median(times)), 4), round(float(np.percentile(times, 95)), 4), energy)


def _energy_mj(run: Callable[[Tensors], object], inputs: Sequence[Tensors], idle_mw: float) -> float | None:
    """Millijoule of a run above the idle device; None where the meter is gone."""
    meter = find_meter()
    if meter is None:
        return None
    began, runs = monotonic(), 0
    meter.tick(began)
    while (passed := monotonic() - began) < _POWERED:
        run(inputs[runs % len(inputs)])
        runs += 1
        meter.tick(monotonic())
    return round(max(0.0, meter.total_mj - idle_mw * passed) / runs, 4)


def _encoder(codec: Codec, level: int) -> Callable[[Tensors], object]:
    return lambda tensors: codec.encode(tensors, level)


def _file(graphs: Sequence[GraphFile], format: str) -> str | None:
    return next((graph.file for graph in graphs if graph.format == format), None)


def _inputs(head: Head, bundle: Bundle, pictures: Sequence[str]) -> list[Tensors]:
    """Tensors of boundary 0: of the pictures, or noise that is smooth enough for a codec to take it for a picture."""
    if pictures:
        return [head.prepare(Path(picture)) for picture in pictures]
    rng = np.random.default_rng(0)
    tensors = []
    for spec in bundle.manifest.boundaries[0].tensors:
        if bundle.manifest.preprocessing is None:
            tensors.append(rng.normal(size=spec.shape).astype(spec.dtype))
            continue
        _, height, width, _ = spec.shape
        coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3)).astype(np.float32)
        smooth = np.kron(coarse, np.ones((8, 8, 1), np.float32))
        for axis in (0, 1):
            smooth = np.mean([np.roll(smooth, shift, axis) for shift in range(-4, 4)], axis=0)
        tensors.append(smooth[None, :height, :width].astype(np.uint8))
    return [tuple(tensors)]


def _memory(field: str) -> int | None:
    """Bytes that this process holds now (VmRSS) or held at the most (VmHWM); None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def _main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        costs = measure(job)
    except CutpointError as error:
        costs = Costs(error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(costs))


if __name__ == "__main__":
    _main()
