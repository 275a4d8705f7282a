"""The contract every codec keeps, and the registry that finds a codec by its id."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from cutpoint.codecs.errors import CodecError
from cutpoint.codecs.tensors import Array, TensorSpec, check_tensors

__all__ = ["Codec", "CodecParts", "Transform", "codec_ids", "create_codec", "register"]

#: Runs a graph half of a codec: (tensors, level) -> tensors. Whoever builds a codec passes one in, because
#: running graph files is the runtimes' business, one layer up.
Transform = Callable[[Sequence[Array], int], tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class CodecParts:
    """What a codec is built from: all of it comes out of a bundle.

    Attributes:
        source: the tensors the encoder takes (those of the boundary where the device stops).
        target: the tensors the decoder gives (those of the boundary where the tail starts). The same as `source`
            unless the codec replaces layers.
        levels: name of each level, the one with the fewest bytes first.
        symbols: the small-integer tensors between the encoder graph and the entropy coder; empty for codecs
            without graphs.
        config: the codec's own settings, JSON types only.
        tables: entropy tables; empty for codecs without.
        analysis: the encoder graph, None on a machine that only decodes.
        synthesis: the decoder graph, None on a machine that only encodes.
        batches: whether `synthesis` takes the symbols of several payloads at once.
    """

    source: tuple[TensorSpec, ...]
    target: tuple[TensorSpec, ...]
    levels: tuple[str, ...]
    symbols: tuple[TensorSpec, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    tables: bytes = b""
    analysis: Transform | None = None
    synthesis: Transform | None = None
    batches: bool = False

    def with_rows(self, axis: int, count: int) -> CodecParts:
        """The parts for tensors of `count` rows along `axis`."""

        def cut(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
            return tuple(spec.with_side(axis, count) for spec in specs)

        return replace(self, source=cut(self.source), target=cut(self.target), symbols=cut(self.symbols))


class Codec(ABC):
    """Turns the tensors that cross a cut into bytes and back, at one of several levels.

    The contract, which one test suite checks for every codec:

    * `encode` takes exactly the tensors `parts.source` describes (anything else is a `CodecError`) and returns bytes
      that need nothing but the same codec, built from the same parts, and the level to be decoded.
    * `decode` returns tensors as `parts.target` describes. Any other byte string than an encoder's gives either such
      tensors or a `BitstreamError`; it never crashes, hangs, or takes memory beyond what the shapes ask for.
    * `encode` is deterministic, and neither call changes the codec: both may be called from several threads at once.
    * Level 0 is the smallest. A level outside `range(len(levels))` is a `CodecError`.
    * A codec is rebuilt from `codec_id` and `parts` alone. What `codec_id` and a given set of parts mean on the wire
      never changes once released.
    """

    codec_id: ClassVar[str]
    #: Whether every row is treated by itself, so that `for_rows` works.
    by_rows: ClassVar[bool] = False

    def __init__(self, parts: CodecParts) -> None:
        if not parts.levels:
            raise CodecError(f"codec {self.codec_id!r} has no level")
        self.parts = parts

    def encode(self, tensors: Sequence[Array], level: int) -> bytes:
        """The bytes that cross the cut.

        Args:
            tensors: as `parts.source` describes, batch 1.
            level: 0 … len(levels) - 1.

        Raises:
            CodecError: for tensors of another shape or type, or a level that is not there.
        """
        self.check(tensors, level)
        return self._encode(tensors, level)

    def decode(self, data: bytes | memoryview, level: int) -> tuple[Array, ...]:
        """The tensors that `data` stands for, as `parts.target` describes.

        Raises:
            BitstreamError: if no encoder wrote these bytes.
            CodecError: for a level that is not there.
        """
        self._check_level(level)
        return self._decode(data, level)

    def check(self, tensors: Sequence[Array], level: int) -> None:
        """Raises `CodecError` unless `encode` takes these."""
        self._check_level(level)
        check_tensors(self.parts.source, tensors, f"codec {self.codec_id!r}")

    @abstractmethod
    def _encode(self, tensors: Sequence[Array], level: int) -> bytes: ...

    @abstractmethod
    def _decode(self, data: bytes | memoryview, level: int) -> tuple[Array, ...]: ...

    def for_rows(self, axis: int, count: int) -> Codec:
        """The codec for `count` rows of its tensors, along `axis`: slices of them, see docs/overlap.md.

        Raises:
            CodecError: if the codec does not treat every row by itself.
        """
        if not self.by_rows:
            raise CodecError(
                f"codec {self.codec_id!r} looks at all rows at once, so it cannot code slices; use 'raw' or 'affine'"
            )
        return type(self)(self.parts.with_rows(axis, count))

    def max_bytes(self) -> int:
        """The most bytes that `encode` can return: a receiver refuses longer payloads before it takes memory."""
        # Fixed-width symbols plus escapes stay below twice the tensors; 4 KiB covers headers of tiny tensors.
        specs = self.parts.symbols or self.parts.source
        return 2 * sum(max(spec.nbytes, 4 * spec.size) for spec in specs) + 4096

    def _check_level(self, level: int) -> None:
        if not 0 <= level < len(self.parts.levels):
            raise CodecError(f"codec {self.codec_id!r} has levels 0 to {len(self.parts.levels) - 1}, not {level}")


_REGISTRY: dict[str, type[Codec]] = {}


def register(codec_id: str, codec: type[Codec]) -> None:
    """Makes `codec` known as `codec_id`. Raises `CodecError` if the id is taken by another class."""
    if _REGISTRY.setdefault(codec_id, codec) is not codec:
        raise CodecError(f"codec id {codec_id!r} is taken by {_REGISTRY[codec_id].__name__}")


def codec_ids() -> tuple[str, ...]:
    """The ids of all known codecs."""
    return tuple(sorted(_REGISTRY))


def create_codec(codec_id: str, parts: CodecParts) -> Codec:
    """The codec called `codec_id`, built from `parts`.

    Raises:
        CodecError: if there is no such codec, or it cannot be built from these parts.
    """
    try:
        codec = _REGISTRY[codec_id]
    except KeyError:
        raise CodecError(
            f"codec {codec_id!r} is not known here (there are {', '.join(codec_ids())}); "
            "the bundle needs a newer cutpoint, or a codec that its author registers"
        ) from None
    return codec(parts)
