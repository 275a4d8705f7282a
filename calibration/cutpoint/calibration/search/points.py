"""The operating points that spans and codecs make together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from cutpoint.sdk.bundle import CodecEntry, Measurement, Point, Span

__all__ = ["find_baselines", "group_by_head", "make_points", "used_spans"]

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


def find_baselines(points: Sequence[Point], codecs: Sequence[CodecEntry]) -> frozenset[str]:
    """Ids of what splitting is compared with: the whole model on the device, the raw input, the finest picture."""
    families = {codec.id: codec for codec in codecs}
    found = set()
    for point in points:
        codec = families[point.codec] if point.codec is not None else None
        if codec is None or (
            point.start == 0 and codec.codec in ("raw", "jpeg", "webp") and point.level == len(codec.levels) - 1
        ):
            found.add(point.id)
    return frozenset(found)


def used_spans(points: Sequence[Point], last: int) -> frozenset[tuple[int, int, str]]:
    """The spans that points run: start, end and precision of each.

    Args:
        points: of a bundle.
        last: index of the output boundary.
    """
    heads = {(0, point.start, point.precision) for point in points if point.precision is not None}
    tails = {(point.end, last, point.tail_precision) for point in points if point.tail_precision is not None}
    return frozenset(heads | tails)
