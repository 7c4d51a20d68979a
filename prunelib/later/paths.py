"""PHEW: masks that are made of random walks through a network.

`phew` makes the mask; `Walker` below it makes walks on the graph of a network's computation.
"""

import operator

import numpy as np
import torch
from torch import fx, nn

from prunelib import analysis, masks, seeds
from prunelib.errors import BadValueError
from prunelib.masks import Mask
from prunelib.networks import prunable

WALKS = 4096  # that are made together
_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
_SHAPES = (getattr, "size", "dim")  # what a forward pass reads of a tensor beside its numbers


@masks.register("phew", needs_data=False)
def phew(model: nn.Module, sparsity: float, seed: int) -> Mask:
    """PHEW: the weights on random walks whose steps are taken in proportion to |w| (Patil and
    Dovrolis, 2021).

    Every other walk begins at an input, the others at an output, and there at one after the other.
    They lead from channel to channel, by one weight of the kernel between the two. Where a block
    divides into its convolutions and a shortcut with weights, each is taken half of the time; a
    shortcut without weights never is. So it is in the authors' code, but that its walks from inputs
    choose the shortcut a convolution too early, and leave one out.

    Their code stops after the walk that reaches the number of weights, mostly with some too many.
    Here the number is exact: that walk is left out, and what is missing is drawn in proportion to
    |w| among the weights that are on a path together with those kept.

    Raises:
        BadValueError: a network that torch.fx cannot trace, that has grouped convolutions, or joins
            layers otherwise than by sums.
    """
    walker, random = Walker(model), np.random.default_rng(seeds.seed(seed, "phew"))
    mask = masks.full(model)
    kept = np.zeros(sum(m.numel() for m in mask.values()), dtype=bool)
    goal, number, fitting = len(kept) - round(sparsity * len(kept)), 0, WALKS
    while fitting == WALKS and kept.sum() < goal < len(kept):
        weights, walks = walker.walk(np.arange(number, number + WALKS), random)
        fresh, first = np.unique(np.where(kept[weights], -1, weights), return_index=True)
        new = np.bincount(walks[first[fresh >= 0]] - number, minlength=WALKS)
        if not new.any():  # the walks go round what is missing, whose size is zero
            break
        fitting = np.searchsorted(new.cumsum(), goal - kept.sum(), side="right")
        kept[weights[walks < number + fitting]] = True
        number += WALKS
    parts = torch.from_numpy(kept).split([m.numel() for m in mask.values()])
    for part, m in zip(parts, mask.values(), strict=True):
        m.copy_(part.view(m.shape))
    return masks.remove(_completed(model, mask, random), sparsity, seed=seed)


def _completed(model, mask, random):
    """A ranking: first the kept weights, then, drawn in proportion to |w|, those that would be on a
    path of channels with them, last the others."""
    joined = {  # whole kernels: a walk does not ask whether their places fit together
        name: m.flatten(2).any(2)[:, :, None, None].expand_as(m) if m.dim() == 4 else m
        for name, m in mask.items()
    }
    ranking = {}
    for name, near in analysis.connected(model, joined).items():
        size = model.get_parameter(name).detach().abs().double()
        draws = torch.from_numpy(random.exponential(size=tuple(size.shape))).to(size)
        ranking[name] = torch.where(near, size / draws, -1).masked_fill(mask[name], torch.inf)
    return ranking


