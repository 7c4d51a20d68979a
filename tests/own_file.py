"""A user's file, for tests to load: a method of each kind, and a setting of its own. A lock in a
closure keeps its methods from being pickled."""

import threading

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from prunelib import datasets, masks, networks, scores, settings


def _locked(lock):
    @scores.register("own_score", needs_data=False)
    def own_score(model, batch, sparsity):
        with lock:
            return {n: model.get_parameter(n).abs() for n in networks.prunable(model)}


_locked(threading.Lock())


@scores.register("own_force", revives=True, iterations=3)
def own_force(model, batch, mask):
    inputs, targets = batch
    pruned = {n: (model.get_parameter(n) * mask[n]).detach().requires_grad_() for n in mask}
    loss = F.cross_entropy(functional_call(model, pruned, inputs), targets)
    grads = torch.autograd.grad(loss, list(pruned.values()))
    return {n: (model.get_parameter(n) * g).abs() for n, g in zip(mask, grads, strict=True)}


@scores.register("own_batches", batches=2)
def own_batches(model, batch):
    weights = {n: model.get_parameter(n) for n in networks.prunable(model)}
    loss = sum(F.cross_entropy(model(inputs), targets) for inputs, targets in batch)
    grads = torch.autograd.grad(loss, list(weights.values()))
    return {n: (w * g).abs() for (n, w), g in zip(weights.items(), grads, strict=True)}


@masks.register("own_mask", needs_data=False)
def own_mask(model, sparsity, seed):
    equal = dict.fromkeys(networks.prunable(model), 1 - sparsity)
    return masks.from_densities(model, equal, sparsity, seed)


@networks.register("own_net", input_shape=(6,))
class OwnNet(nn.Module):
    """96 + 48 prunable weights."""

    def __init__(self):
        super().__init__()
        self.hidden, self.output = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.output(self.hidden(x).relu())


@datasets.register("own_data")
def own_data():
    stream = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    inputs = torch.randn(300, 6, generator=stream) + 2 * labels[:, None]
    return inputs[:200], labels[:200], inputs[200:], labels[200:]


settings.register(
    "own_setting",
    network="own_net",
    dataset="own_data",
    examples=200,
    epochs=10,
    batch_size=16,
    learning_rate=0.05,
)
