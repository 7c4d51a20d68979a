"""A network small enough to draw, with what SynFlow sees in it: its paths (Appendix D.5)."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prunelib.errors import BadValueError
from prunelib.pages.axes import GREY, panels
from prunelib.pages.shown import in_words
from prunelib.pages.style import METHODS

Edge = tuple[int, int, int]  # layer, neuron it leads to, neuron it comes from
_MARKED = METHODS["snip"].colour


def paths(weights: Sequence[np.ndarray]) -> dict[tuple[int, ...], float]:
    """Every path from an input to an output, and the product of the absolute weights along it.

    Args:
        weights: matrices of a chain of linear layers without biases, [outputs, inputs] each.

    Returns:
        dict from the neurons of a path, counted from 0, one a layer from input to output.
    """
    sizes = [weights[0].shape[1], *(len(w) for w in weights)]
    return {
        path: math.prod(abs(float(weights[layer][to, at])) for layer, to, at in edges(path))
        for path in itertools.product(*map(range, sizes))
    }


def edges(path: Sequence[int]) -> list[Edge]:
    """The weights that a path goes through."""
    return [(layer, to, at) for layer, (at, to) in enumerate(itertools.pairwise(path))]


def network(weights: Sequence, path: Sequence[int], weight: Edge) -> Figure:
    """A chain of linear layers, drawn twice: with one path and its product, and with one weight and
    the sum over the paths through it, which is its score.

    Args:
        weights: as of `paths`, arrays or nested lists.
        path: one neuron a layer, from input to output. weight: layer, output, input.

    Raises:
        BadValueError: a path or weight that the network does not have.
    """
    weights = [np.asarray(w, dtype=float) for w in weights]
    found = paths(weights)
    through = [own for own in found if tuple(weight) in edges(own)]
    if tuple(path) not in found or not through:
        raise BadValueError(f"no path {path!r} or no weight {weight!r} in this network")
    factors = " · ".join(f"|{weights[layer][to, at]:g}|" for layer, to, at in edges(path))
    layer, to, at = weight
    terms = " + ".join(f"{found[own]:g}" for own in through)
    score = sum(found[own] for own in through)
    title = f"SynFlow's paths: {len(found)}, with the path norm {sum(found.values()):g}"
    with panels(title, (8.4, 3.0), (1, 2)) as (fig, ((left, right),)):
        _chain(left, weights, dict.fromkeys(edges(path), _MARKED))
        others = {edge: METHODS["magnitude"].colour for own in through for edge in edges(own)}
        _chain(right, weights, others | {tuple(weight): _MARKED})
        left.set_title(f"One path: the product {factors} = {found[tuple(path)]:g}")
        right.set_title(
            f"The score of the weight {weights[layer][to, at]:g}: the sum {terms} = {score:g}"
        )
    return in_words(fig)


def _chain(axis: Axes, weights: Sequence[np.ndarray], marked: dict[Edge, str]) -> None:
    """Neurons in columns, inputs on the left, and a line a weight, as wide as it is large, with its
    value; marked ones in their colour."""
    sizes = [weights[0].shape[1], *(len(w) for w in weights)]
    most = max(float(np.abs(w).max()) for w in weights)
    y = [[(size - 1) / 2 - k for k in range(size)] for size in sizes]
    for layer, matrix in enumerate(weights):
        for (to, at), value in np.ndenumerate(matrix):
            colour = marked.get((layer, to, at), "#b9bdc0")
            text = marked.get((layer, to, at), GREY)
            ends = y[layer][at], y[layer + 1][to]
            width = 0.8 + 4 * abs(value) / most
            axis.plot([layer, layer + 1], ends, color=colour, linewidth=width, zorder=1)
            near = 0.3  # of the way, where crossing lines are apart
            place = layer + near, ends[0] + near * (ends[1] - ends[0])
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
            axis.annotate(f"{value:g}", place, ha="center", va="center", color=text, bbox=box)
    for layer, places in enumerate(y):
        axis.scatter([layer] * len(places), places, 700, "white", edgecolors=GREY, zorder=2)
        for k, place in enumerate(places):
            kind = "x" if layer == 0 else "y" if layer == len(weights) else "h"
            name = f"${kind}_{k + 1}$" if len(places) > 1 else f"${kind}$"
            axis.annotate(name, (layer, place), ha="center", va="center", fontsize=11, zorder=3)
    axis.set(xlim=(-0.3, len(weights) + 0.3), ylim=(-max(sizes) / 2, max(sizes) / 2))
    axis.axis("off")
