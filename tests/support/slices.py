"""The toy with its head in slices: some computed by the device, some sent as picture and computed by the server."""

from __future__ import annotations

import msgspec
import onnx
from onnx import helper
from tests.support.toy import SIDE, toy_bundle

from cutpoint.sdk.bundle import Bundle, GraphFile, Measurement, Part, Point, RowRange, Slice, SliceStep, Slicing

__all__ = ["HEAD_ROWS", "sliced_bundle"]

#: Of boundary 1, which has four: three slices.
HEAD_ROWS: tuple[RowRange, ...] = ((0, 2), (2, 3), (3, 4))
#: Rows of the picture behind one row of boundary 1.
_FACTOR = 4


def sliced_bundle() -> Bundle:
    """`toy_bundle` and six sliced points: two codecs, no, one, or all slices as picture, with and without loss."""
    bundle = toy_bundle()
    files: dict[str, tuple[Part, bytes]] = {
        entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files
    }
    head = onnx.load_from_string(files["spans/0-1.fp32.onnx"][1])
    slices = []
    for first, stop in HEAD_ROWS:
        path = f"slices/0-1.fp32.{first}-{stop}.onnx"
        files[path] = "both", _with_rows(head, stop - first)
        needs = (first * _FACTOR, stop * _FACTOR)
        slices.append(Slice(0, 1, "fp32", (first, stop), (needs,), (GraphFile("onnx", path),)))
    for path in ("codecs/1-affine.enc.onnx", "codecs/1-affine.dec.onnx"):
        files[path] = files[path][0], _with_rows(onnx.load_from_string(files[path][1]), "rows")
    axes = (1, 2, None)
    boundaries = [
        msgspec.structs.replace(boundary, row_axis=axis)
        for boundary, axis in zip(bundle.manifest.boundaries, axes, strict=True)
    ]
    raw, webp, pixels = ("1-raw", 1), ("0-webp", 1), ("0-raw", 0)
    points = (
        *bundle.points,
        _point("raw-0", *raw, 0, None),
        _point("raw-1", *raw, 1, pixels),
        _point("raw-3", *raw, 3, pixels),
        _point("affine-0", "1-affine", 1, 0, None),
        _point("affine-1", "1-affine", 1, 1, webp),
        _point("affine-2", "1-affine", 1, 2, pixels),
    )
    manifest = msgspec.structs.replace(
        bundle.manifest, boundaries=tuple(boundaries), points=points, slices=tuple(slices), files=()
    )
    return Bundle.create(manifest, files)


def _point(name: str, codec: str, level: int, pictures: int, picture: tuple[str, int] | None) -> Point:
    steps = tuple(SliceStep(rows, 0.1, 150.0, 0.1) for rows in HEAD_ROWS)
    slicing = Slicing(steps, pictures, *(picture or (None, 0)))
    measured = Measurement(0.98, 450.0, 500.0, device_ms=0.2, encode_ms=0.1, decode_ms=0.3, tail_ms=0.1)
    precision = "fp32" if pictures < len(steps) else None
    return Point(f"sliced-{name}", 1, 1, measured, precision, codec, level, "fp32", slicing=slicing)


def _with_rows(model: onnx.ModelProto, rows: int | str) -> bytes:
    """The graph for that many rows of boundary 1."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in (*changed.graph.input, *changed.graph.output):
        sides: list[int | str] = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if len(sides) != 4:
            continue
        # A picture has its rows on axis 1, and more of them.
        if sides[1] == SIDE:
            assert isinstance(rows, int), "a picture in slices has a known height"
            sides[1] = rows * _FACTOR
        else:
            sides[2] = rows
        value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, sides))
    onnx.checker.check_model(changed)
    return bytes(changed.SerializeToString())
