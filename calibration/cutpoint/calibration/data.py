"""Pictures (or tensors) from a folder: found, labelled, split, loaded; broken ones skipped, counted and named."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cutpoint.calibration.errors import CalibrationError
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.pictures import to_boundary0

__all__ = ["MASK_FOLDERS", "Dataset", "Samples", "Source", "load_samples", "open_dataset", "shuffled", "split"]

_PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
#: Folders that hold masks of pictures rather than pictures.
MASK_FOLDERS = frozenset({"annotations", "masks", "semantic_masks"})
_TENSORS = frozenset({".npy", ".npz"})


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a dataset.

    Attributes:
        path: where it lies.
        name: relative to the dataset's folder.
        label: class index; None where it is not known.
        mask: picture of each pixel's class; None where there is none.
        boxes: file that lists the objects in it; None where there is none.
    """

    path: Path
    name: str
    label: int | None = None
    mask: Path | None = None
    boxes: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """The files of a folder.

    Attributes:
        folder: where they lie.
        sources: sorted by name.
        tensors: whether they are ``.npy``/``.npz`` files rather than pictures.
        classes: folder names, where each class has a folder; the label is the index.
    """

    folder: Path
    sources: tuple[Source, ...]
    tensors: bool = False
    classes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether any file has a label."""
        return any(source.label is not None for source in self.sources)


@dataclass
class Samples:
    """Loaded files.

    Attributes:
        tensors: of boundary 0, for each sample.
        sources: where each came from.
        skipped: files that could not be read, with the reason.
    """

    tensors: list[tuple[Array, ...]] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    skipped: list[tuple[Source, str]] = field(default_factory=list)

    def fingerprint(self) -> str:
        """A hash of all values, labels and annotations."""
        digest = hashlib.sha256()
        for tensors, source in zip(self.tensors, self.sources, strict=True):
            digest.update(f"{source.name};{source.label};".encode())
            for file in filter(None, (source.mask, source.boxes)):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            for tensor in tensors:
                digest.update(np.ascontiguousarray(tensor).data)
        return digest.hexdigest()


def open_dataset(folder: Path, labels: Sequence[str] = ()) -> Dataset:
    """Finds the pictures of a folder and their labels.

    Labels come from a ``labels.tsv`` in the folder or the one above (columns: file, class index, …), or from a folder
    per class; otherwise there are none.

    Args:
        folder: searched with its sub-folders.
        labels: class names; where each class has a folder called so, its place in this list is the label.

    Raises:
        CalibrationError: if there is no such folder, nothing usable in it, or `labels.tsv` does not read.
    """
    if not folder.is_dir():
        raise CalibrationError(f"{folder}: no such folder" if not folder.exists() else f"{folder}: not a folder")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    pictures = _without_masks(folder, [path for path in files if path.suffix.lower() in _PICTURES])
    tensors = [path for path in files if path.suffix.lower() in _TENSORS]
    found = pictures or tensors
    if not found:
        raise CalibrationError(
            f"{folder}: no pictures ({', '.join(sorted(_PICTURES))}) and no .npy tensors in it or below it"
        )
    for table in (folder / "labels.tsv", folder.parent / "labels.tsv"):
        if table.is_file():
            indices = _read_labels(table)
            sources = tuple(
                Source(
                    path, path.relative_to(folder).as_posix(), indices.get(path.relative_to(table.parent).as_posix())
                )
                for path in found
            )
            if any(source.label is not None for source in sources):
                return Dataset(folder, sources, not pictures)
    classes = tuple(sorted({path.relative_to(folder).parts[0] for path in found if path.parent != folder}))
    if any(path.parent == folder for path in found) or len(classes) < 2:
        return Dataset(folder, tuple(Source(p, p.relative_to(folder).as_posix()) for p in found), not pictures)
    known = {name: index for index, name in enumerate(labels)}
    by_name = set(classes) <= set(known)
    numbers = {name: known[name] if by_name else index for index, name in enumerate(classes)}
    return Dataset(
        folder,
        tuple(
            Source(path, path.relative_to(folder).as_posix(), numbers[path.relative_to(folder).parts[0]])
            for path in found
        ),
        not pictures,
        tuple(labels) if by_name else classes,
    )


def _without_masks(folder: Path, pictures: Sequence[Path]) -> list[Path]:
    """`pictures` without the masks among them: PNG files in a folder of masks, or beside a picture of the same name."""
    named = {path.with_suffix("") for path in pictures if path.suffix.lower() != ".png"}
    return [
        path
        for path in pictures
        if path.suffix.lower() != ".png"
        or (path.with_suffix("") not in named and not MASK_FOLDERS.intersection(path.relative_to(folder).parts[:-1]))
    ]


def _read_labels(table: Path) -> dict[str, int]:
    indices = {}
    try:
        lines = table.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{table}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t")
        if not line.strip() or line.startswith("#"):
            continue
        if len(columns) < 2 or not columns[1].strip().isdigit():
            if number == 1:
                continue  # a header
            raise CalibrationError(f"{table}, line {number}: expected a file and a class index with a tab between them")
        indices[columns[0].strip()] = int(columns[1])
    return indices


def shuffled(sources: Sequence[Source]) -> list[Source]:
    """`sources` in an order that is mixed, and always the same: a prefix of it holds some of everything."""
    order = sorted(sources, key=lambda source: source.name)
    random.Random(0).shuffle(order)
    return order


def split(sources: Sequence[Source], calibration: int, evaluation: int) -> tuple[list[Source], list[Source], bool]:
    """Divides files for calibration and measuring.

    Args:
        sources: all files.
        calibration: how many to calibrate on at most.
        evaluation: how many to measure on; of a small folder half, so that both sides get something.

    Returns:
        Files for calibration, files for measuring, and whether they are disjoint. Each list is longer than needed
        where there are more files: those at the end stand in for broken ones.
    """
    order = shuffled(sources)
    if len(order) < 8:
        return order, order, False
    spare = max(0, len(order) - calibration - evaluation)
    border = calibration + spare // 2 if spare else min(calibration, len(order) // 2)
    return order[:border], order[border:], True


def load_samples(
    sources: Sequence[Source],
    most: int,
    specs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
    advance: Callable[[], None] = lambda: None,
) -> Samples:
    """Loads the first `most` readable files.

    Args:
        sources: in the order in which they are tried.
        most: how many to load.
        specs: of boundary 0.
        preprocessing: geometry of pictures; None: the files hold tensors.
        advance: called for each file loaded.
    """
    samples = Samples()
    for source in sources:
        if len(samples.tensors) >= most:
            break
        try:
            tensors = (
                (to_boundary0(source.path, preprocessing),)
                if preprocessing is not None
                else _load_tensors(source.path, specs)
            )
        except InputError as error:
            samples.skipped.append((source, str(error)))
            continue
        samples.tensors.append(tensors)
        samples.sources.append(source)
        advance()
    return samples


def _load_tensors(path: Path, specs: Sequence[TensorSpec]) -> tuple[Array, ...]:
    try:
        loaded = np.load(path, allow_pickle=False)
        values = [loaded] if isinstance(loaded, np.ndarray) else [loaded[spec.name] for spec in specs]
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path}: not readable tensors: {error}") from error
    if len(values) != len(specs):
        raise InputError(f"{path}: one tensor, but the model takes {len(specs)}: write an .npz with their names")
    tensors = []
    for spec, value in zip(specs, values, strict=True):
        tensor = value[np.newaxis] if value.shape == spec.shape[1:] else value
        if not spec.accepts(tensor):
            raise InputError(
                f"{path}: {value.dtype}{list(value.shape)}, but input {spec.name!r} is {spec.dtype}{list(spec.shape)}"
            )
        tensors.append(tensor)
    return tuple(tensors)
