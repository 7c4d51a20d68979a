"""Scores: one short function a method, and a registry for a user's own (Section 3).

`score` is the entry: it hands a copy of the model to the method's function and checks what comes
back. The functions below it are the paper's methods; `register` adds others beside them.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from prunelib.errors import BadValueError, UnknownNameError
from prunelib.networks import prunable
from prunelib.precision import products, short
from prunelib.seeds import generator
from prunelib.seeds import seed as derive_seed

Batch = tuple[Tensor, Tensor]  # inputs [n, C, H, W] and targets [n]
Scores = dict[str, Tensor]  # of each prunable parameter, by name

GRASP_TEMPERATURE = 200
UNSCORED = ("dense", "gradual")  # methods of a Run that have no mask before training
BATCH = 256


@dataclass(frozen=True)
class Method:
    """How a method prunes: its score, which end it prunes, and in how many iterations."""

    name: str
    function: Callable[..., Scores]
    prunes: str = "lowest"
    iterations: int = 1
    needs_data: bool = True


METHODS: dict[str, Method] = {}


def register(
    name: str, prunes: str = "lowest", iterations: int = 1, needs_data: bool = True
) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Decorator that makes a scoring function usable wherever a method name is::

        @scores.register("mine")
        def mine(model, batch):
            return {name: model.get_parameter(name).detach().abs()
                    for name in networks.prunable(model)}

    The function receives a copy of the model and the scoring batch (inputs [n, C, H, W], targets
    [n]; None where `needs_data` is False), and `seed` if it has such a parameter. It returns one
    score for each prunable weight, of real numbers. What it draws from torch's global generator
    depends on the replicate and the name alone; for draws from elsewhere it must use `seed`.

    The paper's methods cannot be replaced. A name of one's own can be registered again, so that a
    notebook cell can be run twice; but a store finds results by name, so that a method that
    changed needs another one.

    Args:
        name: the method's name.
        prunes: "lowest" or "highest": which scores go first.
        iterations: 1 for one shot, more to prune iteratively.
        needs_data: whether `batch` must be given.

    Raises:
        BadValueError: a name that is taken or cannot be recorded, or another value not allowed.
    """
    if not isinstance(name, str) or not name.isprintable() or name in ("", *UNSCORED):
        raise BadValueError(
            f"method name {name!r}: give printable text other than {', '.join(UNSCORED)}"
        )
    if name in METHODS and METHODS[name].function.__module__ == __name__:
        raise BadValueError(f"method {name!r} is one of the paper's: register under another name")
    if prunes not in ("lowest", "highest"):
        raise BadValueError(f"prunes={prunes!r}: choose 'lowest' or 'highest'")
    check_iterations(iterations)

    def decorate(function: Callable[..., Scores]) -> Callable[..., Scores]:
        METHODS[name] = Method(name, function, prunes, iterations, needs_data)
        return function

    return decorate


def check_iterations(iterations: int) -> int:
    """Return a number of pruning iterations; raise BadValueError if it is not one."""
    if type(iterations) is not int or iterations < 1:
        raise BadValueError(f"iterations={iterations!r}: give a whole number from 1")
    return iterations


def get(name: str) -> Method:
    """The method of that name; raises UnknownNameError, which lists the names."""
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def score(model: nn.Module, method: str, batch: Batch | None = None, seed: int = 0) -> Scores:
    """Scores of all prunable weights.

    Computed in full precision on a copy: the model comes back untouched, with its mode and its
    gradients, and so does torch's global generator.

    Args:
        model: a network on any device.
        method: a registered name.
        batch: inputs [n, C, H, W] and targets [n]; not augmented.
        seed: the replicate, for methods that draw.

    Returns:
        dict from parameter name to a tensor of the parameter's shape, of floating-point numbers;
        signed where the method is.

    Raises:
        UnknownNameError: no such method.
        BadValueError: the method needs a batch and got none, or returned scores of the wrong
            names or shapes, complex, or not finite.
    """
    chosen = get(method)
    if chosen.needs_data and batch is None:
        raise BadValueError(
            f"method {method!r} needs a scoring batch: pass batch=datasets.scoring_batch(setting)"
        )
    work = copy.deepcopy(model)
    for p in work.parameters():
        p.requires_grad_().grad = None
    device = next(work.parameters()).device
    extra = {"seed": seed} if "seed" in inspect.signature(chosen.function).parameters else {}
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.enable_grad(),
        products("fp32"),
        short("fp32", device.type),
    ):
        # Seeded, so that draws whose seed a method forgot can be repeated all the same.
        torch.manual_seed(derive_seed(seed, f"scores/{method}"))
        scores = chosen.function(work, batch, **extra)
    _check(model, method, scores)
    # Whole numbers and truth values become float64: there, turning the sign cannot wrap around.
    return {
        name: z.detach() if z.is_floating_point() else z.detach().double()
        for name, z in ((name, scores[name]) for name in prunable(model))
    }


