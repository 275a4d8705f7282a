"""Where the model can be cut, and which of these places are worth it.

A tensor that every path from input to output passes through crosses its place alone: cutting there costs least. With
dead nodes gone, the set of tensors alive behind a node is that tensor alone exactly where it dominates the outputs, in
whatever topological order the nodes stand. Where no such place exists for a long stretch (skip connections across
scales, several heads), places crossed by a few tensors are taken as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.sdk.bundle import Boundary

__all__ = ["DEFAULT_CUTS", "MOST_TENSORS", "Cut", "choose_cuts", "find_cuts", "find_places", "labelled", "pick_cuts"]

#: How many cuts are kept unless asked otherwise.
DEFAULT_CUTS = 8
#: A stretch without a single-tensor cut counts as long from this share of the model's multiply-accumulates.
_LONG = 0.2
#: The most tensors that may cross a cut.
MOST_TENSORS = 4
#: Nodes that only rename or reorder values. A cut behind them is the cut before them, with a worse layout for codecs.
_LAYOUT = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast"})


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where the model can be cut.

    Attributes:
        tensors: what crosses it, oldest first.
        position: how many nodes of the graph lie before it.
        macs: multiply-accumulates before it.
        elements: of all its tensors.
    """

    tensors: tuple[str, ...]
    position: int
    macs: int
    elements: int

    @property
    def label(self) -> str:
        """The place's name for people and for `--cuts`."""
        return "+".join(self.tensors)


def find_cuts(graph: ModelGraph) -> tuple[Cut, ...]:
    """All sensible places between input and output, in the order of the graph.

    Of places with the same computation before them (a convolution, its activation, a pooling) only one is kept: the
    one with the fewest elements, and of equals the last, so that fused operators stay whole. Places at which the
    computation has not begun are left out, because there boundary 0 is smaller.
    """
    singles = _best_per_group(graph, _places(graph, range(1, 2)))
    if not (total := sum(graph.macs)):
        return tuple(singles)
    # Fill long stretches with places of the next higher number of tensors.
    found = list(singles)
    for count in range(2, MOST_TENSORS + 1):
        candidates = _best_per_group(graph, _places(graph, range(count, count + 1)))
        borders = [0, *(cut.macs for cut in found), total]
        gaps = [(a, b) for a, b in pairwise(borders) if b - a > _LONG * total]
        found += [cut for cut in candidates if any(a < cut.macs < b for a, b in gaps)]
        found.sort(key=lambda cut: cut.position)
    return tuple(found)


def find_places(graph: ModelGraph) -> tuple[Cut, ...]:
    """Every place that so few tensors cross that one may cut there, in the order of the graph."""
    return tuple(_places(graph, range(1, MOST_TENSORS + 1)))


def _places(graph: ModelGraph, counts: range) -> list[Cut]:
    """Every place that as many tensors cross as `counts` says."""
    floats = ("float32", "float16", "float64")
    done = 0
    cuts = []
    for position, (names, macs) in enumerate(zip(graph.crossings[1:-1], graph.macs, strict=False), start=1):
        done += macs
        if len(names) not in counts or not all(name in graph.batched and name in graph.specs for name in names):
            continue
        specs = [graph.specs[name] for name in names]
        if done and all(spec.dtype in floats for spec in specs):
            cuts.append(Cut(names, position, done, sum(spec.size for spec in specs)))
    return cuts


def _best_per_group(graph: ModelGraph, cuts: Iterable[Cut]) -> list[Cut]:
    """One cut for each amount of computation before it."""
    best: dict[int, Cut] = {}
    outputs = sum(spec.size for spec in graph.outputs)
    total = sum(graph.macs)
    for cut in cuts:
        if cut.macs == total and cut.elements >= outputs:
            continue  # Nothing but the end of the model is left: that is the output boundary.
        rival = best.get(cut.macs)
        if rival is not None and cut.elements == rival.elements:
            better = not _only_layout(graph, rival, cut)
        else:
            better = rival is None or cut.elements < rival.elements
        if better:
            best[cut.macs] = cut
    return list(best.values())


