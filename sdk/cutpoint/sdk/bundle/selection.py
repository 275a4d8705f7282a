"""Which files of the device part a device needs: those for its runtimes, of one precision if it wants no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

from cutpoint.sdk.bundle.files import GraphFile
from cutpoint.sdk.bundle.manifest import Manifest
from cutpoint.sdk.errors import BundleError

__all__ = ["Selection", "needed_files", "selections"]

_FORMATS = ("onnx", "tflite")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a device reads.

    Attributes:
        formats: of graph files, best first: of each graph the first that is there. Empty for all.
        precision: of the heads; None for all.
    """

    formats: tuple[str, ...] = ()
    precision: str | None = None

    @classmethod
    def parse(cls, runtime: str = "", precision: str = "") -> Selection:
        """From what a device asks for: ``tflite``, or ``tflite,onnx``. Raises `BundleError` for other words."""
        formats = tuple(word.strip() for word in runtime.split(",") if word.strip())
        if len(set(formats)) != len(formats) or not set(formats) <= set(_FORMATS):
            raise BundleError(f"runtime {runtime!r}: name {' and '.join(_FORMATS)} at most once, the best first")
        if precision and not precision.isalnum():
            raise BundleError(f"precision {precision!r} is not a name such as fp32 or int8")
        return cls(formats, precision or None)

    def __str__(self) -> str:
        """For file names and tags; empty for everything."""
        return "-".join([*self.formats, *([self.precision] if self.precision else [])])

    def pick(self, graphs: Sequence[GraphFile]) -> tuple[GraphFile, ...]:
        """Those of one graph's files that the device reads."""
        for name in self.formats:
            if chosen := tuple(graph for graph in graphs if graph.format == name):
                return chosen
        return () if self.formats else tuple(graphs)


def needed_files(manifest: Manifest, selection: Selection) -> frozenset[str]:
    """The paths of the device part that `selection` needs.

    Raises:
        BundleError: if the device could not answer alone with them.
    """
    optional: set[str] = set()
    kept: set[str] = set()
    whole = False
    on_device = {entry.path for entry in manifest.files if entry.part == "device"}
    for span in manifest.spans:
        # A span behind an exit is the device's; one that begins there and ends with the model may be a tail as well.
        if span.start > 0 and not any(graph.file in on_device for graph in span.graphs):
            continue
        optional.update(path for graph in span.graphs for path in graph.paths())
        if selection.precision in (None, span.precision):
            chosen = selection.pick(span.graphs)
            kept.update(path for graph in chosen for path in graph.paths())
            whole |= (span.start, span.end) == (0, manifest.last) and bool(chosen)
    if not whole:
        wanted = " ".join(filter(None, ("/".join(selection.formats), selection.precision)))
        raise BundleError(f"no {wanted} file of the whole model: a device must be able to answer alone")
    for piece in manifest.slices:
        optional.update(path for graph in piece.graphs for path in graph.paths())
        if selection.precision in (None, piece.precision):
            kept.update(path for graph in selection.pick(piece.graphs) for path in graph.paths())
    for codec in manifest.codecs:
        optional.update(path for graph in codec.encoder for path in graph.paths())
        kept.update(path for graph in selection.pick(codec.encoder) for path in graph.paths())
    for exit in manifest.exits:
        optional.update(path for graph in exit.graphs for path in graph.paths())
        if selection.precision in (None, exit.precision):
            kept.update(path for graph in selection.pick(exit.graphs) for path in graph.paths())
    device = {entry.path for entry in manifest.files if entry.part in ("device", "both")}
    # Weights that only tails need belong to both machines as well, as tails share them with the whole model.
    return frozenset(device - (optional - kept))


def selections(manifest: Manifest) -> Iterator[Selection]:
    """Everything that can be asked of a bundle."""
    precisions = sorted({span.precision for span in manifest.spans if span.start == 0})
    for count in range(len(_FORMATS) + 1):
        for formats in permutations(_FORMATS, count):
            for precision in (None, *precisions):
                yield Selection(formats, precision)
