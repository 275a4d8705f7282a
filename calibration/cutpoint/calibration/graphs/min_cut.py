"""The cheapest cuts of a graph whose best cut several tensors cross (DADS: Hu et al., INFOCOM 2019).

What the device computes is a set of nodes that holds, with each node, all that it needs. Such a set costs the device's
time for its nodes, the server's for the others, and the time of what crosses from one to the other. The least of all
sets is a minimum cut of a network with one place for each node and one for each tensor:

    source → node        the server's time: paid where the node lies on the server's side
    node → sink          the device's time
    node → its tensor    the tensor's values, once, however many nodes of the other side read it
    tensor → its reader  without end: a reader on the device's side …
    reader → tensor's node   … needs the tensor's node there, too

What a value costs to send, the codec's bytes for it over the rate, decides which set it is. The cost of a set is a line
over that, so that all sets that are the cheapest at some rate are found by looking where two lines cross, until nothing
lies below (Eisner & Severance, 1976).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import onnx
from networkx.algorithms.flow import boykov_kolmogorov

from cutpoint.calibration.graphs.cuts import MOST_TENSORS, Cut, find_cuts, find_places
from cutpoint.calibration.graphs.graph import ModelGraph

__all__ = ["MinimumCut", "Problem", "find_candidates", "minimum_cuts", "nested", "reordered"]

#: Capacities are whole numbers, for which maximum flows are exact: nanoseconds.
_UNITS = 1e6
#: Values of a tensor that may not cross.
_NEVER = 1 << 40
#: Milliseconds a value that are looked at: a byte at 8 Gbit/s, and at 800 bit/s.
_LEAST, _MOST = 1e-6, 10.0


@dataclass(frozen=True)
class Problem:
    """A graph with its costs.

    Attributes:
        reads: for each node the tensors that it reads; constants left out.
        makes: for each node the tensors that it makes.
        device_ms: for each node.
        server_ms: for each node.
        sizes: values of each tensor, inputs included; a tensor without an entry may not cross.
    """

    reads: Sequence[Sequence[str]]
    makes: Sequence[Sequence[str]]
    device_ms: Sequence[float]
    server_ms: Sequence[float]
    sizes: dict[str, int]

    @classmethod
    def of(cls, graph: ModelGraph, device_ms: Sequence[float], server_ms: Sequence[float]) -> Problem:
        """The problem of cutting a model whose nodes take so many milliseconds.

        Behind the model's nodes stands one more that reads its outputs: the device has it where it computes all.
        """
        crossing = [name for name in graph.activations if name in graph.batched and name in graph.specs]
        inputs = {spec.name for spec in graph.inputs}
        sizes = {
            name: graph.specs[name].size
            for name in crossing
            if name in inputs or graph.specs[name].dtype.startswith("float")
        }
        nodes = graph.model.graph.node
        reads = [[name for name in node.input if name in graph.activations] for node in nodes]
        reads.append([spec.name for spec in graph.outputs])
        makes = [[name for name in node.output if name] for node in nodes]
        return cls(reads, [*makes, []], [*device_ms, 0.0], [*server_ms, 0.0], sizes)

    def crossing(self, held: frozenset[int]) -> frozenset[str]:
        """The tensors that cross where the device computes the nodes `held`."""
        made = {name for number, names in enumerate(self.makes) if number not in held for name in names}
        read = {name for number, names in enumerate(self.reads) if number not in held for name in names}
        return frozenset(read - made)

    def costs(self, held: frozenset[int]) -> tuple[float, int]:
        """Milliseconds of computation, and values that cross, where the device computes the nodes `held`."""
        computed = sum(
            device if number in held else server
            for number, (device, server) in enumerate(zip(self.device_ms, self.server_ms, strict=True))
        )
        return computed, sum(self.sizes.get(name, _NEVER) for name in self.crossing(held))


@dataclass(frozen=True)
class MinimumCut:
    """A cut that is the cheapest at some rate.

    Attributes:
        held: numbers of the nodes that the device computes.
        computed_ms: of device and server.
        values: that cross.
    """

    held: frozenset[int]
    computed_ms: float
    values: int


def minimum_cuts(problem: Problem) -> tuple[MinimumCut, ...]:
    """All cuts that are the cheapest at some rate, the one with the most values first.

    Sets that cost the same at the rate where they are the cheapest count once.
    """

    def at(value_ms: float) -> MinimumCut:
        held = _cheapest(problem, value_ms)
        return MinimumCut(held, *problem.costs(held))

    def between(fast: MinimumCut, slow: MinimumCut) -> list[MinimumCut]:
        """Cuts below the lines of both, strictly between the rates where these are the cheapest."""
        if fast.values <= slow.values:
            return []
        value_ms = (slow.computed_ms - fast.computed_ms) / (fast.values - slow.values)
        if value_ms <= 0:
            return []
        found = at(value_ms)
        if found.computed_ms + value_ms * found.values >= fast.computed_ms + value_ms * fast.values - 2 / _UNITS:
            return []
        return [*between(fast, found), found, *between(found, slow)]

    first, last = at(_LEAST), at(_MOST)
    cuts = [first, *between(first, last), last]
    return tuple({cut.held: cut for cut in cuts}.values())


def _cheapest(problem: Problem, value_ms: float) -> frozenset[int]:
    """The cheapest set of nodes where a value takes so long."""
    network = nx.DiGraph()
    network.add_node("source")
    network.add_node("sink")
    makers = {name: number for number, names in enumerate(problem.makes) for name in names}
    for number, (device, server) in enumerate(zip(problem.device_ms, problem.server_ms, strict=True)):
        network.add_edge("source", number, capacity=round(server * _UNITS))
        network.add_edge(number, "sink", capacity=round(device * _UNITS))
        for name in problem.reads[number]:
            tensor = "tensor", name
            maker = makers.get(name)
            if tensor not in network:
                size = problem.sizes.get(name)
                limit = {} if size is None else {"capacity": round(size * value_ms * _UNITS)}
                network.add_edge("source" if maker is None else maker, tensor, **limit)
            network.add_edge(tensor, number)
            if maker is not None:
                network.add_edge(number, maker)
    _, (held, _) = nx.minimum_cut(network, "source", "sink", flow_func=boykov_kolmogorov)
    return frozenset(node for node in held if isinstance(node, int))


def nested(cuts: Sequence[MinimumCut]) -> tuple[MinimumCut, ...]:
    """As many of `cuts` as hold each other, the smallest first.

    The boundaries of a bundle are nested: what the device computes for one it also computes for every later one.
    """
    longest: list[tuple[MinimumCut, ...]] = [()]
    for cut in sorted(cuts, key=lambda cut: len(cut.held)):
        below = [chain for chain in longest if not chain or chain[-1].held < cut.held]
        longest.append((*max(below, key=len), cut))
    return max(longest, key=len)


def find_candidates(graph: ModelGraph, times: Sequence[float]) -> tuple[ModelGraph, tuple[Cut, ...]]:
    """Candidates for boundaries: `find_cuts`, and the cheapest cuts at every rate that are not among them.

    Device and server are taken to be equally fast on all kinds of nodes. How fast matters no more then: only the
    difference of their times counts, and its ratio to the time of a value is what the rates are swept for.

    Args:
        graph: the fp32 model.
        times: of each node.

    Returns:
        The graph, with its nodes in another order where a cheapest cut was no place in the given one; the candidates.
    """
    problem = Problem.of(graph, times, [0.0] * len(times))
    end = len(times)
    cuts = [cut for cut in minimum_cuts(problem) if cut.held and end not in cut.held]
    chain = nested([cut for cut in cuts if len(problem.crossing(cut.held)) <= MOST_TENSORS])
    wanted = {problem.crossing(cut.held) for cut in chain}
    if not wanted <= {frozenset(place.tensors) for place in find_places(graph)}:
        graph = reordered(graph, chain)
    found = find_cuts(graph)
    least = {cut.macs: cut.elements for cut in found}
    more = [
        cut
        for cut in find_places(graph)
        # With the same computation before it, a place in front of an activation is no better than the one behind it.
        if frozenset(cut.tensors) in wanted and cut.elements < least.get(cut.macs, cut.elements + 1)
    ]
    return graph, tuple(sorted((*found, *more), key=lambda cut: cut.position))


def reordered(graph: ModelGraph, cuts: Sequence[MinimumCut]) -> ModelGraph:
    """The graph with its nodes in such an order that each of the nested `cuts` has its nodes in front."""

    def place(number: int) -> tuple[int, int]:
        return sum(number not in cut.held for cut in cuts), number

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.node[:]
    model.graph.node.extend(graph.model.graph.node[number] for number in sorted(range(len(graph.macs)), key=place))
    return ModelGraph(model, graph.specs, graph.batch, graph.batched)
