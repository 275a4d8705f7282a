"""`jpeg` and `webp`: boundary 0 as a picture file. What an app does today, and the baseline that papers forget."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from cutpoint.codecs.codec import Codec, CodecParts, register
from cutpoint.codecs.errors import BitstreamError, CodecError
from cutpoint.codecs.tensors import Array

__all__ = ["JpegCodec", "WebpCodec"]


class ImageCodec(Codec):
    """A picture codec of Pillow over one uint8 tensor of shape (1, height, width, 3), RGB.

    Config: ``quality``, one number per level; further settings are the codec's own. Lossy both ways: the decoder's
    pixels are what the tail sees.
    """

    by_rows: ClassVar[bool] = True
    format: ClassVar[str]
    options: ClassVar[dict[str, Any]]

    def __init__(self, parts: CodecParts) -> None:
        super().__init__(parts)
        spec = parts.source[0] if parts.source else None
        if (
            spec is None
            or len(parts.source) != 1
            or spec.dtype != "uint8"
            or len(spec.shape) != 4
            or spec.shape[3] != 3
        ):
            raise CodecError(
                f"codec {self.codec_id!r} takes one uint8 tensor (1, height, width, 3), not {parts.source}"
            )
        if parts.source != parts.target:
            raise CodecError(f"codec {self.codec_id!r} cannot replace layers")
        self._spec = spec
        quality = parts.config.get("quality")
        if not isinstance(quality, list | tuple) or len(quality) != len(parts.levels):
            raise CodecError(f"codec {self.codec_id!r} needs config 'quality' with one number per level")
        self._quality = tuple(int(q) for q in quality)
        self._options = self.options | {name: parts.config[name] for name in self.options if name in parts.config}

    def _encode(self, tensors: Sequence[Array], level: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(tensors[0][0]).save(buffer, self.format, quality=self._quality[level], **self._options)
        return buffer.getvalue()

    def _decode(self, data: bytes | memoryview, level: int) -> tuple[Array, ...]:
        try:
            with Image.open(io.BytesIO(data), formats=[self.format]) as picture:
                # The size is checked on the header, before any memory is taken for pixels.
                if (picture.height, picture.width) != self._spec.shape[1:3]:
                    raise BitstreamError(
                        f"codec {self.codec_id!r}: a picture of {picture.width}×{picture.height} arrived, "
                        f"expected {self._spec.shape[2]}×{self._spec.shape[1]}"
                    )
                pixels = np.asarray(picture.convert("RGB"))
        except BitstreamError:
            raise
        except Exception as error:  # Pillow's decoders raise many types on damaged files.
            raise BitstreamError(f"codec {self.codec_id!r}: not a readable {self.format} picture: {error}") from error
        return (pixels[np.newaxis],)


class JpegCodec(ImageCodec):
    """JPEG with optimised Huffman tables and 4:2:0 chroma."""

    codec_id: ClassVar[str] = "jpeg"
    format: ClassVar[str] = "JPEG"
    options: ClassVar[dict[str, Any]] = {"optimize": True, "subsampling": "4:2:0"}


class WebpCodec(ImageCodec):
    """Lossy WebP. Config: ``method``, the encoder's effort from 0 to 6 (default 4, as in Pillow)."""

    codec_id: ClassVar[str] = "webp"
    format: ClassVar[str] = "WEBP"
    options: ClassVar[dict[str, Any]] = {"method": 4}


register(JpegCodec.codec_id, JpegCodec)
register(WebpCodec.codec_id, WebpCodec)
