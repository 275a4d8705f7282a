"""Every exception that cutpoint raises on purpose descends from `CutpointError`.

CutpointError
 ├── CodecError                a codec cannot do what was asked (unknown codec, level, tensor of another shape)
 │    └── BitstreamError       bytes that no encoder wrote
 └── …                         the tree goes on in cutpoint.sdk.errors
"""

from __future__ import annotations

__all__ = ["BitstreamError", "CodecError", "CutpointError"]


class CutpointError(Exception):
    """Root of every exception that cutpoint raises on purpose. The message names the thing and the remedy."""


class CodecError(CutpointError):
    """A codec cannot do what was asked of it: an unknown codec, a level it does not have, a tensor of another shape."""


class BitstreamError(CodecError):
    """Bytes that no encoder wrote: truncated, damaged, or made with other tables."""
