"""The bundle: what calibration writes and both ends load."""

from cutpoint.sdk.bundle.bundle import Bundle
from cutpoint.sdk.bundle.manifest import (
    MANIFEST_NAME,
    SCHEMA,
    Boundary,
    CodecEntry,
    FileEntry,
    GraphFile,
    Manifest,
    Measurement,
    Part,
    Point,
    Preprocessing,
    Span,
    Task,
    TaskKind,
    TaskMetric,
    decode_manifest,
    encode_manifest,
)
from cutpoint.sdk.bundle.profile import DeviceProfile, EncoderCost, HeadCost
from cutpoint.sdk.bundle.selection import Selection

__all__ = [
    "MANIFEST_NAME",
    "SCHEMA",
    "Boundary",
    "Bundle",
    "CodecEntry",
    "DeviceProfile",
    "EncoderCost",
    "FileEntry",
    "GraphFile",
    "HeadCost",
    "Manifest",
    "Measurement",
    "Part",
    "Point",
    "Preprocessing",
    "Selection",
    "Span",
    "Task",
    "TaskKind",
    "TaskMetric",
    "decode_manifest",
    "encode_manifest",
]
