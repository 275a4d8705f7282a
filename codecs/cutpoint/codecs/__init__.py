"""Tensors ↔ symbols ↔ bytes: what happens between a boundary and the wire."""

from cutpoint.codecs.codec import Codec, CodecParts, Transform, codec_ids, create_codec, register
from cutpoint.codecs.delta import DeltaCodec, SymbolMemory, difference
from cutpoint.codecs.entropy import EntropyModel
from cutpoint.codecs.errors import (
    BitstreamError,
    CodecError,
    CoderUnavailable,
    CutpointError,
    ReferenceLost,
    SymbolError,
    TableError,
)
from cutpoint.codecs.image import JpegCodec, WebpCodec
from cutpoint.codecs.raw import RawCodec
from cutpoint.codecs.symbols import SYMBOL_CODECS, SymbolCodec, pack_tables, unpack_tables
from cutpoint.codecs.tensors import DTYPES, Array, TensorSpec, check_tensors

__all__ = [
    "DTYPES",
    "SYMBOL_CODECS",
    "Array",
    "BitstreamError",
    "Codec",
    "CodecError",
    "CodecParts",
    "CoderUnavailable",
    "CutpointError",
    "DeltaCodec",
    "EntropyModel",
    "JpegCodec",
    "RawCodec",
    "ReferenceLost",
    "SymbolCodec",
    "SymbolError",
    "SymbolMemory",
    "TableError",
    "TensorSpec",
    "Transform",
    "WebpCodec",
    "check_tensors",
    "codec_ids",
    "create_codec",
    "difference",
    "pack_tables",
    "register",
    "unpack_tables",
]
