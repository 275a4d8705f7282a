"""The operating points that spans and codecs make together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from cutpoint.sdk.bundle import CodecEntry, Measurement, Point, Span

__all__ = ["find_baselines", "group_by_head", "make_points", "middle_spans", "used_spans"]

_UNMEASURED = Measurement(metric=0.0, bytes_mean=0.0, bytes_p95=0.0, device_ms=0.0)


def make_points(spans: Sequence[Span], codecs: Sequence[CodecEntry], last: int) -> tuple[Point, ...]:
    """Every head with every level of every codec at its end, and the whole model at every precision. Unmeasured.

    Args:
        spans: of the bundle.
        codecs: of the bundle.
        last: index of the output boundary.
    """
    heads = sorted((span.end, span.precision) for span in spans if span.start == 0)
    points = []
    for codec in codecs:
        name = codec.id.split("-", 1)[1]
        precisions = [precision for end, precision in heads if end == codec.start] if codec.start else [None]
        for precision in precisions:
            for level, title in enumerate(codec.levels):
                place = "-".join(filter(None, (f"cut{codec.start}", precision, name, title)))
                points.append(
                    Point(
                        id=place,
                        start=codec.start,
                        end=codec.end,
                        measured=_UNMEASURED,
                        precision=precision,
                        codec=codec.id,
                        level=level,
                        tail_precision="fp32",
                    )
                )
    for end, precision in heads:
        if end == last:
            points.append(Point(f"cut{last}-{precision}", last, last, _UNMEASURED, precision))
    return tuple(sorted(points, key=_head))


def _head(point: Point) -> tuple[int, str]:
    return point.start, point.precision or ""


def group_by_head(points: Sequence[Point]) -> Iterator[tuple[Point, ...]]:
    """Runs of points with one head in common."""
    for _, group in groupby(points, key=_head):
        yield tuple(group)


def find_baselines(points: Sequence[Point], codecs: Sequence[CodecEntry], tiers: bool = False) -> frozenset[str]:
    """Ids of what splitting is compared with: the whole model on the device, the raw input, the finest picture.

    Args:
        points: of a bundle.
        codecs: of the bundle.
        tiers: whether servers pass requests on: then also what crosses each cut as it is, in the fewest bytes.
    """
    families = {codec.id: codec for codec in codecs}

    def wanted(point: Point) -> bool:
        if point.codec is None:
            return True
        codec = families[point.codec]
        if point.start == 0:
            return codec.codec in ("raw", "jpeg", "webp") and point.level == len(codec.levels) - 1
        return tiers and point.precision == "fp32" and codec.codec == "raw" and point.level == 0

    return frozenset(point.id for point in points if wanted(point))


def middle_spans(points: Sequence[Point]) -> frozenset[tuple[int, int]]:
    """Start and end of the spans by which a server gets from one point to another, later one."""
    ends = {point.end for point in points if not point.local}
    starts = {point.start for point in points if not point.local}
    return frozenset((end, start) for end in ends for start in starts if end < start)


def used_spans(points: Sequence[Point], last: int) -> frozenset[tuple[int, int, str]]:
    """The spans that points run: start, end and precision of each.

    Args:
        points: of a bundle.
        last: index of the output boundary.
    """
    heads = {(0, point.start, point.precision) for point in points if point.precision is not None}
    tails = {(point.end, last, point.tail_precision) for point in points if point.tail_precision is not None}
    return frozenset(heads | tails)
