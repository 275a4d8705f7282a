"""Every exception that cutpoint raises on purpose descends from `CutpointError`.

CutpointError
 ├── CodecError                a codec cannot do what was asked (unknown codec, level, tensor of another shape)
 │    ├── BitstreamError       bytes that no encoder wrote
 │    │    └── ReferenceLost   a difference to a frame that is not here any more
 │    ├── TableError           entropy tables that are malformed, or symbols no tables can be fitted to
 │    ├── SymbolError          an array of symbols whose shape or type is not its model's
 │    └── CoderUnavailable     the entropy coder that was asked for by name is not on this machine
 └── …                         the tree goes on in cutpoint.sdk.errors
"""

from __future__ import annotations

__all__ = [
    "BitstreamError",
    "CodecError",
    "CoderUnavailable",
    "CutpointError",
    "ReferenceLost",
    "SymbolError",
    "TableError",
]


class CutpointError(Exception):
    """Root of every exception that cutpoint raises on purpose. The message names the thing and the remedy."""


class CodecError(CutpointError):
    """A codec cannot do what was asked of it: an unknown codec, a level it does not have, a tensor of another shape."""


class BitstreamError(CodecError):
    """Bytes that no encoder wrote: truncated, damaged, or made with other tables."""


class ReferenceLost(BitstreamError):
    """A frame of a stream is coded as the difference to one that is not here any more: send a key frame."""


class TableError(CodecError):
    """Entropy tables that are malformed, or symbols that no tables can be fitted to."""


class SymbolError(CodecError):
    """An array of symbols whose shape or type does not belong to its entropy model."""


class CoderUnavailable(CodecError):
    """The entropy coder that was asked for by name is not on this machine."""
