"""`raw`: the values as they are, or rounded to half precision. The baseline that everything is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cutpoint.codecs.codec import Codec, CodecParts, register
from cutpoint.codecs.errors import BitstreamError, CodecError
from cutpoint.codecs.tensors import Array, TensorSpec

__all__ = ["RawCodec"]


class RawCodec(Codec):
    """All values of all tensors, one tensor after the other, C order, little endian.

    Level names say what is sent: ``exact`` (every element type) or ``fp16`` (float tensors rounded to half precision,
    the others exact).
    """

    codec_id: ClassVar[str] = "raw"
    by_rows: ClassVar[bool] = True

    def __init__(self, parts: CodecParts) -> None:
        super().__init__(parts)
        if parts.source != parts.target:
            raise CodecError("codec 'raw' cannot replace layers: it gives back the tensors it was given")
        if unknown := set(parts.levels) - {"exact", "fp16"}:
            raise CodecError(f"codec 'raw' has the levels 'exact' and 'fp16', not {', '.join(sorted(unknown))}")

    def _wire_dtype(self, spec: TensorSpec, level: int) -> np.dtype[np.generic]:
        halved = self.parts.levels[level] == "fp16" and spec.dtype.startswith("float")
        return np.dtype("float16" if halved else spec.dtype).newbyteorder("<")

    def max_bytes(self) -> int:
        return sum(spec.nbytes for spec in self.parts.source)

    def _encode(self, tensors: Sequence[Array], level: int) -> bytes:
        return b"".join(
            np.ascontiguousarray(tensor, dtype=self._wire_dtype(spec, level)).tobytes()
            for spec, tensor in zip(self.parts.source, tensors, strict=True)
        )

    def _decode(self, data: bytes | memoryview, level: int) -> tuple[Array, ...]:
        dtypes = [self._wire_dtype(spec, level) for spec in self.parts.target]
        sizes = [spec.size * dtype.itemsize for spec, dtype in zip(self.parts.target, dtypes, strict=True)]
        if len(data) != sum(sizes):
            raise BitstreamError(f"codec 'raw': {len(data)} bytes received, {sum(sizes)} expected")
        tensors = []
        offset = 0
        for spec, dtype, size in zip(self.parts.target, dtypes, sizes, strict=True):
            values = np.frombuffer(data, dtype=dtype, count=spec.size, offset=offset)
            tensors.append(values.reshape(spec.shape).astype(spec.dtype))
            offset += size
        return tuple(tensors)


register(RawCodec.codec_id, RawCodec)
