"""Masks: remove weights by score, in one shot or iteratively; shuffle a mask; apply it."""

import copy

import torch

from prunelib import scores as _scores
from prunelib.errors import BadValueError, check_sparsity
from prunelib.networks import prunable
from prunelib.seeds import generator


def remove(scores, sparsity, mask=None):
    """The mask that prunes the lowest scores, by one threshold over all tensors (Section 3).

    Exactly round(sparsity * total) weights are pruned; among equal scores the earlier position
    goes first. (The authors' code keeps scores strictly above the n-th smallest, which prunes one
    weight more, and every tie.) Weights that `mask` has pruned stay pruned and are not ranked.

    Args:
        scores: dict from name to tensor, any shapes; higher is kept.
        sparsity: fraction of all weights pruned in the result, in [0, 1).
        mask: dict from name to bool tensor, True where kept; None keeps everything.

    Returns:
        dict from name to bool tensor, True where the weight is kept.

    Raises:
        BadValueError: sparsity outside [0, 1), scores that are NaN, or a mask that is sparser
            than asked for.
    """
    check_sparsity(sparsity)
    flat = torch.cat([z.detach().flatten().double() for z in scores.values()])
    if torch.isnan(flat).any():
        bad = [name for name, z in scores.items() if torch.isnan(z).any()]
        raise BadValueError(f"scores of {', '.join(bad)} contain NaN: nothing can be ranked")
    if mask is None:
        kept = torch.ones_like(flat, dtype=torch.bool)
    else:
        kept = torch.cat([mask[name].flatten() for name in scores]).to(flat.device)
    alive = int(kept.count_nonzero())
    count = round(sparsity * flat.numel()) - (flat.numel() - alive)
    if count < 0:
        raise BadValueError(
            f"sparsity {sparsity} is below the mask's own "
            f"({1 - alive / flat.numel():.6f}): pruned weights stay pruned"
        )
    if count > 0:
        ranked = flat.masked_fill(~kept, torch.inf).cpu().numpy()
        ranked.partition(count - 1)  # on a CPU several times as fast as kthvalue
        threshold = float(ranked[count - 1])
        ties = ((flat == threshold) & kept).nonzero().squeeze(1)
        kept &= flat >= threshold
        kept[ties[: count - (alive - int(kept.count_nonzero()))]] = False
    parts = kept.split([z.numel() for z in scores.values()])
    return {
        name: part.view(z.shape).clone()
        for (name, z), part in zip(scores.items(), parts, strict=True)
    }


def prune(model, method, sparsity, batch=None, mask=None, iterations=None, invert=False, seed=0):
    """Prune a network: score and remove, in one shot or iteratively (Section 3).

    Over N iterations the density after iteration n is d0^(1 - n/N) * d^(n/N), d0 the density of
    `mask` (1 without one) and d = 1 - sparsity. (The paper writes s^(n/N) of the sparsity, which
    only makes sense for the density.) Every iteration scores the network that is left.

    Args:
        model: the network; not changed.
        method: a registered method name.
        sparsity: in [0, 1).
        batch: the scoring batch, (inputs, targets), for methods that need data.
        mask: prune further from here.
        iterations: N; the method's own by default.
        invert: prune the weights the method would keep (Section 5, "Inversion").
        seed: the replicate, for methods that draw.

    Returns:
        dict from parameter name to bool tensor, True where kept.

    Raises:
        UnknownNameError: no such method.
        BadValueError: a bad sparsity, a missing batch, fewer than one iteration.
    """
    check_sparsity(sparsity)
    chosen = _scores.get(method)
    steps = chosen.iterations if iterations is None else iterations
    if not isinstance(steps, int) or steps < 1:
        raise BadValueError(f"iterations={steps!r}: give a whole number from 1")
    work = copy.deepcopy(model)
    mask = full(work) if mask is None else mask
    start = 1 - sparsity_of(mask)
    for n in range(1, steps + 1):
        apply(work, mask)
        ranking = rank(work, method, batch, invert, seed)
        density = start ** (1 - n / steps) * (1 - sparsity) ** (n / steps)
        goal = sparsity if n == steps else max(0.0, 1 - density)
        mask = remove(ranking, goal, mask)
    return mask


def rank(model, method, batch=None, invert=False, seed=0):
    """Scores with their sign turned where the method, or its inversion, prunes the highest.

    Arguments and errors are those of `prune`; the lowest of what is returned go first, so that
    the masks of a one-shot method at all sparsities are `remove(rank(...), sparsity)`.
    """
    sign = -1 if (_scores.get(method).prunes == "highest") != invert else 1
    return {name: sign * z for name, z in _scores.score(model, method, batch, seed).items()}


def full(model):
    """The mask that keeps every prunable weight of `model`."""
    return {n: torch.ones_like(model.get_parameter(n), dtype=torch.bool) for n in prunable(model)}


def shuffle(mask, seed=0):
    """Permute the mask within each tensor (Section 5, "Randomly shuffling").

    Args:
        mask: dict from name to bool tensor; not changed.
        seed: the replicate; the permutation depends on it and on the tensor's name.
    """
    shuffled = {}
    for name, m in mask.items():
        order = torch.randperm(m.numel(), generator=generator(seed, f"shuffle/{name}"))
        shuffled[name] = m.flatten()[order.to(m.device)].view(m.shape)
    return shuffled


@torch.no_grad()
def apply(model, mask):
    """Set the pruned weights of `model` to zero, in place; returns the model."""
    for name, m in mask.items():
        model.get_parameter(name).mul_(m)
    return model


def sparsity_of(mask):
    """The fraction of weights pruned, in [0, 1] (Section 3)."""
    total = sum(m.numel() for m in mask.values())
    return 1 - kept(mask) / total


def kept(mask):
    """How many weights are kept."""
    return sum(int(m.count_nonzero()) for m in mask.values())
