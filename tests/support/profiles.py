"""A device profile of the toy bundle."""

from __future__ import annotations

from tests.support.toy import toy_bundle

from cutpoint.sdk.bundle import Bundle, DeviceProfile, EncoderCost, HeadCost
from cutpoint.sdk.profiles import attach_profiles

__all__ = ["profile_of", "profiled_bundle"]


def profile_of(bundle: Bundle, name: str = "board") -> DeviceProfile:
    """A device on which the toy's head takes 30 ms, its whole model 50 ms and its affine encoder 4 ms."""
    files = {entry.path: entry.sha256 for entry in bundle.manifest.files}
    head, whole, encoder = (
        files[f"{path}.onnx"] for path in ("spans/0-1.fp32", "spans/0-2.fp32", "codecs/1-affine.enc")
    )
    return DeviceProfile(
        name=name,
        machine="a board",
        scale=250.0,
        bundle=bundle.hash,
        heads=(
            HeadCost(1, "fp32", "onnx", head, 30.0, 40.0, memory=5_000_000, energy_mj=60.0),
            HeadCost(2, "fp32", "onnx", whole, 50.0, 55.0, memory=6_000_000),
        ),
        encoders=(
            EncoderCost("1-affine", 1, encoder, 4.0, 5.0, "onnx", 8.0),
            EncoderCost("0-jpeg", 1, "", 2.0, 3.0),
        ),
    )


def profiled_bundle() -> Bundle:
    """The toy bundle with that profile."""
    bundle = toy_bundle()
    return attach_profiles(bundle, [profile_of(bundle)])