class Walker:
    """Walks from the inputs of a network to its outputs and back, by channels.

    Args:
        model: the network; not changed.

    Raises:
        BadValueError: as `phew`.
    """

    def __init__(self, model: nn.Module):
        try:
            nodes = fx.Tracer().trace(model).nodes
        except Exception as error:  # whatever a forward pass may do to what it is given
            raise BadValueError(f"phew cannot follow this network's computation: {error}") from None
        self.nodes, self.inputs = _carriers(list(nodes))
        self.outputs = {node: [] for node in self.nodes}
        for node, before in self.inputs.items():
            for other in before:
                self.outputs[other].append(node)
        starts = np.cumsum([0, *(model.get_parameter(n).numel() for n in prunable(model))])
        places = dict(zip(prunable(model), starts, strict=False))
        self.layers = {}
        for node in self.nodes:
            if node.op == "call_module" and f"{node.target}.weight" in places:
                layer = model.get_submodule(node.target)
                self.layers[node] = _Layer(layer, int(places[f"{node.target}.weight"]))
        if len(self.layers) < len(places):
            raise BadValueError("phew cannot follow a layer that is not called as a module")
        self.widths = self._widths()

    def _widths(self):
        """How many channels there are behind each node; the inputs are as many as the first layer
        has."""
        widths = {}
        for node in self.nodes:
            found = {widths[other] for other in self.inputs[node]} - {None}
            if len(self.inputs[node]) > 1 and len(found) != 1:
                raise _unknown(node)
            widths[node] = found.pop() if found else None
            if node in self.layers:
                layer = self.layers[node]
                layer.factor = layer.inputs // (widths[node] or layer.inputs)
                widths[node] = layer.outputs
        first = next(iter(self.layers.values()))
        return {node: width or first.inputs for node, width in widths.items()}

    def walk(
        self, numbers: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Walks of these numbers; even ones go forward, odd ones backward.

        Returns:
            the places of their weights among those of all layers, and the number of the walk of
            each, which does not fall.
        """
        found = []
        for side, forward in enumerate((True, False)):
            order = self.nodes if forward else self.nodes[::-1]
            following = self.outputs if forward else self.inputs
            mine = numbers[numbers % 2 == side]
            there = {order[0]: [(mine, mine // 2 % self.widths[order[0]])]}
            for node in filter(there.__contains__, order):
                walks, units = map(np.concatenate, zip(*there.pop(node), strict=True))
                if node in self.layers:
                    weights, units = self.layers[node].step(units, forward, random)
                    found.append((weights, walks))
                ways = following[node]
                taken = random.integers(len(ways), size=len(units)) if len(ways) > 1 else 0
                for way, other in enumerate(ways):
                    chosen = np.broadcast_to(taken == way, units.shape)
                    there.setdefault(other, []).append((walks[chosen], units[chosen]))
        weights, walks = map(np.concatenate, zip(*found, strict=True))
        order = walks.argsort(kind="stable")
        return weights[order], walks[order]


def _carriers(nodes):
    """The nodes that lead from the input to the output, in order, and of each those before it
    without shortcuts that have no weights."""
    inputs = {}
    for node in nodes:
        before = [other for other in node.all_input_nodes if other in inputs]
        if node.op == "placeholder" or (before and node.target not in _SHAPES):
            inputs[node] = before
    live = {nodes[-1]}
    for node in reversed(inputs):
        if node in live:
            live.update(inputs[node])

    def bare(node):
        """Whether a layer leads on from here: then a way straight to a sum has no weights."""
        return any(len(inputs[user]) == 1 for user in node.users if user in live)

    kept = {}
    for node, before in inputs.items():
        if node in live:
            if len(before) > 1 and node.target not in _SUMS:
                raise _unknown(node)
            kept[node] = [o for o in before if len(before) == 1 or not bare(o)] or before
    return list(kept), kept


def _unknown(node):
    return BadValueError(f"phew knows sums of layers of one width, not {node.name!r}")


class _Layer:
    """A layer as walks see it."""

    def __init__(self, layer, start):
        if getattr(layer, "groups", 1) != 1:
            raise BadValueError("phew does not know grouped convolutions")
        size = layer.weight.detach().abs().double().cpu().numpy()
        size = size.reshape(*size.shape[:2], -1)  # [outputs, inputs, weights of a kernel]
        self.start, self.factor = start, 1
        self.outputs, self.inputs, self.kernel = size.shape
        self.tables = _table(size.transpose(1, 0, 2)), _table(size)

    def step(self, units, forward, random):
        """From these channels: the places of the weights, and the channels that they lead to.

        Behind a convolution whose image was flattened, a linear layer has several inputs a channel.
        """
        if forward and self.factor > 1:
            units = units * self.factor + random.integers(self.factor, size=len(units))
        choices = (self.outputs if forward else self.inputs) * self.kernel
        table = self.tables[0 if forward else 1]
        place = np.searchsorted(table, units + random.random(len(units)), side="right")
        place = np.minimum(place - units * choices, choices - 1)
        other, inner = np.divmod(place, self.kernel)
        ends = (other, units) if forward else (units, other)
        weights = self.start + (ends[0] * self.inputs + ends[1]) * self.kernel + inner
        return weights, other if forward else other // self.factor


def _table(size):
    """Sums of probabilities in rows, row k between k and k + 1: one search finds a draw."""
    rows = size.reshape(len(size), -1)
    sums = rows.sum(1, keepdims=True)
    rows = np.where(sums > 0, rows / np.where(sums > 0, sums, 1), 1 / rows.shape[1])
    table = rows.cumsum(1)
    table[:, -1] = 1
    return (table + np.arange(len(table))[:, None]).ravel()
