"""Masks: which weights a network keeps.

`remove` turns scores into a mask, `prune` scores and removes, in one shot or iteratively, and
`shuffle` permutes a mask within its layers. `register` is for methods of one's own that give a
whole mask, `from_densities` draws one. A mask is a dict from parameter name to bool tensor, True
where the weight is kept; no function here changes one that it is given.
"""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from prunelib import flow, methods
from prunelib import scores as _scores
from prunelib.errors import BadValueError, check_sparsity
from prunelib.methods import Data, unlike
from prunelib.networks import prunable
from prunelib.scores import Scores
from prunelib.seeds import generator

Mask = dict[str, Tensor]


def register(
    name: str, needs_data: bool = True, batches: int | None = None
) -> Callable[[Callable[..., Mask]], Callable[..., Mask]]:
    """Decorator that makes a function to a mask usable wherever a method name is::

        @masks.register("mine_too", needs_data=False)
        def mine_too(model, sparsity, seed):
            return masks.from_densities(model, densities(model, sparsity), sparsity, seed)

    The function receives, of a copy of the model, `sparsity`, `batch` and `seed`, those that it has
    as parameters, and returns a dict from the name of each prunable weight to a bool tensor of its
    shape, True where it is kept. Exactly round(sparsity * total) weights must be pruned, as many as
    `remove` prunes. Such a method has no ranking, so that it cannot be inverted.

    Args:
        name, needs_data, batches: as for `scores.register`.

    Raises:
        BadValueError: a name that is taken or cannot be recorded, or another value not allowed.
    """
    return methods.add(name, "mask", needs_data=needs_data, batches=batches)


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
        BadValueError: sparsity outside [0, 1), scores that are NaN or complex, or a mask of other
            weights, or sparser than asked for.
    """
    check_sparsity(sparsity)
    if not scores:
        raise BadValueError("there are no scores: give a tensor for each weight to rank")
    if any(z.is_complex() for z in scores.values()):
        raise BadValueError("complex scores have no order: give their absolute values")
    flat = torch.cat([z.detach().flatten().double() for z in scores.values()])
    if torch.isnan(flat).any():
        bad = [name for name, z in scores.items() if torch.isnan(z).any()]
        raise BadValueError(f"scores of {', '.join(bad)} contain NaN: nothing can be ranked")
    if mask is None:
        kept = torch.ones_like(flat, dtype=torch.bool)
    elif set(mask) != set(scores):
        odd = ", ".join(sorted(set(mask) ^ set(scores)))
        raise BadValueError(f"scores and mask must be of the same weights: one has no {odd}")
    else:
        kept = torch.cat([mask[name].flatten() for name in scores]).to(flat.device)
    alive = int(kept.count_nonzero())
    count = alive - _count(scores, sparsity)
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
    batch: Data | None = None,
    mask: Mask | None = None,
    iterations: int | None = None,
    invert: bool = False,
    seed: int = 0,
) -> Mask:
    """Prune a network: score and remove, in one shot or iteratively (Section 3).

    Over N iterations the density after iteration n is d0^(1 - n/N) * d^(n/N), d0 the density of
    `mask` (1 without one) and d = 1 - sparsity. (The paper's s^(n/N) only makes sense for it.)
    Every iteration scores the network that is left; a method that revives pruned weights scores the
    whole one, and they may come back.

    Args:
        model: the network; not changed.
        method: a registered method name. sparsity: in [0, 1).
        batch: the scoring batch, (inputs, targets), for methods that need data; a list of training
            batches for those that ask for them.
        mask: prune further from here. iterations: N; the method's own by default.
        invert: prune the weights the method would keep (Section 5, "Inversion").
        seed: the replicate, for methods that draw and for equal scores.

    Returns:
        dict from parameter name to bool tensor, True where kept.

    Raises:
        UnknownNameError: no such method.
        BadValueError: a bad sparsity, a missing batch, fewer than one iteration; a mask of the
            wrong names, shapes, type or number of weights, or sparser than asked for; scores that
            `scores.score` refuses; a method of whole masks with `mask`, `iterations` or `invert`.
        UserCodeError: an exception in a method of one's own.
    """
    if check_sparsity(sparsity) and not _count(full(model), sparsity):
        raise BadValueError(f"sparsity {sparsity} leaves no weight of the network: ask for less")
    chosen = _scores.get(method)
    steps = chosen.iterations if iterations is None else iterations
    _scores.check_iterations(steps)
    if chosen.kind == "mask":
        plain = mask is None and steps == 1 and not invert
        return _whole(model, chosen, sparsity, batch, seed, plain)
    mask = full(model) if mask is None else mask
    check_mask(model, mask)
    if chosen.revives and _count(mask, sparsity) > kept(mask):
        raise BadValueError(
            f"sparsity {sparsity} is below the mask's own ({sparsity_of(mask):.6f}): a mask is "
            "pruned further, never less"
        )
    first, last = 1 - sparsity_of(mask), 1 - sparsity
    goals = [max(0.0, 1 - first ** (1 - n / steps) * last ** (n / steps)) for n in range(1, steps)]
    goals.append(sparsity)
    if chosen.function is _scores.synflow and not invert and hasattr(model, "input_shape"):
        left = [_count(mask, goal) for goal in goals]
        if left[0] <= kept(mask):
            return flow.prune(model, mask, left, seed)  # the same as what follows, and faster
    work = copy.deepcopy(model)
    for goal in goals:
        if not chosen.revives:
            apply(work, mask)
        ranking = rank(work, method, batch, invert, seed, goal, mask)
        mask = remove(ranking, goal, None if chosen.revives else mask, seed)
    return mask


def check_mask(model: nn.Module, mask: Mask) -> None:
    """Raise BadValueError unless it is a mask of the model's prunable weights."""
    wanted = full(model)
    if set(mask) != set(wanted):
        raise BadValueError(f"a mask must be of the prunable weights: {unlike(mask, wanted)}")
    for name, m in wanted.items():
        given = mask[name]
        if not isinstance(given, Tensor) or given.dtype != torch.bool or given.shape != m.shape:
            what = f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else given
            raise BadValueError(
                f"the mask of {name} is {what}, expected {m.dtype} {tuple(m.shape)}"
            )


def rank(
    model: nn.Module,
    method: str,
    batch: Data | None = None,
    invert: bool = False,
    seed: int = 0,
    sparsity: float | None = None,
    mask: Mask | None = None,
) -> Scores:
    """Scores with their sign turned where the method, or its inversion, prunes the highest.

    Arguments and errors are those of `scores.score` and `prune`; the lowest of what is returned go
    first, so that the masks of a one-shot method at all sparsities are
    `remove(rank(...), sparsity, seed=seed)`, unless it asks for the sparsity.
    """
    sign = -1 if (_scores.get(method).prunes == "highest") != invert else 1
    found = _scores.score(model, method, batch, seed, sparsity, mask)
    return {name: sign * z for name, z in found.items()}


def _whole(model, method, sparsity, batch, seed, plain):
    """The mask of a method that gives whole ones, checked; `plain` if nothing else is asked for."""
    if not plain:
        raise BadValueError(
            f"method {method.label!r} gives whole masks: it has no ranking that could be "
            "inverted, no iterations, and does not go on from a mask"
        )
    found = methods.call(method, model, batch, seed, sparsity=sparsity)
    methods.check_tensors(method, model, found)
    expected = _count(found, sparsity)
    if kept(found) != expected:
        raise BadValueError(
            f"method {method.label!r} kept {kept(found):,} weights, at sparsity {sparsity} it must "
            f"keep {expected:,}"
        )
    return {n: found[n].detach().clone().to(model.get_parameter(n).device) for n in prunable(model)}


def _count(mask, sparsity):
    """How many weights a mask of this sparsity keeps."""
    total = sum(m.numel() for m in mask.values())
    return total - round(sparsity * total)


def from_densities(
    model: nn.Module, densities: Mapping[str, float], sparsity: float, seed: int = 0
) -> Mask:
    """A mask that keeps a given share of each layer, which weights drawn at random.

    It keeps exactly as many weights as `remove` leaves at this sparsity. Each layer gets the whole
    part of density * size; what is then missing goes to the layers with the largest remainders, one
    weight each, what is too much is taken from those with the smallest; of equal ones the first in
    the network's order.

    Args:
        model: a network.
        densities: dict from the name of each prunable weight to the share kept, in [0, 1].
        sparsity: of the whole network, in [0, 1).
        seed: the replicate; the draw depends on it and on the layer's name.

    Returns:
        dict from name to bool tensor, True where kept.

    Raises:
        BadValueError: wrong names, densities outside [0, 1], or such that together keep another
            number of weights than the sparsity, by more than one a layer.
    """
    check_sparsity(sparsity)
    mask = full(model)
    if set(densities) != set(mask):
        wrong = unlike(densities, mask)
        raise BadValueError(f"densities must be of the prunable weights: {wrong}")
    for name, density in densities.items():
        if not 0 <= density <= 1:
            raise BadValueError(f"the density {density} of {name} is not in [0, 1]")
    ideal = {name: float(densities[name]) * m.numel() for name, m in mask.items()}
    goal = _count(mask, sparsity)
    if abs(sum(ideal.values()) - goal) > len(mask):
        raise BadValueError(
            f"the densities keep {sum(ideal.values()):,.0f} weights, at sparsity {sparsity} these "
            f"must be {goal:,}: scale them, as densities.fitted of prunelib.later does"
        )
    counts = {name: int(value) for name, value in ideal.items()}
    while (left := goal - sum(counts.values())) != 0:
        sign = 1 if left > 0 else -1
        free = [n for n, m in mask.items() if 0 <= counts[n] + sign <= m.numel()]
        counts[max(free, key=lambda n: sign * (ideal[n] - counts[n]))] += sign
    for name, m in mask.items():
        order = torch.randperm(m.numel(), generator=generator(seed, f"densities/{name}"))
        m.view(-1)[order[counts[name] :].to(m.device)] = False
    return mask


def check(model: nn.Module, method: str, batch: Data | None = None, sparsity: float = 0.5) -> None:
    """Check that a method gives the same again: its scores of a network, or its whole mask.

    Rounding may differ, by a thousandth of the largest score, or in a thousandth of the weights.

    Args:
        model, method, batch, sparsity: as for `prune`.

    Raises:
        BadValueError: it does not; or as `prune`.
    """
    if (chosen := _scores.get(method)).kind == "mask":
        first, second = (prune(model, method, sparsity, batch) for _ in range(2))
        apart = sum(int((first[name] ^ second[name]).sum()) for name in first)
        same = apart <= 1e-3 * sum(m.numel() for m in first.values())
    else:
        about = {"batch": batch, "sparsity": sparsity}
        first, second = (_scores.score(model, method, **about) for _ in range(2))
        largest = max(float(z.abs().max()) for z in first.values())
        same = all(((second[n] - z).abs() <= 1e-3 * largest).all() for n, z in first.items())
    if not same:
        raise BadValueError(
            f"method {chosen.label!r} gives something else the second time, from the same network, "
            "batch and seed: draw from the generators of torch, NumPy or Python, which are seeded "
            "for it, or from its parameter 'seed'"
        )


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
    """Set the pruned weights of `model` to zero, in place; returns the model. `check_mask` says
    whether it is a mask of the model."""
    for name, m in mask.items():
        model.get_parameter(name).mul_(m)
    return model


def sparsity_of(mask: Mask) -> float:
    """The fraction of weights pruned, in [0, 1] (Section 3)."""
    return 1 - kept(mask) / sum(m.numel() for m in mask.values())


def kept(mask: Mask) -> int:
    """How many weights are kept."""
    return sum(int(m.count_nonzero()) for m in mask.values())
