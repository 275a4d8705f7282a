"""Device profiles: what the device's share of points costs somewhere else than where they were calibrated."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import msgspec

from cutpoint.sdk.bundle import Bundle, DeviceProfile, EncoderCost, HeadCost, Point
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.files import write_file

__all__ = [
    "REFERENCES",
    "Reference",
    "apply_profile",
    "attach_profiles",
    "find_profile",
    "load_profile",
    "memory_of",
    "points_on",
    "reference_profiles",
    "save_profile",
]

#: Multiply-accumulates of MobileNet v1 1.0 224, the network behind most published times.
_MOBILENET_MACS = 569e6
#: A longer profile is refused before it is parsed.
_LIMIT = 4 * 2**20


class Reference(NamedTuple):
    """A device that somebody measured: milliseconds for one run of MobileNet v1 1.0 224 (float)."""

    about: str
    mobilenet_ms: float
    source: str


#: Built-in devices by name. Estimates: other networks, runtimes and temperatures give other ratios.
REFERENCES: Final[dict[str, Reference]] = {
    "phone-high": Reference(
        "Pixel 4, four threads", 14.0, "TensorFlow Lite, Performance measurement: MobileNet v1 float on Android 10"
    ),
    "phone-mid": Reference(
        "Pixel 3, four threads", 23.9, "TensorFlow Lite, Performance measurement: MobileNet v1 float on Android 10"
    ),
    "pi4": Reference("Raspberry Pi 4", 87.0, "TildAlice, MobileNet vs EfficientNet-Lite: MobileNet v1 in TFLite, CPU"),
}


def reference_profiles(bundle: Bundle) -> tuple[DeviceProfile, ...]:
    """The built-in devices as profiles of `bundle`: estimates, with a scale each.

    The scale is how much faster (in multiply-accumulates a second) the calibrating machine ran the uncut fp32 model
    than the device ran MobileNet. There are none for a bundle without that model, or whose computation is not counted.
    """
    macs = bundle.manifest.boundaries[-1].macs
    uncut = [point for point in bundle.manifest.points if point.local and point.precision == "fp32"]
    if not macs or not uncut or uncut[0].measured.device_ms <= 0:
        return ()
    here = macs / uncut[0].measured.device_ms
    return tuple(
        DeviceProfile(
            name=name,
            machine=reference.about,
            scale=round(here / (_MOBILENET_MACS / reference.mobilenet_ms), 3),
            source=reference.source,
        )
        for name, reference in REFERENCES.items()
    )


def find_profile(bundle: Bundle, which: str | os.PathLike[str] | DeviceProfile) -> DeviceProfile:
    """The profile that is meant.

    Args:
        bundle: whose profiles are looked at first, then `REFERENCES`.
        which: a profile, its name, or the path of a `device.json`.

    Raises:
        InputError: if there is no such profile, or the file cannot be used.
    """
    if isinstance(which, DeviceProfile):
        return which
    known = {profile.name: profile for profile in (*reference_profiles(bundle), *bundle.manifest.devices)}
    if str(which) in known:
        return known[str(which)]
    if not Path(which).is_file():
        raise InputError(
            f"device profile {str(which)!r} is neither a file nor one of {', '.join(known) or 'none here'}"
        )
    return load_profile(Path(which))


def load_profile(path: Path) -> DeviceProfile:
    """Reads a `device.json`. Raises `InputError` naming the file and what is wrong with it."""
    try:
        data = path.read_bytes()
        if len(data) > _LIMIT:
            raise InputError(f"{path}: {len(data)} bytes, over the limit of {_LIMIT} for a device profile")
        profile = msgspec.json.decode(data, type=DeviceProfile)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: not a device profile: {error}; `cutpoint profile` writes one") from error
    for problem in profile.problems():
        raise InputError(f"{path}: {problem}")
    return profile


def save_profile(profile: DeviceProfile, path: Path) -> None:
    """Writes a `device.json`. Raises `OSError`; `path` is then as it was."""
    write_file(path, msgspec.json.format(msgspec.json.encode(profile), indent=1) + b"\n")


def apply_profile(bundle: Bundle, profile: DeviceProfile, format: str = "onnx") -> Bundle:
    """The bundle with the points' device times, and energies where they are known, from `profile`.

    Costs are found by the hash of the files that they were measured with. What the profile lacks is estimated: the
    calibrated time by the profile's scale.

    Args:
        bundle: of any hash, as long as it has files of the profile's.
        profile: measured, or an estimate.
        format: of the graph files that the client runs, where the profile has several.

    Raises:
        InputError: if the profile was measured and none of its heads is in the bundle.
    """
    on_device = points_on(bundle, profile, format)
    return bundle.on_device([on_device(point) for point in bundle.manifest.points])


def points_on(bundle: Bundle, profile: DeviceProfile, format: str = "onnx") -> Callable[[Point], Point]:
    """From a point of `bundle`, as it was measured here, to what it costs on the device; see `apply_profile`.

    Raises:
        InputError: if the profile was measured and none of its heads is in the bundle.
    """
    costs = _Costs(bundle, profile, format)
    if profile.heads and not costs.heads:
        raise InputError(f"device profile {profile.name!r} was measured with another model: it has none of its heads")
    return costs.point


def memory_of(bundle: Bundle, profile: DeviceProfile, point: Point, format: str = "onnx") -> int | None:
    """Bytes that the point's head needs on the device; None where that was not measured."""
    head = _Costs(bundle, profile, format).heads.get((point.start, point.precision))
    return head.memory if head is not None else None


