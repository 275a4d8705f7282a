"""A bundle: the manifest and the files it lists, in a folder, a `.cutpoint` zip, or memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import msgspec

from cutpoint.sdk.bundle.files import FileEntry, Part
from cutpoint.sdk.bundle.manifest import CodecEntry, Exit, Manifest, Point, ServerExit, Span
from cutpoint.sdk.bundle.parsing import MANIFEST_LIMIT, MANIFEST_NAME, decode_manifest, encode_manifest
from cutpoint.sdk.bundle.profile import DeviceProfile
from cutpoint.sdk.bundle.selection import Selection, needed_files, selections
from cutpoint.sdk.bundle.slicing import RowRange, Slice
from cutpoint.sdk.bundle.sources import Folder, Memory, Source, Zip, write_folder, write_zip
from cutpoint.sdk.errors import BundleError
from cutpoint.sdk.files import write_file

__all__ = ["Bundle"]

#: The public key and the signature of the hash, behind one another (docs/bundle.md).
SIGNATURE_NAME = "signature"
_SIGNATURE_SIZE = 32 + 64


class Bundle:
    """What calibration writes and both ends load: a manifest, and files whose hashes it lists.

    A bundle may hold its device part, its server part, or both; `parts` says which. `hash` is the same for all of
    them, because it is the SHA-256 of `manifest.json`, and that names every file's SHA-256.

    Bytes are verified each time they are read, so what reaches a runtime is what calibration wrote.
    """

    def __init__(self, source: Source, origin: str) -> None:
        self._source = source
        self.origin = origin
        names = source.names()
        if MANIFEST_NAME not in names:
            raise BundleError(f"{origin}: {MANIFEST_NAME} is missing: not a bundle")
        if source.size(MANIFEST_NAME) > MANIFEST_LIMIT:
            raise BundleError(f"{origin}: {MANIFEST_NAME} is over the limit of {MANIFEST_LIMIT} bytes")
        self._manifest_bytes = source.read(MANIFEST_NAME)
        self.hash = hashlib.sha256(self._manifest_bytes).hexdigest()
        self.manifest: Manifest = decode_manifest(self._manifest_bytes)
        self._measured = self.manifest.points
        self._files: dict[str, FileEntry] = {entry.path: entry for entry in self.manifest.files}
        self._there = names & self._files.keys()
        self.parts = self._find_parts(names)
        #: Public key and signature; None if the bundle is not signed. Whether it is good, `check_signature` says.
        self.signature: bytes | None = None
        if SIGNATURE_NAME in names:
            if source.size(SIGNATURE_NAME) != _SIGNATURE_SIZE:
                raise BundleError(f"{origin}: {SIGNATURE_NAME} does not have {_SIGNATURE_SIZE} bytes")
            self.signature = source.read(SIGNATURE_NAME)

    # -- opening -------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
        """Opens a bundle folder or a `.cutpoint` file.

        Args:
            path: folder or file.
            verify: check the hash of every file now; without it each is checked when it is read.

        Raises:
            BundleError: names the file and what is wrong with it.
        """
        path = Path(path)
        if not path.exists():
            raise BundleError(f"{path}: no such bundle; `cutpoint calibrate` makes one")
        bundle = cls(Folder(path) if path.is_dir() else Zip(path), str(path))
        if verify:
            bundle.verify()
        return bundle

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "memory") -> Bundle:
        """Opens a `.cutpoint` file held in memory, and verifies it. Raises `BundleError`."""
        bundle = cls(Zip(data), origin)
        bundle.verify()
        return bundle

    @classmethod
    def create(cls, manifest: Manifest, files: Mapping[str, tuple[Part, bytes]]) -> Bundle:
        """A new bundle in memory.

        Args:
            manifest: its `files` are filled in here.
            files: path → (which machine needs it, content).

        Raises:
            BundleError: if the manifest does not hold together.
        """
        entries = tuple(
            FileEntry(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), part=part)
            for path, (part, data) in sorted(files.items())
        )
        contents = {path: data for path, (_, data) in files.items()}
        contents[MANIFEST_NAME] = encode_manifest(msgspec.structs.replace(manifest, files=entries))
        return cls(Memory(contents), "memory")

    def _find_parts(self, names: set[str]) -> frozenset[str]:
        """Which parts are complete. A part may be absent as a whole; one missing file of a part is damage.

        Of the device part there may also be just what one device reads.
        """
        if self._is_selected():
            return frozenset({"device"})
        parts = set()
        for part in ("device", "server", "report"):
            paths = {path for path, entry in self._files.items() if entry.part == part}
            missing = sorted(paths - names)
            if missing and len(missing) < len(paths):
                raise BundleError(f"{self.origin}: {missing[0]} is missing")
            if not missing:
                parts.add(part)
        common = sorted(path for path, entry in self._files.items() if entry.part == "both" and path not in names)
        if common:
            raise BundleError(f"{self.origin}: {common[0]} is missing")
        if not parts & {"device", "server"}:
            raise BundleError(f"{self.origin}: neither the device part nor the server part is there")
        return frozenset(parts)

    def _is_selected(self) -> bool:
        """Whether this is what `part` gave to a device of certain runtimes: its files and no others."""
        own = {path for path in self._there if self._files[path].part != "report"}
        everything = {path for path, entry in self._files.items() if entry.part in ("device", "both")}
        if not own < everything:
            return False
        for selection in selections(self.manifest):
            try:
                if needed_files(self.manifest, selection) == own:
                    return True
            except BundleError:
                continue
        return False

    # -- reading -------------------------------------------------------------------------------------------------

    def __contains__(self, path: str) -> bool:
        entry = self._files.get(path)
        return entry is not None and path in self._there and (entry.part == "both" or entry.part in self.parts)

    def read(self, path: str) -> bytes:
        """The content of one file, verified.

        Raises:
            BundleError: if the manifest does not list it, it is not there, or its size or hash is wrong.
        """
        entry = self._files.get(path)
        if entry is None:
            raise BundleError(f"{self.origin}: {path} is not part of the bundle")
        if path not in self:
            where = "device" if entry.part == "both" else entry.part
            raise BundleError(f"{self.origin}: {path} belongs to the {where} part, which is not in this bundle")
        try:
            size = self._source.size(path)
            if size != entry.size:
                raise BundleError(f"{self.origin}: {path} has {size} bytes, the manifest says {entry.size}")
            data = self._source.read(path)
        except (OSError, KeyError) as error:
            raise BundleError(f"{self.origin}: {path} cannot be read: {error}") from error
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(f"{self.origin}: {path} is damaged: its hash is not the one in the manifest")
        return data

    def verify(self) -> None:
        """Checks size and hash of every file that is there. Raises `BundleError` for the first that is wrong."""
        for path in self._files:
            if path in self:
                self.read(path)

    # -- looking up ----------------------------------------------------------------------------------------------

    @property
    def points(self) -> tuple[Point, ...]:
        """The operating points, in the order of their numbers on the wire, with the costs of `on_device`."""
        return self._measured

    @cached_property
    def _spans(self) -> dict[tuple[int, int, str], Span]:
        return {span.key: span for span in self.manifest.spans}

    @cached_property
    def _codecs(self) -> dict[str, CodecEntry]:
        return {codec.id: codec for codec in self.manifest.codecs}

    @cached_property
    def _exits(self) -> dict[str, Exit]:
        return {exit.id: exit for exit in self.manifest.exits}

    @cached_property
    def _slices(self) -> dict[tuple[int, int, str, RowRange], Slice]:
        return {piece.key: piece for piece in self.manifest.slices}

    @cached_property
    def _points(self) -> dict[str, int]:
        return {point.id: number for number, point in enumerate(self.points)}

    def span(self, start: int, end: int, precision: str) -> Span:
        """The span between two boundaries. Raises `BundleError` if the bundle has none."""
        try:
            return self._spans[start, end, precision]
        except KeyError:
            raise BundleError(f"{self.origin}: no span {start}-{end} at precision {precision!r}") from None

    def codec(self, codec_id: str) -> CodecEntry:
        """The codec entry called `codec_id`. Raises `BundleError` if the bundle has none."""
        try:
            return self._codecs[codec_id]
        except KeyError:
            raise BundleError(f"{self.origin}: no codec {codec_id!r}") from None

    def exit(self, exit_id: str) -> Exit:
        """The exit called `exit_id`. Raises `BundleError` if the bundle has none."""
        try:
            return self._exits[exit_id]
        except KeyError:
            raise BundleError(f"{self.origin}: no exit {exit_id!r}") from None

    def slice(self, start: int, end: int, precision: str, rows: RowRange) -> Slice:
        """The slice of a span that gives `rows` of its end. Raises `BundleError` if the bundle has none."""
        try:
            return self._slices[start, end, precision, rows]
        except KeyError:
            what = f"rows {rows[0]}-{rows[1]} of span {start}-{end} at precision {precision!r}"
            raise BundleError(f"{self.origin}: no slice for {what}") from None

    @cached_property
    def _server_exits(self) -> dict[str, tuple[tuple[Exit, ServerExit], ...]]:
        found: dict[str, list[tuple[Exit, ServerExit]]] = {}
        for exit in self.manifest.exits:
            for use in exit.servers:
                found.setdefault(use.point, []).append((exit, use))
        return {point: tuple(sorted(uses, key=lambda use: use[1].threshold.drop)) for point, uses in found.items()}

    def server_exits(self, point: Point) -> tuple[tuple[Exit, ServerExit], ...]:
        """What a server may answer requests for `point` from, the least drop first; the protocol counts from 1."""
        return self._server_exits.get(point.id, ())

    def steps(self, point: Point) -> tuple[tuple[int, int], ...]:
        """Start and end of the spans that the device runs for `point`: up to the exit, if it has one, and on.

        None for a point in slices, see `slices_of`.
        """
        if point.slicing is not None:
            return ()
        places = [0, point.start]
        if point.exit is not None:
            places.insert(1, self.exit(point.exit).boundary)
        return tuple((start, end) for start, end in pairwise(places) if start < end)

    def slices_of(self, point: Point) -> tuple[Slice, ...]:
        """The slices of the head of `point`, from the top down, those for the server first; none for other points."""
        found = []
        for number, step in enumerate(point.slicing.steps if point.slicing is not None else ()):
            as_picture = point.slicing is not None and number < point.slicing.pictures
            precision = point.tail_precision if as_picture else point.precision
            found.append(self.slice(0, point.start, precision or "", step.rows))
        return tuple(found)

    def point_number(self, point_id: str) -> int:
        """A point's number on the wire. Raises `BundleError` if the bundle has no such point."""
        try:
            return self._points[point_id]
        except KeyError:
            known = ", ".join(self._points)
            raise BundleError(f"{self.origin}: no point {point_id!r}; there are {known}") from None

    # -- devices -------------------------------------------------------------------------------------------------

    def on_device(self, points: Sequence[Point]) -> Bundle:
        """The same bundle, of the same hash, whose points cost what they do on a device: `cutpoint.sdk.profiles`."""
        bundle = copy(self)
        bundle._measured = tuple(points)
        return bundle

    def with_devices(self, devices: Sequence[DeviceProfile]) -> Bundle:
        """A new bundle, of another hash, that carries these profiles instead of its own.

        Raises:
            BundleError: if a part is not in this bundle, or two profiles have one name.
        """
        missing = {"device", "server", "report"} - self.parts
        if missing:
            raise BundleError(f"{self.origin}: the {min(missing)} part is not in this bundle; take the whole one")
        files = {path: (entry.part, self.read(path)) for path, entry in self._files.items()}
        return Bundle.create(msgspec.structs.replace(self.manifest, devices=tuple(devices), files=()), files)

    # -- writing -------------------------------------------------------------------------------------------------

    def part(self, part: Part, *, runtime: str = "", precision: str = "") -> Bundle:
        """The bundle with nothing but what one machine needs. Its hash is the same.

        Args:
            part: the machine.
            runtime: of a device: formats that it reads, best first: ``onnx``, ``tflite``, ``tflite,onnx``. Of every
                graph the first that is there is kept. Empty for all.
            precision: of a device's heads; empty for all.

        Raises:
            BundleError: if that part is not in this bundle, or the device could not answer alone with what is left.
        """
        return self._part(part, Selection.parse(runtime, precision))

    def device_part(self, selection: Selection) -> Bundle:
        """The device part with what `selection` reads; as `part`."""
        return self._part("device", selection)

    def _part(self, part: Part, selection: Selection) -> Bundle:
        if part not in self.parts:
            raise BundleError(f"{self.origin}: the {part} part is not in this bundle")
        paths = {path for path, entry in self._files.items() if entry.part in (part, "both") and path in self}
        if part == "device" and selection != Selection():
            needed = needed_files(self.manifest, selection)
            if lacking := sorted(needed - paths):
                raise BundleError(f"{self.origin}: {lacking[0]} is not in this bundle")
            paths &= needed
        files = {path: self.read(path) for path in sorted(paths)}
        return Bundle(Memory(self._head() | files), f"{self.origin} ({part} part)")

    def signed(self, signature: bytes) -> Bundle:
        """The bundle with another signature: 32 bytes public key, 64 bytes signature. See `sign`."""
        return Bundle(Memory(self._contents() | {SIGNATURE_NAME: signature}), self.origin)

    def _head(self) -> dict[str, bytes]:
        signature = {SIGNATURE_NAME: self.signature} if self.signature is not None else {}
        return {MANIFEST_NAME: self._manifest_bytes} | signature

    def _contents(self) -> dict[str, bytes]:
        return self._head() | {path: self.read(path) for path in self._files if path in self}

    def to_bytes(self) -> bytes:
        """The bundle as one `.cutpoint` file. Equal bundles give equal bytes."""
        return write_zip(self._contents())

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the bundle: one file if `path` ends in `.cutpoint`, a folder otherwise.

        It is written under a temporary name beside `path` and renamed, so that `path` is whole or not there.

        Raises:
            BundleError: if `path` exists and `overwrite` is false, or is something that is not a bundle.
        """
        path = Path(path)
        if path.exists():
            if not overwrite:
                raise BundleError(f"{path} exists; remove it or ask to overwrite it")
            if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST_NAME).is_file():
                raise BundleError(f"{path} is a folder, but not a bundle: it is left alone")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".cutpoint":
            write_file(path, self.to_bytes())
        else:
            write_folder(path, self._contents())
