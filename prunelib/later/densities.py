"""Masks at random within layers: only the share that each layer keeps is chosen."""

import math
from collections.abc import Callable

from torch import nn

from prunelib import masks
from prunelib.masks import Mask
from prunelib.networks import prunable

OUTPUT = 0.3  # density of the output layer with smart ratios
HALVINGS = 200  # more than it takes to bring two floating-point numbers together


@masks.register("erk", needs_data=False)
def erk(model: nn.Module, sparsity: float, seed: int) -> Mask:
    """ERK: density proportional to the sum of a weight's dimensions over their product (Mocanu et
    al., 2018; Evci et al., 2020, Section 3).

    So to (n_in + n_out + h + w) / (n_in n_out h w) of a convolution, to (n_in + n_out) /
    (n_in n_out) of a linear layer. Layers that would exceed 1 are kept whole, and the others scaled
    again, until none does.
    """
    shapes = {name: model.get_parameter(name).shape for name in prunable(model)}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    shares = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    capped = fitted(lambda c, name: min(1.0, shares[name] / c), sizes, sparsity)
    return masks.from_densities(model, capped, sparsity, seed)


@masks.register("smart_ratios", needs_data=False)
def smart_ratios(model: nn.Module, sparsity: float, seed: int) -> Mask:
    """Smart ratios, for "random tickets" (Su et al., 2020).

    Of L layers, layer l keeps a share proportional to (L - l + 1)^2 + (L - l + 1), divided by l^2
    but in residual networks; the output layer keeps 30 %, or what there is to keep. What exceeds a
    layer goes to the next one. Their code keeps 30 % of every linear layer; their networks have one
    only, and in LeNet nothing could then be chosen. It tells residual networks by their name, and
    so does this function, by that of their class.
    """
    *hidden, output = prunable(model)
    sizes = {name: model.get_parameter(name).numel() for name in (*hidden, output)}
    goal, residual = (1 - sparsity) * sum(sizes.values()), "resnet" in type(model).__name__.lower()
    kept = {output: min(OUTPUT * sizes[output], goal) if hidden else goal}
    left = {name: len(sizes) - place for place, name in enumerate(hidden)}
    shares = {
        name: sizes[name] * (k**2 + k) / (1 if residual else (len(sizes) - k + 1) ** 2)
        for name, k in left.items()
    }
    scale, over = (goal - kept[output]) / (sum(shares.values()) or 1), 0.0
    for name in (*hidden, output):
        wanted = over + (kept[output] if name == output else scale * shares[name])
        kept[name] = min(wanted, sizes[name])
        over = wanted - kept[name]
    ratios = {name: kept[name] / size for name, size in sizes.items()}
    return masks.from_densities(model, ratios, sparsity, seed)


@masks.register("igq", needs_data=False)
def igq(model: nn.Module, sparsity: float, seed: int) -> Mask:
    """IGQ, ideal gas quotas: of a layer of n weights the density is 1 / (1 + f n), with f found by
    bisection (Vysogorets and Kempe, 2023)."""
    sizes = {name: model.get_parameter(name).numel() for name in prunable(model)}
    quotas = fitted(lambda f, name: 1 / (1 + f * sizes[name]), sizes, sparsity)
    return masks.from_densities(model, quotas, sparsity, seed)


def fitted(
    density: Callable[[float, str], float], sizes: dict[str, int], sparsity: float
) -> dict[str, float]:
    """Densities that together prune a sparsity, found by bisection.

    Args:
        density: the density in [0, 1] of a layer, given a number c above 0 and the layer's name; it
            falls with c. As `lambda c, name: min(1, shares[name] / c)`, proportional to shares.
        sizes: dict from name to the number of weights. sparsity: of the whole network, in [0, 1).

    Returns:
        dict from name to density, as `masks.from_densities` takes it.
    """
    low, high, goal = 0.0, 1e20, (1 - sparsity) * sum(sizes.values())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if sum(density(middle, name) * size for name, size in sizes.items()) > goal:
            low = middle
        else:
            high = middle
    return {name: density(high, name) for name in sizes}
