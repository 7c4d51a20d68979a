"""The equations of Appendices B and C, held against the code and against each other.

Each function computes, on the network of a setting, by how much two sides of an equation differ,
or a number that a sentence says is exact. Inputs are random, so that no dataset is needed, and all
is in float64; chains of linear layers are needed where `chain` is called.
"""

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from prunelib import masks, networks, scores, settings
from prunelib.errors import BadValueError
from prunelib.findings.facts.table import fact
from prunelib.networks import prunable
from prunelib.seeds import generator

EXAMPLES = 2  # scored; the fewest with which batch norm trains
# Of weights, relative: so small that hardly any of the ReLUs of a ResNet switches, of which each
# would move the gradient by a jump.
STEP = 1e-9
# Of one weight alone, which switches hardly any ReLU of LeNet: of a smaller step the difference is
# rounding, another one on each machine.
STEP_OF_ONE = 1e-5


@functools.cache
def double_network(setting: str) -> nn.Module:
    """The freshly initialised network of a setting, in float64; callers do not change it."""
    return networks.build(settings.get(setting).network, seed=0).double()


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: model.get_parameter(name).detach() for name in prunable(model)}


def random_batch(setting: str) -> scores.Batch:
    """Some random inputs [`EXAMPLES`, C, H, W] in float64, and their targets."""
    model = double_network(setting)
    shape = (EXAMPLES, *model.input_shape)
    inputs = torch.randn(shape, generator=generator(0, "identities"), dtype=torch.float64)
    return inputs, torch.arange(EXAMPLES)


def apart(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest distance of any layer's tensors, relative to the norm of the expected one."""
    return max(float((found[n] - e).norm() / e.norm()) for n, e in expected.items())


def chain(setting: str) -> list[Tensor]:
    """The absolute weights of a network that is nothing but linear layers, in order."""
    weights = _weights(double_network(setting))
    if any(w.dim() != 2 for w in weights.values()):
        raise BadValueError(f"{setting} is no chain of linear layers: its paths are not listed")
    return [w.abs() for w in weights.values()]


# Appendix B


@fact
def snip_off_coefficients(setting: str) -> float:
    """B.2: |dL/dc| at c = 1 is |w dL/dw|; the relative distance."""
    model, (inputs, targets) = copy.deepcopy(double_network(setting)).train(), random_batch(setting)
    weights = _weights(model)
    ones = {name: torch.ones_like(w, requires_grad=True) for name, w in weights.items()}
    scaled = {name: w * ones[name] for name, w in weights.items()}
    loss = F.cross_entropy(functional_call(model, scaled, (inputs,)), targets)
    grads = torch.autograd.grad(loss, ones.values())
    found = scores.score(double_network(setting), "snip", random_batch(setting))
    return apart(found, {name: g.abs() for name, g in zip(ones, grads, strict=True)})


@fact
def snip_off_activations(setting: str) -> float:
    """B.2: the score is |dL/dz a w|, summed over examples before the absolute value."""
    chain(setting)
    model, (inputs, targets) = copy.deepcopy(double_network(setting)), random_batch(setting)
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _, a, z: seen.append((a[0].detach(), z)))
    loss = F.cross_entropy(model(inputs), targets)
    grads = torch.autograd.grad(loss, [z for _, z in seen])
    weights = _weights(model)
    expected = {
        name: (g.T @ a * w).abs()
        for (name, w), (a, _), g in zip(weights.items(), seen, grads, strict=True)
    }
    return apart(scores.score(model, "snip", random_batch(setting)), expected)


def _misplaced(setting: str, method: str, sign: int) -> float:
    """How many kept weights a method should have pruned before one that it pruned."""
    model, batch = double_network(setting), random_batch(setting)
    mask = masks.prune(model, method, settings.sparsity(6), batch)
    ranked = {name: sign * z for name, z in scores.score(model, method, batch).items()}
    worst = max(ranked[name][~m].max().item() for name, m in mask.items() if not m.all())
    return float(sum(int((ranked[name][m] < worst).sum()) for name, m in mask.items()))


@fact
def snip_kept_below_a_pruned_score(setting: str) -> float:
    """B.1: SNIP prunes the parameters with the lowest scores; kept ones below a pruned one."""
    return _misplaced(setting, "snip", 1)


@fact
def grasp_kept_above_a_pruned_score(setting: str) -> float:
    """C.1: GraSP prunes "those with the highest scores"; kept ones above a pruned one."""
    return _misplaced(setting, "grasp", -1)


# Appendix C


