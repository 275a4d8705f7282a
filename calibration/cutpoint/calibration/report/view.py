"""What a report shows of a bundle, as one document that JSON can hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.report.data import REPORT_NAME, ReportData, TrialReport, decode_report
from cutpoint.calibration.report.switching import DOWNLINK, HIGHEST, LOWEST, OVERHEAD_MS
from cutpoint.calibration.simulate.summary import place
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.energy import RADIOS, EnergyModel
from cutpoint.sdk.predictor import OVERHEAD_BYTES
from cutpoint.sdk.profiles import apply_profile, memory_of, reference_profiles

__all__ = ["View", "make_view"]


def _radios() -> dict[str, tuple[float, float, float, float]]:
    return {name: (r.base_mw, r.slope_mw, r.down_base_mw, r.down_slope_mw) for name, r in RADIOS.items()}


class ShownPoint(msgspec.Struct, frozen=True):
    """A point. Bytes are those of the payload; `wire` adds what the protocol puts around them, 0 for a local point."""

    id: str
    start: int
    place: str
    label: str
    codec: str
    precision: str
    metric: float
    bytes: float
    bytes_p95: float
    wire: float
    server_ms: float


class Device(msgspec.Struct, frozen=True):
    """Milliseconds (head and encoder), millijoule and, where known, bytes of memory of every point on a device."""

    name: str
    about: str
    estimate: bool
    ms: tuple[float, ...]
    mj: tuple[float, ...]
    memory: tuple[int | None, ...] = ()


class Cut(msgspec.Struct, frozen=True):
    """A place where one could cut; None where nothing was found out."""

    label: str
    bytes: float
    macs: float = 0.0
    reason: str = ""
    predicted_ms: float | None = None
    measured_ms: float | None = None
    bottleneck: bool = False
    kept: bool = False


class Trial(msgspec.Struct, frozen=True):
    """A combination that calibration looked at and did not keep."""

    id: str
    stage: str
    reason: str
    metric: float | None = None
    bytes: float | None = None


class Curves(msgspec.Struct, frozen=True):
    """Curves of a training: name → values, a value for each step that was recorded."""

    name: str
    series: dict[str, tuple[float | None, ...]]


class View(msgspec.Struct, frozen=True):
    """Everything a report shows.

    Attributes:
        metric: name of the task metric.
        uncut: the metric of the uncut model.
        answer_bytes: size of a result.
        devices: what the points were measured on, and then other devices.
        search: what the search says of itself: name → value.
        notes: what calibration noted on the way.
        lowest, highest: rates that are shown, bit/s.
        downlink: how many times faster than the uplink.
        overhead_ms: of a request over a link, beside its work and the round trip.
        radios: milliwatt by kind of radio: base and slope of sending, base and slope of receiving.
    """

    name: str
    hash: str
    created_by: str
    measured_on: str
    metric: str
    uncut: float
    samples: int
    answer_bytes: int
    points: tuple[ShownPoint, ...]
    devices: tuple[Device, ...]
    cuts: tuple[Cut, ...]
    trials: tuple[Trial, ...]
    losses: tuple[Curves, ...]
    search: dict[str, str]
    notes: tuple[str, ...]
    lowest: float = LOWEST
    highest: float = HIGHEST
    downlink: float = DOWNLINK
    overhead_ms: float = OVERHEAD_MS
    radios: dict[str, tuple[float, float, float, float]] = msgspec.field(default_factory=_radios)


def make_view(bundle: Bundle, hash: str | None = None) -> View:
    """What there is to show of `bundle`. Where it has no report, cuts come from its points, and there are no trials.

    Args:
        bundle: with or without its report part.
        hash: to show instead of the bundle's: empty for a report that becomes a part of it.

    Raises:
        CalibrationError: if the bundle's report cannot be read.
    """
    manifest = bundle.manifest
    report = decode_report(bundle.read(REPORT_NAME)) if REPORT_NAME in bundle else ReportData()
    return View(
        name=manifest.name,
        hash=bundle.hash if hash is None else hash,
        created_by=manifest.created_by,
        measured_on=manifest.measured_on,
        metric=manifest.task.metric,
        uncut=manifest.task.uncut,
        samples=manifest.task.samples,
        answer_bytes=manifest.boundaries[-1].nbytes,
        points=tuple(_point(bundle, point) for point in bundle.points),
        devices=tuple(_devices(bundle)),
        cuts=_cuts(bundle, report),
        trials=tuple(_trial(each) for each in report.trials if not each.kept),
        losses=tuple(_losses(bundle)),
        search=_search(report) if report.trials else {},
        notes=report.notes,
    )


def _point(bundle: Bundle, point: Point) -> ShownPoint:
    m = point.measured.expected
    # An id is the boundary and the family; the registry's name would be "delta" for every codec for streams.
    codec = "none" if point.codec is None else point.codec.split("-", 1)[-1]
    return ShownPoint(
        id=point.id,
        start=point.start,
        place=place(point),
        label="" if point.local or not point.start else bundle.manifest.boundaries[point.start].label,
        codec=codec if point.exit is None else f"{codec}, exit {m.exit_rate:.0%}",
        precision=point.precision or "–",
        metric=m.metric,
        bytes=m.bytes_mean,
        bytes_p95=m.bytes_p95,
        wire=0.0 if point.local else m.bytes_mean + (1 - m.exit_rate) * OVERHEAD_BYTES,
        server_ms=m.decode_ms + m.tail_ms,
    )


def _devices(bundle: Bundle) -> Iterable[Device]:
    """The calibrating machine, what was profiled, and the built-in estimates."""
    yield _device("calibration", bundle.manifest.measured_on, bundle.manifest.points)
    for profile in (*bundle.manifest.devices, *reference_profiles(bundle)):
        points = apply_profile(bundle, profile).points
        about = f"{profile.machine} ({profile.source})" if profile.estimate else profile.machine
        memory = tuple(memory_of(bundle, profile, point) for point in points) if profile.heads else ()
        yield _device(profile.name, about, points, profile.estimate, memory)


def _device(
    name: str, about: str, points: Sequence[Point], estimate: bool = False, memory: tuple[int | None, ...] = ()
) -> Device:
    energy = EnergyModel()
    costs = [point.measured.expected for point in points]
    ms = tuple(cost.device_ms + cost.encode_ms for cost in costs)
    known = (cost.energy_mj for cost in costs)
    mj = tuple(energy.compute_mj(each) if value is None else value for each, value in zip(ms, known, strict=True))
    return Device(name, about, estimate, ms, mj, memory)


def _cuts(bundle: Bundle, report: ReportData) -> tuple[Cut, ...]:
    if report.cuts:
        return tuple(
            Cut(c.label, c.bytes, c.macs, c.reason, c.predicted_ms, c.measured_ms, c.natural_bottleneck, c.kept)
            for c in report.cuts
        )
    # A bundle without them knows of the cuts that it kept only.
    heads = {
        point.start: point.measured.device_ms for point in bundle.points if point.precision == "fp32" and not point.exit
    }
    entrance = sum(tensor.size for tensor in bundle.manifest.boundaries[0].tensors)
    return tuple(
        Cut(
            label=boundary.label or f"cut {boundary.index}",
            bytes=boundary.nbytes,
            macs=boundary.macs,
            measured_ms=heads.get(boundary.index),
            bottleneck=sum(tensor.size for tensor in boundary.tensors) < entrance,
            kept=True,
        )
        for boundary in bundle.manifest.boundaries[1:-1]
    )


def _trial(trial: TrialReport) -> Trial:
    parts = (trial.cut, trial.precision, trial.codec, trial.level)
    name = trial.point or "-".join(part for part in parts if part is not None)
    return Trial(name, trial.stage, trial.reason, trial.metric, trial.bytes_mean)


def _search(report: ReportData) -> dict[str, str]:
    search = report.search
    found = {"mode": search.mode, "tried": str(len(report.trials)), "seed": str(search.seed)}
    if search.device is not None:
        found["device"] = search.device
    if search.budget_s is not None:
        found["budget"] = f"{search.budget_s:.0f} s"
    if search.spent_s is not None:
        found["spent"] = f"{search.spent_s:.0f} s"
    return found | {name: f"{value:g}" for name, value in search.constraints.items()}


def _losses(bundle: Bundle) -> Iterable[Curves]:
    for entry in bundle.manifest.files:
        if (
            entry.part == "report"
            and entry.path != REPORT_NAME
            and entry.path.endswith(".json")
            and entry.path in bundle
        ):
            try:
                series = msgspec.json.decode(bundle.read(entry.path), type=dict[str, tuple[float | None, ...]])
            except msgspec.DecodeError as error:
                raise CalibrationError(f"{bundle.origin}: {entry.path} holds no curves: {error}") from error
            yield Curves(entry.path.removeprefix("report/").removesuffix(".json"), series)