def _only_layout(graph: ModelGraph, first: Cut, second: Cut) -> bool:
    nodes = graph.model.graph.node[first.position : second.position]
    return all(node.op_type in _LAYOUT for node in nodes)


def choose_cuts(cuts: Sequence[Cut], total_macs: int, most: int, input_elements: int) -> tuple[Cut, ...]:
    """At most `most` cuts that a policy can use.

    First those that are smaller than everything before them, the input included: a device that can go further gets
    something for it. Then the widest gaps in computation are filled, with small tensors near their middle, because
    accuracy under compression, not size alone, decides.

    Args:
        cuts: candidates in the order of the graph.
        total_macs: of the whole model.
        most: how many to keep.
        input_elements: of boundary 0.
    """
    if most < 1:
        return ()
    chosen: list[Cut] = []
    smallest = input_elements
    for cut in cuts:
        if cut.elements < smallest:
            chosen.append(cut)
            smallest = cut.elements
    while len(chosen) > most:
        # Drop the one that buys the least over its predecessor: the least saving in size.
        sizes = [input_elements, *(cut.elements for cut in chosen)]
        gains = [log2(before / after) for before, after in pairwise(sizes)]
        del chosen[gains.index(min(gains))]
    rest = [cut for cut in cuts if cut not in chosen]
    while rest and len(chosen) < most:
        borders = sorted({0, total_macs, *(cut.macs for cut in chosen)})
        gaps = sorted(pairwise(borders), key=lambda gap: gap[0] - gap[1])
        filler = next((found for gap in gaps if (found := _filler(rest, *gap)) is not None), None)
        if filler is None:
            break
        chosen.append(filler)
        rest.remove(filler)
    return tuple(sorted(chosen, key=lambda cut: cut.position))


def _filler(cuts: Sequence[Cut], low: int, high: int) -> Cut | None:
    """The best cut strictly between two amounts of computation."""
    inside = [cut for cut in cuts if low < cut.macs < high]
    if not inside:
        return None
    smallest = min(cut.elements for cut in inside)
    middle = (low + high) / 2

    def cost(cut: Cut) -> float:
        return 0.5 * log2(cut.elements / smallest) + 2 * abs(cut.macs - middle) / (high - low)

    return min(inside, key=cost)


def pick_cuts(graph: ModelGraph, labels: Sequence[str]) -> tuple[Cut, ...]:
    """The cuts that were asked for by name: a tensor name, or several joined by ``+``.

    Raises:
        CalibrationError: if there is no such place; the message lists the places there are.
    """
    places = {frozenset(cut.tensors): cut for cut in _places(graph, range(1, MOST_TENSORS + 1))}
    picked = []
    for label in labels:
        cut = places.get(frozenset(label.split("+")))
        if cut is None:
            known = ", ".join(cut.label for cut in find_cuts(graph))
            raise CalibrationError(f"the model cannot be cut at {label!r}; it can, for instance, at {known}")
        picked.append(cut)
    return tuple(sorted(set(picked), key=lambda cut: cut.position))


def labelled(boundaries: Sequence[Boundary], labels: Sequence[str], purpose: str) -> list[Boundary]:
    """The boundaries with these labels, in their order.

    Args:
        boundaries: inner ones.
        labels: of them.
        purpose: what they are wanted for, as in "no cut 'x' {purpose}".

    Raises:
        CalibrationError: for a label that no boundary has.
    """
    by_label = {boundary.label: boundary for boundary in boundaries}
    if unknown := [label for label in labels if label not in by_label]:
        known = ", ".join(by_label) or "none"
        raise CalibrationError(f"no cut {unknown[0]!r} {purpose}; the cuts of this bundle: {known}")
    return sorted({by_label[label].index: by_label[label] for label in labels}.values(), key=lambda b: b.index)