@dataclass(frozen=True)
class Flow:
    """A loss as a function of the weights, with gradient g and product H g at the first ones."""

    loss: Callable[[dict[str, Tensor]], Tensor]
    weights: dict[str, Tensor]
    gradient: dict[str, Tensor]
    product: dict[str, Tensor]

    def at(self, direction: dict[str, Tensor], step: float) -> dict[str, Tensor]:
        """The weights after a step."""
        return {name: w + step * direction[name] for name, w in self.weights.items()}

    def gradient_at(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The gradient at other weights."""
        moved = {name: w.clone().requires_grad_() for name, w in weights.items()}
        grads = torch.autograd.grad(self.loss(moved), moved.values())
        return dict(zip(moved, grads, strict=True))

    def slope(self, direction: dict[str, Tensor], step: float = STEP) -> float:
        """How fast the squared norm of the gradient grows in a direction, by differences."""
        ends = [self.gradient_at(self.at(direction, s)) for s in (step, -step)]
        return (_dot(ends[0], ends[0]) - _dot(ends[1], ends[1])) / (2 * step)


def _dot(a, b):
    return float(sum((a[name] * b[name]).sum() for name in a))


@functools.cache
def _flow(setting: str) -> Flow:
    """GraSP's loss on the network of a setting: batch norm in training mode, logits over 200."""
    model, (inputs, targets) = copy.deepcopy(double_network(setting)).train(), random_batch(setting)
    model.requires_grad_(False)

    def loss(weights):
        logits = functional_call(model, weights, (inputs,))
        return F.cross_entropy(logits / scores.GRASP_TEMPERATURE, targets)

    weights = {name: w.clone().requires_grad_() for name, w in _weights(model).items()}
    grads = torch.autograd.grad(loss(weights), weights.values(), create_graph=True)
    product = torch.autograd.grad(sum((g.detach() * g).sum() for g in grads), weights.values())
    plain = {name: w.detach() for name, w in weights.items()}
    gradient = {name: g.detach() for name, g in zip(plain, grads, strict=True)}
    return Flow(loss, plain, gradient, dict(zip(plain, product, strict=True)))


def _step(flow: Flow) -> float:
    """A step along the gradient that changes the loss by about a share of 1e-8."""
    return 1e-8 * float(flow.loss(flow.weights)) / _dot(flow.gradient, flow.gradient)


def _risen(setting: str, sign: int) -> tuple[float, Flow, float]:
    flow = _flow(setting)
    step = _step(flow)
    moved = flow.loss(flow.at(flow.gradient, sign * step))
    return float(moved - flow.loss(flow.weights)), flow, step


@fact
def gradient_flow_off_its_limit(setting: str) -> float:
    """Equation 1: (L(w + eta g) - L(w)) / eta is g'g as eta goes to 0; the relative distance."""
    risen, flow, step = _risen(setting, 1)
    return abs(risen / step / _dot(flow.gradient, flow.gradient) - 1)


@fact
def loss_after_a_step_along_the_gradient(setting: str) -> float:
    """Footnote 13: by how many percent the step of Equation 1 raises the loss."""
    risen, flow, _ = _risen(setting, 1)
    return 100 * risen / float(flow.loss(flow.weights))


@fact
def loss_saved_off_its_limit(setting: str) -> float:
    """Footnote 13: (L(w) - L(w - eta g)) / eta against g'g; the relative distance."""
    risen, flow, step = _risen(setting, -1)
    return abs(-risen / step / _dot(flow.gradient, flow.gradient) - 1)


@fact
def perturbation_off_equation_3(setting: str) -> float:
    """Equation 3: g'g grows by 2 d'Hg along a small perturbation d, here a share of -w."""
    flow = _flow(setting)
    stream = generator(0, "perturbation")
    direction = {
        name: -w * (torch.rand(w.shape, generator=stream) < 0.5) for name, w in flow.weights.items()
    }
    return abs(flow.slope(direction) / (2 * _dot(direction, flow.product)) - 1)


@fact
def grasp_off_differences(setting: str) -> float:
    """Equation 4: scores against -w Hg, with Hg as a difference of gradients."""
    flow = _flow(setting)
    step = STEP * math.sqrt(_dot(flow.weights, flow.weights) / _dot(flow.gradient, flow.gradient))
    ahead, behind = (flow.gradient_at(flow.at(flow.gradient, s)) for s in (step, -step))
    expected = {n: -w * (ahead[n] - behind[n]) / (2 * step) for n, w in flow.weights.items()}
    return apart(scores.score(double_network(setting), "grasp", random_batch(setting)), expected)


@fact
def weight_left_by_equation_4(setting: str) -> float:
    """C.1: what w - delta leaves of w_i if delta_i is -w_i, as a multiple of w_i; 0 is pruned."""
    weight = torch.tensor(0.5)
    delta = -weight
    return float((weight - delta) / weight)


@functools.cache
def _effects(setting: str, count: int = 5) -> list[float]:
    """The first-order effect on g'g of removing a weight, over its score, of the highest scores."""
    found = scores.score(double_network(setting), "grasp", random_batch(setting))
    current, name = _flow(setting), next(iter(found))
    ratios = []
    for place in found[name].flatten().abs().topk(count).indices.tolist():
        direction = {n: torch.zeros_like(w) for n, w in current.weights.items()}
        direction[name].view(-1)[place] = -current.weights[name].view(-1)[place]
        slope = current.slope(direction, STEP_OF_ONE)
        ratios.append(slope / float(found[name].view(-1)[place]))
    return ratios


@fact
def score_over_effect_on_gradient_flow(setting: str) -> float:
    """Equation 4: s = C(-delta) = -w Hg; -w Hg over the mean effect of removing w."""
    found = _effects(setting)
    return len(found) / sum(found)


@fact
def spread_of_scores_over_effects(setting: str) -> float:
    """Equation 4: how far that ratio is from one positive constant for all weights, as a share."""
    found = _effects(setting)
    return (max(found) - min(found)) / max(found) if max(found) > 0 else math.inf
