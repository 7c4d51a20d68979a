"""Scores: one short function a method, and a registry for a user's own (Section 3).

`score` is the entry: it hands a copy of the model to the method's function and checks what comes
back. The functions below it are the paper's methods; `register` adds others beside them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from prunelib import datasets, methods
from prunelib.errors import BadValueError
from prunelib.methods import METHODS, UNSCORED, Batch, Data, Method, check_iterations, get
from prunelib.networks import arranged, input_shape, prunable
from prunelib.seeds import generator

__all__ = [
    "METHODS", "UNSCORED", "Batch", "Data", "Method", "Scores", "averaged", "check_iterations",
    "data", "get", "register", "score",
]  # fmt: skip

Scores = dict[str, Tensor]  # of each prunable parameter, by name

GRASP_TEMPERATURE = 200
BATCH = 256


def register(
    name: str,
    prunes: str = "lowest",
    iterations: int = 1,
    needs_data: bool = True,
    revives: bool = False,
    batches: int | None = None,
) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Decorator that makes a scoring function usable wherever a method name is::

        @scores.register("mine")
        def mine(model, batch):
            return {name: model.get_parameter(name).detach().abs()
                    for name in networks.prunable(model)}

    The function receives a copy of the model and the scoring batch (inputs [n, C, H, W], targets
    [n]; None where `needs_data` is False). It returns one score for each prunable weight, of real
    numbers. Beside these it receives what it asks for by the names of its parameters:

    - `seed`: the replicate. What it draws from the global generators of torch, NumPy and Python
      depends on the replicate and the name alone; for draws from elsewhere it must use `seed`.
    - `sparsity`: what this iteration prunes to, in [0, 1); of a method of one iteration, the
      sparsity of the mask.
    - `mask`: which weights the iterations before have kept, a dict from name to bool tensor.

    In each iteration the pruned weights of the model are zero, and stay pruned. Of a method that
    `revives` they may come back: the model then has all its weights as they were, the function
    applies `mask` where it wants to, and all weights are ranked anew.

    The paper's methods cannot be replaced. A name of one's own can be registered again, so that a
    notebook cell can be run twice; results are recorded under the name and a digest of the source
    (`provenance`), so that those of a method that changed are not taken for the new one's.

    Args:
        name: the method's name.
        prunes: "lowest" or "highest": which scores go first.
        iterations: 1 for one shot, more to prune iteratively.
        needs_data: whether `batch` must be given.
        revives: whether pruned weights may come back.
        batches: how many training batches `batch` is a list of, each (inputs, targets) of the
            setting's batch size, in place of the scoring batch (`datasets.training_batches`).

    Raises:
        BadValueError: a name that is taken or cannot be recorded, or another value not allowed.
    """
    return methods.add(name, "score", prunes, iterations, needs_data, revives, batches)


def data(method: str, setting: str, seed: int = 0) -> Data | None:
    """What a method is given of a setting's data: the scoring batch, training batches, or None
    where it needs none.

    Raises:
        UnknownNameError: for a name that there is not. DatasetError: the data are not there.
    """
    chosen = get(method)
    if not chosen.needs_data:
        return None
    if chosen.batches:
        return datasets.training_batches(setting, seed, chosen.batches)
    return datasets.scoring_batch(setting, seed)


def score(
    model: nn.Module,
    method: str,
    batch: Data | None = None,
    seed: int = 0,
    sparsity: float | None = None,
    mask: dict[str, Tensor] | None = None,
) -> Scores:
    """Scores of all prunable weights.

    Computed in full precision on a copy: the model comes back untouched, with its mode and its
    gradients, and so do the global generators.

    Args:
        model: a network on any device.
        method: a registered name.
        batch: inputs [n, C, H, W] and targets [n], not augmented; or a list of such pairs, for a
            method that asks for training batches.
        seed: the replicate, for methods that draw.
        sparsity: in [0, 1), for methods that ask for it.
        mask: for methods that ask for it: dict from name to bool tensor; by default all is kept.

    Returns:
        dict from parameter name to a tensor of the parameter's shape, of floating-point numbers;
        signed where the method is.

    Raises:
        UnknownNameError: no such method.
        BadValueError: the method needs a batch or sparsity and got none, or returned scores of the
            wrong names or shapes, complex, or not finite; or it has none, but whole masks; or the
            model says no `input_shape`, which SynFlow needs.
        UserCodeError: an exception in a method of one's own.
    """
    chosen = get(method)
    if chosen.kind != "score":
        raise BadValueError(
            f"method {chosen.label!r} gives whole masks, not scores: use masks.prune"
        )
    if mask is None and chosen.takes("mask"):
        mask = {n: torch.ones_like(w, dtype=torch.bool) for n, w in _weights(model).items()}
    scores = methods.call(chosen, model, batch, seed, sparsity=sparsity, mask=mask)
    methods.check_tensors(chosen, model, scores)
    # Whole numbers and truth values become float64: there, turning the sign cannot wrap around.
    return {
        name: z.detach() if z.is_floating_point() else z.detach().double()
        for name, z in ((n, scores[n].to(model.get_parameter(n).device)) for n in prunable(model))
    }


def _weights(model):
    return {name: model.get_parameter(name) for name in prunable(model)}


def averaged(
    model: nn.Module, batch: Batch, function: Callable[[Tensor, Tensor], Scores]
) -> Scores:
    """The mean of function(inputs, targets) over batches of at most 256, weighted by their number
    of examples, in the precision of the model."""
    inputs, targets = batch
    inputs = inputs.to(next(model.parameters()).dtype)
    if inputs.dtype == torch.float64:  # in which it matters most to PyTorch's convolutions
        inputs = arranged(model, inputs)
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
    """z = |w * dL/dw| (Lee et al., 2019; Appendix B.2), batch norm in training mode.

    Above 256 examples the mean over batches of the per-batch |w * dL/dw|.
    """
    model.train()
    weights = _weights(model)

    def one(x, y):
        grads = torch.autograd.grad(F.cross_entropy(model(x), y), weights.values())
        return {name: (w * g).abs() for (name, w), g in zip(weights.items(), grads, strict=True)}

    return averaged(model, batch, one)


@register("iterative_snip", iterations=100)
def iterative_snip(model: nn.Module, batch: Batch) -> Scores:
    """SNIP's scores in float64 (Appendix G).

    A weight that rounding sends the other way moves all later scores. Relative noise of 1e-7 on
    the weights of LeNet leaves some masks as they are and others with less than a third of their
    weights in common. In float64 the order of sums decides nothing any more; but a mask can be made
    again only where the initial weights are drawn alike to the last digit, on the same kind of
    machine.
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

    return averaged(model, batch, one)


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
    model.eval()
    state = {name: p.detach().double().abs() for name, p in model.named_parameters()}
    names = prunable(model)
    for name in names:
        state[name].requires_grad_()
    buffers = {
        name: b.double() if b.is_floating_point() else b for name, b in model.named_buffers()
    }
    device = state[names[0]].device
    ones = torch.ones(1, *input_shape(model), dtype=torch.float64, device=device)
    total = functional_call(model, state | buffers, (ones,)).sum()
    grads = torch.autograd.grad(total, [state[name] for name in names])
    return {name: (state[name] * g).detach().abs() for name, g in zip(names, grads, strict=True)}
