"""K small networks as one wide network, which computes what each would compute alone.

What a small network costs on a CPU is less its products than the calls that they take; a wide one
calls once for all. `pays` says for which networks.
"""

import copy
import functools

import torch
import torch.nn.functional as F
from torch import nn

from prunelib import networks, provenance

SMALL = 5e6  # floating-point operations of training on one image


def pays(network: str) -> bool:
    """Whether networks of that name are small enough to be trained as one wide network, and, of a
    user's own, made so that this computes the same."""
    return networks.flops(network) <= SMALL and (not provenance.is_own(network) or _widens(network))


@functools.cache
def _widens(network):
    """Whether a wide network is known to compute what two networks with other weights compute."""
    models, stream = (
        [networks.build(network, r) for r in range(2)],
        torch.Generator().manual_seed(0),
    )
    for module in models[0].modules():
        bare = isinstance(module, nn.Linear) and module.bias is None
        split = isinstance(module, nn.Conv2d) and module.groups > 1
        other = not isinstance(module, nn.Linear | nn.Conv2d | nn.BatchNorm2d)
        state = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if bare or split or (other and state):
            return False
    with torch.no_grad():
        for p in (p for model in models for p in model.parameters()):
            p.add_(torch.randn(p.shape, generator=stream), alpha=0.1)
        inputs = torch.randn(8, *models[0].input_shape, generator=stream)
        try:
            wide = widened(models)
            for training in (True, False):
                found = wide.train(training)(inputs)
                expected = torch.stack([model.train(training)(inputs) for model in models])
                if not torch.allclose(found, expected, rtol=1e-3, atol=1e-4):
                    return False
        except Exception:  # of layers that take no wide tensors, of whatever kind it is
            return False
    return True


class _Linears(nn.Module):
    """K linear layers as one product: [n, in] that all share, [n, K * in] or [K, n, in] to
    [K, n, out]."""

    def __init__(self, layers: list[nn.Linear], shared: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))
        self.shared = shared

    def forward(self, x):
        count = len(self.weight)
        if self.shared:
            x = F.linear(x, self.weight.flatten(0, 1), self.bias.flatten())
            return x.view(len(x), count, -1).transpose(0, 1)
        if x.dim() == 2:
            x = x.view(len(x), count, -1).transpose(0, 1)
        return torch.baddbmm(self.bias[:, None], x, self.weight.transpose(1, 2))


@torch.no_grad()
def widened(models: list[nn.Module]) -> nn.Module:
    """One network of K times the channels from K networks, none of which sees another.

    The first of their layers is fed the images, which they share, and each other one by its own
    network; so flattening and pooling must keep the channels of a network together.

    Args:
        models: K networks of one architecture, of convolutions with one group, batch norms and
            linear layers; they are left as they are.

    Returns:
        A module from inputs [n, …] to logits [K, n, classes].
    """
    wide, first = copy.deepcopy(models[0]), True
    for name, module in models[0].named_modules():
        members = [model.get_submodule(name) for model in models]
        if isinstance(module, nn.Linear):
            wide.set_submodule(name, _Linears(members, first))
        elif isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            layer = wide.get_submodule(name)
            for n, t in layer.state_dict(keep_vars=True).items():
                own = [member.state_dict()[n] for member in members]
                joined = torch.cat(own) if t.dim() else torch.stack(own)
                if n in layer._parameters:
                    joined = nn.Parameter(joined)
                setattr(layer, n, joined)
            if isinstance(module, nn.Conv2d):
                layer.groups = 1 if first else len(models)
        first = first and not isinstance(module, nn.Linear | nn.Conv2d)
    return wide
