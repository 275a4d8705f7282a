"""Keeps the device part small where files cannot share weights."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["MOST", "heads_that_fit"]

#: Size of a device part for one runtime, in sizes of the uncut model's file.
MOST = 2.5


def heads_that_fit(
    heads: Mapping[int, int], encoders: Mapping[int, int], last: int, most: float = MOST
) -> frozenset[int]:
    """The boundaries whose heads get a file for a runtime in which every file carries its own weights.

    Deep heads repeat nearly the whole model. The uncut model always gets one; of the others those that cost least come
    first, with their encoders, until all of it is `most` times the uncut model's file.

    Args:
        heads: boundary → size of the head, bytes.
        encoders: boundary → size of the encoders there, bytes.
        last: the output boundary; one of `heads`.
        most: sizes of the uncut model.
    """
    cost = {end: size + encoders.get(end, 0) for end, size in heads.items() if end != last}
    left = most * heads[last] - heads[last] - encoders.get(0, 0)
    kept = {last}
    for end in sorted(cost, key=lambda end: (cost[end], end)):
        left -= cost[end]
        if left < 0:
            break
        kept.add(end)
    return frozenset(kept)
