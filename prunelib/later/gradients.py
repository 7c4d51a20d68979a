"""Scores by gradients: of squared weights, of the pruned network, of some steps of training, and of
what the outputs change by.

Iter-SNIP (de Jorge et al., 2021) is no method of its own here: it is `iterative_snip` with
`iterations=60`, whose densities fall exponentially, too.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from prunelib import masks, networks, scores
from prunelib.datasets import PER_CLASS
from prunelib.masks import Mask
from prunelib.networks import prunable
from prunelib.scores import BATCH, Batch, Scores
from prunelib.seeds import seed as derive_seed

STEPS, LEARNING_RATE = 3, 0.1  # of SGD, without momentum, in ProsPr: its command line's defaults
DRAWS = 5  # of weights and inputs in each iteration of NTK-SAP
CHANGE = 0.01  # of the weights in NTK-SAP, times a normal draw


@scores.register("synflow_l2", iterations=100, needs_data=False)
def synflow_l2(model: nn.Module, batch: None = None) -> Scores:
    """SynFlow-L2: SynFlow with squared parameters in place of absolute ones, z = w^2 * dR/d(w^2)
    (Gebhart et al., 2021; Patil and Dovrolis, 2021).

    Everything else is as for `synflow`: batch norm's own parameters are squared, too, its running
    statistics are not.
    """
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.square_()
    return scores.synflow(model)


@scores.register("force", iterations=60, revives=True)
def force(model: nn.Module, batch: Batch, mask: Mask) -> Scores:
    """FORCE: z = |w * dL/dw'|, with the gradient of the pruned network, w' = w * mask, and the
    weight as it was, so that a pruned one may come back (de Jorge et al., 2021).

    In sixty iterations, as in the paper; their command line has ten unless it is told otherwise.
    Batch norm in training mode. Their code takes another batch in each iteration, this project the
    scoring batch of the replicate. In float64, for the reason that `iterative_snip` has.
    """
    model.double().train()
    weights = {name: model.get_parameter(name).detach().clone() for name in prunable(model)}
    masks.apply(model, mask)
    pruned = {name: model.get_parameter(name) for name in weights}

    def one(x, y):
        grads = torch.autograd.grad(F.cross_entropy(model(x), y), pruned.values())
        return dict(zip(pruned, grads, strict=True))

    gradients = scores.averaged(model, batch, one)
    return {name: (w * gradients[name]).abs() for name, w in weights.items()}


@scores.register("prospr", batches=STEPS + 1)
def prospr(model: nn.Module, batch: list[Batch]) -> Scores:
    """ProsPr: z = |dL/dm| at m = 1, L the loss after three steps of SGD that begin at w * m
    (Alizadeh et al., 2022).

    All parameters are trained, batch norm is in training mode, the steps are differentiated too.
    A training batch for each step and one for the loss, each of the setting's size; their command
    line takes 128 images and repeats the first batch unless it is told to take others. The steps
    stay in memory until the end, for a ResNet-20 some two gigabytes.
    """
    model.train()
    parameters = dict(model.named_parameters())
    ones = {name: torch.ones_like(parameters[name]).requires_grad_() for name in prunable(model)}
    parameters |= {name: parameters[name] * m for name, m in ones.items()}

    def loss(inputs, targets):
        return F.cross_entropy(functional_call(model, parameters, (inputs,)), targets)

    for inputs, targets in batch[:-1]:
        grads = torch.autograd.grad(loss(inputs, targets), parameters.values(), create_graph=True)
        moved = zip(parameters.items(), grads, strict=True)
        parameters = {name: p - LEARNING_RATE * g for (name, p), g in moved}
    grads = torch.autograd.grad(loss(*batch[-1]), ones.values())
    return {name: g.abs() for name, g in zip(ones, grads, strict=True)}


@scores.register("ntk_sap", iterations=20, needs_data=False)
def ntk_sap(model: nn.Module, batch: None, mask: Mask, seed: int) -> Scores:
    """NTK-SAP: z = |dD/dm|, D the squared change of the outputs when all weights change by 0.01
    times a normal draw (Wang et al., 2023).

    The inputs are normal draws too, ten a class, and the weights are drawn anew, by He
    initialisation whatever that of `model` is, gammas of batch norm uniform in [0, 1] as everywhere
    here (their code has 1); batch norm has the statistics of these inputs in both networks. Summed
    over five draws in each of 20 iterations, as in their script for ResNet-20; other numbers are
    possible in their code.
    """
    # Every iteration must draw others: they are told apart by the weights that are left.
    torch.manual_seed(derive_seed(seed, "ntk_sap", masks.kept(mask)))
    first = next(model.parameters())
    device, dtype = first.device, first.dtype
    keep = {name: m.to(dtype).requires_grad_() for name, m in mask.items()}
    total, count = dict.fromkeys(keep, 0.0), PER_CLASS * len(mask[prunable(model)[-1]])
    for size in DRAWS * [min(BATCH, count - start) for start in range(0, count, BATCH)]:
        networks.initialise(model.cpu())  # drawn there, as everywhere, so that a GPU draws the same
        inputs = torch.randn(size, *networks.input_shape(model), dtype=dtype).to(device)
        noise = {name: torch.randn(m.shape, dtype=dtype).to(device) for name, m in mask.items()}
        change = _change(model.to(device), keep, noise, inputs)
        for name, g in zip(keep, torch.autograd.grad(change, keep.values()), strict=True):
            total[name] = total[name] + g
    return {name: g.abs() for name, g in total.items()}


def _change(model, keep, noise, inputs):
    """The squared change of the outputs, summed over the inputs."""
    weights = {name: model.get_parameter(name).detach() for name in keep}
    masked = {name: w * keep[name] for name, w in weights.items()}
    changed = {name: (w + CHANGE * noise[name]) * keep[name] for name, w in weights.items()}
    for module in model.train().modules():
        if isinstance(module, networks.BATCH_NORMS):
            module.reset_running_stats()
            module.momentum = 1.0  # one pass, and the statistics are those of these inputs
    with torch.no_grad():
        functional_call(model, masked, (inputs,))
    model.eval()
    outputs = [functional_call(model, values, (inputs,)) for values in (masked, changed)]
    return (outputs[0] - outputs[1]).square().sum()
