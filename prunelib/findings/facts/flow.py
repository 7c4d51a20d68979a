"""What SynFlow's scores are: sums over paths, conserved, shares of the path norm (Section 5,
Appendices D and M).

As in `identities`, each function computes a number on the network of a setting, freshly
initialised, that a sentence of the paper says is exact or of one sign.
"""

import copy
import functools
import itertools
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from prunelib import analysis, architectures, masks, networks, scores, settings
from prunelib.findings.facts.identities import apart, chain, double_network, random_batch
from prunelib.findings.facts.table import fact
from prunelib.networks import prunable
from prunelib.seeds import generator

DEPTHS = range(20, 111, 6)  # of CIFAR ResNets: 6n + 2


def _without_biases(setting: str) -> nn.Module:
    model = copy.deepcopy(double_network(setting))
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.data.zero_()
    return model


def _absolute(setting: str, biases: bool = True) -> nn.Module:
    model = copy.deepcopy(double_network(setting)) if biases else _without_biases(setting)
    for p in model.parameters():
        p.data.abs_()
    return model.eval()


@fact
@torch.no_grad()
def synflow_off_losses(setting: str) -> float:
    """D.1: a score is what the sum of logits loses without the weight; the relative distance, of
    the highest score of the first, the middle and the last layer."""
    model, found = _absolute(setting), scores.score(double_network(setting), "synflow")
    ones = torch.ones(1, *model.input_shape, dtype=torch.float64)
    names, whole, worst = list(found), model(ones).sum(), 0.0
    for name in (names[0], names[len(names) // 2], names[-1]):
        weight, place = model.get_parameter(name).view(-1), found[name].argmax()
        kept = weight[place].clone()
        weight[place] = 0
        lost, z = whole - model(ones).sum(), found[name].max()
        weight[place] = kept
        worst = max(worst, abs(float(lost / z) - 1))
    return worst


@fact
def scores_not_conserved(setting: str) -> float:
    """D.1: without biases, scores into a hidden neuron sum to as much as those out of it; in a
    network that is no chain of layers, those of the first layer to those of the last."""
    z = list(scores.score(_without_biases(setting), "synflow").values())
    if any(layer.dim() != 2 for layer in z):
        return abs(float(z[0].sum() / z[-1].sum()) - 1)
    pairs = [(into.sum(1), out.sum(0)) for into, out in itertools.pairwise(z)]
    return max(float((a / b - 1).abs().max()) for a, b in pairs)


@fact
def scores_that_are_not_positive(setting: str) -> float:
    """D.1: SynFlow issues positive scores; how many are not."""
    found = scores.score(double_network(setting), "synflow")
    return float(sum(int((z <= 0).sum()) for z in found.values()))


@fact
@torch.no_grad()
def preactivations_that_are_not_positive(setting: str) -> float:
    """D.5: with absolute weights, no biases and ones, "the preactivation value is positive"."""
    model, found = _absolute(setting, biases=False), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _, a, z: found.append(int((z <= 0).sum())))
    model(torch.ones(1, *model.input_shape, dtype=torch.float64))
    return float(sum(found))


def _sums_over_paths(setting: str) -> tuple[list[Tensor], float]:
    """For each weight the sum over paths through it of the product of the other magnitudes, from
    what flows in and what flows out; and the path norm, the sum over all paths of all of them."""
    layers = chain(setting)
    into, out = [layers[0].new_ones(layers[0].shape[1])], [layers[0].new_ones(len(layers[-1]))]
    for w in layers:
        into.append(w @ into[-1])
    for w in reversed(layers):
        out.append(w.T @ out[-1])
    sums = [torch.outer(o, i) for i, o in zip(into, reversed(out[:-1]), strict=False)]
    return sums, float(into[-1].sum())


def _path_norm(layers: list[Tensor]) -> Tensor:
    """The l1,1 path norm, for D.5: the sum over paths of the products of magnitudes."""
    flow = layers[0].new_ones(layers[0].shape[1])
    for w in layers:
        flow = w.abs() @ flow
    return flow.sum()


def _flow_scores(setting: str) -> list[Tensor]:
    return list(scores.score(_without_biases(setting), "synflow").values())


@fact
def gradients_off_sums_over_paths(setting: str) -> float:
    """Section 5 and Equation 5: SynFlow's gradients are sums over paths; relative distance."""
    layers, (sums, _) = chain(setting), _sums_over_paths(setting)
    found = {i: z / w for i, (z, w) in enumerate(zip(_flow_scores(setting), layers, strict=True))}
    return apart(found, dict(enumerate(sums)))


@fact
def layers_off_the_path_norm(setting: str) -> float:
    """D.5, after Equation 5: the scores of each layer sum to the path norm."""
    norm = float(_path_norm(chain(setting)))
    return max(abs(float(z.sum()) / norm - 1) for z in _flow_scores(setting))


def _derivatives(setting: str) -> list[Tensor]:
    """|w| times the derivative of the path norm by |w|."""
    layers = [w.clone().requires_grad_() for w in chain(setting)]
    grads = torch.autograd.grad(_path_norm(layers), layers)
    return [w.detach() * g for w, g in zip(layers, grads, strict=True)]


@fact
def losses_off_the_derivative_of_the_path_norm(setting: str) -> float:
    """D.5: what the path norm loses without a weight; for the first weights of each layer."""
    layers, worst = chain(setting), 0.0
    whole = _path_norm(layers)
    for i, expected in enumerate(_derivatives(setting)):
        pruned = [w.clone() for w in layers]
        pruned[i][:, :3] = 0  # columns: no path has two of a layer's weights
        lost = whole - _path_norm(pruned)
        worst = max(worst, abs(float(lost / expected[:, :3].sum()) - 1))
    return worst


@fact
def scores_off_the_derivative_of_the_path_norm(setting: str) -> float:
    """D.5: (D.5) "is identical to SynFlow's weight score function"; the relative distance."""
    found = dict(enumerate(_flow_scores(setting)))
    return apart(found, dict(enumerate(_derivatives(setting))))


def _loss_over_least(setting: str, extreme: Callable[[Tensor], Tensor]) -> float:
    layers, (sums, _) = chain(setting), _sums_over_paths(setting)
    losses = torch.cat([(w * s).flatten() for w, s in zip(layers, sums, strict=True)])
    place = extreme(torch.cat([z.flatten() for z in _flow_scores(setting)]))
    return float(losses[place] / losses.min())


@fact
def loss_by_the_lowest_score_over_the_least(setting: str) -> float:
    """D.5: SynFlow prunes "weights that maximally preserve the path norm locally"."""
    return _loss_over_least(setting, torch.argmin)


@fact
def loss_by_the_highest_score_over_the_least(setting: str) -> float:
    """D.5, last sentence: the highest-scoring weight "has the smallest impact"."""
    return _loss_over_least(setting, torch.argmax)


@fact
def path_norm_off_under_rescaling(setting: str) -> float:
    """D.5: layers times c and 1/c leave the path norm invariant; the relative distance."""
    layers = chain(setting)
    scaled = [3 * layers[0], layers[1] / 3, *layers[2:]]
    return abs(float(_path_norm(scaled) / _path_norm(layers)) - 1)


@fact
@torch.no_grad()
def output_off_under_rescaling(setting: str) -> float:
    """D.5: they leave the output of a ReLU network invariant, too; the relative distance."""
    chain(setting)
    model, (inputs, _) = _without_biases(setting), random_batch(setting)
    before = model(inputs)
    first, second = prunable(model)[:2]
    model.get_parameter(first).data *= 3
    model.get_parameter(second).data /= 3
    return float((model(inputs) - before).norm() / before.norm())


@fact
def rise_of_gradients_after_pruning(setting: str) -> float:
    """Section 5: with one outgoing weight of each neuron of the first hidden layer pruned, the
    largest change of the gradient of an incoming one, and the other way round, in percent; negative
    if all fall."""
    chain(setting)
    before, changes = _flow_scores(setting), []
    for pruned, seen in ((1, 0), (0, 1)):
        model = _without_biases(setting)
        names = prunable(model)
        weights = model.get_parameter(names[pruned]).data
        (weights[0] if pruned else weights[:, 0]).zero_()
        after = scores.score(model, "synflow")[names[seen]]
        changes.append(100 * after / before[seen] - 100)  # of |w g|, so of g: w is what it was
    return max(float(change.max()) for change in changes)


@fact
def rate_of_pruning_after_neighbours(setting: str, rounds: int = 10) -> float:
    """Section 5: how often incoming weights are pruned in the next iteration if more of the
    neuron's outgoing weights than the layer's median were in this one, and the other way round,
    over how often if not."""
    chain(setting)
    model = networks.build(settings.get(setting).network, seed=0)
    density, history = 1 - settings.sparsity(12), [masks.full(model)]
    for n in range(1, rounds + 1):
        goal = 1 - density ** (n / rounds)
        history.append(masks.prune(model, "synflow", goal, mask=history[-1], iterations=1))
    counts = torch.zeros(2, 2)  # more or fewer neighbours lost; weights pruned, weights there
    for before, now, after in zip(history, history[1:], history[2:], strict=False):
        into_out = list(zip(list(now)[:-1], list(now)[1:], strict=True))
        sides = [((out, 0), (into, 1)) for into, out in into_out]
        sides += [((into, 1), (out, 0)) for into, out in into_out]
        for (lost_of, side), (gone_of, other) in sides:
            there = before[lost_of].sum(side)
            lost = (there - now[lost_of].sum(side)) / there.clamp(min=1)
            alive = now[gone_of].sum(other)
            gone = alive - after[gone_of].sum(other)
            for more in (0, 1):
                chosen = (lost > lost.median()) == bool(more)
                counts[more] += torch.stack([gone[chosen].sum(), alive[chosen].sum()])
    rates = counts[:, 0] / counts[:, 1]
    return float(rates[1] / rates[0])


@fact
def weights_of_the_last_path(setting: str, rounds: int = 40) -> float:
    """Section 3 and D.1: the connected weights that SynFlow leaves when it prunes all but one a
    layer, as a multiple of the number of layers: 1 if they are a path. Fewer rounds than the
    paper's hundred take less time and are the harder test."""
    model = networks.build(settings.get(setting).network, seed=0)
    layers, total = len(chain(setting)), masks.kept(masks.full(model))
    mask = masks.prune(model, "synflow", 1 - layers / total, iterations=rounds)
    return masks.kept(analysis.effective(model, mask)) / layers


def _explodes(make: Callable[[], nn.Module], side: int) -> bool:
    with torch.device("meta"):  # its own initialisation would take longer than the one below
        model = make()
    model, stream = model.to_empty(device="cpu").eval(), generator(0, "single precision")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            nn.init.uniform_(module.weight, generator=stream)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=stream)
            module.weight.data.abs_()
            if module.bias is not None:
                module.bias.data.zero_()
    with torch.no_grad():
        return not bool(model(torch.ones(1, 3, side, side)).sum().isfinite())