def _check(model, method, scores):
    names = prunable(model)
    if not isinstance(scores, dict):
        raise BadValueError(f"method {method!r} returned {type(scores).__name__}, expected a dict")
    if set(scores) != set(names):
        wrong = sorted(set(scores) ^ set(names))
        raise BadValueError(f"method {method!r} must score exactly the prunable weights: {wrong}")
    for name in names:
        shape = model.get_parameter(name).shape
        if not isinstance(scores[name], Tensor):
            kind = type(scores[name]).__name__
            raise BadValueError(f"method {method!r} scored {name} with {kind}, expected a tensor")
        if scores[name].shape != shape:
            raise BadValueError(
                f"method {method!r} scored {name} with shape {tuple(scores[name].shape)}, "
                f"the weight has {tuple(shape)}"
            )
        if scores[name].is_complex():
            raise BadValueError(
                f"method {method!r} scored {name} with complex numbers, which have no order: "
                "return their absolute values, or their real parts"
            )
        if not torch.isfinite(scores[name]).all():
            raise BadValueError(f"method {method!r} gave scores of {name} that are not finite")


def _weights(model):
    return {name: model.get_parameter(name) for name in prunable(model)}


def _averaged(model, batch, function):
    """Mean over batches of at most 256, weighted by their number of examples, in the precision
    of the model."""
    inputs, targets = batch
    inputs = inputs.to(next(model.parameters()).dtype)
    total = dict.fromkeys(prunable(model), 0.0)
    for x, y in zip(inputs.split(BATCH), targets.split(BATCH), strict=True):
        for name, value in function(x, y).items():
            total[name] = total[name] + value.detach() * (len(x) / len(inputs))
    return total


@register("random", needs_data=False)
def random(model: nn.Module, batch: Batch | None = None, seed: int = 0) -> Scores:
    """z ~ Uniform(0, 1) (Section 3)."""
    stream = generator(seed, "random scores")
    return {
        name: torch.rand(w.shape, generator=stream).to(w.device)
        for name, w in _weights(model).items()
    }


@register("magnitude", needs_data=False)
def magnitude(model: nn.Module, batch: Batch | None = None) -> Scores:
    """z = |w| (Section 3)."""
    return {name: w.detach().abs() for name, w in _weights(model).items()}


@register("snip")
def snip(model: nn.Module, batch: Batch) -> Scores:
    """z = |w * dL/dw|, batch norm in training mode (Lee et al., 2019; Appendix B.2).

    Above 256 examples the mean over batches of the per-batch |w * dL/dw|.
    """
    model.train()
    weights = _weights(model)

    def one(x, y):
        grads = torch.autograd.grad(F.cross_entropy(model(x), y), weights.values())
        return {name: (w * g).abs() for (name, w), g in zip(weights.items(), grads, strict=True)}

    return _averaged(model, batch, one)


@register("iterative_snip", iterations=100)
def iterative_snip(model: nn.Module, batch: Batch) -> Scores:
    """SNIP's scores in float64 (Appendix G).

    A weight that rounding sends the other way moves all later scores. Relative noise of 1e-7 on
    the weights of LeNet leaves some masks as they are and others with a fifth of their weights in
    common. In float64 the order of sums decides nothing any more; but a mask can be made again
    only where the initial weights are drawn alike to the last digit, on the same kind of machine.
    """
    return snip(model.double(), batch)


@register("grasp", prunes="highest")
def grasp(model: nn.Module, batch: Batch) -> Scores:
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
def grasp_magnitude(model: nn.Module, batch: Batch) -> Scores:
    """z = |w * (H g)|: the weights with the lowest-magnitude GraSP scores go (Appendix H)."""
    return {name: z.abs() for name, z in grasp(model, batch).items()}


@register("synflow", iterations=100, needs_data=False)
def synflow(model: nn.Module, batch: Batch | None = None) -> Scores:
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
