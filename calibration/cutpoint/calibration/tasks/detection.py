"""Detection: average precision as COCO counts it, with pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import require
from cutpoint.calibration.tasks.annotations import Box, read_boxes
from cutpoint.calibration.tasks.boxes import find_decoder
from cutpoint.calibration.tasks.judge import Situation, Verdict
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import TaskKind, TaskMetric

__all__ = ["DetectionJudge"]


class DetectionJudge:
    """`ap`: average precision over intersections over union from 0.5 to 0.95, over all samples.

    Boxes are compared in the pixels of boundary 0: a picture's geometry moves and scales both sides alike.

    Raises:
        CalibrationError: if the outputs are no boxes that `find_decoder` knows, a sample has no annotation, or
            pycocotools is not installed.
    """

    kind: TaskKind = "detection"
    metric: TaskMetric = "ap"

    def __init__(self, situation: Situation) -> None:
        require(("pycocotools",), "task 'detection'")
        decoder = find_decoder(situation.outputs, situation.preprocessing)
        if decoder is None:
            raise CalibrationError(
                "task 'detection' knows the outputs of YOLOX (1, cells, 5 + classes) and boxes (1, n, 4) with scores "
                "and classes; this model has others: see --task"
            )
        if situation.preprocessing is None:
            raise CalibrationError("task 'detection' wants pictures: --data holds tensors")
        self._decode = decoder.decode
        self.classes = decoder.classes
        self._truth: list[tuple[Box, ...]] = []
        for source in situation.sources:
            if source.boxes is None:
                raise CalibrationError(
                    f"task 'detection' wants labels, {source.name} has none: give a .txt of boxes for each picture, "
                    "or a COCO annotations.json; --task embedding measures agreement with the uncut model"
                )
            self._truth.append(read_boxes(source, situation.preprocessing))
            known = [box.label for box in self._truth[-1]]
            if self.classes and known and max(known) >= self.classes:
                raise CalibrationError(
                    f"{source.name}: class {max(known)}, but the model gives {self.classes} scores a box"
                )

    @staticmethod
    def suits(situation: Situation) -> bool:
        """Whether the outputs are known boxes and each sample has an annotation."""
        found = find_decoder(situation.outputs, situation.preprocessing)
        return found is not None and all(source.boxes is not None for source in situation.sources)

    def judge(self, sample: int, answer: Sequence[Array]) -> Verdict:
        """Class, score, left, top, width and height of each box."""
        boxes, scores, labels = self._decode(answer)
        rows = np.concatenate([labels[:, None], scores[:, None], boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        return [float(value) for value in rows.astype(np.float64).ravel()]

    def score(self, verdicts: Mapping[int, Verdict]) -> float:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        found: list[dict[str, Any]] = []
        for sample, verdict in verdicts.items():
            images.append({"id": sample + 1})
            for box in self._truth[sample]:
                where = {"image_id": sample + 1, "category_id": box.label, "iscrowd": int(box.crowd)}
                size = [box.left, box.top, box.width, box.height]
                annotations.append(where | {"id": len(annotations) + 1, "bbox": size, "area": box.width * box.height})
            for label, score, *size in np.reshape(verdict, (-1, 6)).tolist():
                found.append({"image_id": sample + 1, "category_id": int(label), "bbox": size, "score": score})
        if not annotations or not found:
            return 0.0
        labels = sorted({entry["category_id"] for entry in annotations})
        with contextlib.redirect_stdout(io.StringIO()):  # It prints as it goes.
            truth = COCO()
            truth.dataset = {
                "info": {},
                "images": images,
                "annotations": annotations,
                "categories": [{"id": label} for label in labels],
            }
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return max(0.0, float(evaluation.stats[0]))
