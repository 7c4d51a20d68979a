"""Scores: one short function a method, and a registry for a user's own (Section 3)."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.func import functional_call

from prunelib.errors import BadValueError, UnknownNameError
from prunelib.networks import prunable
from prunelib.precision import products, short
from prunelib.seeds import generator

GRASP_TEMPERATURE = 200
UNSCORED = ("dense", "gradual")  # methods of a Run that have no mask before training
BATCH = 256


@dataclass(frozen=True)
class Method:
    """How a method prunes: its score, which end it prunes, and in how many iterations."""

    name: str
    function: Callable
    prunes: str = "lowest"
    iterations: int = 1
    needs_data: bool = True


METHODS: dict[str, Method] = {}


def register(name, prunes="lowest", iterations=1, needs_data=True):
    """Decorator that makes a scoring function usable wherever a method name is.

        @scores.register("mine")
        def mine(model, batch):
            return {name: model.get_parameter(name).detach().abs()
                    for name in networks.prunable(model)}

    The function receives a copy of the model and the scoring batch (inputs [n, C, H, W], targets
    [n]; None where `needs_data` is False), and `seed` if it has such a parameter. It returns one
    score for each prunable weight. Registering a name again replaces the method, so that a
    notebook cell can be run twice; but a store finds results by name, so that a method that
    changed needs another one.

    Args:
        name: the method's name.
        prunes: "lowest" or "highest": which scores go first.
        iterations: 1 for one shot, more to prune iteratively.
        needs_data: whether `batch` must be given.
    """
    if not isinstance(name, str) or not name.isprintable() or name in ("", *UNSCORED):
        raise BadValueError(
            f"method name {name!r}: give printable text other than {', '.join(UNSCORED)}"
        )
    if prunes not in ("lowest", "highest"):
        raise BadValueError(f"prunes={prunes!r}: choose 'lowest' or 'highest'")

    def decorate(function):
        METHODS[name] = Method(name, function, prunes, iterations, needs_data)
        return function

    return decorate


def get(name):
    """The method of that name; raises UnknownNameError, which lists the names."""
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def score(model, method, batch=None, seed=0):
    """Scores of all prunable weights.

    Computed in full precision on a copy: the model comes back untouched, with its mode and its
    gradients.

    Args:
        model: a network on any device.
        method: a registered name.
        batch: inputs [n, C, H, W] and targets [n]; not augmented.
        seed: the replicate, for methods that draw.

    Returns:
        dict from parameter name to a tensor of the parameter's shape; signed where the method is.

    Raises:
        UnknownNameError: no such method.
        BadValueError: the method needs a batch and got none, or returned scores of the wrong
            names or shapes, or not finite.
    """
    chosen = get(method)
    if chosen.needs_data and batch is None:
        raise BadValueError(
            f"method {method!r} needs a scoring batch: pass batch=datasets.scoring_batch(setting)"
        )
    work = copy.deepcopy(model)
    for p in work.parameters():
        p.requires_grad_().grad = None
    device = next(work.parameters()).device.type
    extra = {"seed": seed} if "seed" in inspect.signature(chosen.function).parameters else {}
    with torch.enable_grad(), products("fp32"), short("fp32", device):
        scores = chosen.function(work, batch, **extra)
    _check(model, method, scores)
    return {name: scores[name].detach() for name in prunable(model)}


def _check(model, method, scores):
    names = prunable(model)
    if not isinstance(scores, dict):
        raise BadValueError(f"method {method!r} returned {type(scores).__name__}, expected a dict")
    if set(scores) != set(names):
        wrong = sorted(set(scores) ^ set(names))
        raise BadValueError(f"method {method!r} must score exactly the prunable weights: {wrong}")
    for name in names:
        shape = model.get_parameter(name).shape
        if not isinstance(scores[name], torch.Tensor):
            kind = type(scores[name]).__name__
            raise BadValueError(f"method {method!r} scored {name} with {kind}, expected a tensor")
        if scores[name].shape != shape:
            raise BadValueError(
                f"method {method!r} scored {name} with shape {tuple(scores[name].shape)}, "
                f"the weight has {tuple(shape)}"
            )
        if not torch.isfinite(scores[name]).all():
            raise BadValueError(f"method {method!r} gave scores of {name} that are not finite")


def _weights(model):
    return {name: model.get_parameter(name) for name in prunable(model)}


def _averaged(model, batch, function):
    """Mean over batches of at most 256, weighted by their number of examples."""
    inputs, targets = batch
    total = dict.fromkeys(prunable(model), 0.0)
    for x, y in zip(inputs.split(BATCH), targets.split(BATCH), strict=True):
        for name, value in function(x, y).items():
            total[name] = total[name] + value.detach() * (len(x) / len(inputs))
    return total


@register("random", needs_data=False)
def random(model, batch=None, seed=0):
    """z ~ Uniform(0, 1) (Section 3)."""
    stream = generator(seed, "random scores")
    return {
        name: torch.rand(w.shape, generator=stream).to(w.device)
        for name, w in _weights(model).items()
    }


@register("magnitude", needs_data=False)
def magnitude(model, batch=None):
    """z = |w| (Section 3)."""
    return {name: w.detach().abs() for name, w in _weights(model).items()}


@register("snip")
@register("iterative_snip", iterations=100)
def snip(model, batch):
    """z = |w * dL/dw|, batch norm in training mode (Lee et al., 2019; Appendix B.2).

    Above 256 examples the mean over batches of the per-batch |w * dL/dw|.
    """
    model.train()
    weights = _weights(model)

    def one(x, y):
        grads = torch.autograd.grad(F.cross_entropy(model(x), y), weights.values())
        return {name: (w * g).abs() for (name, w), g in zip(weights.items(), grads, strict=True)}

    return _averaged(model, batch, one)


@register("grasp", prunes="highest")
def grasp(model, batch):
    """z = -w * (H g), signed; the highest scores are pruned (Wang et al., 2020; Appendix C.1).

    H and g are of the same batch and over the prunable weights; batch norm in training mode; the
    logits are divided by 200 before the loss, as in the code of Wang et al.
    """
    model.train()
    weights = _weights(model)

    def one(x, y):
        loss = F.cross_entropy(model(x) / GRASP_TEMPERATURE, y)
        grads = torch.autograd.grad(loss, weights.values(), create_graph=True)
        product = sum((g.detach() * g).sum() for g in grads)
        hessian_gradient = torch.autograd.grad(product, weights.values())
        return {
            name: -w * h for (name, w), h in zip(weights.items(), hessian_gradient, strict=True)
        }

    return _averaged(model, batch, one)


@register("grasp_magnitude")
def grasp_magnitude(model, batch):
    """z = |w * (H g)|: the weights with the lowest-magnitude GraSP scores go (Appendix H)."""
    return {name: z.abs() for name, z in grasp(model, batch).items()}


@register("synflow", iterations=100, needs_data=False)
def synflow(model, batch=None):
    """z = |w * dR/dw|, R the sum of the logits of |model| on ones (Tanaka et al., 2020; D.1).

    Float64; batch norm in evaluation mode; absolute values of all parameters, biases and batch
    norm's included, but not of running statistics. `model.input_shape` says how many ones;
    `networks.build` sets it.
    """
    if not hasattr(model, "input_shape"):
        raise BadValueError("synflow needs model.input_shape, for example (3, 32, 32): set it")
    model.eval()
    state = {name: p.detach().double().abs() for name, p in model.named_parameters()}
    names = prunable(model)
    for name in names:
        state[name].requires_grad_()
    buffers = {
        name: b.double() if b.is_floating_point() else b for name, b in model.named_buffers()
    }
    device = state[names[0]].device
    ones = torch.ones(1, *model.input_shape, dtype=torch.float64, device=device)
    total = functional_call(model, state | buffers, (ones,)).sum()
    grads = torch.autograd.grad(total, [state[name] for name in names])
    return {name: (state[name] * g).detach().abs() for name, g in zip(names, grads, strict=True)}
