"""The bundle: what calibration writes and both ends load."""

from cutpoint.sdk.bundle.bundle import Bundle
from cutpoint.sdk.bundle.files import FileEntry, GraphFile, Part
from cutpoint.sdk.bundle.manifest import (
    Boundary,
    CodecEntry,
    Exit,
    Manifest,
    Measurement,
    Point,
    Preprocessing,
    ServerExit,
    Span,
    Task,
    TaskKind,
    TaskMetric,
    Threshold,
)
from cutpoint.sdk.bundle.parsing import MANIFEST_NAME, SCHEMA, decode_manifest, encode_manifest
from cutpoint.sdk.bundle.profile import DeviceProfile, EncoderCost, HeadCost
from cutpoint.sdk.bundle.selection import Selection
from cutpoint.sdk.bundle.signing import check_keys, check_signature, new_key, public_key, sign
from cutpoint.sdk.bundle.slicing import RowRange, Slice, SliceStep, Slicing

__all__ = [
    "MANIFEST_NAME",
    "SCHEMA",
    "Boundary",
    "Bundle",
    "CodecEntry",
    "DeviceProfile",
    "EncoderCost",
    "Exit",
    "FileEntry",
    "GraphFile",
    "HeadCost",
    "Manifest",
    "Measurement",
    "Part",
    "Point",
    "Preprocessing",
    "RowRange",
    "Selection",
    "ServerExit",
    "Slice",
    "SliceStep",
    "Slicing",
    "Span",
    "Task",
    "TaskKind",
    "TaskMetric",
    "Threshold",
    "check_keys",
    "check_signature",
    "decode_manifest",
    "encode_manifest",
    "new_key",
    "public_key",
    "sign",
]
