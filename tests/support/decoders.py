"""What is promised of decoder graphs: several samples of one level at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from cutpoint.codecs import TensorSpec
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["check_batches", "free_batch"]

_MOST = 5


def free_batch(model: onnx.ModelProto) -> bool:
    """Whether every input and output, the scalar `level` apart, has a first dimension without a value."""
    *tensors, level = model.graph.input
    assert (level.name, len(level.type.tensor_type.shape.dim)) == ("level", 0)
    fronts = [value.type.tensor_type.shape.dim[0] for value in (*tensors, *model.graph.output)]
    assert len({front.WhichOneof("value") for front in fronts}) == 1
    return all(front.dim_param == "batch" for front in fronts)


def check_batches(decoder: bytes, symbols: Sequence[TensorSpec], levels: int) -> None:
    """Batches of 1, 2 and 5 give, bit for bit, what each sample alone gives, at every level."""
    assert free_batch(onnx.load_from_string(decoder))
    graph = create_runtime("onnx").load(decoder, {})
    rng = np.random.default_rng(0)
    given = [rng.integers(0, 7, (_MOST, *spec.shape[1:])).astype(spec.dtype) for spec in symbols]
    for level in map(np.array, range(levels)):
        single = [graph.run([*(tensor[i : i + 1] for tensor in given), level]) for i in range(_MOST)]
        assert any((a != b).any() for a, b in zip(single[0], single[1], strict=True))
        for count in (1, 2, _MOST):
            together = graph.run([*(tensor[:count] for tensor in given), level])
            for rows, *alone in zip(together, *single[:count], strict=True):
                np.testing.assert_array_equal(rows, np.concatenate(alone), strict=True)
