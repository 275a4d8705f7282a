"""From a detector's outputs to boxes, scores and classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing

__all__ = ["Decoder", "find_decoder", "suppress", "yolox_boxes"]

_STRIDES = (8, 16, 32)
#: Boxes below this score are left out, those that overlap a better one of their class by more than this too, and more
#: than so many a picture: the settings that YOLOX and COCO are evaluated with.
_LEAST_SCORE, _OVERLAP, _MOST = 0.01, 0.65, 100

#: Boxes float (n, 4) as left, top, right, bottom in pixels of boundary 0; scores (n,); classes (n,).
Boxes = tuple[Array, Array, Array]


@dataclass(frozen=True)
class Decoder:
    """What turns a model's outputs into boxes.

    Attributes:
        decode: output tensors, batch 1 → boxes.
        classes: how many the model knows; 0 where the outputs do not say it.
    """

    decode: Callable[[Sequence[Array]], Boxes]
    classes: int


def find_decoder(outputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> Decoder | None:
    """The decoder for outputs of these shapes, or None.

    Known are YOLOX, (1, cells, 5 + classes) relative to its grid, and outputs that are boxes already: (1, n, 4), left,
    top, right and bottom in pixels, with scores (1, n) and classes (1, n), or with scores (1, n, classes).
    """
    if preprocessing is None:
        return None
    shapes = [spec.shape for spec in outputs]
    height, width = preprocessing.height, preprocessing.width
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][2] > 5:
        cells = sum((height // stride) * (width // stride) for stride in _STRIDES)
        if shapes[0][1] == cells:
            return Decoder(lambda answer: yolox_boxes(answer[0][0], height, width), shapes[0][2] - 5)
        return None
    boxes = next((n for n, shape in enumerate(shapes) if len(shape) == 3 and shape[2] == 4), None)
    if boxes is None:
        return None
    count = shapes[boxes][1]
    rest = [n for n in range(len(shapes)) if n != boxes]
    if len(rest) == 1 and len(shapes[rest[0]]) == 3 and shapes[rest[0]][1] == count:
        return Decoder(lambda answer: _scored(answer[boxes][0], answer[rest[0]][0]), shapes[rest[0]][2])
    scores = next((n for n in rest if shapes[n] == (1, count) and outputs[n].dtype[0] == "f"), None)
    labels = next((n for n in rest if shapes[n] == (1, count) and outputs[n].dtype[0] != "f"), None)
    if scores is None or labels is None:
        return None

    def given(answer: Sequence[Array]) -> Boxes:
        best = np.argsort(-answer[scores][0], kind="stable")[:_MOST]
        return answer[boxes][0][best], answer[scores][0][best], answer[labels][0][best]

    return Decoder(given, 0)


def yolox_boxes(rows: Array, height: int, width: int) -> Boxes:
    """Boxes of YOLOX's rows (cells, 5 + classes): centre and size relative to the cell, objectness, class scores.

    Centre = (xy + cell) · stride, size = exp(wh) · stride (Ge et al., arXiv 2107.08430).
    """
    cells, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((cells[-1].shape[0], 1), stride))
    cell, stride = np.concatenate(cells), np.concatenate(strides)
    centre = (rows[:, :2] + cell) * stride
    half = np.exp(np.clip(rows[:, 2:4], -20, 20)) * stride / 2
    return _scored(np.concatenate([centre - half, centre + half], axis=1), rows[:, 4:5] * rows[:, 5:])


def _scored(boxes: Array, scores: Array) -> Boxes:
    """The best boxes (n, 4) of every class by scores (n, classes), without those that overlap better ones."""
    where, labels = np.nonzero(scores >= _LEAST_SCORE)
    values = scores[where, labels]
    # Boxes of different classes never overlap: each class is moved to a place of its own.
    place = boxes[where] + labels[:, None] * (np.abs(boxes).max(initial=0.0) * 2 + 1)
    kept = suppress(place, values)
    return boxes[where][kept], values[kept], labels[kept]


def suppress(boxes: Array, scores: Array) -> Array:
    """Greedy non-maximum suppression: indices of at most 100 boxes, the best first."""
    order = np.argsort(-scores, kind="stable")
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    kept: list[int] = []
    while order.size and len(kept) < _MOST:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        both = np.prod(np.maximum(high - low, 0), axis=1)
        order = order[both <= _OVERLAP * np.maximum(area[best] + area[order] - both, 1e-9)]
    return np.array(kept, dtype=np.int64)
