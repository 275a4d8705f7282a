"""`manifest.json` as bytes: written, parsed, and checked to hold together."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from cutpoint.sdk.bundle.files import GraphFile
from cutpoint.sdk.bundle.manifest import Exit, Manifest
from cutpoint.sdk.bundle.slicing import slicing_problems
from cutpoint.sdk.errors import BundleError

__all__ = ["MANIFEST_LIMIT", "MANIFEST_NAME", "SCHEMA", "check_path", "decode_manifest", "encode_manifest"]

#: Version of the schema this code writes. A reader refuses a newer one.
SCHEMA = 1
MANIFEST_NAME = "manifest.json"
#: No manifest comes near this; a longer file is refused before it is parsed.
MANIFEST_LIMIT = 16 * 2**20

_PATH = re.compile(r"[A-Za-z0-9_+@=-][A-Za-z0-9_.+@=-]*(/[A-Za-z0-9_+@=-][A-Za-z0-9_.+@=-]*)*")


def check_path(path: str) -> None:
    """Raises `BundleError` unless `path` is relative, plain and stays inside the bundle."""
    if not _PATH.fullmatch(path) or len(path) > 200:
        raise BundleError(f"{path!r}: not a path that a bundle may hold (relative, letters, digits and -_.+@= only)")


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`; their SHA-256 is the bundle's hash."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_manifest(data: bytes) -> Manifest:
    """Parses `manifest.json` and checks that everything it refers to is there.

    Raises:
        BundleError: names the field and what is wrong with it.
    """
    if len(data) > MANIFEST_LIMIT:
        raise BundleError(f"{MANIFEST_NAME}: {len(data)} bytes, over the limit of {MANIFEST_LIMIT}")
    try:
        schema = msgspec.json.decode(data, type=_SchemaOnly).schema
    except msgspec.DecodeError as error:
        raise BundleError(f"{MANIFEST_NAME}: {error}") from error
    if schema != SCHEMA:
        raise BundleError(
            f"{MANIFEST_NAME}: schema {schema}, but this cutpoint reads schema {SCHEMA}: "
            + ("install a newer cutpoint" if schema > SCHEMA else "calibrate the model again")
        )
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"{MANIFEST_NAME}: {error}") from error
    _check_references(manifest)
    return manifest


class _SchemaOnly(msgspec.Struct):
    schema: int


def _check_servers(exit: Exit, manifest: Manifest, need: Callable[[bool, str], None]) -> None:
    """What servers shall ask an exit lies before it, and the span in between is there."""
    spans = {span.key for span in manifest.spans}
    points = {point.id: point for point in manifest.points}
    for use in exit.servers:
        point = points.get(use.point)
        need(point is not None, f"exit {exit.id!r} names point {use.point!r}, which is not there")
        assert point is not None
        asked = f"exit {exit.id!r} cannot be asked by servers for point {use.point!r}"
        need(not point.local and point.exit is None and point.end <= exit.boundary, asked)
        rest = point.end, exit.boundary, point.tail_precision
        need(point.end == exit.boundary or rest in spans, f"{asked}: there is no span in between")


def _check_references(manifest: Manifest) -> None:
    def need(condition: bool, message: str) -> None:
        if not condition:
            raise BundleError(f"{MANIFEST_NAME}: {message}")

    def unique(what: str, keys: list[Any]) -> None:
        need(len(set(keys)) == len(keys), f"two {what} have the same name")

    last = manifest.last
    need(last >= 1, "at least two boundaries are needed, the input and the output")
    need([b.index for b in manifest.boundaries] == list(range(last + 1)), "boundaries are not numbered 0, 1, …")
    need(all(b.tensors for b in manifest.boundaries), "a boundary without tensors")
    need(0 < len(manifest.points) <= 65535, "between 1 and 65535 points are needed")

    files = {entry.path for entry in manifest.files}
    for entry in manifest.files:
        check_path(entry.path)
        need(entry.path != MANIFEST_NAME, "the manifest lists itself")
        need(
            entry.size >= 0 and re.fullmatch("[0-9a-f]{64}", entry.sha256) is not None,
            f"{entry.path}: bad size or hash",
        )
    unique("files", [entry.path for entry in manifest.files])
    unique("files", [entry.path.casefold() for entry in manifest.files])
    unique("spans", [span.key for span in manifest.spans])
    unique("codecs", [codec.id for codec in manifest.codecs])
    unique("points", [point.id for point in manifest.points])

    def need_graphs(graphs: tuple[GraphFile, ...], what: str) -> None:
        for path in (path for graph in graphs for path in graph.paths()):
            need(path in files, f"{what} refers to {path!r}, which is not among the files")

    for span in manifest.spans:
        need(0 <= span.start < span.end <= last, f"span {span.start}-{span.end} is not between two boundaries")
        need(bool(span.graphs), f"span {span.start}-{span.end} has no graph file")
        need_graphs(span.graphs, f"span {span.start}-{span.end}.{span.precision}")
    for codec in manifest.codecs:
        need(0 <= codec.start <= codec.end < last, f"codec {codec.id!r} is at boundaries that are not there")
        need(bool(codec.levels), f"codec {codec.id!r} has no level")
        need_graphs(codec.encoder + codec.decoder, f"codec {codec.id!r}")
        need(
            codec.tables is None or codec.tables in files, f"codec {codec.id!r}: tables {codec.tables!r} are not there"
        )

    unique("exits", [exit.id for exit in manifest.exits])
    for exit in manifest.exits:
        need(0 < exit.boundary < last, f"exit {exit.id!r} is at a boundary that is not there")
        need(bool(exit.graphs), f"exit {exit.id!r} has no graph file")
        need(bool(exit.thresholds), f"exit {exit.id!r} has no threshold")
        need_graphs(exit.graphs, f"exit {exit.id!r}")

    unique("device profiles", [profile.name for profile in manifest.devices])
    for profile in manifest.devices:
        for problem in profile.problems():
            need(False, problem)

    for piece in manifest.slices:
        need_graphs(piece.graphs, f"slice {piece.start}-{piece.end}.{piece.precision}")
    for problem in slicing_problems(manifest):
        need(False, problem)

    spans = {span.key for span in manifest.spans}
    codecs = {codec.id: codec for codec in manifest.codecs}
    exits = {exit.id: exit for exit in manifest.exits}
    for point in manifest.points:
        need(0 <= point.measured.exit_rate <= 1, f"point {point.id!r}: an exit cannot answer that share")
        if point.exit is not None:
            need(point.exit in exits, f"point {point.id!r} names exit {point.exit!r}, which is not there")
            exit = exits[point.exit]
            need(
                exit.boundary <= point.start and exit.precision == point.precision,
                f"exit {exit.id!r} does not lie on the way of point {point.id!r}",
            )
            need(
                0 <= point.threshold < len(exit.thresholds),
                f"point {point.id!r}: exit {exit.id!r} has no threshold {point.threshold}",
            )
            need((0, exit.boundary, exit.precision) in spans, f"exit {exit.id!r} has no head span")
            rest = exit.boundary, point.start, exit.precision
            need(exit.boundary == point.start or rest in spans, f"point {point.id!r} has no span behind its exit")
        if point.start > 0 and point.slicing is None:
            need((0, point.start, point.precision) in spans, f"point {point.id!r} has no head span")
        if point.codec is None:
            need(point.start == point.end == last, f"point {point.id!r} has no codec, but is not local")
            continue
        need(point.codec in codecs, f"point {point.id!r} names codec {point.codec!r}, which is not there")
        codec = codecs[point.codec]
        need(
            (point.start, point.end) == (codec.start, codec.end), f"point {point.id!r} and its codec differ in boundary"
        )
        need(0 <= point.level < len(codec.levels), f"point {point.id!r}: codec {codec.id!r} has no level {point.level}")
        need((point.end, last, point.tail_precision) in spans, f"point {point.id!r} has no tail span")
    alone = any(point.local and point.exit is None for point in manifest.points)
    need(alone, "no local point: a device must be able to answer alone")
    for exit in manifest.exits:
        _check_servers(exit, manifest, need)
