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

__all__ = [
    "MANIFEST_NAME",
    "SCHEMA",
    "Boundary",
    "Bundle",
    "CodecEntry",
    "FileEntry",
    "GraphFile",
    "Manifest",
    "Measurement",
    "Part",
    "Point",
    "Preprocessing",
    "Span",
    "Task",
    "TaskKind",
    "TaskMetric",
    "decode_manifest",
    "encode_manifest",
]
