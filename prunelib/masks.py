"""Masks: which weights a network keeps.

`remove` turns scores into a mask, `prune` scores and removes, in one shot or iteratively, and
`shuffle` permutes a mask within its layers. A mask is a dict from parameter name to bool tensor,
True where the weight is kept; no function here changes one that it is given.
"""

import copy

import torch
from torch import Tensor, nn

from prunelib import flow
from prunelib import scores as _scores
from prunelib.errors import BadValueError, check_sparsity
from prunelib.networks import prunable
from prunelib.scores import Batch, Scores
from prunelib.seeds import generator

Mask = dict[str, Tensor]


def remove(scores: Scores, sparsity: float, mask: Mask | None = None, seed: int = 0) -> Mask:
    """The mask that prunes the lowest scores, by one threshold over all tensors (Section 3).

    Exactly round(sparsity * total) weights are pruned; which of equal scores go first is drawn at
    random. (The authors' code keeps scores strictly above the n-th smallest, which prunes one
    weight more, and every tie.) Weights that `mask` has pruned stay pruned and are not ranked.

    Args:
        scores: dict from name to tensor of real numbers, any shapes; higher is kept.
        sparsity: fraction of all weights pruned in the result, in [0, 1).
        mask: dict from name to bool tensor, True where kept; None keeps everything.
        seed: the replicate, which decides between equal scores.

    Returns:
        dict from name to bool tensor, True where the weight is kept.

    Raises:
        BadValueError: sparsity outside [0, 1), scores that are NaN or complex, or a mask that is
            sparser than asked for.
    """
    check_sparsity(sparsity)
    if any(z.is_complex() for z in scores.values()):
        raise BadValueError("complex scores have no order: give their absolute values")
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
        count -= alive - int(kept.count_nonzero())
        if count < len(ties):
            # A position must not decide: whole layers can be tied, at zero for example. Every
            # weight has a draw of its own, so that one tie more or less leaves the others' order.
            stream = generator(seed, "ties")
            draws = torch.rand(flat.numel(), generator=stream, dtype=torch.float64)
            ties = ties[draws[ties.cpu()].argsort().to(ties.device)]
        kept[ties[:count]] = False
    parts = kept.split([z.numel() for z in scores.values()])
    return {
        name: part.view(z.shape).clone()
        for (name, z), part in zip(scores.items(), parts, strict=True)
    }


def prune(
    model: nn.Module,
    method: str,
    sparsity: float,
    batch: Batch | None = None,
    mask: Mask | None = None,
    iterations: int | None = None,
    invert: bool = False,
    seed: int = 0,
) -> Mask:
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
        seed: the replicate, for methods that draw and for equal scores.

    Returns:
        dict from parameter name to bool tensor, True where kept.

    Raises:
        UnknownNameError: no such method.
        BadValueError: a bad sparsity, a missing batch, fewer than one iteration.
    """
    check_sparsity(sparsity)
    chosen = _scores.get(method)
    steps = chosen.iterations if iterations is None else iterations
    _scores.check_iterations(steps)
    mask = full(model) if mask is None else mask
    start = 1 - sparsity_of(mask)
    densities = [start ** (1 - n / steps) * (1 - sparsity) ** (n / steps) for n in range(1, steps)]
    goals = [*(max(0.0, 1 - density) for density in densities), sparsity]
    if method == "synflow" and not invert and hasattr(model, "input_shape"):
        total = sum(m.numel() for m in mask.values())
        left = [total - round(goal * total) for goal in goals]
        if left[0] <= kept(mask):
            return flow.prune(model, mask, left, seed)  # the same as what follows, and faster
    work = copy.deepcopy(model)
    for goal in goals:
        apply(work, mask)
        mask = remove(rank(work, method, batch, invert, seed), goal, mask, seed)
    return mask


def rank(
    model: nn.Module,
    method: str,
    batch: Batch | None = None,
    invert: bool = False,
    seed: int = 0,
) -> Scores:
    """Scores with their sign turned where the method, or its inversion, prunes the highest.

    Arguments and errors are those of `prune`; the lowest of what is returned go first, so that
    the masks of a one-shot method at all sparsities are `remove(rank(...), sparsity, seed=seed)`.
    """
    sign = -1 if (_scores.get(method).prunes == "highest") != invert else 1
    return {name: sign * z for name, z in _scores.score(model, method, batch, seed).items()}


def full(model: nn.Module) -> Mask:
    """The mask that keeps every prunable weight of `model`."""
    return {n: torch.ones_like(model.get_parameter(n), dtype=torch.bool) for n in prunable(model)}


def shuffle(mask: Mask, seed: int = 0) -> Mask:
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
def apply(model: nn.Module, mask: Mask) -> nn.Module:
    """Set the pruned weights of `model` to zero, in place; returns the model."""
    for name, m in mask.items():
        model.get_parameter(name).mul_(m)
    return model


def sparsity_of(mask: Mask) -> float:
    """The fraction of weights pruned, in [0, 1] (Section 3)."""
    total = sum(m.numel() for m in mask.values())
    return 1 - kept(mask) / total


def kept(mask: Mask) -> int:
    """How many weights are kept."""
    return sum(int(m.count_nonzero()) for m in mask.values())