@fact
def deepest_resnet_in_single_precision(setting: str) -> float:
    """D.2: the depth after which the activations of a ResNet of absolute weights on ones are not
    finite in float32; of CIFAR's family or, for a setting of ImageNet, TorchVision's."""
    deepest = 0
    family: list[tuple[int, Callable[[], nn.Module], int]] = [
        (depth, functools.partial(architectures.CifarResNet, depth, 16), 32) for depth in DEPTHS
    ]
    if settings.get(setting).dataset == "imagenet":
        models = torchvision.models
        family = [
            (18, models.resnet18, 224),
            (34, models.resnet34, 224),
            (50, models.resnet50, 224),
        ]
    for depth, make, side in family:
        if _explodes(make, side):
            break
        deepest = depth
    return float(deepest)


# Appendix M


@fact
def weights_misjudged_by_their_gradient(setting: str) -> float:
    """M: a gradient of 0 is just what disconnected weights have; against a search of the graph."""
    chain(setting)
    model = networks.build(settings.get(setting).network, seed=0)
    mask = masks.prune(model, "random", 0.995)
    layers = [m.double() for m in mask.values()]
    reached, leads = (
        [torch.ones(layers[0].shape[1]).double()],
        [torch.ones(len(layers[-1])).double()],
    )
    for m in layers:
        reached.append(((m @ reached[-1]) > 0).double())
    for m in reversed(layers):
        leads.append(((m.T @ leads[-1]) > 0).double())
    found = analysis.effective(model, mask).values()
    ends = zip(layers, reached, reversed(leads[:-1]), found, strict=False)
    return float(sum(int(((m * torch.outer(o, i) > 0) != f).sum()) for m, i, o, f in ends))