def attach_profiles(bundle: Bundle, profiles: Iterable[DeviceProfile]) -> Bundle:
    """A new bundle, of another hash, that carries `profiles`; one of a name that is there already takes its place.

    Raises:
        InputError: if a profile was measured with another model.
        BundleError: if a part is not in the bundle.
    """
    devices = {profile.name: profile for profile in bundle.manifest.devices}
    for profile in profiles:
        apply_profile(bundle, profile)
        devices[profile.name] = profile
    return bundle.with_devices(tuple(devices.values()))


class _Costs:
    """A profile's costs that hold for a bundle, by what points call them."""

    def __init__(self, bundle: Bundle, profile: DeviceProfile, format: str) -> None:
        self._scale = profile.scale
        self._calibrated = _head_times(bundle)
        hashes = {entry.path: entry.sha256 for entry in bundle.manifest.files}
        ends = {
            hashes[graph.file]: span.end for span in bundle.manifest.spans if not span.start for graph in span.graphs
        }
        graphs = {codec.id: {hashes[graph.file] for graph in codec.encoder} for codec in bundle.manifest.codecs}
        self.heads: dict[tuple[int, str | None], HeadCost] = {}
        self.encoders: dict[tuple[str, int], EncoderCost] = {}
        # The format asked for comes last, and stays.
        for head in sorted(profile.heads, key=lambda cost: cost.format == format):
            if head.sha256 in ends:
                self.heads[ends[head.sha256], head.precision] = head
        for encoder in sorted(profile.encoders, key=lambda cost: cost.format in (None, format)):
            there = graphs.get(encoder.codec)
            if there is not None and (encoder.sha256 in there or (not encoder.sha256 and not there)):
                self.encoders[encoder.codec, encoder.level] = encoder

    def point(self, point: Point) -> Point:
        m = point.measured
        device_ms, encode_ms = self._scale * m.device_ms, self._scale * m.encode_ms
        parts: list[HeadCost | EncoderCost | None] = []
        head = None
        if point.start:
            head = self.heads.get((point.start, point.precision))
            parts.append(head)
            device_ms = device_ms if head is None else head.p50_ms
        exit_ms = self._scale * m.exit_ms
        slicing = point.slicing
        if point.exit is not None or slicing is not None:
            # Pieces of a head, and exits, are not measured: they are as much slower as the head in one piece.
            head_ms = self._calibrated.get((point.start, point.precision), 0.0)
            scale = head.p50_ms / head_ms if head is not None and head_ms > 0 else self._scale
            device_ms, exit_ms, parts = scale * m.device_ms, scale * m.exit_ms, [None]
        if slicing is not None:
            encode_ms = scale * m.encode_ms
            slicing = slicing.on_device(scale)
            measured = msgspec.structs.replace(m, device_ms=device_ms, encode_ms=encode_ms, energy_mj=None)
            return msgspec.structs.replace(point, measured=measured, slicing=slicing)
        if point.codec is not None:
            encoder = self.encoders.get((point.codec, point.level))
            parts.append(encoder)
            encode_ms = encode_ms if encoder is None else encoder.p50_ms
        energies = [part.energy_mj for part in parts if part is not None and part.energy_mj is not None]
        energy = sum(energies) if parts and len(energies) == len(parts) else None
        measured = msgspec.structs.replace(
            m, device_ms=device_ms, encode_ms=encode_ms, energy_mj=energy, exit_ms=exit_ms
        )
        return msgspec.structs.replace(point, measured=measured)


def usual_scale(bundle: Bundle, heads: Iterable[HeadCost]) -> float:
    """How many times slower than in calibration heads are, in the middle; 1 where that cannot be said."""
    calibrated = _head_times(bundle)
    ratios = [head.p50_ms / ms for head in heads if (ms := calibrated.get((head.end, head.precision), 0.0)) > 0]
    return round(median(ratios), 4) if ratios else 1.0


def _head_times(bundle: Bundle) -> Mapping[tuple[int, str | None], float]:
    """Calibrated milliseconds of each head that some point runs in one piece, by its end and precision."""
    return {
        (point.start, point.precision): point.measured.device_ms
        for point in bundle.manifest.points
        if point.start and point.exit is None and point.slicing is None
    }
