"""SynFlow's iterations, faster: the masks of `masks.prune`'s plain loop, bit for bit.

A hundred iterations score a network again and again that changes little. So |model| is made once,
in float64, and loses in each iteration the weights that go; and of the scores only those are ranked
that may be among the lowest. `scores.synflow` and `masks.remove` say what is computed.
"""

import copy
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from prunelib.errors import BadValueError
from prunelib.networks import prunable
from prunelib.seeds import generator

STRIDE = 101  # of a sample of scores; a prime, so that it meets every position of a kernel


def prune(
    model: nn.Module, mask: dict[str, Tensor], left: Iterable[int], seed: int = 0
) -> dict[str, Tensor]:
    """Prune by SynFlow, iteratively (Tanaka et al., 2020; Appendix D.1).

    Args:
        model: the network, with `input_shape`; not changed.
        mask: prune further from here: dict from the name of every prunable parameter to bool
            tensor, True where kept; not changed.
        left: how many weights are left after each iteration; never more than before.
        seed: the replicate, which decides between equal scores.

    Returns:
        dict from name to bool tensor, True where kept.

    Raises:
        BadValueError: scores that are not finite.
    """
    mask = {n: m.clone(memory_format=torch.contiguous_format) for n, m in mask.items()}
    flow = copy.deepcopy(model).double().eval().requires_grad_(False)
    flow.to(memory_format=torch.contiguous_format)
    for p in flow.parameters():
        p.abs_()
    weights = {name: flow.get_parameter(name) for name in prunable(flow)}
    for name, w in weights.items():
        w.mul_(mask[name]).requires_grad_()
    device = next(iter(weights.values())).device
    ones = torch.ones(1, *model.input_shape, dtype=torch.float64, device=device)
    kept, ties = sum(int(m.count_nonzero()) for m in mask.values()), _Ties(mask, seed)
    for goal in left:
        with torch.enable_grad():
            grads = torch.autograd.grad(flow(ones).sum(), list(weights.values()))
        scores = {
            n: g.mul_(weights[n].detach()).abs_() for n, g in zip(weights, grads, strict=True)
        }
        _check(scores)
        for name, positions in lowest(scores, mask, kept - goal, ties).items():
            mask[name].view(-1)[positions] = False
            weights[name].detach().view(-1)[positions] = 0
        kept = goal
    return mask


def _check(scores):
    for name, z in scores.items():  # a sum tells it in a third of the time, but may overflow
        if not torch.isfinite(z.sum()) and not torch.isfinite(z).all():
            raise BadValueError(f"method 'synflow' gave scores of {name} that are not finite")


class _Ties:
    """The draws by which `masks.remove` orders equal scores: those of a seed are the same in every
    iteration. Made when they are first needed, as for many masks they never are."""

    def __init__(self, mask, seed):
        self.total, self.seed, self.draws = sum(m.numel() for m in mask.values()), seed, None

    def order(self, positions):
        """The order in which weights go, by their positions, counted over all tensors."""
        if self.draws is None:
            stream = generator(self.seed, "ties")
            self.draws = torch.rand(self.total, generator=stream, dtype=torch.float64)
        return self.draws[positions.cpu()].argsort().to(positions.device)


def lowest(scores: dict[str, Tensor], mask: dict[str, Tensor], count: int, ties: _Ties) -> dict:
    """Where the `count` lowest scores are among the weights that a mask keeps: a dict from name to
    positions in the flattened tensor."""
    if count <= 0:
        return {}
    for bound in (_bound(scores, mask, count), torch.inf):
        found = {name: _positions((z <= bound) & mask[name]) for name, z in scores.items()}
        if sum(map(len, found.values())) >= count:
            break
    values = torch.cat([scores[name].flatten()[at] for name, at in found.items()])
    threshold = float(np.partition(values.cpu().numpy(), count - 1)[count - 1])
    goes = values < threshold
    equal = (values == threshold).nonzero().squeeze(1)
    count -= int(goes.count_nonzero())
    if count < len(equal):
        before = np.cumsum([0, *(z.numel() for z in scores.values())])
        everywhere = torch.cat([at + int(n) for at, n in zip(found.values(), before, strict=False)])
        equal = equal[ties.order(everywhere[equal])]
    goes[equal[:count]] = True
    parts = goes.split([len(at) for at in found.values()])
    return {name: at[part] for (name, at), part in zip(found.items(), parts, strict=True)}


def _bound(scores, mask, count):
    """A score that at least `count` kept weights are, most likely, not above: of a sample, the one
    at that share, and four standard deviations further."""
    sample = torch.cat(
        [z.flatten()[::STRIDE][mask[n].flatten()[::STRIDE]] for n, z in scores.items()]
    )
    at = int(count / STRIDE + 4 * (count / STRIDE) ** 0.5) + 1
    return float(np.partition(sample.cpu().numpy(), at)[at]) if at < len(sample) else torch.inf


def _positions(flags):
    """Where a tensor, flattened, is True; NumPy finds few among many several times as fast."""
    return torch.from_numpy(np.flatnonzero(flags.cpu().numpy())).to(flags.device)
